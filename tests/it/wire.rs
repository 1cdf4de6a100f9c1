//! The wire between the program and its database server, which a test can cut. Threads of its own: it goes on while a test waits.

use crate::database;
use shouyin::config::{Config, Database};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

/// Who changes the books begins with it: what else commits is not meant.
const WRITES: &[u8] = b"pg_advisory_xact_lock";
/// What `COMMIT` looks like on its way to the server (protocol 3: a simple query).
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// The server has committed.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// Cloning shares it.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cut: bool,
    /// The answer to the next COMMIT of a change gets lost, and the connection with it.
    loses_answer: bool,
    /// How many have.
    lost: usize,
    open: Vec<TcpStream>,
}

impl Wire {
    /// Puts a wire before the server of these books, which is named by one host.
    pub fn before(config: &mut Config) -> Wire {
        let Database::Postgres(url) = &config.database else { unreachable!("there is a server") };
        let (url, server) = (url.with(&[]), database::server().expect("a server"));
        let (_, after) = server.split_once('@').expect("a user in the URL");
        let host = after.split('/').next().unwrap();
        let named = if host.contains(':') { host.to_owned() } else { format!("{host}:5432") };
        let server = named.to_socket_addrs().unwrap().next().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = listener.local_addr().unwrap();
        config.database = Database::parse(&url.replace(&format!("@{host}/"), &format!("@{here}/"))).unwrap();
        let wire = Wire::default();
        let accepting = wire.clone();
        thread::spawn(move || {
            listener.incoming().for_each(|client| accepting.connect(client.unwrap(), server))
        });
        wire
    }

    /// The server is gone: who is connected is thrown out, who comes is, too.
    pub fn cut(&self) {
        let mut state = self.state();
        state.cut = true;
        state.open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    pub fn mend(&self) {
        self.state().cut = false;
    }

    pub fn lose_the_answer_to_the_next_commit(&self) {
        self.state().loses_answer = true;
    }

    pub fn lost(&self) -> usize {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn connect(&self, client: TcpStream, server: SocketAddr) {
        let mut state = self.state();
        if state.cut {
            return;
        }
        let server = TcpStream::connect(server).unwrap();
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            state.open.push(stream.try_clone().unwrap());
        }
        let silent = Arc::new(Mutex::new(false));
        let (there, back) = (self.clone(), self.clone());
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let falls_silent = silent.clone();
        thread::spawn(move || {
            let mut said = vec![];
            carry(from, to, |bytes| {
                said.extend_from_slice(bytes);
                let mut state = there.state();
                if state.loses_answer && holds(&said, WRITES) && holds(&said, COMMIT) {
                    state.loses_answer = false;
                    *falls_silent.lock().unwrap() = true;
                }
                if holds(&said, COMMIT) {
                    said.clear();
                }
                true
            });
        });
        thread::spawn(move || {
            let mut unsaid = vec![];
            carry(server, client, |bytes| {
                if !*silent.lock().unwrap() {
                    return true;
                }
                unsaid.extend_from_slice(bytes);
                let committed = holds(&unsaid, COMMITTED);
                back.state().lost += usize::from(committed);
                false
            });
        });
    }
}

/// Until an end is closed, or `lets_through` says no: then both are.
fn carry(mut from: TcpStream, mut to: TcpStream, mut lets_through: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !lets_through(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        stream.shutdown(Shutdown::Both).ok();
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
