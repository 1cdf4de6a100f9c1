//! Whose signatures are believed: WeChat Pay's public key and its platform certificates, each under its own name.
//! Both kinds may sign at once while a merchant is switched from one to the other.

use super::sign::{SignFault, Signature};
use crate::{
    canary::{self, Canary},
    domain::{ids::hex, time::UnixMs},
    gateway::{
        Headers,
        rsa::{KeyFault, PublicKey},
    },
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whatever calls for it, certificates are asked for at most this often, in ms.
const PAUSE_MS: i64 = 60_000;
/// How often they are asked for when nothing else calls for it, in ms: a new one is handed out days before
/// it signs.
const REFRESH_MS: i64 = 12 * 3_600_000;
/// How long a certificate that was fetched is believed after the first list that lacks it, in ms.
const MISSING_MS: i64 = 24 * 3_600_000;

/// WeChat Pay's public key for one merchant. It has no end.
#[derive(Clone, Debug)]
pub struct WechatPublicKey {
    /// `PUB_KEY_ID_` and digits.
    pub id: String,
    pub key: PublicKey,
}

/// A certificate WeChat signs with.
#[derive(Clone, Debug)]
pub struct PlatformCertificate {
    /// Upper-case hex without leading zeros.
    pub serial: String,
    pub key: PublicKey,
    /// The last moment of its validity.
    pub not_after: UnixMs,
}

impl PlatformCertificate {
    /// Reads one certificate in DER. Who signed it is not looked at: what vouches for it is how it came here.
    ///
    /// # Errors
    /// Not an X.509 certificate, or not of an RSA key of 2048 bits or more.
    pub fn from_der(der: &[u8]) -> Result<PlatformCertificate, KeyFault> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| KeyFault::Text)?;
        if !rest.is_empty() {
            return Err(KeyFault::Text);
        }
        let ends = certificate.validity().not_after.timestamp();
        Ok(PlatformCertificate {
            serial: plain_serial(&hex(certificate.raw_serial())),
            key: PublicKey::from_der(certificate.public_key().raw)?,
            not_after: UnixMs(ends.saturating_mul(1000)),
        })
    }

    /// Whether this is its serial number, however it is written.
    pub fn is_named(&self, serial: &str) -> bool {
        self.serial == plain_serial(serial)
    }
}

/// A serial number as it is compared: some write it in lower case, or with zeros before it.
pub(super) fn plain_serial(serial: &str) -> String {
    serial.trim_start_matches('0').to_ascii_uppercase()
}

/// The keys of one account.
#[derive(Debug)]
pub(super) struct KeyRing {
    public_key: Option<WechatPublicKey>,
    /// Platform certificates are used, so that new ones are asked for. A merchant that was never given any gets an
    /// error instead.
    asks: bool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct HeldCertificate {
    certificate: PlatformCertificate,
    /// Given by the merchant, who alone takes it away.
    configured: bool,
    /// When the first of the latest lists came that all lack it.
    missing_since: Option<UnixMs>,
}

impl HeldCertificate {
    /// Takes note of a list, and says whether WeChat has withdrawn it: all lists of a day or more lack it.
    fn is_withdrawn(&mut self, listed: &[PlatformCertificate], now: UnixMs) -> bool {
        if self.configured || listed.iter().any(|one| one.serial == self.certificate.serial) {
            self.missing_since = None;
            return false;
        }
        // A clock that was set back begins the day anew.
        let since = self.missing_since.filter(|since| *since <= now).unwrap_or(now);
        self.missing_since = Some(since);
        now.since(since) >= MISSING_MS
    }
}

#[derive(Debug)]
struct Held {
    certificates: Vec<HeldCertificate>,
    asked_at: Option<UnixMs>,
    /// A message named a certificate we do not have.
    wanted: bool,
}

impl KeyRing {
    pub fn new(public_key: Option<WechatPublicKey>, certificates: Vec<PlatformCertificate>) -> KeyRing {
        let asks = public_key.is_none() || !certificates.is_empty();
        let configured = |certificate| HeldCertificate { certificate, configured: true, missing_since: None };
        let certificates = certificates.into_iter().map(configured).collect();
        KeyRing { public_key, asks, held: Mutex::new(Held { certificates, asked_at: None, wanted: false }) }
    }

    /// Verifies a message by the key it names.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, headers: Headers<'_>, body: &[u8], received_at: UnixMs) -> Result<(), SignFault> {
        if canary::sings(Canary::V3Unsigned) && headers.only("wechatpay-signature").is_none() {
            return Ok(());
        }
        let signature = Signature::read(headers)?;
        let key = self.key(signature.serial, received_at).ok_or(SignFault::UnknownSerial)?;
        signature.check(&key, body, received_at)
    }

    /// The key of that name, if it has not ended.
    fn key(&self, serial: &str, at: UnixMs) -> Option<PublicKey> {
        let named = |key: &&WechatPublicKey| key.id == serial || canary::sings(Canary::V3AnySerial);
        if let Some(public_key) = self.public_key.as_ref().filter(named) {
            return Some(public_key.key.clone());
        }
        let (mut held, plain) = (self.held(), plain_serial(serial));
        let mut certificates = held.certificates.iter().map(|held| &held.certificate);
        let found =
            certificates.find(|certificate| certificate.serial == plain && at <= certificate.not_after);
        let key = found.map(|certificate| certificate.key.clone());
        // An unknown public key is nothing that certificates could help with.
        held.wanted |= key.is_none() && plain.bytes().all(|b| b.is_ascii_hexdigit());
        key
    }

    /// Whether to ask for certificates now; asking is written down. Whatever strangers send, once a minute at most. Beside
    /// a public key, certificates that have all ended belong to a switch that is over: then WeChat has none to give, and
    /// is only asked twice a day.
    pub fn is_due(&self, now: UnixMs) -> bool {
        let mut held = self.held();
        let asked_at = held.asked_at;
        // A clock that was set back makes the last time lie ahead: that is no reason to wait for it.
        let within = |ms: i64| asked_at.is_some_and(|at| (0..ms).contains(&now.since(at)));
        let none = held.certificates.iter().all(|held| held.certificate.not_after < now);
        let urgent = if none { self.public_key.is_none() } else { held.wanted };
        let due = self.asks && !within(PAUSE_MS) && (urgent || !within(REFRESH_MS));
        if due {
            held.asked_at = Some(now);
            held.wanted = false;
        }
        due
    }

    /// Takes in a list that was proved to be WeChat's. Those we had stay until they end, and those that came by a list
    /// until lists of a whole day lack them: what was signed before may still be on its way.
    pub fn add(&self, listed: Vec<PlatformCertificate>, now: UnixMs) {
        let mut held = self.held();
        held.wanted = false;
        held.certificates
            .retain_mut(|held| now <= held.certificate.not_after && !held.is_withdrawn(&listed, now));
        for certificate in listed {
            let known = held.certificates.iter().any(|known| known.certificate.serial == certificate.serial);
            if !known && now <= certificate.not_after {
                held.certificates.push(HeldCertificate {
                    certificate,
                    configured: false,
                    missing_since: None,
                });
            }
        }
    }

    /// The certificates that are held, by their names, with their last moments.
    pub fn ends(&self) -> Vec<(String, UnixMs)> {
        let held = self.held();
        let certificates = held.certificates.iter().map(|held| &held.certificate);
        certificates.map(|one| (format!("微信支付平台证书 {}", one.serial), one.not_after)).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What is held is whole between any two statements, so a panic elsewhere spoils nothing.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
