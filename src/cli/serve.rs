//! `serve`: the production server.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::time::UnixMs,
    flow::set_up,
    jobs::Jobs,
    store::Store,
    web::{Web, server},
};
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Nothing but in the builds of tests.
#[derive(clap::Args)]
pub(super) struct Options {
    /// NAME:NTH, where to end this process as a crash would.
    #[cfg(feature = "failpoints")]
    #[arg(long, hide = true)]
    failpoint: Option<crate::failpoint::Armed>,
}

impl Options {
    #[cfg(feature = "failpoints")]
    fn arm(&self) {
        self.failpoint.into_iter().for_each(crate::failpoint::arm);
    }

    #[cfg(not(feature = "failpoints"))]
    const fn arm(&self) {}
}

/// After a SIGTERM the load balancer gets this long to see that we are not ready.
const DRAIN: Duration = Duration::from_secs(2);
const WORKERS: usize = 2;
/// The last sentence of a process that can write no more.
const BROKEN: &str = "the disk failed a commit, or a writing thread ended as the log says; nothing more was written. \
                      Start again: what was acknowledged is on disk, but look at the disk first";

/// Reads everything, opens the books, serves until told to stop.
///
/// # Errors
/// Configuration, the books, or the port.
pub(super) async fn run(source: &Source, options: &Options) -> Result<(), CliError> {
    options.arm();
    let config = Config::read(source)?;
    let store = Store::open(&config.database)?;
    let listener = bind(&config)?;
    let app = App::new(config, store, Clock::system())?;
    if let Some(link) = set_up::link_if_needed(&app).await? {
        println!("还没有管理员。30 分钟内用这个一次性链接创建第一个管理员：");
        println!("No administrator yet. Create the first one within 30 minutes with this one-time link:");
        println!("  {link}");
    }
    warn_of_doubts(&app.config, app.clock.now());
    println!("收银 Shouyin {} 已就绪 ready: {}", env!("CARGO_PKG_VERSION"), app.config.public_url);
    run_until_stopped(app, listener, None).await
}

/// Settings that work and are probably not meant.
fn warn_of_doubts(config: &Config, now: UnixMs) {
    if config.public_url.is_https() && config.trusted_proxies.is_empty() {
        tracing::warn!(
            "PUBLIC_URL is https but TRUSTED_PROXIES is empty: behind a proxy all users share one address and its limits"
        );
    }
    if !config.public_url.is_https() {
        tracing::warn!(
            "PUBLIC_URL is plain http on loopback: WeChat cannot call this server, its users cannot pay"
        );
    }
    match config.wechat_certificate.as_ref().and_then(|certificate| certificate.days_left(now)) {
        Some(days) if days < 0 => {
            tracing::error!("the certificate of WECHAT_CERT_PEM has expired: WeChat refuses to refund");
        }
        Some(days) => tracing::warn!(
            days,
            "the certificate of WECHAT_CERT_PEM expires in {days} days: without a new one WeChat refuses to refund"
        ),
        None => {}
    }
}

fn bind(config: &Config) -> Result<TcpListener, CliError> {
    server::listen(config.listen).map_err(|error| {
        CliError::OutOfReach(format!("cannot listen on {} (LISTEN): {error}", config.listen))
    })
}

/// Serves with the background jobs until SIGTERM or Ctrl-C, then stops in order: not ready any
/// more, answers in the making finished, jobs at a safe point. A second signal ends it at once. Books
/// that a failing disk made untrustworthy stop it in the same order.
///
/// # Errors
/// The listener or the signal handlers; the disk failed a commit.
pub(super) async fn run_until_stopped(
    app: Arc<App>,
    listener: TcpListener,
    bridge: Option<String>,
) -> Result<(), CliError> {
    let jobs = Jobs::start(&app);
    let web = Web::new(app.clone(), bridge, Box::new(jobs.pulse(&app)));
    let server = server::serve(web.clone(), listener, WORKERS)?;
    let (handle, serving) = (server.handle(), tokio::spawn(server));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (drain, outcome) = tokio::select! {
        _ = terminate.recv() => (DRAIN, Ok(())),
        _ = interrupt.recv() => (Duration::ZERO, Ok(())),
        () = app.store.broken() => (Duration::ZERO, Err(CliError::OutOfReach(BROKEN.to_owned()))),
    };
    tracing::info!("stopping: no longer ready, finishing what is in the making");
    web.drain();
    let graceful = async {
        tokio::time::sleep(drain).await;
        app.waiting.close();
        handle.stop(true).await;
        jobs.stop().await;
    };
    tokio::select! {
        () = graceful => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("second signal: stopping at once"),
        _ = interrupt.recv() => tracing::warn!("second signal: stopping at once"),
    }
    serving.abort();
    outcome
}
