//! The listener: limits of time and size, and the envelope around every answer.

use super::{Web, envelope, routes::routes};
use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, web::Data};
use std::{io, net::TcpListener, sync::Arc, time::Duration};

/// How long answers in the making may take once the process is told to stop.
const SHUTDOWN_SECS: u64 = 8;
/// A head that trickles in slower than this is given up.
const HEAD_WAIT: Duration = Duration::from_secs(5);
/// Per worker. A thousand open long polls must fit, and a flood must find a wall.
const MAX_CONNECTIONS: usize = 4096;
const IDLE_WAIT: Duration = Duration::from_secs(30);

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
