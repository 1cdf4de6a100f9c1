//! Replies of V3: believed by their signature first, whatever their status, and only then read.

use super::{Account, WechatV3, json::Object, sign::SignFault};
use crate::{
    domain::ids::OutTradeNo,
    gateway::{Headers, Response, Untrusted, words::word},
};

/// An authentic reply to a call of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 200 with what was asked for.
    Told(Object),
    /// 204: done, and nothing to say.
    NoContent,
    /// An error, or 202, with which nothing is decided yet.
    Failed(Failure),
}

/// WeChat's `code` as it may be kept, and its text as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// HTTP status.
    pub status: u16,
    pub code: String,
    pub message: String,
}

/// # Errors
/// A reply whose signature does not hold, or that is not the protocol's JSON: nothing is known.
pub(super) fn read(gateway: &WechatV3, answer: &Response) -> Result<Reply, Untrusted> {
    gateway
        .ring
        .verify(Headers(&answer.headers), &answer.body, answer.received_at)
        .map_err(|fault| untrusted(answer, fault))?;
    let body =
        || Object::parse(&answer.body).ok_or_else(|| Untrusted::Malformed("not strict JSON".to_owned()));
    let failed = |code: &str, message: &str| {
        Reply::Failed(Failure { status: answer.status, code: word(code), message: message.to_owned() })
    };
    match answer.status {
        200 => body().map(Reply::Told),
        202 => Ok(failed("ACCEPTED", "")),
        204 => Ok(Reply::NoContent),
        400..=599 => {
            let body = body()?;
            Ok(failed(body.text("code").unwrap_or("UNKNOWN"), body.text("message").unwrap_or_default()))
        }
        status => Err(Untrusted::Status(status)),
    }
}

/// What is in the way stands before WeChat, and does not sign: then its status says more than the signature it lacks.
pub(super) fn untrusted(answer: &Response, fault: SignFault) -> Untrusted {
    match fault {
        SignFault::Header(_) if !(200..300).contains(&answer.status) => Untrusted::Status(answer.status),
        SignFault::Probe => Untrusted::Probe,
        fault => Untrusted::BadSign(fault.to_string()),
    }
}

/// Checks that a message speaks of us and of this order.
///
/// # Errors
/// What it speaks of instead.
pub(super) fn check_identity(
    account: &Account,
    told: &Object,
    out_trade_no: &OutTradeNo,
) -> Result<(), Untrusted> {
    if told.text("mchid") != Some(&account.mch_id) {
        return Err(Untrusted::Identity("mchid"));
    }
    if !told.text("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Untrusted::Identity("appid"));
    }
    if told.text("out_trade_no") != Some(out_trade_no.as_str()) {
        return Err(Untrusted::Identity("out_trade_no"));
    }
    Ok(())
}
