//! Small secrets in the books under a key that is not there: AES-256-GCM with a key made of `SECRET_KEY`.

use crate::domain::ids::hex;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret, SecretString};

/// Bytes of a nonce: random and never used twice, as each sealing takes its own.
pub const NONCE: usize = NONCE_LEN;

/// One key per purpose, so that what is sealed for one never opens as another.
fn key(key: &SecretString, purpose: &str) -> Option<LessSafeKey> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    let derived = hmac::sign(&key, format!("seal:{purpose}").as_bytes());
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok()?))
}

/// Nonce and sealed bytes as hex. `whose` is bound to them: moved to another account they do not open.
pub fn seal(
    secret_key: &SecretString,
    purpose: &str,
    whose: i64,
    nonce: [u8; NONCE],
    plain: &[u8],
) -> Option<String> {
    let mut bytes = plain.to_vec();
    let aad = Aad::from(whose.to_be_bytes());
    key(secret_key, purpose)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
        .ok()?;
    Some(format!("{}{}", hex(&nonce), hex(&bytes)))
}

/// `None` for anything but what `seal` gave with the same key, purpose and account.
pub fn open(secret_key: &SecretString, purpose: &str, whose: i64, sealed: &str) -> Option<Vec<u8>> {
    let bytes = HEXLOWER.decode(sealed.as_bytes()).ok()?;
    let (nonce, rest) = bytes.split_first_chunk::<NONCE>()?;
    let mut rest = rest.to_vec();
    let aad = Aad::from(whose.to_be_bytes());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    Some(key(secret_key, purpose)?.open_in_place(nonce, aad, &mut rest).ok()?.to_vec())
}

/// A short code as the books know it: without `SECRET_KEY` not even all codes there are could be tried against it.
pub fn keyed_hash(secret_key: &SecretString, purpose: &str, whose: i64, code: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose_secret().as_bytes());
    hex(hmac::sign(&key, format!("hash:{purpose}:{whose}:{code}").as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_purpose_and_account_open_what_was_sealed() {
        let (mine, other) = (SecretString::from("k".repeat(32)), SecretString::from("K".repeat(32)));
        let sealed = seal(&mine, "totp", 7, [1; NONCE], b"secret").unwrap();
        assert!(!sealed.contains(&hex(b"secret")));
        assert_eq!(open(&mine, "totp", 7, &sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(open(&other, "totp", 7, &sealed), None);
        assert_eq!(open(&mine, "other", 7, &sealed), None);
        assert_eq!(open(&mine, "totp", 8, &sealed), None);
        let cut = sealed.get(2..).unwrap();
        for junk in ["", "00", "zz", cut, sealed.strip_suffix(char::is_alphanumeric).unwrap()] {
            assert_eq!(open(&mine, "totp", 7, junk), None, "{junk}");
        }
    }

    #[test]
    fn a_code_has_another_hash_for_each_account_and_key() {
        let (mine, other) = (SecretString::from("k".repeat(32)), SecretString::from("K".repeat(32)));
        let hash = keyed_hash(&mine, "recovery", 1, "abcd");
        assert_ne!(hash, keyed_hash(&mine, "recovery", 2, "abcd"));
        assert_ne!(hash, keyed_hash(&other, "recovery", 1, "abcd"));
        assert_ne!(hash, keyed_hash(&mine, "recovery", 1, "abce"));
    }
}
