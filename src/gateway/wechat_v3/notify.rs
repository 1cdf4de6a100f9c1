//! The pay result callback: from bytes to a verified payment, and the answer WeChat understands.
//!
//! Source: the V3 page on pay result callbacks for fields and answer; the order of checks is ours and stops at the
//! first failure: headers, signature, time, envelope, seal, contents, recipient, fields.

use super::{WechatV3, aead, json::Object, refund_notify, sign::SignFault, transactions};
use crate::{
    domain::ids::OutTradeNo,
    gateway::{Ack, AckReply, Notified, Notify, Rejection, VerifiedPayment},
};

/// A callback, verified and opened.
pub(super) struct Opened {
    pub event_type: String,
    pub contents: Object,
}

/// The order itself is `settle`'s to compare.
pub(super) fn read(gateway: &WechatV3, notify: Notify<'_>) -> Notified {
    let opened = match open(gateway, notify) {
        Ok(opened) => opened,
        Err(rejection) => {
            return Notified::Rejected { rejection, out_trade_no: named(gateway, notify.body) };
        }
    };
    let out_trade_no = number_in(&opened.contents);
    let read = match opened.event_type.as_str() {
        "TRANSACTION.SUCCESS" => match payment(gateway, &opened.contents) {
            Ok(Some(payment)) => Ok(Notified::Paid(payment)),
            Ok(None) => Ok(Notified::NotPaid { out_trade_no: out_trade_no.clone() }),
            Err(rejection) => Err(rejection),
        },
        event if event.starts_with("REFUND.") => refund_notify::hint(gateway, &opened).map(Notified::Refund),
        _ => Ok(Notified::NotPaid { out_trade_no: out_trade_no.clone() }),
    };
    read.unwrap_or_else(|rejection| Notified::Rejected { rejection, out_trade_no })
}

/// Verifies and opens a callback of any kind.
///
/// # Errors
/// Why it is not believed.
pub(super) fn open(gateway: &WechatV3, notify: Notify<'_>) -> Result<Opened, Rejection> {
    gateway.ring.verify(notify.headers, notify.body, notify.received_at).map_err(|fault| match fault {
        SignFault::Probe => Rejection::SignProbe,
        SignFault::Stale => Rejection::Stale,
        _ => Rejection::BadSign,
    })?;
    let envelope = Object::parse(notify.body).ok_or(Rejection::Malformed)?;
    let event_type = envelope.text("event_type").ok_or(Rejection::Malformed)?;
    let resource = envelope.object("resource").ok_or(Rejection::Malformed)?;
    let plain = aead::open(&gateway.account.api_v3_key, resource).ok_or(Rejection::BadCipher)?;
    // WeChat signed it and sealed it for us, so it may be about money: a person must look.
    let contents = Object::parse(&plain).ok_or(Rejection::Incomplete)?;
    Ok(Opened { event_type: event_type.to_owned(), contents })
}

/// The order a message names that is not believed. WeChat sealed it once, so it is worth a query; nothing else of it is read.
pub(super) fn named(gateway: &WechatV3, body: &[u8]) -> Option<OutTradeNo> {
    let envelope = Object::parse(body)?;
    let plain = aead::open(&gateway.account.api_v3_key, envelope.object("resource")?)?;
    number_in(&Object::parse(&plain)?)
}

pub(super) fn number_in(contents: &Object) -> Option<OutTradeNo> {
    contents.text("out_trade_no").and_then(OutTradeNo::parse)
}

/// `None` when the transaction is not SUCCESS.
fn payment(gateway: &WechatV3, contents: &Object) -> Result<Option<VerifiedPayment>, Rejection> {
    if contents.text_or_empty("trade_state").ok_or(Rejection::Incomplete)? != "SUCCESS" {
        return Ok(None);
    }
    let account = &gateway.account;
    if !contents.text("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Rejection::AppidMismatch);
    }
    if contents.text("mchid") != Some(&account.mch_id) {
        return Err(Rejection::MchIdMismatch);
    }
    transactions::payment(account, contents).map(Some).map_err(|_| Rejection::Incomplete)
}

/// The answer in V3's own words: the status decides, the body is for people.
pub(super) fn ack(ack: Ack) -> AckReply {
    let (status, code, message) = match ack {
        Ack::Received => (200, "SUCCESS", "OK"),
        Ack::Refused(class) => (400, "FAIL", class),
    };
    AckReply {
        ack,
        status,
        content_type: "application/json",
        body: serde_json::json!({ "code": code, "message": message }).to_string(),
    }
}

#[cfg(test)]
mod tests;
