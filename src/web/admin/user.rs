//! One user: balance with every entry behind it, phones, orders, and the two things that can be done: freeze, adjust.

use super::{
    adjustment::{AdjustmentRow, rows as adjustment_rows},
    frame,
    ledger::{PostedRow, rows as posted_rows},
    orders::{AdminRow, rows as order_rows},
    work_item::written,
};
use crate::{
    domain::{
        ids::masked,
        ledger::Account,
        money::{Fen, yuan_text},
        time::UnixMs,
        user::User,
    },
    flow::{
        adjust::{self, Wish},
        freeze,
    },
    store::{
        Db, StoreError,
        adjustments::{self, Adjustment, AdjustmentState},
        freezes::{self, Freeze},
        ledger::{self, Posted},
        openids,
        order_lists::{self, Filter},
        refunds, users,
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, OrderState, page},
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
use serde_json::json;
use std::sync::Arc;

/// Entries on a page of the user's ledger.
const ENTRIES: i64 = 30;
/// The newest orders and adjustments that are shown.
const NEWEST: i64 = 10;

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage {
    layout: Layout,
    id: i64,
    name: String,
    is_admin: bool,
    created: String,
    balance: String,
    /// Held by refunds under way.
    held: Option<String>,
    frozen: Option<FrozenRow>,
    phones: Vec<Phone>,
    rows: Vec<AdminRow>,
    orders_url: String,
    entries: Vec<PostedRow>,
    next: Option<String>,
    adjustments: Vec<AdjustmentRow>,
    intent: String,
    limit: String,
    flash: Option<&'static str>,
}

struct FrozenRow {
    at: String,
    by: String,
    reason: String,
}

struct Phone {
    appid: String,
    openid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    before: Option<i64>,
    did: String,
}

#[derive(Deserialize)]
pub struct FreezeForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
pub struct AdjustForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    intent: String,
    /// `add` or `take`.
    #[serde(default)]
    direction: String,
    #[serde(default)]
    amount: String,
    #[serde(default)]
    reason: String,
}

/// Everything about one user that the page shows.
struct Read {
    user: User,
    created_at: UnixMs,
    balance: i64,
    held: i64,
    frozen: Option<Freeze>,
    phones: Vec<(String, String)>,
    rows: Vec<AdminRow>,
    entries: Vec<Posted>,
    adjustments: Vec<Adjustment>,
}

fn read(db: &mut Db, id: i64, before: Option<i64>, now: UnixMs) -> Result<Option<Read>, StoreError> {
    let Some(listed) = users::listed(db, id)? else { return Ok(None) };
    let account = Account::User(id);
    let orders = Filter { user_id: Some(id), ..Filter::default() };
    let orders = order_lists::page(db, &orders, None, NEWEST)?.found;
    let attempts = order_lists::attempts_of(db, &orders)?;
    let entries = ledger::Filter { account: Some(account.name()), ..ledger::Filter::default() };
    Ok(Some(Read {
        user: listed.user,
        created_at: listed.created_at,
        balance: ledger::balance(db, &account)?,
        held: refunds::held(db, id)?,
        frozen: freezes::of_user(db, id)?,
        phones: openids::of_user(db, id)?,
        rows: order_rows(&orders, &attempts, now),
        entries: ledger::list(db, &entries, before, ENTRIES.saturating_add(1))?,
        adjustments: adjustments::of_user(db, id, NEWEST)?,
    }))
}

/// GET /admin/users/{id}
///
/// # Errors
/// 404; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: Admin,
    id: Path<i64>,
    query: Query<Shown>,
) -> Result<HttpResponse, WebError> {
    let (id, before, now) = (id.into_inner(), query.before, web.app.clock.now());
    let read = web.app.store.read(move |db| read(db, id, before, now)).await?;
    let mut found = read.ok_or(WebError::NotFound)?;
    let size = usize::try_from(ENTRIES).unwrap_or_default();
    let more = found.entries.len() > size;
    found.entries.truncate(size);
    let next = found.entries.last().filter(|_| more).map(|entry| entry.id);
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "id": id,
            "username": found.user.username,
            "balance_fen": found.balance,
            "held_fen": found.held,
            "frozen": found.frozen.as_ref().map(|freeze| &freeze.reason),
            "entries": found.entries.iter().map(super::ledger::as_json).collect::<Vec<_>>(),
            "before": next,
        })));
    }
    let template = UserPage {
        layout: frame(&web, &admin).await?,
        id,
        name: found.user.username,
        is_admin: found.user.role.is_admin(),
        created: found.created_at.beijing_text(),
        balance: yuan_text(found.balance),
        held: (found.held > 0).then(|| yuan_text(found.held)),
        frozen: found.frozen.map(|freeze| FrozenRow {
            at: UnixMs(freeze.at).beijing_text(),
            by: freeze.actor,
            reason: freeze.reason,
        }),
        phones: found
            .phones
            .into_iter()
            .map(|(appid, openid)| Phone { appid, openid: masked(&openid) })
            .collect(),
        rows: found.rows,
        orders_url: format!("/admin/orders?user={id}"),
        entries: posted_rows(&found.entries),
        next: next.map(|last| format!("/admin/users/{id}?before={last}")),
        adjustments: adjustment_rows(&found.adjustments, &admin),
        intent: web.app.clock.nonce()?,
        limit: web.app.config.refund_second_admin_above.yuan(),
        flash: flash_zh(&query.did),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn flash_zh(did: &str) -> Option<&'static str> {
    match did {
        "frozen" => Some("已冻结。用户不能再发起付款；在途的付款到账后仍会入账。"),
        "unfrozen" => Some("已解除冻结，用户可以照常充值。"),
        "made" => Some("余额已调整，流水和审计日志都有记录。"),
        "waiting" => Some("金额超过上限，已登记，等另一位管理员同意后才会调整余额。"),
        "rejected" => Some("已拒绝，余额没有改动。"),
        "withdrawn" => Some("已撤回，余额没有改动。"),
        _ => None,
    }
}

/// POST /admin/users/{id}/freeze
///
/// # Errors
/// 404; 422 without a reason; 409 when the user is frozen; the books.
pub async fn freeze(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Work>,
    id: Path<i64>,
    form: Form<FreezeForm>,
) -> Result<HttpResponse, WebError> {
    set_frozen(&web, &request, &admin, id.into_inner(), &form, true).await
}

/// POST /admin/users/{id}/unfreeze
///
/// # Errors
/// 404; 422 without a reason; 409 when the user is not frozen; the books.
pub async fn unfreeze(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Work>,
    id: Path<i64>,
    form: Form<FreezeForm>,
) -> Result<HttpResponse, WebError> {
    set_frozen(&web, &request, &admin, id.into_inner(), &form, false).await
}

async fn set_frozen(
    web: &Web,
    request: &HttpRequest,
    admin: &Admin,
    id: i64,
    form: &FreezeForm,
    frozen: bool,
) -> Result<HttpResponse, WebError> {
    csrf::check(request, &web.app, admin, &form.token)?;
    let reason = written(&form.reason, "请写明原因，没有任何改动。")?;
    freeze::set(&web.app, &admin.user, id, frozen, &reason).await?;
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({ "id": id, "frozen": frozen })));
    }
    let did = if frozen { "frozen" } else { "unfrozen" };
    Ok(see_other(&format!("/admin/users/{id}?did={did}"), None))
}

/// POST /admin/users/{id}/adjust
///
/// # Errors
/// 404; 422 for an amount or reason that a person can mend; 409; the books.
pub async fn adjust(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    id: Path<i64>,
    form: Form<AdjustForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let reason = written(&form.reason, "请写明为什么调整，没有任何改动。")?;
    let amount = Fen::parse_yuan(form.amount.trim()).map_err(|_| {
        WebError::Unprocessable("金额应写作 50 或 9.90，不带正负号。没有任何改动。".to_owned())
    })?;
    let fen = match form.direction.as_str() {
        "add" => amount.get(),
        "take" => amount.get().saturating_neg(),
        _ => return Err(WebError::Unprocessable("请选择增加还是减少，没有任何改动。".to_owned())),
    };
    let wish = Wish { user_id: id.into_inner(), fen, reason, intent: form.intent.clone() };
    let done = adjust::request(&web.app, &admin.user, wish).await?;
    Ok(adjusted(&admin, &done))
}

/// Back to the user, with what came of it.
pub fn adjusted(admin: &Admin, done: &Adjustment) -> HttpResponse {
    if admin.json {
        let status = if done.state == AdjustmentState::Made { StatusCode::OK } else { StatusCode::ACCEPTED };
        return HttpResponse::build(status)
            .json(json!({ "id": done.id, "state": done.state.as_str(), "amount_fen": done.fen }));
    }
    see_other(&format!("/admin/users/{}?did={}", done.user_id, done.state.as_str()), None)
}
