//! The listener: limits of time and size, and the envelope around every answer.

use super::{Web, envelope, routes::routes};
use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web::Data};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpSocket;

/// How long answers in the making may take once the process is told to stop.
const SHUTDOWN_SECS: u64 = 8;
/// A head that trickles in slower than this is given up.
const HEAD_WAIT: Duration = Duration::from_secs(5);
/// Per worker. A thousand open long polls must fit, and a flood must find a wall.
const MAX_CONNECTIONS: usize = 4096;
const IDLE_WAIT: Duration = Duration::from_secs(30);
/// Connections that may wait to be taken in; Linux allows no more than `net.core.somaxconn`, 4,096 by itself. Who comes
/// when as many wait is not refused but left to try again after a second, and so is told of a payment a second late.
const BACKLOG: u32 = 1024;

/// Listens there. The standard library's own listener lets 128 connections wait.
///
/// # Errors
/// The address cannot be used.
///
/// # Panics
/// Outside of a runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections are still closing may be used again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Starts serving; the caller handles signals and awaits the server.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(web: Arc<Web>, listener: TcpListener, workers: usize) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new().app_data(Data::new(web.clone())).wrap(from_fn(envelope::wrap)).configure(routes)
    })
    .workers(workers)
    .max_connections(MAX_CONNECTIONS)
    .client_request_timeout(HEAD_WAIT)
    .keep_alive(IDLE_WAIT)
    .shutdown_timeout(SHUTDOWN_SECS)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    #[tokio::test]
    async fn connections_that_come_at_once_are_all_let_in_before_any_is_taken() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let come = || TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let connections: Result<Vec<TcpStream>, io::Error> = (0..300).map(|_| come()).collect();
        assert_eq!(connections.unwrap().len(), 300);
    }
}
