//! alipay.trade.close: asks that an order can no longer be paid.
//!
//! A trade that nobody has scanned or signed in for does not exist yet, so there is nothing to close: it can be paid
//! until the `time_expire` of the attempt.

use super::{
    Account,
    reply::{self, Reply},
    sub_code::Meaning,
};
use crate::{
    domain::ids::OutTradeNo,
    gateway::{Closing, Request, Response, Stamp, Untrusted},
};
use serde_json::json;

const METHOD: &str = "alipay.trade.close";

pub fn request(account: &Account, out_trade_no: &OutTradeNo, stamp: &Stamp) -> Request {
    let content = json!({ "out_trade_no": out_trade_no.as_str() });
    super::call(account, METHOD, super::parameters(account, METHOD, &content, stamp))
}

/// # Errors
/// A reply that may not be used: whether it is closed is unknown.
pub fn read(account: &Account, answer: &Response, asked: &OutTradeNo) -> Result<Closing, Untrusted> {
    let failure = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => {
            reply::may_be(&fields, "out_trade_no", asked.as_str())?;
            return Ok(Closing::Closed);
        }
        Reply::Failed(failure) => failure,
    };
    Ok(match failure.meaning() {
        Meaning::Closed => Closing::Closed,
        Meaning::Paid => Closing::Paid,
        Meaning::NotFound => Closing::Unbegun,
        Meaning::UnknownOutcome | Meaning::NumberUsed | Meaning::Refused => {
            Closing::Unknown { code: failure.word() }
        }
    })
}
