//! One message from a gateway, and the button that sends it through the same door again.

use super::{frame, notices::as_json, verdict_zh};
use crate::{
    domain::{order::Source, time::UnixMs},
    flow::{
        notify::{self, can_replay},
        timeline::masked_body,
    },
    gateway::Ack,
    store::notices::{self, Notice},
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        log_in::TokenForm,
        rights::{Ask, May},
        session::{Admin, see_other},
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "admin/notice.html")]
struct NoticePage {
    layout: Layout,
    id: String,
    at: String,
    verdict: String,
    verdict_zh: &'static str,
    tone: &'static str,
    out_trade_no: String,
    order_url: Option<String>,
    transaction_id: String,
    source: &'static str,
    ip: String,
    body: String,
    reply: String,
    /// A reply to a query of ours has nowhere to be sent to again, and of a copy the first is sent.
    can_replay: bool,
    flash: Option<&'static str>,
}

/// What the replay was answered, carried over the redirect.
#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    replayed: String,
}

/// GET /admin/notices/{notice}
///
/// # Errors
/// 404; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: Admin,
    id: Path<String>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let notice = find(&web, id.into_inner()).await?;
    if admin.json {
        return Ok(HttpResponse::Ok().json(as_json(&notice)));
    }
    let (meaning, tone) = verdict_zh(&notice.verdict);
    let can_replay = can_replay(&notice);
    let number = notice.out_trade_no.unwrap_or_default();
    let known = !number.is_empty() && !matches!(notice.verdict.as_str(), "unknown_order" | "malformed");
    let template = NoticePage {
        layout: frame(&web, &admin).await?,
        at: UnixMs(notice.received_at).beijing_text(),
        verdict_zh: meaning,
        tone,
        order_url: known.then(|| format!("/admin/orders/{number}")),
        out_trade_no: number,
        transaction_id: notice.transaction_id.unwrap_or_default(),
        source: source_zh(&notice.source),
        ip: notice.remote_ip,
        body: masked_body(&notice.body),
        reply: notice.reply,
        can_replay,
        flash: match flash.replayed.as_str() {
            "SUCCESS" => Some("已重放。我方的回答：SUCCESS。同一笔付款不会入账两次，结果见订单时间线。"),
            "FAIL" => Some("已重放。我方的回答：FAIL，没有入账。原因见最新的一条回调。"),
            _ => None,
        },
        id: notice.id,
        verdict: notice.verdict,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// POST /admin/notices/{notice}/replay
///
/// # Errors
/// 404; 409 for a reply to a query of ours, a copy, or one of which only the beginning is kept; the books.
pub async fn replay(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Ask>,
    id: Path<String>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let notice = find(&web, id.into_inner()).await?;
    let answered = notify::replay(web.app.clone(), &admin.user.username, &notice.id).await?;
    let word = if answered.ack == Ack::Received { "SUCCESS" } else { "FAIL" };
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({ "answered": word, "reply": answered.body })));
    }
    Ok(see_other(&format!("/admin/notices/{}?replayed={word}", notice.id), None))
}

async fn find(web: &Web, id: String) -> Result<Notice, WebError> {
    // PostgreSQL has no text with a NUL, and would say so instead of "none".
    if id.contains('\0') {
        return Err(WebError::NotFound);
    }
    let found = web.app.store.read(move |db| notices::by_id(db, &id)).await?;
    found.ok_or(WebError::NotFound)
}

/// Where a message came from.
pub fn source_zh(source: &str) -> &'static str {
    match source {
        "refund_notify" => "退款通知",
        "refund_query" => "退款查询",
        source => Source::parse(source).map(super::via_zh).unwrap_or_default(),
    }
}
