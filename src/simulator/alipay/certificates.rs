//! Certificate mode: what an app that runs in it gets from Alipay, and the digests by which messages name it.
//!
//! Source: the open platform's pages on certificates and on public error codes (common/02kdnf).

use super::Failure;
use crate::{
    config::SimulatorKeys,
    domain::{ids::hex, time::UnixMs},
    gateway::{rsa::PrivateKey, wechat_v2::xml::Fields},
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SerialNumber,
};
use time::OffsetDateTime;

/// Who issued them all, root included, as a digest writes it: the reverse of the order in the certificate.
const ISSUER: &str = "CN=Simulator Certification Authority R1,O=Simulator,C=CN";
/// They hold five years, and were issued a day ago.
const LIFE_MS: i64 = 5 * 365 * 24 * 3_600_000;
const AGE_MS: i64 = 24 * 3_600_000;

/// A certificate in PEM and its digest.
#[derive(Clone, Debug)]
pub struct Named {
    pub sn: String,
    pub pem: String,
}

/// Those of one app.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub app: Named,
    /// Of the key that signs replies and notices.
    pub alipay: Named,
    pub root: Named,
}

impl Certificates {
    /// `None` for keys without RSA among them, or when the library refuses.
    pub fn of(keys: &SimulatorKeys, now: UnixMs) -> Option<Certificates> {
        let rsa = keys.rsa.as_ref()?;
        // One key for all that is Alipay's: nobody here follows the chain, only names and keys are compared.
        let (app, alipay) = (pair(&rsa.alipay_app)?, pair(&rsa.alipay_platform)?);
        let serial = |purpose: &str, key: &str| serial_of(purpose, &PrivateKey::parse(key).ok()?);
        let root_serial = serial("root", &rsa.alipay_platform)?;
        let mut root = params("Simulator Certification Authority R1", root_serial, now)?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::from_params(&root, &alipay);
        let issued = |name: &str, serial: u64, key: &KeyPair| {
            let pem = params(name, serial, now)?.signed_by(key, &issuer).ok()?.pem();
            Some(Named { sn: sn(serial), pem })
        };
        Some(Certificates {
            app: issued("Simulator Shop", serial("app", &rsa.alipay_app)?, &app)?,
            alipay: issued("Simulator Alipay", serial("alipay", &rsa.alipay_platform)?, &alipay)?,
            root: Named { sn: sn(root_serial), pem: root.self_signed(&alipay).ok()?.pem() },
        })
    }

    /// Whether a request names the certificates Alipay has of this app and hands out today.
    pub(super) fn check(&self, public: &Fields) -> Result<(), Failure> {
        let named = |name| public.get(name).filter(|sn| !sn.is_empty());
        match named("app_cert_sn") {
            None => return Err(Failure::invalid("isv.missing-app-cert-sn", "缺少应用公钥证书序列号")),
            Some(sn) if sn != self.app.sn => return Err(no_such_app_certificate()),
            Some(_) => {}
        }
        match named("alipay_root_cert_sn") {
            None => Err(Failure::invalid("isv.missing-alipay-root-cert-sn", "缺少支付宝根证书序列号")),
            Some(sn) if sn != self.root.sn => {
                Err(Failure::invalid("isv.invalid-alipay-root-cert-sn", "无效支付宝根证书序列号"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Also what an app hears that never uploaded one.
pub(super) fn no_such_app_certificate() -> Failure {
    Failure::invalid("isv.app-cert-not-exist", "应用公钥证书不存在")
}

fn pair(key: &str) -> Option<KeyPair> {
    KeyPair::try_from(STANDARD.decode(key).ok()?).ok()
}

fn params(name: &str, serial: u64, now: UnixMs) -> Option<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).ok()?;
    let from = now.plus_ms(AGE_MS.saturating_neg());
    params.not_before = OffsetDateTime::from_unix_timestamp(from.secs()).ok()?;
    params.not_after = OffsetDateTime::from_unix_timestamp(from.plus_ms(LIFE_MS).secs()).ok()?;
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "CN");
    params.distinguished_name.push(DnType::OrganizationName, "Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    Some(params)
}

/// Follows from the key, so that it stays the same from one start to the next.
fn serial_of(purpose: &str, key: &PrivateKey) -> Option<u64> {
    let hash = digest(&SHA256, format!("{purpose}\n{}", key.public_base64()?).as_bytes());
    let first: [u8; 8] = hash.as_ref().get(..8)?.try_into().ok()?;
    // Serial numbers are positive.
    Some(u64::from_be_bytes(first) >> 1)
}

/// MD5 over the issuer and, right behind it, the serial number in decimal.
fn sn(serial: u64) -> String {
    hex(&Md5::new().chain_update(format!("{ISSUER}{serial}")).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gateway::{
            alipay::cert_sn::{self, Certificate},
            rsa::PublicKey,
        },
        simulator::testing::{NOW, alipay_keys, keys},
    };

    #[test]
    fn its_certificates_are_of_its_keys_and_named_as_the_merchant_names_them() {
        let made = Certificates::of(keys(), NOW).unwrap();
        let app = Certificate::parse(&made.app.pem).unwrap();
        let alipay = Certificate::parse(&made.alipay.pem).unwrap();
        assert_eq!((&app.sn, &alipay.sn), (&made.app.sn, &made.alipay.sn));
        assert_eq!(cert_sn::of_roots(&made.root.pem), Some(made.root.sn.clone()));
        let own = |key: &PrivateKey, public: &PublicKey| key.matches(public);
        assert!(own(&alipay_keys().app, &app.public_key) && own(&alipay_keys().platform, &alipay.public_key));
        assert!(made.app.sn != made.alipay.sn && made.alipay.sn != made.root.sn);
        assert!(app.not_after > NOW && alipay.not_after > NOW);
        let again = Certificates::of(keys(), NOW.plus_ms(LIFE_MS)).unwrap();
        assert_eq!((again.app.sn, again.root.sn), (made.app.sn, made.root.sn), "from one start to the next");
    }

    #[test]
    fn a_request_that_names_no_certificate_or_another_is_refused_by_the_code_that_says_which() {
        let made = Certificates::of(keys(), NOW).unwrap();
        let (app, root, other) = (made.app.sn.as_str(), made.root.sn.as_str(), made.alipay.sn.as_str());
        for (app_cert_sn, alipay_root_cert_sn, refused) in [
            (app, root, None),
            ("", root, Some("isv.missing-app-cert-sn")),
            (other, root, Some("isv.app-cert-not-exist")),
            (app, "", Some("isv.missing-alipay-root-cert-sn")),
            (app, other, Some("isv.invalid-alipay-root-cert-sn")),
        ] {
            let public: Fields = [("app_cert_sn", app_cert_sn), ("alipay_root_cert_sn", alipay_root_cert_sn)]
                .into_iter()
                .collect();
            assert_eq!(made.check(&public).err().map(|failure| failure.sub_code), refused);
        }
    }
}
