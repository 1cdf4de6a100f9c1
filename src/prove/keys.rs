//! The gateways' keys as the proof itself holds them: the oracle checks with them, and forgers use the wrong ones.

use crate::{config::SimulatorKeys, gateway::rsa::PrivateKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// The one algorithm V3 names.
pub const V3_ALGORITHM: &str = "WECHATPAY2-SHA256-RSA2048";

/// Keys of a world whose gateways sign with RSA.
pub struct Keys {
    /// The other half of WeChat's public key, and its name.
    pub wechat: PrivateKey,
    pub wechat_id: String,
    pub merchant: PrivateKey,
    api_v3_key: Vec<u8>,
    pub alipay: PrivateKey,
    /// Our own at Alipay.
    pub app: PrivateKey,
}

impl Keys {
    /// `None` in a world without RSA.
    pub fn of(keys: &SimulatorKeys) -> Option<Keys> {
        let rsa = keys.rsa.as_ref()?;
        let private = |text: &str| PrivateKey::parse(text).ok();
        Some(Keys {
            wechat: private(&rsa.wechat_public)?,
            wechat_id: rsa.public_key_id(),
            merchant: private(&rsa.merchant)?,
            api_v3_key: keys.api_v3_key().into_bytes(),
            alipay: private(&rsa.alipay_platform)?,
            app: private(&rsa.alipay_app)?,
        })
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
