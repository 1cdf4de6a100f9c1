//! What Alipay tells without being asked: the asynchronous notice to notify_url and the return of the browser.
//!
//! Source: the page on asynchronous notices, and the return parameters of alipay.trade.page.pay.

use super::{AlipayApp, form};
use crate::{
    domain::{money::Fen, time::UnixMs},
    gateway::{Protocol, wechat_v2::xml::Fields},
    simulator::{
        Scenario, Simulator, deliver,
        faults::Content,
        refunds::{Refund, overridden},
        trades::{Book, Callback, Trade},
    },
};
use serde_json::json;

pub const BUYER_ID: &str = "2088000000000002";
pub const BUYER_LOGON_ID: &str = "sim***@example.com";
const SELLER_EMAIL: &str = "seller@example.com";
/// When the notice that somebody is about to pay comes for the second time: after the payment's own.
const LATE_WAITING_SECS: i64 = 30;

/// What a notice speaks of.
pub enum Event<'a> {
    Waiting,
    Paid,
    Finished,
    /// Unpaid.
    Closed,
    /// A refund reached the payer; `refunded` is the whole of them so far.
    Refunded {
        refund: &'a Refund,
        refunded: Fen,
    },
}

impl Event<'_> {
    fn status(&self, trade: &Trade) -> &'static str {
        match self {
            Event::Waiting => "WAIT_BUYER_PAY",
            Event::Paid => "TRADE_SUCCESS",
            Event::Finished => "TRADE_FINISHED",
            Event::Closed => "TRADE_CLOSED",
            Event::Refunded { refunded, .. } if *refunded >= trade.total_fee => "TRADE_CLOSED",
            Event::Refunded { .. } => "TRADE_SUCCESS",
        }
    }

    /// The end of `notify_id`: the same for every try and copy of the same event, another for another.
    fn serial(&self) -> u64 {
        match self {
            Event::Waiting => 0,
            Event::Paid => 1,
            Event::Finished => 2,
            Event::Closed => 3,
            Event::Refunded { refund, .. } => refund.serial.saturating_add(9),
        }
    }
}

/// The amounts of a payment beside `total_amount`, in yuan: none of them is to be compared with an order.
pub struct Money {
    pub receipt: String,
    pub buyer_pay: String,
}

impl Money {
    pub fn of(trade: &Trade) -> Money {
        let coupon = trade.coupon.map_or(0, Fen::get);
        let cash = Fen::new(trade.total_fee.get().saturating_sub(coupon)).unwrap_or_default().yuan();
        Money { receipt: cash.clone(), buyer_pay: cash }
    }
}

/// The parameters of a notice, all but `sign`.
pub fn fields(app: &AlipayApp, trade: &Trade, event: &Event<'_>, now: UnixMs) -> Fields {
    let mut fields = notice(app, now);
    let (trade_no, total) = (trade.transaction_id.as_str(), trade.total_fee.yuan());
    for (name, value) in [
        ("notify_id", format!("{trade_no}{:06}", event.serial()).as_str()),
        ("trade_no", trade_no),
        ("out_trade_no", trade.out_trade_no.as_str()),
        ("trade_status", event.status(trade)),
        ("total_amount", total.as_str()),
        ("subject", trade.goods.as_str()),
        ("gmt_create", trade.created_at.beijing_text().as_str()),
    ] {
        fields.set(name, value);
    }
    for echoed in ["body", "passback_params"] {
        if let Some(value) = trade.parameters.get(echoed).filter(|value| !value.is_empty()) {
            fields.set(echoed, value);
        }
    }
    if let Some(paid_at) = trade.paid_at.filter(|_| !matches!(event, Event::Waiting)) {
        add_payment(&mut fields, trade, paid_at);
    }
    match event {
        Event::Refunded { refund, refunded } => {
            fields.set("refund_fee", &refunded.yuan());
            fields.set("gmt_refund", &with_ms(refund.ends_at));
            fields.set("out_biz_no", &refund.out_refund_no);
        }
        Event::Closed => fields.set("gmt_close", &now.beijing_text()),
        Event::Waiting | Event::Paid | Event::Finished => {}
    }
    fields
}

fn notice(app: &AlipayApp, now: UnixMs) -> Fields {
    [
        ("notify_time", now.beijing_text().as_str()),
        ("notify_type", "trade_status_sync"),
        ("app_id", app.app_id.as_str()),
        ("auth_app_id", app.app_id.as_str()),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("sign_type", "RSA2"),
        ("buyer_id", BUYER_ID),
        ("buyer_logon_id", BUYER_LOGON_ID),
        ("seller_id", app.seller_id.as_str()),
        ("seller_email", SELLER_EMAIL),
    ]
    .into_iter()
    .collect()
}

fn add_payment(fields: &mut Fields, trade: &Trade, paid_at: UnixMs) {
    let money = Money::of(trade);
    let funds = json!([{ "amount": money.buyer_pay, "fundChannel": "ALIPAYACCOUNT" }]).to_string();
    for (name, value) in [
        ("gmt_payment", paid_at.beijing_text().as_str()),
        ("receipt_amount", &money.receipt),
        ("invoice_amount", &money.buyer_pay),
        ("buyer_pay_amount", &money.buyer_pay),
        ("point_amount", "0.00"),
        ("fund_bill_list", &funds),
    ] {
        fields.set(name, value);
    }
    if let Some(coupon) = trade.coupon {
        let voucher =
            json!([{ "amount": coupon.yuan(), "name": "满减 & 立减", "type": "ALIPAY_FIX_VOUCHER" }]);
        fields.set("voucher_detail_list", &voucher.to_string());
        fields.set("version_9", "simulator");
    }
}

/// `yyyy-MM-dd HH:mm:ss.SSS` in Beijing, as `gmt_refund` alone is written.
fn with_ms(at: UnixMs) -> String {
    format!("{}.{:03}", at.beijing_text(), at.0.rem_euclid(1000))
}

/// Signs these very parameters; `sign` and `sign_type` are not part of the text.
pub fn signed(app: &AlipayApp, mut fields: Fields) -> String {
    let sign = form::notice_sign(&fields, &app.key);
    fields.set("sign", &sign);
    form::write(&fields)
}

/// A payment's callback; empty without a merchant at Alipay.
pub fn body(simulator: &Simulator, trade: &Trade, content: Content, now: UnixMs) -> String {
    let Some(app) = simulator.alipay() else { return String::new() };
    let mut fields = fields(app, trade, &Event::Paid, now);
    match content {
        // Alipay neither probes nor signs a time.
        Content::True | Content::SignTest | Content::SkewedClock => {}
        Content::OneFenLess => {
            let less = Fen::new(trade.total_fee.get().saturating_sub(1)).unwrap_or_default();
            fields.set("total_amount", &less.yuan());
        }
        // RSA is SHA-1's name here, and the name is not part of what is signed.
        Content::OtherAlgorithm => fields.set("sign_type", "RSA"),
        Content::WrongSign => {
            let other = overridden(fields.clone(), &[("notify_time", "2000-01-01 00:00:00")]);
            fields.set("sign", &form::notice_sign(&other, &app.key));
            return form::write(&fields);
        }
    }
    signed(app, fields)
}

/// The same callback for another try: a new `notify_time`, the same `notify_id`. What was forged stays so.
pub fn sent_again(simulator: &Simulator, body: &str, content: Content, now: UnixMs) -> String {
    match (form::read(body), simulator.alipay()) {
        (Some(fields), Some(app)) if content != Content::WrongSign => {
            signed(app, overridden(fields, &[("notify_time", now.beijing_text().as_str())]))
        }
        _ => body.to_owned(),
    }
}

/// A notice due at `now`; `None` without a merchant at Alipay.
pub fn callback(simulator: &Simulator, trade: &Trade, event: &Event<'_>, now: UnixMs) -> Option<Callback> {
    let app = simulator.alipay()?;
    Some(Callback {
        protocol: Protocol::Alipay,
        out_trade_no: trade.out_trade_no.clone(),
        out_refund_no: None,
        notify_url: trade.notify_url.clone(),
        content_type: deliver::content_type(Protocol::Alipay),
        headers: Vec::new(),
        body: signed(app, fields(app, trade, event, now)),
        content: Content::True,
        due: now,
        failed: 0,
        repeats: true,
        parallel: false,
    })
}

/// What a payment causes beside the notice of it: Alipay closes the trade to refunds, or repeats itself out of order.
pub fn beside(simulator: &Simulator, trade: &Trade, scenario: Scenario, now: UnixMs) -> Vec<Callback> {
    let finished = scenario
        .finishes_after_secs()
        .and_then(|secs| callback(simulator, trade, &Event::Finished, now.plus_secs(secs)));
    let late = scenario.notifies_every_status().then(|| now.plus_secs(LATE_WAITING_SECS));
    let late = late.and_then(|due| callback(simulator, trade, &Event::Waiting, due));
    let late = late.map(|late| Callback { repeats: false, ..late });
    finished.into_iter().chain(late).collect()
}

/// The notice of a refund's end, to the address of the payment's.
pub fn about_refund(simulator: &Simulator, book: &mut Book, refund: &Refund) -> Option<Callback> {
    let at = refund.ends_at;
    let trade = book.trade(&refund.out_trade_no, at)?.clone();
    let refunded = book.refunds.refunded_fen(&refund.out_trade_no, at);
    let event = Event::Refunded { refund, refunded: Fen::new(refunded).unwrap_or_default() };
    let out_refund_no = Some(refund.out_refund_no.clone());
    Some(Callback { out_refund_no, ..callback(simulator, &trade, &event, at)? })
}

/// Where the browser goes back to after the cashier, paid or not: signed, and without a word on the state. `None` when
/// the order names no return_url.
pub fn return_to(simulator: &Simulator, trade: &Trade) -> Option<String> {
    let return_url = trade.parameters.get("return_url").filter(|url| !url.is_empty())?;
    Some(format!("{return_url}?{}", returned(simulator.alipay()?, trade, simulator.now())))
}

/// The query of that return.
fn returned(app: &AlipayApp, trade: &Trade, now: UnixMs) -> String {
    let fields: Fields = [
        ("app_id", app.app_id.as_str()),
        ("auth_app_id", app.app_id.as_str()),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("sign_type", "RSA2"),
        ("method", format!("{}.return", trade.trade_type).as_str()),
        ("timestamp", now.beijing_text().as_str()),
        ("out_trade_no", trade.out_trade_no.as_str()),
        ("trade_no", trade.transaction_id.as_str()),
        ("total_amount", trade.total_fee.yuan().as_str()),
        ("seller_id", app.seller_id.as_str()),
    ]
    .into_iter()
    .collect();
    signed(app, fields)
}

impl Simulator {
    /// The notice this trade has or would have from Alipay, with parameters replaced before signing (an empty value takes
    /// the parameter out). An unknown number gets one for one fen; without a merchant at Alipay it is empty.
    pub fn alipay_notify(&self, out_trade_no: &str, overrides: &[(&str, &str)]) -> String {
        let now = self.now();
        let trade = self.book().trade(out_trade_no, now).cloned();
        let Some(app) = self.alipay() else { return String::new() };
        let fields = match &trade {
            Some(trade) => fields(app, trade, &Event::Paid, now),
            None => unknown(app, out_trade_no, now),
        };
        signed(app, overridden(fields, overrides))
    }

    /// The notice this refund has from Alipay, with parameters replaced. `None` for an unknown one.
    pub fn alipay_refund_notify(&self, out_request_no: &str, overrides: &[(&str, &str)]) -> Option<String> {
        let mut book = self.book();
        let refund = book.refunds.by_number(out_request_no)?.clone();
        let fields = form::read(&about_refund(self, &mut book, &refund)?.body)?;
        Some(signed(self.alipay()?, overridden(fields, overrides)))
    }

    /// The signed query the payer's browser comes back with, paid or not. `None` for an unknown number.
    pub fn alipay_return(&self, out_trade_no: &str) -> Option<String> {
        let now = self.now();
        let trade = self.book().trade(out_trade_no, now)?.clone();
        Some(returned(self.alipay()?, &trade, now))
    }

    /// Signs these very parameters as a notice is signed.
    pub fn sign_alipay(&self, fields: Fields) -> Option<String> {
        Some(signed(self.alipay()?, fields))
    }
}

/// A payment of one fen for a trade nobody made.
fn unknown(app: &AlipayApp, out_trade_no: &str, now: UnixMs) -> Fields {
    let mut fields = notice(app, now);
    for (name, value) in [
        ("notify_id", "2026010122001000000000000000000001"),
        ("trade_no", "2026010122001000000000000000"),
        ("out_trade_no", out_trade_no),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "0.01"),
        ("receipt_amount", "0.01"),
        ("subject", "模拟"),
        ("gmt_create", now.beijing_text().as_str()),
        ("gmt_payment", now.beijing_text().as_str()),
    ] {
        fields.set(name, value);
    }
    fields
}

#[cfg(test)]
mod tests;
