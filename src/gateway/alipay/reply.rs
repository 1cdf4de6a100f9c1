//! Replies of the gateway: `{"…_response":{…},"sign":"…"}`. Nothing inside is read before its signature, which is over
//! the text between the node's braces as it arrived, braces included.
//!
//! Source: page 02mse7 of the open platform, as the official SDKs carry it out.

use super::{
    Account,
    raw_json::Object,
    sub_code::{self, Meaning},
};
use crate::gateway::{RefundMeaning, Response, Untrusted, words};

/// The node when the gateway itself refuses a call, whatever it was.
const ERROR_NODE: &str = "error_response";

/// An authentic reply to a call of ours.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// `code` 10000: the call was carried out. What became of the money is the caller's to read.
    Done(Object<'a>),
    Failed(Failure),
}

/// `code` and `sub_code`, with the text for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub sub_code: String,
    sub_msg: String,
}

impl Failure {
    pub fn meaning(&self) -> Meaning {
        sub_code::meaning(&self.code, &self.sub_code)
    }

    pub fn refund_meaning(&self) -> RefundMeaning {
        sub_code::refund_meaning(&self.code, &self.sub_code)
    }

    /// The more telling of both codes, as it is kept.
    pub fn word(&self) -> String {
        words::word(if self.sub_code.is_empty() { &self.code } else { &self.sub_code })
    }

    /// The same with its text.
    pub fn text(&self) -> String {
        words::with_text(&self.word(), &self.sub_msg)
    }
}

/// Reads and authenticates the reply to a call of this `method`.
///
/// # Errors
/// A status other than 200; not the document; a refusal without a signature, as the gateway may answer what it cannot
/// attribute to an app; a signature that does not verify; in certificate mode, another certificate than ours.
pub fn read<'a>(account: &Account, method: &str, answer: &'a Response) -> Result<Reply<'a>, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let text = std::str::from_utf8(&answer.body).map_err(malformed)?;
    let document = Object::parse(text).map_err(malformed)?;
    let named = format!("{}_response", method.replace('.', "_"));
    let node = match (document.raw(&named), document.raw(ERROR_NODE)) {
        (Some(node), None) => node,
        (None, Some(node)) if document.raw("sign").is_none() => {
            return Err(Untrusted::CommFail(unsigned(node)));
        }
        (None, Some(node)) => node,
        (None, None) => return Err(Untrusted::Malformed(format!("no {named}"))),
        (Some(_), Some(_)) => return Err(Untrusted::Malformed(format!("{named} beside {ERROR_NODE}"))),
    };
    authenticate(account, &document, node)?;
    judge(node)
}

fn authenticate(account: &Account, document: &Object<'_>, node: &str) -> Result<(), Untrusted> {
    let sign = document.text("sign").ok_or_else(|| Untrusted::BadSign("no sign".to_owned()))?;
    if let Some(certificates) = &account.certificates
        && document.text("alipay_cert_sn").as_ref() != Some(&certificates.alipay_cert_sn)
    {
        return Err(Untrusted::BadSign("made with another certificate of Alipay's than ours".to_owned()));
    }
    if account.public_key.verify(node.as_bytes(), &sign) {
        Ok(())
    } else {
        Err(Untrusted::BadSign("wrong sign".to_owned()))
    }
}

/// What a refusal without a signature says, for whoever looks for the cause: anybody can have written it, and nothing
/// is decided by it.
fn unsigned(node: &str) -> String {
    match judge(node) {
        Ok(Reply::Failed(failure)) => format!("an unsigned error_response: {}", failure.text()),
        Ok(Reply::Done(_)) | Err(_) => "an unsigned error_response".to_owned(),
    }
}

fn judge(node: &str) -> Result<Reply<'_>, Untrusted> {
    // An encrypted node is a string; we never ask for encryption.
    let fields = Object::parse(node).map_err(malformed)?;
    let code = fields.text("code").ok_or(Untrusted::Incomplete("code"))?;
    if code == "10000" {
        return Ok(Reply::Done(fields));
    }
    let text = |name| fields.text(name).unwrap_or_default();
    Ok(Reply::Failed(Failure { code, sub_code: text("sub_code"), sub_msg: text("sub_msg") }))
}

/// # Errors
/// The reply does not say this of itself, or says something else: it may be the answer to another question.
pub fn must_be(fields: &Object<'_>, name: &'static str, ours: &str) -> Result<(), Untrusted> {
    if fields.text(name).as_deref() == Some(ours) { Ok(()) } else { Err(Untrusted::Identity(name)) }
}

/// # Errors
/// The reply says something else of itself; it may be silent.
pub fn may_be(fields: &Object<'_>, name: &'static str, ours: &str) -> Result<(), Untrusted> {
    if fields.raw(name).is_none() { Ok(()) } else { must_be(fields, name, ours) }
}

fn malformed(fault: impl std::fmt::Display) -> Untrusted {
    Untrusted::Malformed(fault.to_string())
}
