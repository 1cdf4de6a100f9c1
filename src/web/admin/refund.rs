//! Asking for a refund in two steps: what and why, then once more with the amount typed again. Works without scripts.

use super::{
    frame,
    refunds::{as_json, did},
};
use crate::{
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        money::{AmountError, Fen, yuan_text},
    },
    flow::request_refund::{self, LONGEST_REASON, Payment, RefundError, Wish},
    store::{Db, StoreError, ledger, orders, settlement, users, work_items},
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
use std::sync::Arc;
use url::form_urlencoded::Serializer;

/// The short list; the last one says nothing without words of its own.
const WHYS: [&str; 4] = ["重复付款", "用户申请", "充错账号", OTHER];
const OTHER: &str = "其他";

#[derive(Template)]
#[template(path = "admin/refund.html")]
struct RefundPage {
    layout: Layout,
    facts: Facts,
    asked: Asked,
    whys: Vec<Why>,
    /// Why there is nothing to ask for.
    blocked: Option<String>,
    confirm: Option<Confirm>,
    faults: Faults,
}

struct Why {
    text: &'static str,
    chosen: bool,
}

/// The second step.
struct Confirm {
    amount: String,
    reason: String,
    back: String,
    /// The limit above which a second administrator has to agree, if this goes above.
    second_admin_above: Option<String>,
    has_second_admin: bool,
}

/// Sentences beside the fields.
#[derive(Default)]
struct Faults {
    amount: Option<String>,
    reason: Option<String>,
    typed: Option<String>,
}

/// The first step, as the address carries it to the second.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    amount: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    intent: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RefundForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    intent: String,
    #[serde(default)]
    amount: String,
    #[serde(default)]
    typed: String,
    #[serde(default)]
    reason: String,
}

/// A payment of which something may go back.
struct Facts {
    payment: Payment,
    /// The page it is shown on, and this form's own address.
    home: String,
    action: String,
    out_trade_no: String,
    transaction_id: String,
    /// Whose balance it was credited to.
    owner: Option<String>,
    total: Fen,
    left: Fen,
    reserved: Fen,
    balance: Option<i64>,
    paid: bool,
    open: bool,
}

/// GET /admin/orders/{out_trade_no}/refund: the first step, or the second once an amount is named.
///
/// # Errors
/// 404; 422 with the sentence beside the field; the books.
pub async fn of_order(
    web: Data<Arc<Web>>,
    admin: Admin,
    number: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, WebError> {
    ask(&web, &admin, order(&number)?, asked.into_inner()).await
}

/// GET /admin/work-items/{id}/refund, likewise.
///
/// # Errors
/// As `of_order`.
pub async fn of_work_item(
    web: Data<Arc<Web>>,
    admin: Admin,
    id: Path<i64>,
    asked: Query<Asked>,
) -> Result<HttpResponse, WebError> {
    ask(&web, &admin, Payment::OfWorkItem(id.into_inner()), asked.into_inner()).await
}

/// POST /admin/orders/{out_trade_no}/refund
///
/// # Errors
/// 404; 422 beside the field; 409 for what cannot be now; the books.
pub async fn submit_of_order(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    number: Path<String>,
    form: Form<RefundForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    submit(&web, &admin, order(&number)?, form.into_inner()).await
}

/// POST /admin/work-items/{id}/refund
///
/// # Errors
/// As `submit_of_order`.
pub async fn submit_of_work_item(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    id: Path<i64>,
    form: Form<RefundForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    submit(&web, &admin, Payment::OfWorkItem(id.into_inner()), form.into_inner()).await
}

fn order(number: &str) -> Result<Payment, WebError> {
    OutTradeNo::parse(number).map(Payment::OfOrder).ok_or(WebError::NotFound)
}

async fn ask(web: &Web, admin: &Admin, payment: Payment, asked: Asked) -> Result<HttpResponse, WebError> {
    let facts = facts(web, payment).await?;
    if asked.amount.is_empty() && asked.intent.is_empty() {
        let fresh = Asked {
            amount: facts.offered().yuan(),
            why: WHYS.first().copied().unwrap_or_default().to_owned(),
            intent: web.app.clock.nonce()?,
            note: String::new(),
        };
        return show(web, admin, facts, fresh, None, Faults::default()).await;
    }
    let (amount, reason) = (facts.amount(&asked.amount), asked.reason());
    match (amount, reason) {
        (Ok(amount), Ok(reason)) => {
            let confirm = confirm(web, admin, &facts, &asked, amount, reason).await?;
            show(web, admin, facts, asked, Some(confirm), Faults::default()).await
        }
        (amount, reason) => {
            let faults = Faults { amount: amount.err(), reason: reason.err(), typed: None };
            show(web, admin, facts, asked, None, faults).await
        }
    }
}

async fn submit(
    web: &Web,
    admin: &Admin,
    payment: Payment,
    form: RefundForm,
) -> Result<HttpResponse, WebError> {
    let facts = facts(web, payment).await?;
    let asked = Asked {
        amount: form.amount.chars().take(32).collect(),
        why: OTHER.to_owned(),
        note: form.reason.clone(),
        intent: form.intent.clone(),
    };
    let amount = match read(&form.amount) {
        Ok(amount) => amount,
        Err(sentence) => return amend(web, admin, facts, asked, |f| &mut f.amount, sentence).await,
    };
    if read(&form.typed) != Ok(amount) {
        let sentence = format!("与上面的金额不同，没有退款。请输入 {} 再确认。", amount.yuan());
        if admin.json {
            return Err(WebError::Unprocessable(sentence));
        }
        let confirm = confirm(web, admin, &facts, &asked, amount, form.reason).await?;
        let faults = Faults { typed: Some(sentence), ..Faults::default() };
        return show(web, admin, facts, asked, Some(confirm), faults).await;
    }
    let wish = Wish { payment: facts.payment.clone(), amount, reason: form.reason, intent: form.intent };
    match request_refund::request(&web.app, &admin.user, wish).await {
        Ok(refund) if admin.json => Ok(HttpResponse::Created().json(as_json(&refund))),
        Ok(refund) => Ok(see_other(&did(&facts.home, &refund), None)),
        Err(error) => {
            let field: fn(&mut Faults) -> &mut Option<String> = match &error {
                RefundError::NoAmount | RefundError::TooMuch(_) => |faults| &mut faults.amount,
                RefundError::BadReason => |faults| &mut faults.reason,
                _ => return Err(error.into()),
            };
            match WebError::from(error) {
                WebError::Unprocessable(sentence) => amend(web, admin, facts, asked, field, sentence).await,
                other => Err(other),
            }
        }
    }
}

/// The first step again, with a sentence beside one field.
async fn amend(
    web: &Web,
    admin: &Admin,
    facts: Facts,
    asked: Asked,
    field: fn(&mut Faults) -> &mut Option<String>,
    sentence: String,
) -> Result<HttpResponse, WebError> {
    if admin.json {
        return Err(WebError::Unprocessable(sentence));
    }
    let mut faults = Faults::default();
    *field(&mut faults) = Some(sentence);
    show(web, admin, facts, asked, None, faults).await
}

async fn show(
    web: &Web,
    admin: &Admin,
    facts: Facts,
    asked: Asked,
    confirm: Option<Confirm>,
    faults: Faults,
) -> Result<HttpResponse, WebError> {
    let wrong = faults.amount.is_some() || faults.reason.is_some() || faults.typed.is_some();
    let template = RefundPage {
        layout: frame(web, admin).await?,
        whys: WHYS.map(|text| Why { text, chosen: text == asked.why }).into(),
        blocked: facts.blocked(web.app.http.can_show_certificate()).map(str::to_owned),
        facts,
        asked,
        confirm,
        faults,
    };
    let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(page(web, admin, status, &template))
}

async fn confirm(
    web: &Web,
    admin: &Admin,
    facts: &Facts,
    asked: &Asked,
    amount: Fen,
    reason: String,
) -> Result<Confirm, WebError> {
    let limit = web.app.config.refund_second_admin_above;
    let above = facts.reserved.get().saturating_add(amount.get()) > limit.get();
    let back = Serializer::new(String::new())
        .append_pair("amount", &amount.yuan())
        .append_pair("why", &asked.why)
        .append_pair("note", &asked.note)
        .finish();
    Ok(Confirm {
        amount: amount.yuan(),
        reason,
        back: format!("{}?{back}", facts.action),
        second_admin_above: above.then(|| limit.yuan()),
        has_second_admin: request_refund::has_second_admin(&web.app, &admin.user).await?,
    })
}

async fn facts(web: &Web, payment: Payment) -> Result<Facts, WebError> {
    let found = web.app.store.read(move |db| match payment {
        Payment::OfOrder(number) => facts_of_order(db, number),
        Payment::OfWorkItem(id) => facts_of_work_item(db, id),
    });
    found.await?.ok_or(WebError::NotFound)
}

fn facts_of_order(db: &mut Db, number: OutTradeNo) -> Result<Option<Facts>, StoreError> {
    let Some(order) = orders::by_number(db, &number)? else { return Ok(None) };
    let home = format!("/admin/orders/{number}");
    Ok(Some(Facts {
        action: format!("{home}/refund"),
        home,
        out_trade_no: number.as_str().to_owned(),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        owner: users::by_id(db, order.user_id)?.map(|user| user.username),
        total: order.amount,
        left: order.refundable(),
        reserved: order.refund,
        balance: Some(ledger::balance(db, &Account::User(order.user_id))?),
        paid: order.is_paid(),
        open: true,
        payment: Payment::OfOrder(number),
    }))
}

/// `None` also for an item about no payment: there is nothing to return.
fn facts_of_work_item(db: &mut Db, id: i64) -> Result<Option<Facts>, StoreError> {
    let Some(item) = work_items::by_id(db, id)? else { return Ok(None) };
    let Some(paid) = item.payment() else { return Ok(None) };
    let home = format!("/admin/work-items/{id}");
    let left = paid.amount.get().saturating_sub(paid.reserved.get());
    let credited = settlement::is_credited(db, &paid.transaction_id)?;
    Ok(Some(Facts {
        action: format!("{home}/refund"),
        home,
        out_trade_no: paid.out_trade_no.as_str().to_owned(),
        transaction_id: paid.transaction_id.as_str().to_owned(),
        owner: None,
        total: paid.amount,
        left: Fen::new(left).unwrap_or_default(),
        reserved: paid.reserved,
        balance: None,
        paid: true,
        open: item.closed_at.is_none() && !credited,
        payment: Payment::OfWorkItem(id),
    }))
}

impl Facts {
    /// What the form begins with: all that is left, as far as the balance has it.
    fn offered(&self) -> Fen {
        let has = self.balance.map_or(self.left.get(), |fen| fen.clamp(0, self.left.get()));
        Fen::new(has).unwrap_or_default()
    }

    fn blocked(&self, certificate: bool) -> Option<&'static str> {
        match () {
            () if !self.paid => Some("这个订单没有收到过付款，没有可退的钱。如果用户说付过，请先重新查单。"),
            () if !self.open => Some("这件事已经处理过，或这笔付款已经入账，不能从这里退款。"),
            () if self.left == Fen::ZERO => Some("这笔付款已经全部退回，或正在退回。"),
            () if !certificate => {
                Some("还没有配置商户证书（WECHAT_CERT_PEM 和 WECHAT_KEY_PEM），微信不受理退款。")
            }
            () => None,
        }
    }

    fn amount(&self, typed: &str) -> Result<Fen, String> {
        let amount = read(typed)?;
        if amount > self.left {
            return Err(format!("这笔付款最多还能退 {} 元。", self.left.yuan()));
        }
        Ok(amount)
    }

    fn balance_text(&self) -> Option<String> {
        self.balance.map(yuan_text)
    }
}

/// Yuan as typed, above zero.
fn read(typed: &str) -> Result<Fen, String> {
    match Fen::parse_yuan(typed) {
        Ok(Fen::ZERO) => Err("退款金额至少 0.01 元。".to_owned()),
        Ok(amount) => Ok(amount),
        Err(AmountError::TooFine) => Err("金额最多两位小数。".to_owned()),
        Err(AmountError::TooLarge) => Err("金额太大了。".to_owned()),
        Err(AmountError::NotDecimal) => Err("请输入数字金额，例如 50 或 9.90。".to_owned()),
    }
}

impl Asked {
    /// One text of what was chosen and written.
    fn reason(&self) -> Result<String, String> {
        let note = self.note.trim();
        let reason = match (self.why.as_str(), note) {
            (OTHER, "") => return Err("请写明原因，用户会看到。".to_owned()),
            (OTHER, note) => note.to_owned(),
            (why, _) if !WHYS.contains(&why) => return Err("请选择一个原因。".to_owned()),
            (why, "") => why.to_owned(),
            (why, note) => format!("{why}：{note}"),
        };
        let length = reason.chars().count();
        if length > LONGEST_REASON || reason.chars().any(char::is_control) {
            return Err(format!("原因和说明合计最多 {LONGEST_REASON} 个字，现在是 {length} 个。"));
        }
        Ok(reason)
    }
}
