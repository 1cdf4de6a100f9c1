//! Refunds: the list, and what an administrator may do with one of them.

use super::{frame, work_item::written};
use crate::{
    domain::{
        ids::OutRefundNo,
        refund::{Refund, RefundState},
        time::UnixMs,
        user::{Right, User},
    },
    flow::decide_refund,
    store::{
        audit_log::{self, Done},
        refund_settlement::ACCEPTED,
        refunds,
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        log_in::TokenForm,
        rights::{May, Money},
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
use serde_json::{Value, json};
use std::sync::Arc;

const PAGE: i64 = 50;
/// More unfinished refunds than this are not shown at once.
const MOST_OPEN: i64 = 200;

#[derive(Template)]
#[template(path = "admin/refunds.html")]
struct RefundsPage {
    layout: Layout,
    /// The first page alone begins with those that have not ended.
    first_page: bool,
    open: Vec<RefundRow>,
    ended: Vec<RefundRow>,
    next: Option<String>,
}

/// One refund on a page, with what this administrator may do.
pub struct RefundRow {
    pub number: String,
    pub out_trade_no: String,
    /// The order or work item it belongs to, unless it is shown there.
    pub home: Option<String>,
    pub amount: String,
    pub state: &'static str,
    pub tone: &'static str,
    pub reason: String,
    pub asked: String,
    /// Who decided what about it, with their note.
    pub decided: Vec<String>,
    pub refund_id: Option<String>,
    pub answer: String,
    pub next: Option<String>,
    pub finished: Option<String>,
    pub is_waiting: bool,
    /// The one who asked does not decide.
    pub may_decide: bool,
    pub may_query: bool,
    pub may_give_up: bool,
    /// Begin of the addresses of its buttons.
    pub action: String,
}

/// Paging: those that ended, older than this one.
#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

#[derive(Deserialize)]
pub struct NoteForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    note: String,
}

/// GET /admin/refunds
///
/// # Errors
/// The books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Before>) -> Result<HttpResponse, WebError> {
    let before = query.before;
    let (open, mut ended) = web
        .app
        .store
        .read(move |db| {
            let open = if before.is_none() { refunds::open(db, MOST_OPEN)? } else { Vec::new() };
            Ok((open, refunds::ended(db, before, PAGE.saturating_add(1))?))
        })
        .await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = ended.len() > size;
    ended.truncate(size);
    let next = ended.last().filter(|_| more).map(|refund| refund.id);
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "open": open.iter().map(as_json).collect::<Vec<_>>(),
            "ended": ended.iter().map(as_json).collect::<Vec<_>>(),
            "before": next,
        })));
    }
    let with_home = |(row, refund): (RefundRow, &Refund)| RefundRow { home: Some(home(refund)), ..row };
    let template = RefundsPage {
        layout: frame(&web, &admin).await?,
        first_page: before.is_none(),
        open: rows(&web, &admin, &open).await?.into_iter().zip(&open).map(with_home).collect(),
        ended: rows(&web, &admin, &ended).await?.into_iter().zip(&ended).map(with_home).collect(),
        next: next.map(|id| format!("/admin/refunds?before={id}")),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// POST /admin/refunds/{out_refund_no}/approve: a second administrator agrees.
///
/// # Errors
/// 404; 422 without a note; 409 for whoever asked for it, or when it was decided before; the books.
pub async fn approve(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    number: Path<String>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let refund = find(&web, &number).await?;
    let note = written(&form.note, "请写明为什么同意，没有任何改动。")?;
    let decided = decide_refund::decide(&web.app, &admin.user, &refund.out_refund_no, true, note).await?;
    Ok(back(&admin, &decided))
}

/// POST /admin/refunds/{out_refund_no}/reject: the second administrator says no, or who asked for it takes it back.
///
/// # Errors
/// As `approve`, but whoever asked for it may.
pub async fn reject(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    number: Path<String>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let refund = find(&web, &number).await?;
    let note = written(&form.note, "请写明为什么拒绝或撤回，没有任何改动。")?;
    let decided = decide_refund::decide(&web.app, &admin.user, &refund.out_refund_no, false, note).await?;
    Ok(back(&admin, &decided))
}

/// POST /admin/refunds/{out_refund_no}/give-up: ends one that the gateway will not make.
///
/// # Errors
/// 404; 422 without a note; 409 while the gateway may make it; the books.
pub async fn give_up(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    number: Path<String>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let refund = find(&web, &number).await?;
    let note = written(&form.note, "请写明为什么放弃，没有任何改动。")?;
    let ended = decide_refund::give_up(&web.app, &admin.user, &refund, note).await?;
    Ok(back(&admin, &ended))
}

/// POST /admin/refunds/{out_refund_no}/query: asks the gateway now.
///
/// # Errors
/// 404; 409 when there is nothing to ask; the books.
pub async fn query(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    number: Path<String>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let refund = find(&web, &number).await?;
    if !may_query(&refund) {
        return Err(WebError::Conflict("这笔退款现在不需要查询。没有任何改动。"));
    }
    let after = decide_refund::look_now(&web.app, &admin.user, &refund).await?;
    Ok(back(&admin, &after))
}

async fn find(web: &Web, number: &str) -> Result<Refund, WebError> {
    let number = OutRefundNo::parse(number).ok_or(WebError::NotFound)?;
    let found = web.app.store.read(move |db| refunds::by_number(db, &number)).await?;
    found.ok_or(WebError::NotFound)
}

/// To where the refund is shown.
fn back(admin: &Admin, refund: &Refund) -> HttpResponse {
    if admin.json {
        HttpResponse::Ok().json(as_json(refund))
    } else {
        see_other(&did(&home(refund), refund), None)
    }
}

/// The page a refund is shown on.
pub fn home(refund: &Refund) -> String {
    match refund.work_item_id {
        Some(id) => format!("/admin/work-items/{id}"),
        None => format!("/admin/orders/{}", refund.out_trade_no),
    }
}

/// The page with the refund's state as its message.
pub fn did(home: &str, refund: &Refund) -> String {
    let word = match refund {
        refund if refund.is_withdrawn() => WITHDRAWN,
        refund if refund.is_given_up() => GIVEN_UP,
        refund => refund.state.as_str(),
    };
    format!("{home}?refund={word}")
}

const WITHDRAWN: &str = "withdrawn";
const GIVEN_UP: &str = "given_up";

/// What the act has come to, from the word that `did` put into the address.
pub fn flash_zh(word: &str) -> Option<&'static str> {
    match word {
        WITHDRAWN => return Some("已撤回这笔退款，冻结的金额已恢复。"),
        GIVEN_UP => return Some("已放弃这笔退款，冻结的金额已恢复。"),
        _ => {}
    }
    Some(match RefundState::parse(word)? {
        RefundState::Waiting => "退款已登记，金额已冻结，等待另一位管理员同意。",
        RefundState::Asking => {
            "退款已登记，金额已冻结。支付平台还没有受理，系统会用同一个单号继续申请和查询。"
        }
        RefundState::Processing => "支付平台已受理退款，结果以支付平台的答复为准，通常几分钟到三个工作日。",
        RefundState::Success => "支付平台：已退款。",
        RefundState::Abnormal => "支付平台：退款异常，用户的账户收不了。请到商户平台处理这一笔。",
        RefundState::Closed => "支付平台：退款已关闭，钱没有退，冻结的金额已恢复。",
        RefundState::Failed => "支付平台没有受理，也没有这笔退款。冻结的金额已恢复。",
        RefundState::Rejected => "已拒绝这笔退款，冻结的金额已恢复。",
    })
}

/// Word and tone of a state's chip.
pub fn state_zh(state: RefundState) -> (&'static str, &'static str) {
    match state {
        RefundState::Waiting => ("待另一位管理员同意", "warn"),
        RefundState::Asking => ("待支付平台受理", "info"),
        RefundState::Processing => ("支付平台处理中", "info"),
        RefundState::Success => ("已退款", "ok"),
        RefundState::Abnormal => ("退款异常", "bad"),
        RefundState::Closed => ("支付平台已关闭，未退", "mute"),
        RefundState::Failed => ("未成功", "mute"),
        RefundState::Rejected => ("已拒绝", "mute"),
    }
}

/// What the gateway said, as far as people need it in words.
fn answer_zh(word: Option<&str>) -> String {
    match word {
        None => "还没有问过支付平台".to_owned(),
        Some(ACCEPTED) => "已受理".to_owned(),
        Some("PACED") => "距上一次申请不到一分钟，稍后发出".to_owned(),
        Some("NOTENOUGH") => "商户账户余额不足，充值后系统会用同一单号再申请".to_owned(),
        Some("REFUNDNOTEXIST") => "支付平台暂时查不到，稍后再查".to_owned(),
        Some(word) => match RefundState::parse(word) {
            Some(state) => state_zh(state).0.to_owned(),
            None => word.to_owned(),
        },
    }
}

/// Also one that came to nothing after it was sent: the gateway may know better.
fn may_query(refund: &Refund) -> bool {
    match refund.state {
        RefundState::Asking | RefundState::Processing | RefundState::Abnormal => true,
        RefundState::Closed | RefundState::Failed => refund.asked > 0,
        RefundState::Waiting | RefundState::Success | RefundState::Rejected => false,
    }
}

/// As they are shown on the page they belong to.
///
/// # Errors
/// The books.
pub async fn rows(web: &Web, admin: &Admin, refunds: &[Refund]) -> Result<Vec<RefundRow>, WebError> {
    let numbers: Vec<String> =
        refunds.iter().map(|refund| refund.out_refund_no.as_str().to_owned()).collect();
    let acts = web.app.store.read(move |db| {
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        audit_log::of_targets(db, &numbers, &decide_refund::ACTS)
    });
    let (acts, now) = (acts.await?, web.app.clock.now());
    let row = |refund| row(refund, &acts, &admin.user, now);
    Ok(refunds.iter().map(row).collect())
}

fn decided_zh(done: &Done) -> String {
    let what = match done.action.as_str() {
        "refund_approved" => "同意",
        "refund_rejected" => "拒绝",
        "refund_withdrawn" => "撤回",
        _ => "放弃",
    };
    format!("{} {what}：{}", done.actor, done.detail)
}

fn row(refund: &Refund, acts: &[Done], admin: &User, now: UnixMs) -> RefundRow {
    let (state, tone) = match refund {
        refund if refund.is_withdrawn() => ("已撤回", "mute"),
        refund if refund.is_given_up() => ("已放弃", "mute"),
        refund => state_zh(refund.state),
    };
    // Buttons only for whom they would do something.
    let may = admin.role.may(Right::Money);
    let is_own = refund.requested_by == admin.username;
    let is_waiting = refund.state == RefundState::Waiting;
    RefundRow {
        number: refund.out_refund_no.as_str().to_owned(),
        out_trade_no: refund.out_trade_no.as_str().to_owned(),
        home: None,
        amount: refund.amount.yuan(),
        state,
        tone,
        reason: refund.reason.clone(),
        asked: format!("{} 于 {}", refund.requested_by, refund.requested_at.beijing_text()),
        decided: acts
            .iter()
            .filter(|done| done.target == refund.out_refund_no.as_str())
            .map(decided_zh)
            .collect(),
        refund_id: refund.refund_id.clone(),
        answer: answer_zh(refund.last_answer.as_deref()),
        next: refund.next_at.map(UnixMs::beijing_text),
        finished: refund.finished_at.map(UnixMs::beijing_text),
        is_waiting: may && is_waiting,
        may_decide: may && is_waiting && !is_own,
        may_query: may && may_query(refund),
        may_give_up: may && refund.state == RefundState::Asking && refund.is_quiet(now),
        action: format!("/admin/refunds/{}", refund.out_refund_no),
    }
}

/// A refund for administrators' programs.
pub fn as_json(refund: &Refund) -> Value {
    json!({
        "out_refund_no": refund.out_refund_no.as_str(),
        "refund_id": refund.refund_id,
        "out_trade_no": refund.out_trade_no.as_str(),
        "transaction_id": refund.transaction_id.as_str(),
        "work_item_id": refund.work_item_id,
        "amount_fen": refund.amount.get(),
        "total_fen": refund.total.get(),
        "reason": refund.reason,
        "state": refund.state.as_str(),
        "requested_by": refund.requested_by,
        "decided_by": refund.decided_by,
        "last_answer": refund.last_answer,
        "requested_at_ms": refund.requested_at.0,
        "next_at_ms": refund.next_at.map(|at| at.0),
        "finished_at_ms": refund.finished_at.map(|at| at.0),
    })
}
