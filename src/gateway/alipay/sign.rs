//! RSA2: sorted `name=value` pairs joined by `&`, RSA PKCS#1 v1.5 with SHA-256, base64.
//!
//! Source: the signing page 02kf5q and the notify verification page 02mse7. A request is signed with its `sign_type`,
//! a notify about a trade without it: a message captured in the official node SDK's tests verifies only so.

use super::form::Form;
use crate::{
    canary::{self, Canary},
    gateway::rsa::{PrivateKey, PublicKey},
};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// The one algorithm: what we sign with, and the only word we accept in a message.
pub const SIGN_TYPE: &str = "RSA2";

/// Most parameters without a value in a notify whose signature leaves them out. They are under no signature: without
/// an end anybody could add more to a genuine one, and have it kept.
const MOST_EMPTY: usize = 8;

/// The parameters of a request, by byte order of their names.
pub type Params = BTreeMap<String, String>;

/// The text of a request that is signed: every parameter that has a value, but `sign`; before URL encoding.
pub fn request_text(params: &Params) -> String {
    let pairs: Vec<String> = params
        .iter()
        .filter(|(name, value)| *name != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// The request as it is sent, in a body or behind `?`: parameters that have a value, with their signature.
pub fn signed_form(mut params: Params, key: &PrivateKey) -> String {
    params.retain(|_, value| !value.is_empty());
    let sign = key.sign(request_text(&params).as_bytes());
    params.insert("sign".to_owned(), sign);
    form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish()
}

/// What is read of a notify.
const READ: [&str; 14] = [
    "app_id",
    "charset",
    "gmt_payment",
    "gmt_refund",
    "notify_id",
    "notify_type",
    "out_biz_no",
    "out_trade_no",
    "refund_fee",
    "seller_id",
    "total_amount",
    "trade_no",
    "trade_status",
    "trans_currency",
];

/// Whether a notify about a trade was signed with this key.
///
/// Nothing is escaped in the signed text, so a value with `&total_amount=` in it would sign two forms alike: such a form
/// proves nothing. Names that nobody reads may stand in a value, as in `passback_params`, which come back as they were sent.
pub fn notify_verifies(form: &Form, key: &PublicKey) -> bool {
    let Some(sign) = form.get("sign") else { return canary::sings(Canary::AlipayUnsigned) };
    if form.iter().any(|(_, value)| holds_a_pair(value)) {
        return false;
    }
    let kept = notify_text(form, |_| true);
    // Alipay keeps parameters without a value, other signers drop them; each is a whole signature of its own.
    key.verify(&kept, sign) || {
        let empty = form.iter().filter(|(_, value)| value.is_empty()).count();
        let dropped = notify_text(form, |value| !value.is_empty());
        (1..=MOST_EMPTY).contains(&empty) && key.verify(&dropped, sign)
    }
}

/// The text of a notify that is signed, in the bytes that arrived: every pair but `sign` and `sign_type`.
pub fn notify_text(form: &Form, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> = form
        .iter()
        .filter(|(name, value)| !matches!(*name, "sign" | "sign_type") && wanted(value))
        .map(|(name, value)| [name.as_bytes(), b"=", value].concat())
        .collect();
    pairs.join(b"&".as_slice())
}

fn holds_a_pair(value: &[u8]) -> bool {
    value.split(|byte| *byte == b'&').skip(1).any(|piece| {
        let mut sides = piece.splitn(2, |byte| *byte == b'=');
        let name = sides.next().and_then(|name| std::str::from_utf8(name).ok());
        sides.next().is_some() && name.is_some_and(|name| READ.contains(&name))
    })
}
