//! Certificate mode: the digests that name certificates in requests and replies, and the key in a certificate.
//!
//! Source: the official node SDK's `antcertutil`, whose known answers the vectors hold: MD5 in lower-case hex over the
//! issuer, as `CN=…,OU=…,O=…,C=…`, followed by the serial number in decimal.

use crate::{
    domain::{ids::hex, time::UnixMs},
    gateway::rsa::{self, KeyFault, PublicKey},
};
use md5::{Digest, Md5};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{
        OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME,
        OID_X509_ORGANIZATIONAL_UNIT, OID_X509_STATE_OR_PROVINCE_NAME, Oid,
    },
    parse_x509_certificate,
    x509::X509Name,
};

/// What certificate algorithms with RSA begin with.
const RSA: &str = "1.2.840.113549.1.1.";

/// A certificate as far as this mode needs it.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub sn: String,
    pub public_key: PublicKey,
    /// The last moment of its validity.
    pub not_after: UnixMs,
}

impl Certificate {
    /// The first certificate of PEM, or of bare base64.
    ///
    /// # Errors
    /// Not a certificate, or not one with an RSA key of 2048 bits or more.
    pub fn parse(text: &str) -> Result<Certificate, KeyFault> {
        let der = rsa::certificate_der(text)?;
        let (_, certificate) = parse_x509_certificate(&der).map_err(|_| KeyFault::Kind)?;
        let sn = of_certificate(&certificate).ok_or(KeyFault::Kind)?;
        let public_key = PublicKey::from_der(certificate.public_key().raw)?;
        let ends = certificate.validity().not_after.timestamp();
        Ok(Certificate { sn, public_key, not_after: UnixMs(ends.saturating_mul(1000)) })
    }
}

/// `alipay_root_cert_sn` of the bundle of roots: the digests of those with RSA, in their order, joined by `_`. The
/// bundle also holds SM2 certificates and one with trailing bytes; they have no part in it. `None` when nothing is left.
pub fn of_roots(bundle: &str) -> Option<String> {
    let digests: Vec<String> = CertificateDer::pem_slice_iter(bundle.as_bytes())
        .filter_map(Result::ok)
        .filter_map(|der| {
            let (_, certificate) = parse_x509_certificate(&der).ok()?;
            let with_rsa = certificate.signature_algorithm.algorithm.to_id_string().starts_with(RSA);
            if with_rsa { of_certificate(&certificate) } else { None }
        })
        .collect();
    (!digests.is_empty()).then(|| digests.join("_"))
}

/// The digest for an issuer as text and a serial number in decimal.
pub fn digest(issuer: &str, serial: &str) -> String {
    hex(&Md5::new().chain_update(issuer).chain_update(serial).finalize())
}

fn of_certificate(certificate: &X509Certificate<'_>) -> Option<String> {
    Some(digest(&written(certificate.issuer())?, &certificate.serial.to_string()))
}

/// The name's parts in the reverse of their order in the certificate. `None` for parts whose short name we do not know.
fn written(name: &X509Name<'_>) -> Option<String> {
    let parts: Option<Vec<String>> = name
        .iter_attributes()
        .map(|part| Some(format!("{}={}", short_name(part.attr_type())?, part.as_str().ok()?)))
        .collect();
    let mut parts = parts?;
    parts.reverse();
    Some(parts.join(","))
}

fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    [
        (OID_X509_COMMON_NAME, "CN"),
        (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (OID_X509_ORGANIZATION_NAME, "O"),
        (OID_X509_LOCALITY_NAME, "L"),
        (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (OID_X509_COUNTRY_NAME, "C"),
    ]
    .into_iter()
    .find_map(|(known, name)| (known == *oid).then_some(name))
}
