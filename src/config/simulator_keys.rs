//! The keys of play money: made by the demo and the tests, and refused by `serve`.

use super::SIMULATOR_MARK;
use crate::{
    domain::order::Environment,
    gateway::{
        alipay,
        rsa::{PrivateKey, PublicKey},
        wechat_v2,
        wechat_v3::{self, ApiV3Key, WechatPublicKey},
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write;

/// Who the merchant is at the simulator's Alipay.
pub const SIMULATOR_ALIPAY_APP_ID: &str = "2021000000000000";
pub const SIMULATOR_ALIPAY_SELLER_ID: &str = "2088000000000001";

/// Fresh keys of one demo, each marked so that `serve` refuses it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct SimulatorKeys {
    pub api_key: String,
    pub app_secret: String,
    pub secret_key: String,
    /// Missing in the files of older demos, and where nobody speaks a protocol that needs them.
    #[serde(default)]
    pub rsa: Option<RsaKeys>,
}

/// What V3 and Alipay sign with, both sides of it: private keys in base64 of their PKCS#8 form.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct RsaKeys {
    /// The merchant's V3 key.
    pub merchant: String,
    /// Behind WeChat's platform certificate.
    pub platform: String,
    /// Behind the one that takes its place.
    pub next_platform: String,
    /// The other half of WeChat's public key.
    pub wechat_public: String,
    /// The merchant's key at Alipay.
    pub alipay_app: String,
    /// Alipay's own.
    pub alipay_platform: String,
}

impl RsaKeys {
    /// Takes about a second: made once for a demo, and once for all tests of a process. `None` when the system gives no
    /// randomness.
    pub fn generate() -> Option<RsaKeys> {
        let key = || PrivateKey::generate()?.to_base64();
        Some(RsaKeys {
            merchant: key()?,
            platform: key()?,
            next_platform: key()?,
            wechat_public: key()?,
            alipay_app: key()?,
            alipay_platform: key()?,
        })
    }

    /// The serial of the merchant's API certificate: 40 upper-case hex digits.
    pub fn merchant_serial(&self) -> String {
        digits("merchant serial", &self.merchant, 40)
    }

    /// The id of WeChat's public key.
    pub fn public_key_id(&self) -> String {
        format!("PUB_KEY_ID_{SIMULATOR_MARK}{}", digits("public key id", &self.wechat_public, 16))
    }
}

impl SimulatorKeys {
    /// From three random texts of at least 32 letters and digits; without RSA keys.
    pub fn marked(random: [String; 3]) -> SimulatorKeys {
        let [api_key, app_secret, secret_key] = random;
        SimulatorKeys {
            api_key: format!("{SIMULATOR_MARK}{api_key}").chars().take(32).collect(),
            app_secret: format!("{SIMULATOR_MARK}{app_secret}"),
            secret_key: format!("{SIMULATOR_MARK}{secret_key}"),
            rsa: None,
        }
    }

    /// Makes what a file of an older demo lacks; whether there was anything to make.
    pub fn complete(&mut self) -> bool {
        if self.rsa.is_some() {
            return false;
        }
        self.rsa = RsaKeys::generate();
        self.rsa.is_some()
    }

    /// The APIv3 key: exactly 32 bytes.
    pub fn api_v3_key(&self) -> String {
        let digits = digits("api v3 key", &self.api_key, 64);
        format!("{SIMULATOR_MARK}{digits}").chars().take(32).collect()
    }

    /// The merchant at the simulator's WeChat, in public-key mode; `None` without RSA keys.
    pub fn wechat_v3(&self, v2: &wechat_v2::Account) -> Option<wechat_v3::Account> {
        let rsa = self.rsa.as_ref()?;
        let public = PrivateKey::parse(&rsa.wechat_public).ok()?.public_base64()?;
        Some(wechat_v3::Account {
            appids: v2.appids.clone(),
            mch_id: v2.mch_id.clone(),
            key: PrivateKey::parse(&rsa.merchant).ok()?,
            serial: rsa.merchant_serial(),
            api_v3_key: ApiV3Key::new(&self.api_v3_key())?,
            public_key: Some(WechatPublicKey {
                id: rsa.public_key_id(),
                key: PublicKey::parse(&public).ok()?,
            }),
            certificates: Vec::new(),
            public_url: v2.public_url.clone(),
            environment: Environment::Simulator,
        })
    }

    /// The merchant at the simulator's Alipay; `None` without RSA keys.
    pub(super) fn alipay(&self, simulator: &str, public_url: &str) -> Option<alipay::Account> {
        let rsa = self.rsa.as_ref()?;
        Some(alipay::Account {
            app_id: SIMULATOR_ALIPAY_APP_ID.to_owned(),
            seller_id: SIMULATOR_ALIPAY_SELLER_ID.to_owned(),
            key: PrivateKey::parse(&rsa.alipay_app).ok()?,
            public_key: PublicKey::parse(&PrivateKey::parse(&rsa.alipay_platform).ok()?.public_base64()?)
                .ok()?,
            certificates: None,
            gateway_url: format!("{simulator}/gateway.do"),
            public_url: public_url.to_owned(),
            environment: Environment::Simulator,
        })
    }

    /// The secret of the mini program.
    pub fn mini_secret(&self) -> String {
        format!("{SIMULATOR_MARK}{}", digits("mini secret", &self.app_secret, 32))
    }
}

/// Upper-case hex digits, 64 at most, that follow from a key and do not lead back to it.
fn digits(purpose: &str, key: &str, many: usize) -> String {
    let hash = digest(&SHA256, format!("{purpose}\n{key}").as_bytes());
    let mut text = String::new();
    for byte in hash.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text.chars().take(many).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_marked_and_of_the_form_its_protocol_wants() {
        let keys = SimulatorKeys::marked(["a".repeat(32), "b".repeat(32), "c".repeat(32)]);
        for key in
            [&keys.api_key, &keys.app_secret, &keys.secret_key, &keys.api_v3_key(), &keys.mini_secret()]
        {
            assert!(key.starts_with(SIMULATOR_MARK) && key.len() >= 32, "{key}");
        }
        assert_eq!((keys.api_key.len(), keys.api_v3_key().len()), (32, 32));
        assert_ne!(keys.api_key, keys.api_v3_key());
    }

    #[test]
    fn a_file_of_an_older_demo_gets_what_it_lacks_once() {
        let old = r#"{"api_key":"SIMULATORa","app_secret":"SIMULATORb","secret_key":"SIMULATORc"}"#;
        let mut keys: SimulatorKeys = serde_json::from_str(old).unwrap();
        assert!(keys.complete() && !keys.complete());
        let rsa = keys.rsa.clone().unwrap();
        assert!(PrivateKey::parse(&rsa.alipay_platform).is_ok());
        assert_eq!(rsa.merchant_serial().len(), 40);
        assert!(rsa.public_key_id().starts_with("PUB_KEY_ID_SIMULATOR"));
        let text = serde_json::to_string(&keys).unwrap();
        let again: SimulatorKeys = serde_json::from_str(&text).unwrap();
        assert_eq!(again.rsa.unwrap().merchant_serial(), rsa.merchant_serial());
    }
}
