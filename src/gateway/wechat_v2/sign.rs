//! V2 signatures: sorted `name=value` pairs, the key as a tail, MD5 or HMAC-SHA256, upper-case hex.
//!
//! Source: the official "signature algorithm" chapter 4_3 and its worked example.

use super::{ApiKey, xml::Fields};
use crate::{
    canary::{self, Canary},
    domain::ids::hex,
};
use aws_lc_rs::{constant_time, hmac};
use md5::{Digest, Md5};

/// The two algorithms of V2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignType {
    Md5,
    HmacSha256,
}

impl SignType {
    pub const ALL: [SignType; 2] = [SignType::Md5, SignType::HmacSha256];

    pub const fn as_str(self) -> &'static str {
        match self {
            SignType::Md5 => "MD5",
            SignType::HmacSha256 => "HMAC-SHA256",
        }
    }

    pub fn parse(text: &str) -> Option<SignType> {
        SignType::ALL.into_iter().find(|sign_type| sign_type.as_str() == text)
    }

    /// The algorithm whose signatures have this many hex digits.
    const fn of_length(hex_digits: usize) -> Option<SignType> {
        match hex_digits {
            32 => Some(SignType::Md5),
            64 => Some(SignType::HmacSha256),
            _ => None,
        }
    }
}

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    #[error("no sign")]
    Missing,
    #[error("an algorithm this account does not accept")]
    NotAllowed,
    #[error("sign_type and the length of sign disagree")]
    TypeMismatch,
    #[error("wrong sign")]
    Wrong,
}

/// The text that is signed, without the key: every non-empty field but `sign`, in byte order of names.
pub fn canonical(fields: &Fields) -> String {
    let mut text = String::with_capacity(512);
    for (name, value) in fields.iter().filter(|(name, value)| *name != "sign" && !value.is_empty()) {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Signs the fields: 32 upper-case hex digits for MD5, 64 for HMAC-SHA256.
pub fn sign(fields: &Fields, key: &ApiKey, sign_type: SignType) -> String {
    let mut text = canonical(fields);
    if !text.is_empty() {
        text.push('&');
    }
    text.push_str("key=");
    text.push_str(key.expose());
    match sign_type {
        SignType::Md5 => upper_hex(&Md5::digest(text.as_bytes())),
        SignType::HmacSha256 => {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
            upper_hex(hmac::sign(&hmac_key, text.as_bytes()).as_ref())
        }
    }
}

/// Checks `sign` over every field that arrived, known or not, and says which algorithm it was.
///
/// The algorithm follows from the length of `sign` within `accept`, because WeChat often leaves
/// `sign_type` out even for HMAC orders; a `sign_type` that is present must agree.
///
/// # Errors
/// No sign; an algorithm not in `accept`; a `sign_type` that disagrees; a wrong or lower-case sign.
pub fn verify(fields: &Fields, key: &ApiKey, accept: &[SignType]) -> Result<SignType, SignFault> {
    if fields.get("sign").is_none() && canary::sings(Canary::UnsignedAccepted) {
        return Ok(SignType::HmacSha256);
    }
    let given = fields.get("sign").ok_or(SignFault::Missing)?;
    if canary::sings(Canary::SignPrefix)
        && accept.iter().any(|sign_type| sign(fields, key, *sign_type).starts_with(given))
    {
        return Ok(SignType::HmacSha256);
    }
    let sign_type = SignType::of_length(given.len()).ok_or(SignFault::Wrong)?;
    if fields.get("sign_type").is_some_and(|named| named != sign_type.as_str()) {
        return Err(SignFault::TypeMismatch);
    }
    if !accept.contains(&sign_type) && !canary::sings(Canary::AnyAlgorithm) {
        return Err(SignFault::NotAllowed);
    }
    let right = sign(fields, key, sign_type);
    constant_time::verify_slices_are_equal(right.as_bytes(), given.as_bytes())
        .map_err(|_| SignFault::Wrong)?;
    Ok(sign_type)
}

/// The key under which refund notifies are encrypted: the 32 lower-case hex digits of the API key's MD5, leading
/// zeros included (refund notify page 4011989265).
pub(super) fn refund_cipher_key(key: &ApiKey) -> String {
    hex(&Md5::digest(key.expose().as_bytes()))
}

fn upper_hex(bytes: &[u8]) -> String {
    let mut text = hex(bytes);
    text.make_ascii_uppercase();
    text
}
