//! V3 signatures: a few lines, each ended by a line feed, under RSA with SHA-256.
//!
//! Source: the official pages on signing requests and on verifying replies and callbacks.

use super::Account;
use crate::{
    canary::{self, Canary},
    domain::time::UnixMs,
    gateway::{Base, Headers, Request, Stamp, rsa::PublicKey},
};

/// The scheme of our `Authorization`, and the one algorithm WeChat may name.
pub const ALGORITHM: &str = "WECHATPAY2-SHA256-RSA2048";
/// How the signatures begin that WeChat spoils on purpose now and then, to see whether we look.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// A message this much off our clock was recorded and sent again, or a clock is wrong, in seconds.
const WINDOW_SECS: i64 = 300;

/// Why a message is not WeChat's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    #[error("{0} is missing or repeated")]
    Header(&'static str),
    #[error("it names another algorithm")]
    Algorithm,
    #[error("its timestamp is no number of seconds")]
    Timestamp,
    #[error("it names a key we do not have")]
    UnknownSerial,
    #[error("it was not made over these bytes by the key it names")]
    Wrong,
    #[error("it is a probe of WeChat's, wrong on purpose")]
    Probe,
    #[error("it holds, but its time is more than 300 s off our clock")]
    Stale,
}

/// A text to sign: every line ended by a line feed, the last one as well.
pub fn lines<const N: usize>(lines: [&[u8]; N]) -> Vec<u8> {
    lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
}

/// The header that says who asks, and signs what is asked: method, path with query, time, nonce and body.
pub fn authorization(account: &Account, method: &str, path: &str, body: &str, stamp: &Stamp) -> String {
    let (nonce, secs) = (&stamp.nonce, stamp.now.secs().to_string());
    let message =
        lines([method.as_bytes(), path.as_bytes(), secs.as_bytes(), nonce.as_bytes(), body.as_bytes()]);
    format!(
        "{ALGORITHM} mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{}\",timestamp=\"{secs}\",serial_no=\"{}\"",
        account.mch_id,
        account.key.sign(&message),
        account.serial,
    )
}

/// A signed call. Path and body leave exactly as they were signed.
pub(super) fn request(
    account: &Account,
    call: &'static str,
    path: String,
    body: Option<String>,
    stamp: &Stamp,
) -> Request {
    let method = if body.is_some() { "POST" } else { "GET" };
    let authorization = authorization(account, method, &path, body.as_deref().unwrap_or_default(), stamp);
    let mut headers = vec![("Authorization", authorization), ("Accept", "application/json".to_owned())];
    // In public-key mode it says which key the reply is to be signed with.
    if let Some(public_key) = &account.public_key {
        headers.push(("Wechatpay-Serial", public_key.id.clone()));
    }
    Request {
        base: Base::WechatApi,
        call,
        path,
        body,
        content_type: "application/json",
        headers,
        certificate: false,
    }
}

/// The signature that came with a message, not yet believed.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    timestamp: &'a str,
    secs: i64,
    nonce: &'a str,
    signature: &'a str,
    /// Which key it is said to be of.
    pub serial: &'a str,
}

impl<'a> Signature<'a> {
    /// # Errors
    /// A header that is missing or stands there twice, another algorithm, a time that is no number.
    pub fn read(headers: Headers<'a>) -> Result<Signature<'a>, SignFault> {
        let only = |name| headers.only(name).filter(|value| !value.is_empty()).ok_or(SignFault::Header(name));
        let timestamp = only("wechatpay-timestamp")?;
        let nonce = only("wechatpay-nonce")?;
        let signature = only("wechatpay-signature")?;
        let serial = only("wechatpay-serial")?;
        // It may be missing on old paths, and whatever it says never chooses the algorithm.
        let name = "wechatpay-signature-type";
        let named = headers.0.lines().any(|line| line.split_once(": ").is_some_and(|(this, _)| this == name));
        if named && headers.only(name) != Some(ALGORITHM) {
            return Err(SignFault::Algorithm);
        }
        let secs = Some(timestamp).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let secs = secs.and_then(|text| text.parse().ok()).ok_or(SignFault::Timestamp)?;
        Ok(Signature { timestamp, secs, nonce, signature, serial })
    }

    /// Whether it is this key's over these very bytes, and made within 300 s of `received_at`.
    ///
    /// # Errors
    /// `Wrong`, `Probe` or `Stale`.
    pub fn check(&self, key: &PublicKey, body: &[u8], received_at: UnixMs) -> Result<(), SignFault> {
        let message = lines([self.timestamp.as_bytes(), self.nonce.as_bytes(), body]);
        if !key.verify(&message, self.signature) {
            // Only the name of the fault: a probe is as wrong as any other.
            let probe = self.signature.starts_with(PROBE);
            return Err(if probe { SignFault::Probe } else { SignFault::Wrong });
        }
        let off = received_at.secs().saturating_sub(self.secs);
        let in_time = (-WINDOW_SECS..=WINDOW_SECS).contains(&off) || canary::sings(Canary::V3AnyTime);
        if in_time { Ok(()) } else { Err(SignFault::Stale) }
    }
}
