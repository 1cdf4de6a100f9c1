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
mod tests;
