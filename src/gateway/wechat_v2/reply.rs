//! Replies of WeChat's API: three levels that are never merged. `return_code` says the call was
//! understood, `result_code` that it did its job; what became of the money is the caller's to read.

use super::{Account, sign, sign::SignType, xml::Fields};
use crate::{
    canary::{self, Canary},
    domain::ids::OutTradeNo,
    gateway::{Response, Untrusted},
};

/// An authentic reply to a call of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `result_code` SUCCESS.
    Done(Fields),
    /// `result_code` not SUCCESS: WeChat's `err_code`, and its text for the log.
    Failed { err_code: String, err_code_des: String },
}

/// Reads and authenticates a reply: shape, `return_code`, signature, then that it speaks of us and of this order.
///
/// # Errors
/// Anything short of that. Replies with `return_code` FAIL are unsigned, so they prove nothing.
pub fn read(account: &Account, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Reply, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let fields = Fields::parse(&answer.body).map_err(|fault| Untrusted::Malformed(fault.to_string()))?;
    if fields.get("return_code") != Some("SUCCESS") {
        return Err(Untrusted::CommFail(fields.get("return_msg").unwrap_or("no return_msg").to_owned()));
    }
    let accept: Vec<SignType> = account.accept.iter().copied().chain([account.sign_type]).collect();
    sign::verify(&fields, &account.key, &accept).map_err(|fault| Untrusted::BadSign(fault.to_string()))?;
    check_identity(account, &fields, out_trade_no)?;
    if fields.get("result_code") == Some("SUCCESS") {
        return Ok(Reply::Done(fields));
    }
    Ok(Reply::Failed {
        err_code: fields.get("err_code").unwrap_or("UNKNOWN").to_owned(),
        err_code_des: fields.get("err_code_des").unwrap_or_default().to_owned(),
    })
}

fn check_identity(account: &Account, fields: &Fields, out_trade_no: &OutTradeNo) -> Result<(), Untrusted> {
    if !fields.get("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Untrusted::Identity("appid"));
    }
    if fields.get("mch_id") != Some(&account.mch_id) {
        return Err(Untrusted::Identity("mch_id"));
    }
    if fields.get("out_trade_no").is_some_and(|named| named != out_trade_no.as_str())
        && !canary::sings(Canary::ReplyOfAnotherOrder)
    {
        return Err(Untrusted::Identity("out_trade_no"));
    }
    Ok(())
}
