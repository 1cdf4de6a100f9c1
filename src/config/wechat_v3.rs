//! Who we are at WeChat Pay V3: our key and its certificate's serial number, what opens what WeChat seals, and whose
//! signatures are believed. Either all of our own part, or nothing.

use super::{PublicUrl, Reader, SIMULATOR_MARK, wechat::Merchant};
use crate::{
    domain::order::Environment,
    gateway::{
        rsa::{PrivateKey, PublicKey, certificate_der},
        wechat_v3::{Account, ApiV3Key, PlatformCertificate, WechatPublicKey},
    },
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;

const API_V3_KEY: &str = "WECHAT_API_V3_KEY";
const KEY: &str = "WECHAT_MERCHANT_KEY_PEM";
const SERIAL: &str = "WECHAT_MERCHANT_CERT_SERIAL";
const PUBLIC_KEY_ID: &str = "WECHAT_PUBLIC_KEY_ID";
const PUBLIC_KEY: &str = "WECHAT_PUBLIC_KEY_PEM";
const CERTIFICATES: &str = "WECHAT_PLATFORM_CERT_PEM";

impl Reader<'_> {
    /// Nothing when none of its variables is set. Without a public key and without certificates, the certificates are
    /// fetched.
    pub(super) fn wechat_v3(
        &mut self,
        merchant: Option<&Merchant>,
        public_url: &PublicUrl,
    ) -> Option<Account> {
        let names = [API_V3_KEY, KEY, SERIAL, PUBLIC_KEY_ID, PUBLIC_KEY, CERTIFICATES];
        if names.iter().all(|name| self.source.get(name).is_none()) {
            return None;
        }
        let api_v3_key =
            self.secret_of(API_V3_KEY, |key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_graphic()));
        let serial = self.parsed(SERIAL, "", |text| {
            let hex = (8..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| text.to_ascii_uppercase())
        });
        let key = self.merchant_key(serial.as_deref());
        let public_key = self.wechat_public_key(key.as_ref());
        let certificates = self.platform_certificates(key.as_ref());
        let merchant = merchant?;
        Some(Account {
            appids: merchant.appids.clone(),
            mch_id: merchant.mch_id.clone(),
            key: key?,
            serial: serial?,
            api_v3_key: ApiV3Key::new(api_v3_key.expose_secret())?,
            public_key,
            certificates,
            public_url: public_url.to_string(),
            environment: Environment::Live,
        })
    }

    /// Our private key. It must sign what its own other half verifies, and belong to `WECHAT_CERT_PEM` where that is set;
    /// then `serial` is the number of that certificate.
    fn merchant_key(&mut self, serial: Option<&str>) -> Option<PrivateKey> {
        let Some(text) = self.source.get(KEY) else {
            self.problem(KEY, "is not set");
            return None;
        };
        let key = PrivateKey::parse(&text).map_err(|fault| self.problem(KEY, &fault.to_string())).ok()?;
        if !key.proves_itself() {
            self.problem(KEY, "does not sign what it should");
            return None;
        }
        let certificate = self.source.get("WECHAT_CERT_PEM").map(|text| certificate_der(&text));
        // One that cannot be read is reported under its own name.
        if let Some(Ok(der)) = certificate {
            let own = PlatformCertificate::from_der(&der).ok().filter(|own| key.matches(&own.key));
            let Some(own) = own else {
                self.problem(KEY, "is not the key of WECHAT_CERT_PEM");
                return None;
            };
            if serial.is_some_and(|serial| !own.is_named(serial)) {
                self.problem(SERIAL, "is not the serial number of WECHAT_CERT_PEM");
            }
        }
        Some(key)
    }

    fn wechat_public_key(&mut self, ours: Option<&PrivateKey>) -> Option<WechatPublicKey> {
        let (id, text) = match (self.source.get(PUBLIC_KEY_ID), self.source.get(PUBLIC_KEY)) {
            (None, None) => return None,
            (Some(id), Some(text)) => (id, text),
            (Some(_), None) => {
                self.problem(PUBLIC_KEY, "is not set, but WECHAT_PUBLIC_KEY_ID is");
                return None;
            }
            (None, Some(_)) => {
                self.problem(PUBLIC_KEY_ID, "is not set, but WECHAT_PUBLIC_KEY_PEM is");
                return None;
            }
        };
        let digits = id.strip_prefix("PUB_KEY_ID_").unwrap_or_default();
        if id.contains(SIMULATOR_MARK) {
            self.problem(PUBLIC_KEY_ID, "is a placeholder or a simulator's key");
        } else if digits.is_empty() || id.len() > 64 || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.problem(PUBLIC_KEY_ID, "is not of the accepted form");
        }
        let key =
            PublicKey::parse(&text).map_err(|fault| self.problem(PUBLIC_KEY, &fault.to_string())).ok()?;
        if ours.is_some_and(|ours| ours.matches(&key)) {
            self.problem(PUBLIC_KEY, "is the merchant's own key, not WeChat Pay's");
        }
        Some(WechatPublicKey { id, key })
    }

    /// One after the other in one text.
    fn platform_certificates(&mut self, ours: Option<&PrivateKey>) -> Vec<PlatformCertificate> {
        let Some(text) = self.source.get(CERTIFICATES) else { return Vec::new() };
        let read: Option<Vec<PlatformCertificate>> = CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|der| PlatformCertificate::from_der(der.ok()?.as_ref()).ok())
            .collect();
        let read = read.unwrap_or_default();
        if read.is_empty() {
            self.problem(CERTIFICATES, "holds no certificate of an RSA key, or one that cannot be read");
        }
        if read.iter().any(|one| ours.is_some_and(|ours| ours.matches(&one.key))) {
            self.problem(CERTIFICATES, "is the merchant's own certificate, not WeChat Pay's");
        }
        read
    }
}

#[cfg(test)]
mod tests;
