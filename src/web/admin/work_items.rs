//! What somebody must look at, open until a person says what was done.

use super::verdict_zh;
use crate::{
    domain::time::UnixMs,
    flow::work,
    store::work_items::{self, WorkItem},
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
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

const PAGE: i64 = 50;
const LONGEST_NOTE: usize = 200;

#[derive(Template)]
#[template(path = "admin/work_items.html")]
struct WorkItemsPage {
    layout: Layout,
    rows: Vec<WorkRow>,
    next: Option<String>,
}

struct WorkRow {
    id: i64,
    at: String,
    kind_zh: String,
    out_trade_no: String,
    order_url: Option<String>,
    transaction_id: String,
    detail: String,
    closed: Option<String>,
    action: String,
}

#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

#[derive(Deserialize)]
pub struct CloseForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    note: String,
}

/// GET /admin/work-items
///
/// # Errors
/// The books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Before>) -> Result<HttpResponse, WebError> {
    let before = query.before;
    let mut found =
        web.app.store.read(move |db| work_items::list(db, before, PAGE.saturating_add(1))).await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|item| item.id);
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "work_items": found.iter().map(as_json).collect::<Vec<_>>(),
            "before": next,
        })));
    }
    let template = WorkItemsPage {
        layout: Layout::of(&web, &admin),
        rows: found.into_iter().map(row).collect(),
        next: next.map(|id| format!("/admin/work-items?before={id}")),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// POST /admin/work-items/{id}/close
///
/// # Errors
/// 422 without a note; 409 when somebody closed it before; the books.
pub async fn close(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    id: Path<i64>,
    form: Form<CloseForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let note: String = form.note.trim().chars().take(LONGEST_NOTE).collect();
    if note.is_empty() {
        return Err(WebError::Unprocessable("请写明怎么处理的。".to_owned()));
    }
    if work::close(&web.app, &admin.user, id.into_inner(), note).await? {
        Ok(see_other("/admin/work-items", None))
    } else {
        Err(WebError::Conflict("这件事已经处理过，或不存在。没有任何改动。"))
    }
}

fn row(item: WorkItem) -> WorkRow {
    let known = item.kind != "unknown_order" && !item.out_trade_no.is_empty();
    WorkRow {
        id: item.id,
        at: UnixMs(item.opened_at).beijing_text(),
        kind_zh: verdict_zh(&item.kind).0.to_owned(),
        order_url: known.then(|| format!("/admin/orders/{}", item.out_trade_no)),
        out_trade_no: item.out_trade_no,
        transaction_id: item.transaction_id,
        detail: advice(&item.kind).to_owned(),
        closed: item.closed_at.map(|at| {
            let (by, note) = (item.closed_by.unwrap_or_default(), item.note.unwrap_or_default());
            format!("{by} 于 {} 处理：{note}", UnixMs(at).beijing_text())
        }),
        action: format!("/admin/work-items/{}/close", item.id),
    }
}

/// What is known, what is safe, what to do.
fn advice(kind: &str) -> &'static str {
    match kind {
        "second_payment" => "用户真实付了两次，只入账一次。请在微信商户平台把这一笔原路退款。",
        "late_payment" => "订单关闭后钱才到，已正常入账。请确认用户知情，不需要时可退款。",
        "unknown_order" => {
            "微信签名正确，但我方没有这个订单号（可能来自旧备份或另一套系统）。没有入账。请在商户平台核对。"
        }
        "amount_mismatch" => "微信签名正确，但金额与订单不同。没有入账。请在商户平台核对实付金额。",
        "credited_after_refund" => {
            "这笔付款在别处退款之后又入了账：用户的钱和余额可能都在。请在商户平台核对后处理。"
        }
        "account_mismatch" => {
            "微信签名正确，但付款属于另一个商户号或 appid（可能刚更换过设置）。没有入账。请核对。"
        }
        "transaction_reused" => "同一个微信单号已经给别的订单入过账。没有再次入账。请核对两个订单。",
        "foreign_account" => {
            "订单属于另一个商户号或 appid（设置更换过），没有向微信查询，也没有关闭。换回旧设置后会继续查询；已付的请在旧商户平台核对。"
        }
        "refunded_elsewhere" => {
            "微信说这笔付款已转入退款，不是经我方退的。请在商户平台核对退了多少；若我方已入账，余额需要相应处理。"
        }
        _ => "收到签名正确但与订单不符的消息。没有入账。请在商户平台核对。",
    }
}

fn as_json(item: &WorkItem) -> serde_json::Value {
    json!({
        "id": item.id,
        "kind": item.kind,
        "out_trade_no": item.out_trade_no,
        "transaction_id": item.transaction_id,
        "opened_at_ms": item.opened_at,
        "closed_at_ms": item.closed_at,
        "closed_by": item.closed_by,
        "note": item.note,
    })
}
