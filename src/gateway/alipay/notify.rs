//! The callback about a trade: from bytes to a verified payment, and the answer Alipay understands.
//!
//! Source: the notify pages of alipay.trade.page.pay and precreate for fields and answer; the order of checks is ours
//! and stops at the first failure. Alipay calls here about refunds as well, with TRADE_SUCCESS once more.

use super::{Account, form::Form, payment, sign};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        refund::RefundHint,
    },
    gateway::{Ack, AckReply, Notified, Rejection},
};

/// Form, algorithm, signature, kind, identity, refund or payment. The order itself is `settle`'s to compare.
pub fn read(account: &Account, body: &[u8]) -> Notified {
    let Ok(form) = Form::parse(body) else {
        return Notified::Rejected { rejection: Rejection::Malformed, out_trade_no: None };
    };
    check(account, &form)
        .unwrap_or_else(|rejection| Notified::Rejected { rejection, out_trade_no: out_trade_no(&form) })
}

fn check(account: &Account, form: &Form) -> Result<Notified, Rejection> {
    // It is not under the signature, so whoever sends may write anything there: it is compared and chooses nothing.
    if form.get("sign_type") != Some(sign::SIGN_TYPE) || !sign::notify_verifies(form, &account.public_key) {
        return Err(Rejection::BadSign);
    }
    if form.get("app_id") != Some(&account.app_id) {
        return Err(Rejection::AppidMismatch);
    }
    if form.get("seller_id") != Some(&account.seller_id) && !canary::sings(Canary::AlipayAnySeller) {
        return Err(Rejection::MchIdMismatch);
    }
    // A browser that comes back from Alipay carries parameters signed with the same key and in the same way, whether
    // it has paid or not. What tells a notify apart is under the signature too. Any payer can post such a thing here, as
    // often as they like: nobody is called to look.
    let is_notify = form.get("notify_type") == Some("trade_status_sync") && form.get("notify_id").is_some();
    let status = form.get("trade_status").filter(|_| is_notify).ok_or(Rejection::Malformed)?;
    if is_of_refund(form) && !canary::sings(Canary::AlipayRefundIsPayment) {
        return refund_hint(form).map(Notified::Refund).ok_or(Rejection::Incomplete);
    }
    match status {
        "TRADE_SUCCESS" | "TRADE_FINISHED" => {
            let field = |name: &str| form.get(name).map(str::to_owned);
            let amount = form.get("total_amount").and_then(|text| Fen::parse_yuan(text).ok());
            let payment = payment::read(account, field, amount, "gmt_payment");
            payment.map(Notified::Paid).map_err(|_| Rejection::Incomplete)
        }
        "WAIT_BUYER_PAY" | "TRADE_CLOSED" => Ok(Notified::NotPaid { out_trade_no: out_trade_no(form) }),
        _ => Err(Rejection::Incomplete),
    }
}

/// A payment face to face, or a trade closed unpaid, is told with a `refund_fee` of zero: nothing has gone back. An
/// amount that nobody can read is no payment.
fn is_of_refund(form: &Form) -> bool {
    let refunded = form.get("refund_fee").is_some_and(|sum| Fen::parse_yuan(sum) != Ok(Fen::ZERO));
    refunded || ["out_biz_no", "gmt_refund"].iter().any(|name| form.get(name).is_some())
}

fn out_trade_no(form: &Form) -> Option<OutTradeNo> {
    form.get("out_trade_no").and_then(OutTradeNo::parse)
}

fn refund_hint(form: &Form) -> Option<RefundHint> {
    Some(RefundHint {
        out_refund_no: refund_number(form)?,
        out_trade_no: out_trade_no(form)?,
        transaction_id: TransactionId::parse(form.get("trade_no")?)?,
        total: Fen::parse_yuan(form.get("total_amount")?).ok()?,
        // `refund_fee` is the sum of all refunds of the trade so far.
        amount: None,
        // Alipay only writes about refunds that are through.
        status: "SUCCESS".to_owned(),
        signed: true,
    })
}

/// Whoever gave a refund no number of its own has refunded under the trade's (refund page).
fn refund_number(form: &Form) -> Option<OutRefundNo> {
    let went_back = || Fen::parse_yuan(form.get("refund_fee")?).ok().filter(|sum| *sum > Fen::ZERO);
    let named = match form.get("out_biz_no") {
        Some(number) => number,
        None => went_back().and_then(|_| form.get("out_trade_no"))?,
    };
    OutRefundNo::parse(named)
}

/// The answer in Alipay's own words: these seven bytes, or it comes again.
pub fn ack(ack: Ack) -> AckReply {
    let body = match ack {
        Ack::Received => "success",
        Ack::Refused(_) => "fail",
    };
    AckReply { ack, status: 200, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
}

#[cfg(test)]
mod tests;
