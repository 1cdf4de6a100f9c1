//! How long a callback waits at half of what the server can do, against what one sync of that disk takes. Callbacks
//! are sent when they are due, whether or not earlier ones have been answered, and timed from when they were due.

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
    /// The middle one of many.
    pub sync: Duration,
}

/// Finds the most callbacks a second on one set of books, and sends half as many a second on another.
pub async fn at_half(most_on: Database, half_on: Database, disk: &Path, orders: usize) -> Pace {
    let rate = shop::over_http(Load::on(most_on, orders, 64)).await.rate / 2.0;
    let app = shop::open(half_on);
    let requests = shop::requests(&shop::prepare(&app, orders, 100).await);
    let servers = Servers::start(std::slice::from_ref(&app));
    let (address, sent) = (servers.address(0), requests.clone());
    let mut times = tokio::task::spawn_blocking(move || send(address, &sent, rate)).await.unwrap();
    servers.stop().await;
    shop::all_credited(&app, orders).await;
    times.sort_unstable();
    Pace { rate, p99: times[times.len() * 99 / 100], sync: sync(disk) }
}

/// Over 64 connections, a thread each: their clocks are finer than those of async timers.
fn send(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, rate: f64) -> Vec<Duration> {
    let started = Instant::now() + Duration::from_millis(50);
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let requests = requests.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mine = (client..requests.len()).step_by(64);
                mine.map(|n| {
                    let due = started + Duration::from_secs_f64(n as f64 / rate);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    stream.write_all(&requests[n]).unwrap();
                    answered(&mut stream);
                    due.elapsed()
                })
                .collect::<Vec<Duration>>()
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

fn answered(stream: &mut TcpStream) {
    let (mut buffer, mut filled) = ([0; 4096], 0);
    while !buffer[..filled].ends_with(b"</xml>") {
        let read = stream.read(&mut buffer[filled..]).unwrap();
        assert!(read > 0, "the server hung up");
        filled += read;
    }
    assert!(buffer[..filled].windows(7).any(|bytes| bytes == b"SUCCESS"));
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
