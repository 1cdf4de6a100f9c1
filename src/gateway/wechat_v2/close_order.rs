//! closeorder: asks that an order can no longer be paid. Closing twice is as good as once.

use super::{
    Account, error_code,
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    domain::{ids::OutTradeNo, order::Attempt},
    gateway::{Closing, Request, Response, Stamp, Untrusted, wechat::Meaning},
};

pub fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Request {
    let fields: Fields = [("out_trade_no", attempt.out_trade_no.as_str())].into_iter().collect();
    let appid = account.appid_of(attempt.channel);
    super::signed_request(account, appid, "closeorder", "/pay/closeorder", fields, stamp)
}

/// # Errors
/// A reply that may not be used: whether it is closed is unknown.
pub fn read(account: &Account, answer: &Response, asked: &OutTradeNo) -> Result<Closing, Untrusted> {
    Ok(match reply::read(account, answer, asked)? {
        Reply::Done(_) => Closing::Closed,
        Reply::Failed { err_code, err_code_des } => match error_code::meaning(&err_code, &err_code_des) {
            Meaning::Closed => Closing::Closed,
            Meaning::Paid => Closing::Paid,
            Meaning::NotFound => Closing::NotFound,
            _ => Closing::Unknown { code: err_code },
        },
    })
}
