//! The merchant's client certificate: read, matched with its key and dated at start. The key is never printed.

use crate::domain::time::UnixMs;
use rustls::{
    Error,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};

const DAY_MS: i64 = 24 * 3_600_000;
/// Days before its end from which on the log reminds of it.
const REMIND_DAYS: i64 = 30;

/// What we show to a gateway that wants to know who calls: `apiclient_cert.pem` and `apiclient_key.pem`.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Certificates, then the key.
    pem: SecretString,
    pub expires_at: UnixMs,
}

/// Which of the two cannot be used, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Certificate(&'static str),
    Key(&'static str),
}

impl ClientCertificate {
    /// The key may be PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// Not PEM, not a certificate, not a plain key, or the key of another certificate.
    pub fn parse(certificate: &str, key: &str) -> Result<ClientCertificate, Unfit> {
        let chain: Result<Vec<CertificateDer<'_>>, _> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|_| Unfit::Certificate("is not PEM"))?;
        let leaf = chain.first().ok_or(Unfit::Certificate("holds no certificate"))?;
        let expires_at = not_after(leaf).ok_or(Unfit::Certificate("is not an X.509 certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| Unfit::Key("holds no private key that can be read without a password"))?;
        match CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()) {
            Ok(_) => {}
            Err(Error::InconsistentKeys(_)) => return Err(Unfit::Key("is not the key of WECHAT_CERT_PEM")),
            Err(Error::InvalidCertificate(_)) => {
                return Err(Unfit::Certificate("is not an X.509 certificate"));
            }
            Err(_) => return Err(Unfit::Key("is of no kind this program can sign with")),
        }
        Ok(ClientCertificate { pem: SecretString::from(format!("{certificate}\n{key}\n")), expires_at })
    }

    /// Certificates and key as one text, for the TLS library alone.
    pub fn pem(&self) -> &[u8] {
        self.pem.expose_secret().as_bytes()
    }

    /// Whole days left, once they are few; negative after its end.
    pub fn days_left(&self, now: UnixMs) -> Option<i64> {
        let days = self.expires_at.since(now).div_euclid(DAY_MS);
        (days < REMIND_DAYS).then_some(days)
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity (RFC 5280, section 4.1): serial, algorithm and issuer stand before it.
fn not_after(certificate: &[u8]) -> Option<UnixMs> {
    let mut outer = Der(Der(certificate).take(SEQUENCE)?);
    let mut fields = Der(outer.take(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        fields.next()?;
    }
    let mut validity = Der(fields.take(SEQUENCE)?);
    validity.next()?;
    let (tag, time) = validity.next()?;
    let digits = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // Two digits of the year: 50 and more are of the last century.
        UTC_TIME if digits < "50" => format!("20{digits}"),
        UTC_TIME => format!("19{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    // Written in UTC and read as Beijing's, which is eight hours ahead.
    Some(UnixMs::parse_beijing_compact(&text)?.plus_secs(8 * 3600))
}

/// What is left of a DER value.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            // The low bits count the bytes of the length: a certificate needs no more than three.
            let count = length.checked_sub(0x80).filter(|count| (1..=3).contains(count))?;
            let (bytes, after) = rest.split_at_checked(count)?;
            length = bytes.iter().fold(0, |sum: usize, byte| sum.saturating_mul(256) + usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};

    fn signed_by(key: &KeyPair, year: i32) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 7, 9);
        params.self_signed(key).unwrap().pem()
    }

    fn unfit(certificate: &str, key: &str) -> Unfit {
        ClientCertificate::parse(certificate, key).unwrap_err()
    }

    #[test]
    fn a_certificate_with_its_key_is_taken_whatever_form_the_key_has() {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = signed_by(&key, 2031);
        assert!(key.serialize_pem().contains("BEGIN PRIVATE KEY"));
        let read = ClientCertificate::parse(&certificate, &key.serialize_pem()).unwrap();
        assert_eq!(read.expires_at, UnixMs(1_941_321_600_000));
        // A PKCS#8 key of this size is 26 bytes around its PKCS#1 form.
        use base64::{Engine, engine::general_purpose::STANDARD};
        let inner = STANDARD.encode(&key.serialize_der()[26..]);
        let pkcs1 = format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n");
        assert!(ClientCertificate::parse(&certificate, &pkcs1).is_ok());
        let small = KeyPair::generate().unwrap();
        let late = ClientCertificate::parse(&signed_by(&small, 2071), &small.serialize_pem()).unwrap();
        assert_eq!(late.expires_at, UnixMs(3_203_625_600_000), "a year of four digits");
    }

    #[test]
    fn a_pair_that_cannot_work_names_the_half_at_fault() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (certificate, pem) = (signed_by(&key, 2031), key.serialize_pem());
        assert_eq!(
            unfit(&certificate, &other.serialize_pem()),
            Unfit::Key("is not the key of WECHAT_CERT_PEM")
        );
        let no_key = Unfit::Key("holds no private key that can be read without a password");
        for wrong in ["", "x", &certificate, &pem.replace("PRIVATE", "ENCRYPTED PRIVATE")] {
            assert_eq!(unfit(&certificate, wrong), no_key, "{wrong}");
        }
        assert_eq!(unfit(&pem, &pem), Unfit::Certificate("holds no certificate"));
        assert_eq!(unfit("x", &pem), Unfit::Certificate("holds no certificate"));
        let cut = certificate.replace("-----END", "----END");
        assert_eq!(unfit(&cut, &pem), Unfit::Certificate("is not PEM"));
        let garbage = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        assert_eq!(unfit(garbage, &pem), Unfit::Certificate("is not an X.509 certificate"));
    }

    #[test]
    fn the_last_thirty_days_are_counted() {
        let key = KeyPair::generate().unwrap();
        let read = ClientCertificate::parse(&signed_by(&key, 2031), &key.serialize_pem()).unwrap();
        let before = |days: i64| read.days_left(read.expires_at.plus_ms(-days * DAY_MS));
        assert_eq!((before(31), before(30), before(29)), (None, None, Some(29)));
        assert_eq!((before(0), before(-3)), (Some(0), Some(-3)));
    }

    #[test]
    fn the_key_is_never_printed() {
        let key = KeyPair::generate().unwrap();
        let read = ClientCertificate::parse(&signed_by(&key, 2031), &key.serialize_pem()).unwrap();
        let shown = format!("{read:?}");
        assert!(shown.contains("REDACTED") && !shown.contains("PRIVATE"), "{shown}");
    }
}
