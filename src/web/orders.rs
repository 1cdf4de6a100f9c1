//! A user's own records: the list and one order.

use super::{
    Web,
    error::WebError,
    layout::{Layout, OrderState, page},
    providers,
    records::{self, Month, Reading, RefundView, Seen, Step},
    session::SignedIn,
    ways::name,
    words::Lang,
};
use crate::{
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        money::yuan_text,
        order::{Channel, Order},
        refund::{Refund, RefundState},
    },
    store::{Db, StoreError, attempts, ledger, orders, refunds, settlement, statements},
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
    refunding: Option<String>,
    refunded: Option<String>,
    /// Of a payment that did not fit: what was credited by hand, and what goes back.
    by_hand: [Option<String>; 2],
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
    let (mut found, refunds, odd, balance, held) = web
        .app
        .store
        .read(move |db| {
            let found = orders::of_user(db, user_id, before, PAGE.saturating_add(1))?;
            let ids: Vec<i64> = found.iter().map(|order| order.id).collect();
            Ok((
                found,
                refunds::of_orders(db, &ids)?,
                statements::odd_payments(db, &ids)?,
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
    let spans = records::spans(&found);
    let sums = web
        .app
        .store
        .read(move |db| spans.into_iter().map(|(from, to)| statements::sums(db, user_id, from, to)).collect())
        .await?;
    let reading = Reading { lang: visitor.view.lang, now: web.app.clock.now() };
    let template = OrdersPage {
        layout: Layout::of(&web, &visitor),
        balance: yuan_text(balance),
        frozen: (held > 0).then(|| yuan_text(held)),
        months: reading.months(&found, sums, &refunds, &odd),
        more: next.map(|id| format!("/orders?before={id}")),
    };
    Ok(page(&web, &visitor, StatusCode::OK, &template))
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
    let (refunds, odd, balance, channel) = web
        .app
        .store
        .read(move |db| {
            Ok((
                refunds::of_order(db, kept.id)?,
                statements::odd_payments(db, &[kept.id])?,
                ledger::balance(db, &account)?,
                channel_of(db, &kept)?,
            ))
        })
        .await?;
    if visitor.json {
        return Ok(HttpResponse::Ok().json(as_user_json(&order, &refunds)));
    }
    let (lang, now) = (visitor.view.lang, web.app.clock.now());
    let reading = Reading { lang, now };
    let sum = |seen: Seen| records::sum_of(&refunds, seen);
    let template = OrderPage {
        layout: Layout::of(&web, &visitor),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        goods_name: records::goods(&order, lang).to_owned(),
        state: reading.state(&order, &odd),
        balance: order.is_paid().then(|| yuan_text(balance)),
        channel: channel.map(|channel| name(channel, lang)),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()),
        transaction_label: number_name(channel, lang),
        created: order.created_at.beijing_text(),
        paid: order.paid_at.map(|at| at.beijing_text()),
        expires: reading.day_and_time(order.expires_at),
        pay_url: format!("/orders/{}/pay", order.out_trade_no),
        can_pay: order.is_payable(now) && order.user_id == visitor.user.id,
        steps: reading.steps(&order, &refunds),
        by_hand: [odd.iter().map(|odd| odd.credited).sum(), odd.iter().map(|odd| odd.refunded).sum()]
            .map(|fen: i64| (fen > 0).then(|| yuan_text(fen))),
        refunding: sum(Seen::Processing),
        refunded: sum(Seen::Success),
        refunds: reading.refunds(&order, &refunds),
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
pub fn number_name(channel: Option<Channel>, lang: Lang) -> &'static str {
    channel.map_or_else(|| lang.payment_number(), |channel| providers::number(channel.provider(), lang))
}

/// The same for administrators.
pub fn transaction_label(channel: Option<Channel>) -> &'static str {
    number_name(channel, Lang::Zh)
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
            "state": Seen::of(refund.state).as_str(),
            "requested_at_ms": refund.requested_at.0,
            "finished_at_ms": refund.finished_at.map(|at| at.0),
        })
    });
    with_refunds(order, refunds, shown.collect())
}
