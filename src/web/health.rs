//! For operators and their machines: alive, ready, metrics.

use super::{Web, envelope::Written, error::WebError, session::client_ip};
use crate::{
    domain::time::UnixMs,
    flow::work,
    store::{self, heartbeat, notices, pending, refunds, work_items},
};
use actix_web::{HttpRequest, HttpResponse, web::Data};
use std::{sync::Arc, time::Duration};

const PROBE: Duration = Duration::from_secs(1);
const FULL_PERCENT: usize = 80;

/// GET /healthz: the process answers. Looks at nothing else.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", "text/plain; charset=utf-8")).body("ok\n")
}

/// GET /readyz: the books take writes, the jobs run, nobody has told us to stop. A gateway that is
/// down does not matter here: its callbacks still need us.
pub async fn ready(web: Data<Arc<Web>>) -> HttpResponse {
    let now = web.app.clock.now();
    let reason = if web.is_draining() {
        Some("stopping")
    } else if web.app.store.queue_percent() >= FULL_PERCENT {
        Some("write queue nearly full")
    } else if !(web.jobs_alive)() {
        Some("a background job has not run lately")
    } else {
        match tokio::time::timeout(PROBE, web.app.store.write(move |db| heartbeat::beat(db, now))).await {
            Ok(Ok(())) => None,
            _ => Some("the database does not take writes"),
        }
    };
    let (mut response, text) = match reason {
        None => (HttpResponse::Ok(), "ready\n".to_owned()),
        Some(reason) => (HttpResponse::ServiceUnavailable(), format!("not ready: {reason}\n")),
    };
    let mut response = response.insert_header(("content-type", "text/plain; charset=utf-8")).body(text);
    response.extensions_mut().insert(Written);
    response
}

/// GET /metrics, for this machine only: a request that came through a proxy is not from here.
///
/// # Errors
/// `NotFound` for anybody else; the books.
pub async fn metrics(web: Data<Arc<Web>>, request: HttpRequest) -> Result<HttpResponse, WebError> {
    let forwarded = ["x-forwarded-for", "forwarded", "x-real-ip"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    // Behind a proxy that is not named in TRUSTED_PROXIES everybody would look local.
    let config = &web.app.config;
    let blind = config.public_url.is_https() && config.trusted_proxies.is_empty();
    if blind || forwarded || !client_ip(&request, &web.app).is_loopback() {
        return Err(WebError::NotFound);
    }
    let app = &web.app;
    let (pending, by_kind, refunding, last) = app
        .store
        .read(|db| {
            let (backlog, by_kind) = (pending::backlog(db)?.0, work_items::open_by_kind(db)?);
            Ok((backlog, by_kind, refunds::count_open(db)?, notices::last_authentic(db)?))
        })
        .await?;
    let unknown = work::unknown(app).await?;
    app.metrics.last_notice_at.set(last.map_or(0, UnixMs::secs));
    app.metrics.pending_queries.set(pending);
    app.metrics.open_work_items.set(by_kind.iter().map(|(_, open)| open).sum());
    app.metrics.open_work_items_by_kind.reset();
    for (kind, open) in &by_kind {
        app.metrics.open_work_items_by_kind.with_label_values(&[kind]).set(*open);
    }
    app.metrics.open_refunds.set(refunding);
    app.metrics.unknown_prepays.set(unknown.prepay_count);
    app.metrics.unknown_refunds.set(unknown.refund_count);
    app.metrics.log_bytes.set(i64::try_from(store::log_bytes(&app.config.database)).unwrap_or(i64::MAX));
    app.metrics.writer_queue_percent.set(i64::try_from(app.store.queue_percent()).unwrap_or(100));
    Ok(HttpResponse::Ok()
        .insert_header(("content-type", "text/plain; version=0.0.4; charset=utf-8"))
        .body(app.metrics.render()))
}
