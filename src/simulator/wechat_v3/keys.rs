//! The keys on both sides of V3: WeChat signs with three of its own, and knows the merchant's by its other half.

use crate::{
    config::SimulatorKeys,
    domain::time::UnixMs,
    gateway::rsa::{PrivateKey, PublicKey},
};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};
use std::fmt::Write;
use time::OffsetDateTime;

/// A platform certificate holds five years, and was made a day ago.
const CERTIFICATE_MS: i64 = 5 * 365 * 24 * 3_600_000;
const AGE_MS: i64 = 24 * 3_600_000;
/// Bytes of a serial: 40 hex digits, as real ones have.
const SERIAL_LEN: usize = 20;

/// What WeChat signs a message with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The key behind `PUB_KEY_ID_…`, which has no end.
    PublicKey,
    /// The key of the platform certificate of today.
    Certificate,
}

/// Everything V3 is signed and sealed with.
#[derive(Clone)]
pub struct V3Keys {
    /// Verifies what the merchant signs.
    pub merchant: PublicKey,
    /// Of the merchant's API certificate.
    pub merchant_serial: String,
    pub(super) public_key: Named,
    pub(super) platform: Named,
    pub(super) next_platform: Named,
    api_v3_key: Vec<u8>,
}

/// A key with the name messages know it by.
#[derive(Clone)]
pub struct Named {
    pub serial: String,
    pub key: PrivateKey,
}

impl std::fmt::Debug for V3Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("V3Keys").field("merchant_serial", &self.merchant_serial).finish_non_exhaustive()
    }
}

impl V3Keys {
    /// `None` when there are no RSA keys among them, or unreadable ones.
    pub fn of(keys: &SimulatorKeys) -> Option<V3Keys> {
        let rsa = keys.rsa.as_ref()?;
        let merchant = PrivateKey::parse(&rsa.merchant).ok()?;
        let platform = |text: &str| {
            let key = PrivateKey::parse(text).ok()?;
            Some(Named { serial: hex(&serial_of(&key)?), key })
        };
        Some(V3Keys {
            merchant: PublicKey::parse(&merchant.public_base64()?).ok()?,
            merchant_serial: rsa.merchant_serial(),
            public_key: Named {
                serial: rsa.public_key_id(),
                key: PrivateKey::parse(&rsa.wechat_public).ok()?,
            },
            platform: platform(&rsa.platform)?,
            next_platform: platform(&rsa.next_platform)?,
            api_v3_key: keys.api_v3_key().into_bytes(),
        })
    }

    /// The same under an APIv3 key that somebody brought.
    pub fn sealing_with(self, api_v3_key: &str) -> V3Keys {
        V3Keys { api_v3_key: api_v3_key.as_bytes().to_vec(), ..self }
    }

    /// Of the platform certificate, and of the one that takes its place.
    pub fn serials(&self) -> [String; 2] {
        [self.platform.serial.clone(), self.next_platform.serial.clone()]
    }

    /// The one messages name so, of those in use.
    pub(super) fn named(&self, serial: &str, rotated: bool) -> Option<&Named> {
        let next = rotated.then_some(&self.next_platform);
        [&self.public_key, &self.platform].into_iter().chain(next).find(|named| named.serial == serial)
    }

    /// AES-256-GCM under the APIv3 key, in base64 with the tag at the end. Empty, which opens nowhere, when the key is of
    /// another length.
    pub(super) fn seal(&self, nonce: &str, associated_data: &str, text: &str) -> String {
        let sealed = || {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.api_v3_key).ok()?);
            let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
            let mut bytes = text.as_bytes().to_vec();
            key.seal_in_place_append_tag(nonce, Aad::from(associated_data.as_bytes()), &mut bytes).ok()?;
            Some(STANDARD.encode(bytes))
        };
        sealed().unwrap_or_default()
    }
}

/// What AES-GCM takes: the first 12 bytes of a nonce.
pub(super) fn gcm_nonce(nonce: &str) -> String {
    nonce.chars().take(NONCE_LEN).collect()
}

/// From when to when a platform certificate holds that is looked at now.
pub(super) fn validity(now: UnixMs) -> (UnixMs, UnixMs) {
    // To the second of the day, so that two looks on one day see the same certificate.
    let start = now.plus_ms(-AGE_MS.saturating_add(now.0.rem_euclid(AGE_MS)));
    (start, start.plus_ms(CERTIFICATE_MS))
}

/// The X.509 certificate of a platform key, in PEM; it vouches for itself. `None` when the library refuses.
pub(super) fn certificate(named: &Named, now: UnixMs) -> Option<String> {
    let der = STANDARD.decode(named.key.to_base64()?).ok()?;
    let pair = KeyPair::try_from(der).ok()?;
    let mut params = CertificateParams::new(Vec::new()).ok()?;
    let (from, to) = validity(now);
    params.not_before = OffsetDateTime::from_unix_timestamp(from.secs()).ok()?;
    params.not_after = OffsetDateTime::from_unix_timestamp(to.secs()).ok()?;
    params.serial_number = Some(SerialNumber::from_slice(&serial_of(&named.key)?));
    params.distinguished_name.push(DnType::CommonName, "Simulator Tenpay.com sign");
    Some(params.self_signed(&pair).ok()?.pem())
}

/// Follows from the key; positive, and without a zero in front.
fn serial_of(key: &PrivateKey) -> Option<[u8; SERIAL_LEN]> {
    let hash = digest(&SHA256, key.public_base64()?.as_bytes());
    let mut serial: [u8; SERIAL_LEN] = hash.as_ref().get(..SERIAL_LEN)?.try_into().ok()?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Some(serial)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}
