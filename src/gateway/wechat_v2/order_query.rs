//! orderquery: asks what became of an order. `trade_state` alone decides.

use super::{
    Account, error_code, notify,
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    domain::{
        ids::{OutTradeNo, TransactionId},
        order::Attempt,
    },
    gateway::{
        RefundedPayment, Request, Response, Stamp, Trade, Untrusted,
        wechat::{self, Meaning},
        words::word,
    },
};

pub fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Request {
    let fields: Fields = [("out_trade_no", attempt.out_trade_no.as_str())].into_iter().collect();
    let appid = account.appid_of(attempt.channel);
    super::signed_request(account, appid, "orderquery", "/pay/orderquery", fields, stamp)
}

/// By WeChat's own number, which orderquery prefers: also for orders we do not know. `made_to` is the account the payment
/// was made to, and names its appid.
pub fn request_by_payment(
    account: &Account,
    payment: &TransactionId,
    made_to: &str,
    stamp: &Stamp,
) -> Request {
    let fields: Fields = [("transaction_id", payment.as_str())].into_iter().collect();
    let appid = wechat::appid_of_account(made_to);
    super::signed_request(account, appid, "orderquery", "/pay/orderquery", fields, stamp)
}

/// A state this program has never heard of is `Pending`: not paid, not failed.
///
/// # Errors
/// A reply that may not be used; a SUCCESS without transaction_id, total_fee or out_trade_no.
pub fn read(account: &Account, answer: &Response, asked: &OutTradeNo) -> Result<Trade, Untrusted> {
    let fields = match reply::read(account, answer, asked)? {
        Reply::Done(fields) => fields,
        Reply::Failed { err_code, err_code_des } => {
            return Ok(match error_code::meaning(&err_code, &err_code_des) {
                Meaning::NotFound => Trade::NotFound,
                _ => Trade::Pending { state: err_code },
            });
        }
    };
    let state = fields.get("trade_state").ok_or(Untrusted::Incomplete("trade_state"))?;
    match state {
        "SUCCESS" => notify::payment(account, &fields).map(Trade::Paid).map_err(Untrusted::Incomplete),
        // Beside any state but SUCCESS the payment's own fields may be missing (orderquery page).
        "REFUND" => {
            Ok(Trade::Refunded { payment: notify::payment(account, &fields).ok().map(RefundedPayment) })
        }
        "CLOSED" | "REVOKED" => Ok(Trade::Closed { state: state.to_owned() }),
        // PAYERROR ends one try of the payer; the order can still be paid until it is closed.
        _ => Ok(Trade::Pending { state: word(state) }),
    }
}
