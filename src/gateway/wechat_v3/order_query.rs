//! The order query: asks what became of an order. `trade_state` alone decides.
//!
//! Source: the V3 pages on querying an order by either number.

use super::{
    Account, WechatV3, component, error_code,
    reply::{self, Reply},
    sign, transactions,
};
use crate::{
    domain::ids::{OutTradeNo, TransactionId},
    gateway::{RefundedPayment, Request, Response, Stamp, Trade, Untrusted, wechat::Meaning, words::word},
};

pub(super) fn request(account: &Account, out_trade_no: &OutTradeNo, stamp: &Stamp) -> Request {
    let path = format!(
        "/v3/pay/transactions/out-trade-no/{}?mchid={}",
        component(out_trade_no.as_str()),
        component(&account.mch_id),
    );
    sign::request(account, "transactions/out-trade-no", path, None, stamp)
}

/// By WeChat's own number: also for orders we do not know.
pub(super) fn request_by_payment(account: &Account, payment: &TransactionId, stamp: &Stamp) -> Request {
    let path = format!(
        "/v3/pay/transactions/id/{}?mchid={}",
        component(payment.as_str()),
        component(&account.mch_id),
    );
    sign::request(account, "transactions/id", path, None, stamp)
}

/// A state this program has never heard of is `Pending`: not paid, not failed.
///
/// # Errors
/// A reply that may not be used; one that speaks of another order; a SUCCESS without the fields money needs.
pub(super) fn read(gateway: &WechatV3, answer: &Response, asked: &OutTradeNo) -> Result<Trade, Untrusted> {
    let told = match reply::read(gateway, answer)? {
        Reply::Told(told) => told,
        Reply::NoContent => return Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) => {
            return Ok(match error_code::meaning(failure.status, &failure.code, &failure.message) {
                Meaning::NotFound => Trade::NotFound,
                _ => Trade::Pending { state: failure.code },
            });
        }
    };
    reply::check_identity(&gateway.account, &told, asked)?;
    let payment = || transactions::payment(&gateway.account, &told);
    let state = told.text("trade_state").ok_or(Untrusted::Incomplete("trade_state"))?;
    match state {
        "SUCCESS" => payment().map(Trade::Paid).map_err(Untrusted::Incomplete),
        // Beside any state but SUCCESS the payment's own fields may be missing.
        "REFUND" => Ok(Trade::Refunded { payment: payment().ok().map(RefundedPayment) }),
        "CLOSED" | "REVOKED" => Ok(Trade::Closed { state: state.to_owned() }),
        // PAYERROR ends one try of the payer; the order can still be paid until it is closed.
        _ => Ok(Trade::Pending { state: word(state) }),
    }
}
