//! Closing: asks that an order can no longer be paid. Closing twice is as good as once.
//!
//! Source: the V3 page on closing an order: done is 204, signed over an empty body.

use super::{
    Account, WechatV3, component, error_code,
    reply::{self, Reply},
    sign,
};
use crate::{
    domain::ids::OutTradeNo,
    gateway::{Closing, Request, Response, Stamp, Untrusted, wechat::Meaning},
};
use serde::Serialize;

#[derive(Serialize)]
struct Body<'a> {
    mchid: &'a str,
}

pub(super) fn request(account: &Account, out_trade_no: &OutTradeNo, stamp: &Stamp) -> Request {
    let path = format!("/v3/pay/transactions/out-trade-no/{}/close", component(out_trade_no.as_str()));
    // One text: writing it cannot fail.
    let body = serde_json::to_string(&Body { mchid: &account.mch_id }).unwrap_or_default();
    sign::request(account, "transactions/close", path, Some(body), stamp)
}

/// # Errors
/// A reply that may not be used: whether it is closed is unknown.
pub(super) fn read(gateway: &WechatV3, answer: &Response) -> Result<Closing, Untrusted> {
    Ok(match reply::read(gateway, answer)? {
        Reply::NoContent => Closing::Closed,
        // Not how this call says that it is done.
        Reply::Told(_) => return Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) => {
            match error_code::meaning(failure.status, &failure.code, &failure.message) {
                Meaning::Closed => Closing::Closed,
                Meaning::Paid => Closing::Paid,
                Meaning::NotFound => Closing::NotFound,
                _ => Closing::Unknown { code: failure.code },
            }
        }
    })
}
