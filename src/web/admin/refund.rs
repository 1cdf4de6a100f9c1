//! Asking for a refund in two steps: what and why, then once more with the amount typed again. Works without scripts.

use super::{
    frame,
    refunds::{as_json, did},
};
use crate::{
    domain::{
        ids::OutTradeNo,
        money::{AmountError, Fen, yuan_text},
    },
    flow::{
        decide_refund,
        refund_standing::Standing,
        request_refund::{self, BadReason, Payment, Reason, RefundError, Wish},
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
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
use std::sync::Arc;
use url::form_urlencoded::Serializer;

/// The short list; the last one says nothing without words of its own.
const WHYS: [&str; 4] = ["重复付款", "用户申请", "充错账号", OTHER];
const OTHER: &str = "其他";

#[derive(Template)]
#[template(path = "admin/refund.html")]
struct RefundPage {
    layout: Layout,
    /// The page the payment is shown on, and this form's own address.
    home: String,
    action: String,
    /// Or why there is nothing to ask for.
    standing: Result<Shown, String>,
    asked: Asked,
    whys: Vec<Why>,
    confirm: Option<Confirm>,
    faults: Faults,
}

/// How the payment stands, in words.
struct Shown {
    out_trade_no: String,
    transaction_id: String,
    /// Whose balance it was credited to.
    owner: Option<String>,
    balance: Option<String>,
    total: String,
    left: String,
    reserved: String,
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
    /// Back from the second step: the fields as they were.
    #[serde(default)]
    edit: String,
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

/// GET /admin/orders/{out_trade_no}/refund: the first step, or the second once an amount is named.
///
/// # Errors
/// 404; 422 with the sentence beside the field; the books.
pub async fn of_order(
    web: Data<Arc<Web>>,
    admin: May<Money>,
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
    admin: May<Money>,
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
    admin: May<Money>,
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
    admin: May<Money>,
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
    let standing = match request_refund::standing(&web.app, &payment).await {
        Ok(standing) => standing,
        Err(error) => return blocked(web, admin, &payment, error).await,
    };
    let form = PaymentForm { web, admin, payment: &payment, standing: &standing };
    if asked.amount.is_empty() && asked.intent.is_empty() {
        let fresh = Asked {
            amount: offered(&standing).yuan(),
            why: WHYS.first().copied().unwrap_or_default().to_owned(),
            intent: web.app.clock.nonce()?,
            ..Asked::default()
        };
        return form.show(fresh, None, Faults::default()).await;
    }
    if !asked.edit.is_empty() {
        let again = Asked { intent: web.app.clock.nonce()?, ..asked };
        return form.show(again, None, Faults::default()).await;
    }
    let amount = read(&asked.amount).and_then(|amount| match standing.allows(amount) {
        Ok(()) => Ok(amount),
        Err(refused) => Err(WebError::from(refused).sentence()),
    });
    match (amount, asked.reason()) {
        (Ok(amount), Ok(reason)) => {
            let confirm = form.confirm(&asked, amount, reason.as_str().to_owned()).await?;
            form.show(asked, Some(confirm), Faults::default()).await
        }
        (amount, reason) => {
            let faults = Faults { amount: amount.err(), reason: reason.err(), typed: None };
            form.show(asked, None, faults).await
        }
    }
}

async fn submit(
    web: &Web,
    admin: &Admin,
    payment: Payment,
    form: RefundForm,
) -> Result<HttpResponse, WebError> {
    let asked = Asked {
        amount: form.amount.chars().take(32).collect(),
        why: OTHER.to_owned(),
        note: form.reason.clone(),
        intent: form.intent.clone(),
        edit: String::new(),
    };
    let amount = match read(&form.amount) {
        Ok(amount) => amount,
        Err(sentence) => {
            let faults = Faults { amount: Some(sentence), ..Faults::default() };
            return amend(web, admin, &payment, asked, faults).await;
        }
    };
    if read(&form.typed) != Ok(amount) {
        let sentence = format!("与上面的金额不同，没有退款。请输入 {} 再确认。", amount.yuan());
        let faults = Faults { typed: Some(sentence), ..Faults::default() };
        return amend(web, admin, &payment, asked, faults).await;
    }
    let wish = Wish { payment: payment.clone(), amount, reason: form.reason, intent: form.intent };
    let error = match request_refund::request(&web.app, &admin.user, wish).await {
        Ok(refund) if admin.json => return Ok(HttpResponse::Created().json(as_json(&refund))),
        Ok(refund) => return Ok(see_other(&did(&home(&payment), &refund), None)),
        Err(error) => error,
    };
    let of_reason = matches!(error, RefundError::BadReason(_));
    match WebError::from(error) {
        WebError::Unprocessable(sentence) => {
            let mut faults = Faults::default();
            *(if of_reason { &mut faults.reason } else { &mut faults.amount }) = Some(sentence);
            amend(web, admin, &payment, asked, faults).await
        }
        other => Err(other),
    }
}

/// The form again, with a sentence beside one field: the second step when only the amount was typed wrong.
async fn amend(
    web: &Web,
    admin: &Admin,
    payment: &Payment,
    asked: Asked,
    faults: Faults,
) -> Result<HttpResponse, WebError> {
    if admin.json {
        let sentence = faults.amount.or(faults.reason).or(faults.typed).unwrap_or_default();
        return Err(WebError::Unprocessable(sentence));
    }
    let standing = match request_refund::standing(&web.app, payment).await {
        Ok(standing) => standing,
        Err(error) => return Err(error.into()),
    };
    let form = PaymentForm { web, admin, payment, standing: &standing };
    let confirm = match read(&asked.amount) {
        Ok(amount) if faults.typed.is_some() => Some(form.confirm(&asked, amount, asked.note.clone()).await?),
        _ => None,
    };
    form.show(asked, confirm, faults).await
}

/// The page without a form: why nothing can go back.
async fn blocked(
    web: &Web,
    admin: &Admin,
    payment: &Payment,
    why: RefundError,
) -> Result<HttpResponse, WebError> {
    let sentence = match WebError::from(why) {
        WebError::Conflict(sentence) => sentence.to_owned(),
        WebError::Unprocessable(sentence) => sentence,
        other => return Err(other),
    };
    let template = RefundPage {
        layout: frame(web, admin).await?,
        home: home(payment),
        action: action(payment),
        standing: Err(sentence),
        asked: Asked::default(),
        whys: Vec::new(),
        confirm: None,
        faults: Faults::default(),
    };
    Ok(page(web, admin, StatusCode::OK, &template))
}

/// A payment, the administrator in front of it, and where it is shown.
struct PaymentForm<'a> {
    web: &'a Web,
    admin: &'a Admin,
    payment: &'a Payment,
    standing: &'a Standing,
}

impl PaymentForm<'_> {
    async fn show(
        &self,
        asked: Asked,
        confirm: Option<Confirm>,
        faults: Faults,
    ) -> Result<HttpResponse, WebError> {
        let wrong = faults.amount.is_some() || faults.reason.is_some() || faults.typed.is_some();
        let template = RefundPage {
            layout: frame(self.web, self.admin).await?,
            home: home(self.payment),
            action: action(self.payment),
            standing: Ok(shown(self.standing)),
            whys: WHYS.map(|text| Why { text, chosen: text == asked.why }).into(),
            asked,
            confirm,
            faults,
        };
        let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        Ok(page(self.web, self.admin, status, &template))
    }

    async fn confirm(&self, asked: &Asked, amount: Fen, reason: String) -> Result<Confirm, WebError> {
        let back = Serializer::new(String::new())
            .append_pair("amount", &amount.yuan())
            .append_pair("why", &asked.why)
            .append_pair("note", &asked.note)
            .append_pair("edit", "1")
            .finish();
        Ok(Confirm {
            amount: amount.yuan(),
            reason,
            back: format!("{}?{back}", action(self.payment)),
            second_admin_above: self.standing.second_admin_above(amount).map(Fen::yuan),
            has_second_admin: decide_refund::has_second_admin(&self.web.app, &self.admin.user).await?,
        })
    }
}

fn home(payment: &Payment) -> String {
    match payment {
        Payment::OfOrder(number) => format!("/admin/orders/{number}"),
        Payment::OfWorkItem(id) => format!("/admin/work-items/{id}"),
    }
}

fn action(payment: &Payment) -> String {
    format!("{}/refund", home(payment))
}

fn shown(standing: &Standing) -> Shown {
    Shown {
        out_trade_no: standing.out_trade_no.as_str().to_owned(),
        transaction_id: standing.transaction_id.as_str().to_owned(),
        owner: standing.owner.as_ref().map(|owner| owner.name.clone()),
        balance: standing.owner.as_ref().map(|owner| yuan_text(owner.balance)),
        total: standing.total.yuan(),
        left: standing.left().yuan(),
        reserved: standing.reserved.yuan(),
    }
}

/// What the form begins with: all that is left, as far as the balance has it.
fn offered(standing: &Standing) -> Fen {
    let left = standing.left().get();
    let has = standing.owner.as_ref().map_or(left, |owner| owner.balance.clamp(0, left));
    Fen::new(has).unwrap_or_default()
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
    fn reason(&self) -> Result<Reason, String> {
        let text = match (self.why.as_str(), self.note.trim()) {
            (OTHER, note) => note.to_owned(),
            (why, _) if !WHYS.contains(&why) => return Err("请选择一个原因。".to_owned()),
            (why, "") => why.to_owned(),
            (why, note) => format!("{why}：{note}"),
        };
        let said = |bad: BadReason| WebError::from(RefundError::BadReason(bad)).sentence();
        Reason::parse(&text).map_err(said)
    }
}
