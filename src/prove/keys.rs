//! The gateways' keys as the proof itself holds them: the oracle checks with them, and forgers use the wrong ones.

use super::certificates::Mode;
use crate::{config::SimulatorKeys, gateway::rsa::PrivateKey, simulator::V3Keys};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// The one algorithm V3 names.
pub const V3_ALGORITHM: &str = "WECHATPAY2-SHA256-RSA2048";

const PUBLIC_KEY: &str = "the public key";

/// A key of WeChat's with the name messages know it by.
pub struct Signer {
    /// For people.
    pub what: &'static str,
    pub serial: String,
    pub key: PrivateKey,
}

impl Signer {
    pub fn is_certificate(&self) -> bool {
        self.what != PUBLIC_KEY
    }
}

/// Keys of a world whose gateways sign with RSA.
pub struct Keys {
    /// What the shop is set up to believe of WeChat's: the public key, the certificate and the next one, or all three.
    signers: Vec<Signer>,
    pub merchant: PrivateKey,
    api_v3_key: Vec<u8>,
    pub alipay: PrivateKey,
    /// Our own at Alipay.
    pub app: PrivateKey,
}

impl Keys {
    /// `None` in a world without RSA.
    pub fn of(keys: &SimulatorKeys, mode: Mode) -> Option<Keys> {
        let rsa = keys.rsa.as_ref()?;
        let private = |text: &str| PrivateKey::parse(text).ok();
        let signer =
            |what, serial, key: &str| Some(Signer { what, serial, key: PrivateKey::parse(key).ok()? });
        let mut signers = Vec::new();
        if mode != Mode::Certificates {
            signers.push(signer(PUBLIC_KEY, rsa.public_key_id(), &rsa.wechat_public)?);
        }
        if mode != Mode::PublicKey {
            let [serial, next] = V3Keys::of(keys)?.serials();
            signers.push(signer("the certificate", serial, &rsa.platform)?);
            signers.push(signer("the next certificate", next, &rsa.next_platform)?);
        }
        Some(Keys {
            signers,
            merchant: private(&rsa.merchant)?,
            api_v3_key: keys.api_v3_key().into_bytes(),
            alipay: private(&rsa.alipay_platform)?,
            app: private(&rsa.alipay_app)?,
        })
    }

    /// The one the shop may know by this name.
    pub fn named(&self, serial: &str) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.serial == serial)
    }

    /// Any that the shop may know.
    pub fn any(&self) -> Option<&Signer> {
        self.signers.first()
    }

    /// The platform certificate and the next one; none in public-key mode.
    pub fn certificates(&self) -> &[Signer] {
        let first = self.signers.iter().position(Signer::is_certificate);
        first.and_then(|first| self.signers.get(first..)).unwrap_or_default()
    }

    /// What was sealed for us.
    pub fn opened(&self, resource: &Value) -> Option<String> {
        let text = |name: &str| resource.get(name)?.as_str();
        if text("algorithm")? != "AEAD_AES_256_GCM" {
            return None;
        }
        let mut bytes = STANDARD.decode(text("ciphertext")?).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(text("nonce")?.as_bytes()).ok()?;
        let data = Aad::from(text("associated_data")?.as_bytes());
        let plain = cipher(&self.api_v3_key)?.open_in_place(nonce, data, &mut bytes).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

/// Sealed as V3 does it, for whoever has this key.
pub fn sealed(key: &[u8], nonce: &str, associated_data: &str, text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
    cipher(key)?.seal_in_place_append_tag(nonce, Aad::from(associated_data.as_bytes()), &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

fn cipher(key: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}

/// What V3 signs of a message.
pub fn v3_text(secs: &str, nonce: &str, body: &str) -> String {
    format!("{secs}\n{nonce}\n{body}\n")
}

/// What Alipay signs of a callback.
pub fn alipay_text(pairs: &[(String, String)]) -> String {
    let mut signed: Vec<&(String, String)> = pairs
        .iter()
        .filter(|(name, value)| !["sign", "sign_type"].contains(&name.as_str()) && !value.is_empty())
        .collect();
    signed.sort();
    signed.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}
