//! One matter somebody must look at: the evidence, and everything that can be done about it.

use super::{
    frame,
    refunds::{self, RefundRow, flash_zh},
    storable, verdict_zh,
    work_items::{advice, as_json},
};
use crate::{
    domain::{
        time::UnixMs,
        user::{BY_THE_BOOKS, Right},
    },
    flow::{
        credit_by_hand::{self, ToWhom, Wish},
        timeline::masked_body,
        work,
    },
    store::{
        Db, StoreError, attempts,
        audit_log::{self, Done},
        notices, refunds as refunds_table, settlement,
        work_items::{self, Closed, WorkItem},
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        rights::{May, Money, Work},
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
use std::sync::Arc;

const LONGEST_NOTE: usize = 200;

#[derive(Template)]
#[template(path = "admin/work_item.html")]
struct WorkItemPage {
    layout: Layout,
    id: i64,
    kind: String,
    kind_zh: &'static str,
    advice: &'static str,
    at: String,
    closed: Option<String>,
    flash: Option<&'static str>,
    out_trade_no: String,
    order_url: Option<String>,
    /// What the order was for, beside what was paid.
    ours: Option<String>,
    theirs: Option<String>,
    transaction_id: String,
    out_refund_no: String,
    notice_id: Option<String>,
    raw: Option<String>,
    refunds: Vec<RefundRow>,
    can_refund: bool,
    can_credit: bool,
    /// The administrator says whom to credit.
    names_user: bool,
    acts: Vec<Act>,
}

struct Act {
    at: String,
    what: &'static str,
    detail: String,
}

/// What an act has come to, carried over the redirect.
#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    refund: String,
    #[serde(default)]
    did: String,
}

#[derive(Deserialize)]
pub struct NoteForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
pub struct CreditForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    reason: String,
}

/// Everything the page shows, read at one moment.
struct Evidence {
    item: WorkItem,
    ours: Option<String>,
    known_order: bool,
    raw: Option<String>,
    refunds: Vec<crate::domain::refund::Refund>,
    credited: bool,
    acts: Vec<Done>,
}

/// GET /admin/work-items/{id}
///
/// # Errors
/// 404; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: Admin,
    id: Path<i64>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let id = id.into_inner();
    let evidence = web.app.store.read(move |db| gather(db, id)).await?.ok_or(WebError::NotFound)?;
    if admin.json {
        return Ok(HttpResponse::Ok().json(as_json(&evidence.item)));
    }
    let layout = frame(&web, &admin).await?;
    let Evidence { item, ours, known_order, raw, refunds, credited, acts } = evidence;
    let payment = item.payment();
    let free = item.closed_at.is_none() && !credited;
    let reserved = payment.as_ref().is_some_and(|paid| paid.reserved.get() > 0);
    let to_whom = credit_by_hand::to_whom(&item).filter(|_| free && !reserved);
    let template = WorkItemPage {
        layout,
        id,
        kind_zh: verdict_zh(&item.kind).0,
        advice: advice(&item.kind),
        at: UnixMs(item.opened_at).beijing_text(),
        flash: flash_zh(&flash.refund).or_else(|| did_zh(&flash.did)),
        order_url: known_order.then(|| format!("/admin/orders/{}", item.out_trade_no)),
        ours,
        // What is left of a payment that was refunded elsewhere, only the platform knows.
        can_refund: free
            && item.kind != settlement::REFUNDED_ELSEWHERE
            && payment.as_ref().is_some_and(|paid| paid.amount > paid.reserved),
        theirs: payment.map(|paid| paid.amount.yuan()),
        notice_id: raw.is_some().then(|| item.notice_id.clone()),
        raw,
        refunds: refunds::rows(&web, &admin, &refunds).await?,
        can_credit: to_whom.is_some(),
        names_user: to_whom == Some(ToWhom::Named),
        acts: acts.into_iter().map(act).collect(),
        closed: closed_zh(&item),
        kind: item.kind,
        out_trade_no: item.out_trade_no,
        transaction_id: item.transaction_id,
        out_refund_no: item.out_refund_no,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn gather(db: &mut Db, id: i64) -> Result<Option<Evidence>, StoreError> {
    let Some(item) = work_items::by_id(db, id)? else { return Ok(None) };
    let order = match crate::domain::ids::OutTradeNo::parse(&item.out_trade_no) {
        Some(number) => attempts::with_order(db, &number)?.map(|(_, order)| order),
        None => None,
    };
    let credited = match item.payment() {
        Some(payment) => settlement::is_credited(db, &payment.transaction_id)?,
        None => false,
    };
    let mut refunds = refunds_table::of_work_item(db, id)?;
    if let Some(number) = crate::domain::ids::OutRefundNo::parse(&item.out_refund_no) {
        refunds.extend(refunds_table::by_number(db, &number)?.filter(|about| about.work_item_id != Some(id)));
    }
    Ok(Some(Evidence {
        ours: order.as_ref().map(|order| order.amount.yuan()),
        known_order: order.is_some(),
        raw: notices::by_id(db, &item.notice_id)?.map(|notice| masked_body(&notice.body)),
        refunds,
        credited,
        acts: audit_log::of_targets(db, &[&id.to_string()], &work::ACTS)?,
        item,
    }))
}

/// POST /admin/work-items/{id}/note: a note, and the item stays open.
///
/// # Errors
/// 404; 422 without a note; the books.
pub async fn note(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Work>,
    id: Path<i64>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let note = written(&form.note, "请写点什么，没有任何改动。")?;
    let id = id.into_inner();
    if work::note(&web.app, &admin.user, id, note).await? {
        Ok(see_other(&format!("/admin/work-items/{id}?did=noted"), None))
    } else {
        Err(WebError::NotFound)
    }
}

/// POST /admin/work-items/{id}/close
///
/// # Errors
/// 422 without a note; 403 when its payment waits for who may move money; 409 when somebody closed it before; the books.
pub async fn close(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Work>,
    id: Path<i64>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let note = written(&form.note, "请写明怎么处理的。")?;
    match work::close(&web.app, &admin.user, id.into_inner(), note).await? {
        Closed::Done => Ok(see_other("/admin/work-items", None)),
        Closed::MoneyDecides => Err(WebError::MissingRight(Right::Money)),
        Closed::Before => Err(WebError::Conflict("这件事已经处理过，或不存在。没有任何改动。")),
        Closed::Refunding => Err(WebError::Conflict(
            "这笔付款正在退款，现在不能标记已处理。没有任何改动；退款成功后会自动处理，没有退成仍在这里。",
        )),
    }
}

/// POST /admin/work-items/{id}/credit: asks the gateway about the payment, then credits it.
///
/// # Errors
/// 404; 422 without a reason or for an unknown user; 409 for what cannot be now; the books.
pub async fn credit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    id: Path<i64>,
    form: Form<CreditForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let id = id.into_inner();
    let wish = Wish {
        work_item_id: id,
        username: form.username.trim().to_owned(),
        reason: storable(form.reason.trim(), LONGEST_NOTE),
    };
    credit_by_hand::credit(&web.app, &admin.user, wish).await?;
    Ok(see_other(&format!("/admin/work-items/{id}?did=credited"), None))
}

/// A note that says something.
///
/// # Errors
/// 422 with this sentence.
pub fn written(text: &str, missing: &str) -> Result<String, WebError> {
    let text = storable(text.trim(), LONGEST_NOTE);
    if text.is_empty() { Err(WebError::Unprocessable(missing.to_owned())) } else { Ok(text) }
}

/// Who closed it, when and how.
pub fn closed_zh(item: &WorkItem) -> Option<String> {
    let at = UnixMs(item.closed_at?).beijing_text();
    let by = who_zh(item.closed_by.as_deref().unwrap_or_default());
    Some(format!("{by} 于 {at} 处理：{}", item.note.as_deref().unwrap_or_default()))
}

fn who_zh(name: &str) -> &str {
    if name == BY_THE_BOOKS { "系统" } else { name }
}

fn act(done: Done) -> Act {
    let what = match done.action.as_str() {
        "work_item_noted" => "备注",
        "payment_credited" => "人工入账",
        "work_item_reopened" => "重新打开",
        _ => "关闭",
    };
    Act {
        at: UnixMs(done.at).beijing_text(),
        what,
        detail: format!("{}：{}", who_zh(&done.actor), done.detail),
    }
}

fn did_zh(word: &str) -> Option<&'static str> {
    match word {
        "noted" => Some("备注已记下，这件事仍然待处理。"),
        "credited" => Some("支付平台已确认这笔付款，已入账，这件事已关闭。"),
        _ => None,
    }
}
