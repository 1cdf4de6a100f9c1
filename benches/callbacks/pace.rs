//! How long a callback waits at half of what the server can do, against what one sync of that disk takes, and against
//! a request at the same pace for which the server does nothing: what is left then is the machine's own. Requests are
//! sent when they are due, whether or not earlier ones have been answered, and timed from when they were due.

use crate::shop::{self, Load, Servers};
use shouyin::config::Database;
use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Of one round.
pub struct Pace {
    /// Callbacks a second that were sent.
    pub rate: f64,
    pub p99: Duration,
    /// Of GET /healthz, at the same rate.
    pub idle: Duration,
    /// The middle one of many.
    pub sync: Duration,
}

/// Finds the most callbacks a second on one set of books, and sends half as many a second on another.
pub async fn at_half(most_on: Database, half_on: Database, disk: &Path, orders: usize) -> Pace {
    let rate = shop::over_http(Load::on(most_on, orders, 64)).await.rate / 2.0;
    let app = shop::open(half_on);
    let callbacks = Asked {
        requests: shop::requests(&shop::prepare(&app, orders, 100).await),
        says: b"SUCCESS",
        ends: b"</xml>",
    };
    let nothing = b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec();
    let nothing = Asked { requests: Arc::new(vec![nothing; orders]), says: b"200 OK", ends: b"ok\n" };
    let servers = Servers::start(std::slice::from_ref(&app));
    let address = servers.address(0);
    let idle = slowest(address, nothing, rate).await;
    let p99 = slowest(address, callbacks, rate).await;
    servers.stop().await;
    shop::all_credited(&app, orders).await;
    Pace { rate, p99, idle, sync: sync(disk) }
}

/// What is sent, and how each answer reads.
#[derive(Clone)]
struct Asked {
    requests: Arc<Vec<Vec<u8>>>,
    says: &'static [u8],
    ends: &'static [u8],
}

/// The 99th of a hundred.
async fn slowest(address: SocketAddr, asked: Asked, rate: f64) -> Duration {
    let mut times = tokio::task::spawn_blocking(move || send(address, &asked, rate)).await.unwrap();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Over 64 connections, a thread each: their clocks are finer than those of async timers.
fn send(address: SocketAddr, asked: &Asked, rate: f64) -> Vec<Duration> {
    let started = Instant::now() + Duration::from_millis(50);
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let asked = asked.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mine = (client..asked.requests.len()).step_by(64);
                mine.map(|n| {
                    let due = started + Duration::from_secs_f64(n as f64 / rate);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    stream.write_all(&asked.requests[n]).unwrap();
                    answered(&mut stream, &asked);
                    due.elapsed()
                })
                .collect::<Vec<Duration>>()
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

fn answered(stream: &mut TcpStream, asked: &Asked) {
    let (mut buffer, mut filled) = ([0; 4096], 0);
    while !buffer[..filled].ends_with(asked.ends) {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server hung up");
        filled += read;
    }
    assert!(buffer[..filled].windows(asked.says.len()).any(|bytes| bytes == asked.says));
}

/// One page appended and synced, the middle of 200.
fn sync(disk: &Path) -> Duration {
    let mut file = File::create(disk.join("sync")).unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&[7; 4096]).unwrap();
            let started = Instant::now();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
