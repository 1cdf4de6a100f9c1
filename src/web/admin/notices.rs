//! Every message on the callback path, also the rejected ones, with the reason.

use super::{frame, notice::source_zh, verdict_zh};
use crate::{
    domain::time::UnixMs,
    flow::timeline::masked_body,
    store::notices::{self, Notice},
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
        session::Admin,
    },
};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "admin/notices.html")]
struct NoticesPage {
    layout: Layout,
    rejected_only: bool,
    rows: Vec<NoticeRow>,
    next: Option<String>,
}

struct NoticeRow {
    id: String,
    url: String,
    at: String,
    verdict: String,
    verdict_zh: String,
    kind: String,
    out_trade_no: String,
    order_url: Option<String>,
    transaction_id: String,
    source: String,
    ip: String,
    body: String,
    reply: String,
}

#[derive(Deserialize)]
pub struct Shown {
    #[serde(default)]
    rejected: String,
    before: Option<String>,
}

/// GET /admin/notices
///
/// # Errors
/// The books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Shown>) -> Result<HttpResponse, WebError> {
    let rejected_only = query.rejected == "1";
    let before = query.before.clone().filter(|id| !id.contains('\0'));
    let mut found = web
        .app
        .store
        .read(move |db| notices::list(db, rejected_only, before.as_deref(), PAGE.saturating_add(1)))
        .await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|notice| notice.id.clone());
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "notices": found.iter().map(as_json).collect::<Vec<_>>(),
            "before": next,
        })));
    }
    let filter = if rejected_only { "rejected=1&" } else { "" };
    let template = NoticesPage {
        layout: frame(&web, &admin).await?,
        rejected_only,
        rows: found.into_iter().map(row).collect(),
        next: next.map(|id| format!("/admin/notices?{filter}before={id}")),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn row(notice: Notice) -> NoticeRow {
    let (meaning, kind) = verdict_zh(&notice.verdict);
    let known = !matches!(notice.verdict.as_str(), "unknown_order" | "malformed");
    NoticeRow {
        at: UnixMs(notice.received_at).beijing_text(),
        verdict_zh: meaning.to_owned(),
        kind: kind.to_owned(),
        order_url: notice
            .out_trade_no
            .as_ref()
            .filter(|_| known)
            .map(|number| format!("/admin/orders/{number}")),
        out_trade_no: notice.out_trade_no.unwrap_or_default(),
        transaction_id: notice.transaction_id.unwrap_or_default(),
        source: source_zh(&notice.source).to_owned(),
        ip: notice.remote_ip,
        body: masked_body(&notice.body),
        reply: notice.reply,
        url: format!("/admin/notices/{}", notice.id),
        id: notice.id,
        verdict: notice.verdict,
    }
}

/// A notice for programs, its body masked.
pub fn as_json(notice: &Notice) -> serde_json::Value {
    json!({
        "id": notice.id,
        "received_at_ms": notice.received_at,
        "provider": notice.provider,
        "source": notice.source,
        "verdict": notice.verdict,
        "out_trade_no": notice.out_trade_no,
        "transaction_id": notice.transaction_id,
        "remote_ip": notice.remote_ip,
        "body": masked_body(&notice.body),
        "reply": notice.reply,
    })
}
