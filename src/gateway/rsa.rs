//! RSA as WeChat Pay V3 and Alipay use it: PKCS#1 v1.5 with SHA-256, signatures in base64, keys of 2048 bits or more.
//! Keys are read as the platforms hand them out: PEM, or bare base64, PKCS#8 or PKCS#1.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{fmt, sync::Arc};

/// Bits of the smallest key that is accepted.
const SMALLEST: usize = 2048;

/// Why a key cannot be used. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("is neither PEM nor base64")]
    Text,
    #[error("is no RSA key of the kind wanted here")]
    Kind,
    #[error("is an RSA key of less than 2048 bits")]
    Small,
}

/// What we sign with. Cloning shares the key; it is never printed.
#[derive(Clone)]
pub struct PrivateKey(Arc<RsaKeyPair>);

/// What somebody's signatures are verified with.
#[derive(Clone)]
pub struct PublicKey(Arc<ParsedPublicKey>);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey")
    }
}

impl PrivateKey {
    /// # Errors
    /// Not readable, not an RSA private key without a password, or too small.
    pub fn parse(text: &str) -> Result<PrivateKey, KeyFault> {
        let der = der(text)?;
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        let pair = pair.map_err(|_| KeyFault::Kind)?;
        if pair.public_modulus_len().saturating_mul(8) < SMALLEST {
            return Err(KeyFault::Small);
        }
        Ok(PrivateKey(Arc::new(pair)))
    }

    /// A fresh key of 2048 bits, for the simulator; `None` when the system gives no randomness.
    pub fn generate() -> Option<PrivateKey> {
        RsaKeyPair::generate(KeySize::Rsa2048).ok().map(|pair| PrivateKey(Arc::new(pair)))
    }

    /// PKCS#8 in bare base64, as `parse` reads it; `None` when the library cannot write it.
    pub fn to_base64(&self) -> Option<String> {
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> =
            aws_lc_rs::encoding::AsDer::as_der(self.0.as_ref()).ok()?;
        Some(STANDARD.encode(der.as_ref()))
    }

    /// The public half in base64 of its X.509 form, as `PublicKey::parse` reads it; `None` when the library cannot write it.
    pub fn public_base64(&self) -> Option<String> {
        let der: aws_lc_rs::encoding::PublicKeyX509Der<'static> =
            aws_lc_rs::encoding::AsDer::as_der(self.0.public_key()).ok()?;
        Some(STANDARD.encode(der.as_ref()))
    }

    /// The signature of `message` in base64; empty, which verifies nowhere, when the library refuses to sign.
    pub fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        match self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature) {
            Ok(()) => STANDARD.encode(signature),
            Err(_) => String::new(),
        }
    }

    /// Whether it signs what its own other half verifies.
    pub fn proves_itself(&self) -> bool {
        let own = self.public_base64().and_then(|text| PublicKey::parse(&text).ok());
        own.is_some_and(|public| self.matches(&public))
    }

    /// Whether `public` is the other half.
    pub fn matches(&self, public: &PublicKey) -> bool {
        public.verify(b"shouyin", &self.sign(b"shouyin"))
    }
}

impl PublicKey {
    /// From PEM or bare base64 of an X.509 public key or a PKCS#1 one.
    ///
    /// # Errors
    /// Not readable, not an RSA public key, or too small.
    pub fn parse(text: &str) -> Result<PublicKey, KeyFault> {
        PublicKey::from_der(&der(text)?)
    }

    /// # Errors
    /// As `parse`.
    pub fn from_der(der: &[u8]) -> Result<PublicKey, KeyFault> {
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| KeyFault::Kind)?;
        // Modulus and exponent in DER, which adds a few bytes to the modulus.
        let numbers = aws_lc_rs::rsa::PublicKey::from_der(key.as_ref()).map_err(|_| KeyFault::Kind)?;
        if numbers.as_ref().len().saturating_mul(8) < SMALLEST {
            return Err(KeyFault::Small);
        }
        Ok(PublicKey(Arc::new(key)))
    }

    /// Whether `signature`, in standard base64 and nothing else, is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.0.verify_sig(message, &signature).is_ok())
    }
}

/// The bytes of a certificate out of PEM or bare base64.
///
/// # Errors
/// Not readable.
pub fn certificate_der(text: &str) -> Result<Vec<u8>, KeyFault> {
    if text.contains("-----BEGIN") {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyFault::Text)?;
        return Ok(certificate.as_ref().to_vec());
    }
    der(text)
}

/// What stands between the lines of PEM, whatever its label says, or in base64 alone.
fn der(text: &str) -> Result<Vec<u8>, KeyFault> {
    let body: String = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    let der = STANDARD.decode(body).map_err(|_| KeyFault::Text)?;
    if der.is_empty() { Err(KeyFault::Text) } else { Ok(der) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_under_its_own_key_and_text_alone() {
        let (ours, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let public = PublicKey::parse(&ours.public_base64().unwrap()).unwrap();
        let signature = ours.sign(b"money");
        assert!(public.verify(b"money", &signature));
        assert!(!public.verify(b"honey", &signature));
        assert!(!PublicKey::parse(&other.public_base64().unwrap()).unwrap().verify(b"money", &signature));
        assert!(ours.matches(&public) && !other.matches(&public));
        for text in
            ["", " ", "WECHATPAY/SIGNTEST/abc", &format!("{signature} "), signature.get(..300).unwrap()]
        {
            assert!(!public.verify(b"money", text), "{text}");
        }
    }

    #[test]
    fn keys_are_read_as_pem_or_bare_base64_and_nothing_of_them_is_printed() {
        let key = PrivateKey::generate().unwrap();
        let (private, public) = (key.to_base64().unwrap(), key.public_base64().unwrap());
        let lines: Vec<String> =
            private.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let label = "PRIVATE KEY";
        let pem = format!("-----BEGIN {label}-----\r\n{}\r\n-----END {label}-----\r\n", lines.join("\r\n"));
        assert!(PrivateKey::parse(&pem).unwrap().matches(&PublicKey::parse(&public).unwrap()));
        assert!(PrivateKey::parse(&private).is_ok());
        assert_eq!(PrivateKey::parse(&public).err(), Some(KeyFault::Kind));
        assert_eq!(PublicKey::parse(&private).err(), Some(KeyFault::Kind));
        assert_eq!(PublicKey::parse("公钥").err(), Some(KeyFault::Text));
        assert_eq!(PublicKey::parse("").err(), Some(KeyFault::Text));
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }
}
