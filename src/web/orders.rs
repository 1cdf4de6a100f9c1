//! A user's own records: the list and one order.

use super::{
    Web,
    error::WebError,
    layout::{Layout, OrderState, page},
    session::SignedIn,
    ways::name_zh,
};
use crate::{
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        money::yuan_text,
        order::{Channel, Order, Provider},
        refund::{Refund, RefundState},
    },
    store::{Db, StoreError, attempts, ledger, orders, refunds, settlement},
};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

const PAGE: i64 = 20;

#[derive(Template)]
#[template(path = "orders.html")]
struct OrdersPage {
    layout: Layout,
    balance: String,
    /// Held by refunds under way.
    frozen: Option<String>,
    months: Vec<Month>,
    more: Option<String>,
}

struct Month {
    title: String,
    paid: String,
    rows: Vec<Row>,
}

struct Row {
    url: String,
    amount: String,
    at: String,
    state: OrderState,
    tail: String,
    refunds: Vec<RefundView>,
}

/// A refund as its payer sees it.
struct RefundView {
    amount: String,
    state: &'static str,
    tone: &'static str,
    at: String,
    under_way: bool,
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    layout: Layout,
    out_trade_no: String,
    amount: String,
    goods_name: String,
    state: OrderState,
    balance: Option<String>,
    /// How it was paid, or is about to be.
    channel: Option<&'static str>,
    transaction_id: Option<String>,
    transaction_label: &'static str,
    created: String,
    paid: Option<String>,
    expires: String,
    pay_url: String,
    can_pay: bool,
    steps: Vec<Step>,
    refunds: Vec<RefundView>,
}

struct Step {
    label: String,
    at: String,
    done: bool,
}

/// Paging: records older than this one.
#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

/// GET /orders
///
/// # Errors
/// The books.
pub async fn list(
    web: Data<Arc<Web>>,
    visitor: SignedIn,
    query: Query<Before>,
) -> Result<HttpResponse, WebError> {
    let (user_id, before) = (visitor.user.id, query.before);
    let (mut found, refunds, balance, held) = web
        .app
        .store
        .read(move |db| {
            let found = orders::of_user(db, user_id, before, PAGE.saturating_add(1))?;
            let ids: Vec<i64> = found.iter().map(|order| order.id).collect();
            Ok((
                found,
                refunds::of_orders(db, &ids)?,
                ledger::balance(db, &Account::User(user_id))?,
                refunds::held(db, user_id)?,
            ))
        })
        .await?;
    let page_size = usize::try_from(PAGE).unwrap_or_default();
    let has_more = found.len() > page_size;
    found.truncate(page_size);
    let next = found.last().filter(|_| has_more).map(|order| order.id);
    if visitor.json {
        return Ok(HttpResponse::Ok().json(json!({
            "orders": found.iter().map(|order| as_user_json(order, &refunds)).collect::<Vec<_>>(),
            "balance_fen": balance,
            "frozen_fen": held,
            "before": next,
        })));
    }
    let now = web.app.clock.now();
    let template = OrdersPage {
        layout: Layout::of(&web, &visitor),
        balance: yuan_text(balance),
        frozen: (held > 0).then(|| yuan_text(held)),
        months: by_month(&found, &refunds, |order| OrderState::of(order, now)),
        more: next.map(|id| format!("/orders?before={id}")),
    };
    Ok(page(&web, &visitor, StatusCode::OK, &template))
}

fn by_month(orders: &[Order], refunds: &[Refund], state: impl Fn(&Order) -> OrderState) -> Vec<Month> {
    let mut months: Vec<Month> = Vec::new();
    let mut sum: i64 = 0;
    for order in orders {
        let at = order.created_at.beijing_text();
        let title = format!("{} 年 {} 月", at.get(..4).unwrap_or_default(), at.get(5..7).unwrap_or_default());
        if months.last().is_none_or(|month| month.title != title) {
            months.push(Month { title, paid: String::new(), rows: Vec::new() });
            sum = 0;
        }
        if order.is_paid() {
            sum = sum.saturating_add(order.amount.get());
        }
        if let Some(month) = months.last_mut() {
            month.paid = yuan_text(sum);
            month.rows.push(Row {
                url: format!("/orders/{}", order.out_trade_no),
                amount: order.amount.yuan(),
                at: at.get(5..16).unwrap_or_default().to_owned(),
                state: state(order),
                tail: tail(order),
                refunds: views(order, refunds),
            });
        }
    }
    months
}

fn tail(order: &Order) -> String {
    let number = order.out_trade_no.as_str();
    number.get(number.len().saturating_sub(6)..).unwrap_or(number).to_owned()
}

/// GET /orders/{out_trade_no}: result and detail of one order.
///
/// # Errors
/// 404 for anybody but the owner and administrators; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    visitor: SignedIn,
    number: Path<String>,
) -> Result<HttpResponse, WebError> {
    let order = if visitor.user.role.is_admin() {
        let number = OutTradeNo::parse(&number).ok_or(WebError::NotFound)?;
        let found = web.app.store.read(move |db| orders::by_number(db, &number)).await?;
        found.ok_or(WebError::NotFound)?
    } else {
        own(&web, &visitor, &number).await?
    };
    let (kept, account) = (order.clone(), Account::User(order.user_id));
    let (refunds, balance, channel) = web
        .app
        .store
        .read(move |db| {
            Ok((refunds::of_order(db, kept.id)?, ledger::balance(db, &account)?, channel_of(db, &kept)?))
        })
        .await?;
    if visitor.json {
        return Ok(HttpResponse::Ok().json(as_user_json(&order, &refunds)));
    }
    let now = web.app.clock.now();
    let template = OrderPage {
        layout: Layout::of(&web, &visitor),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        goods_name: order.goods_name.clone(),
        state: OrderState::of(&order, now),
        balance: order.is_paid().then(|| yuan_text(balance)),
        channel: channel.map(name_zh),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()),
        transaction_label: transaction_label(channel),
        created: order.created_at.beijing_text(),
        paid: order.paid_at.map(|at| at.beijing_text()),
        expires: order.expires_at.beijing_text(),
        pay_url: format!("/orders/{}/pay", order.out_trade_no),
        can_pay: order.is_payable(now) && order.user_id == visitor.user.id,
        steps: steps(&order),
        refunds: views(&order, &refunds),
    };
    Ok(page(&web, &visitor, StatusCode::OK, &template))
}

/// The channel an order was paid by, or the last it was tried by.
///
/// # Errors
/// The database.
pub fn channel_of(db: &mut Db, order: &Order) -> Result<Option<Channel>, StoreError> {
    let attempt = match settlement::paid_attempt(db, order.id)? {
        Some(paid) => Some(paid),
        None => attempts::of_order(db, order.id)?.pop(),
    };
    Ok(attempt.map(|attempt| attempt.channel))
}

/// What the gateway's own number is called.
pub fn transaction_label(channel: Option<Channel>) -> &'static str {
    match channel.map(Channel::provider) {
        Some(Provider::Wechat) => "微信单号",
        Some(Provider::Alipay) => "支付宝交易号",
        None => "支付单号",
    }
}

fn steps(order: &Order) -> Vec<Step> {
    let step = |label: &str, at: Option<crate::domain::time::UnixMs>| Step {
        label: label.to_owned(),
        at: at.map(|at| at.beijing_text()).unwrap_or_default(),
        done: at.is_some(),
    };
    let mut steps = vec![step("下单", Some(order.created_at))];
    if let (Some(closed), None) = (order.closed_at, order.paid_at) {
        steps.push(step("关闭", Some(closed)));
    } else {
        steps.push(step("支付并入账", order.paid_at));
    }
    steps
}

/// The order, if this user owns it. Somebody else's is as unknown as none at all.
///
/// # Errors
/// `NotFound`; the books.
pub async fn own(web: &Web, visitor: &SignedIn, number: &str) -> Result<Order, WebError> {
    let number = OutTradeNo::parse(number).ok_or(WebError::NotFound)?;
    let user_id = visitor.user.id;
    let found = web.app.store.read(move |db| orders::by_number_of(db, &number, user_id)).await?;
    found.ok_or(WebError::NotFound)
}

/// An order for programs.
pub fn as_json(order: &Order) -> Value {
    json!({
        "out_trade_no": order.out_trade_no.as_str(),
        "amount_fen": order.amount.get(),
        "goods_name": order.goods_name,
        "status": order.status.number(),
        "closed": order.closed_at.is_some(),
        "late": order.late,
        "transaction_id": order.transaction_id.as_ref().map(|id| id.as_str()),
        "created_at_ms": order.created_at.0,
        "expires_at_ms": order.expires_at.0,
        "paid_at_ms": order.paid_at.map(|at| at.0),
    })
}

/// An order with what went back of it: the fen that are with the payer, and `refunds` as the reader may see them.
pub fn with_refunds(order: &Order, refunds: &[Refund], shown: Vec<Value>) -> Value {
    let refunded = refunds
        .iter()
        .filter(|refund| refund.order_id == Some(order.id) && refund.state == RefundState::Success)
        .fold(0_i64, |sum, refund| sum.saturating_add(refund.amount.get()));
    let mut row = as_json(order);
    if let Some(fields) = row.as_object_mut() {
        fields.insert("refunded_fen".to_owned(), json!(refunded));
        fields.insert("refunds".to_owned(), Value::Array(shown));
    }
    row
}

/// What the owner's programs are told: neither who refunds nor why it takes long.
fn as_user_json(order: &Order, refunds: &[Refund]) -> Value {
    let own = refunds.iter().filter(|refund| refund.order_id == Some(order.id));
    let shown = own.map(|refund| {
        json!({
            "amount_fen": refund.amount.get(),
            "state": seen_as(refund.state),
            "requested_at_ms": refund.requested_at.0,
            "finished_at_ms": refund.finished_at.map(|at| at.0),
        })
    });
    with_refunds(order, refunds, shown.collect())
}

/// Three states are enough for a payer.
const fn seen_as(state: RefundState) -> &'static str {
    match state {
        RefundState::Success => "success",
        RefundState::Closed | RefundState::Failed | RefundState::Rejected => "failed",
        RefundState::Waiting | RefundState::Asking | RefundState::Processing | RefundState::Abnormal => {
            "processing"
        }
    }
}

fn views(order: &Order, refunds: &[Refund]) -> Vec<RefundView> {
    let own = refunds.iter().filter(|refund| refund.order_id == Some(order.id));
    own.map(|refund| {
        let (state, tone) = match seen_as(refund.state) {
            "success" => ("已退款", "ok"),
            "failed" => ("退款未成功，金额已恢复", "mute"),
            _ => ("退款处理中", "info"),
        };
        RefundView {
            amount: refund.amount.yuan(),
            state,
            tone,
            at: refund.finished_at.unwrap_or(refund.requested_at).beijing_text(),
            under_way: !refund.state.is_final(),
        }
    })
    .collect()
}
