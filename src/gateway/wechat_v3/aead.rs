//! What WeChat seals for us: AES-256-GCM under the APIv3 key.
//!
//! Source: the official page on decrypting callbacks and platform certificates. The nonce has 12 bytes and is taken
//! as written; the last 16 bytes are the tag; associated data may be missing, which is the same as empty.

use super::{
    ApiV3Key,
    json::{Object, Value},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The one algorithm there is; a message that names another is refused.
pub const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// The plain bytes of a `resource` or an `encrypt_certificate`; `None` when it names another algorithm, lacks a
/// field, or was not sealed with our key. One answer for all, and never a part of the text.
pub fn open(key: &ApiV3Key, sealed: &Object) -> Option<Vec<u8>> {
    if sealed.text("algorithm") != Some(ALGORITHM) {
        return None;
    }
    let associated_data = match sealed.value("associated_data") {
        None | Some(Value::Null) => "",
        Some(_) => sealed.text_or_empty("associated_data")?,
    };
    decrypt(key, sealed.text("nonce")?, associated_data, sealed.text("ciphertext")?)
}

/// The same with its parts; `ciphertext` in base64.
pub fn decrypt(key: &ApiV3Key, nonce: &str, associated_data: &str, ciphertext: &str) -> Option<Vec<u8>> {
    let mut bytes = STANDARD.decode(ciphertext).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).ok()?);
    let plain = key.open_in_place(nonce, Aad::from(associated_data.as_bytes()), &mut bytes).ok()?;
    Some(plain.to_vec())
}

/// Seals as WeChat does; `None` for a nonce that has not 12 bytes.
#[cfg(test)]
pub(super) fn seal(key: &ApiV3Key, nonce: &str, associated_data: &str, plain: &str) -> Option<String> {
    let mut bytes = plain.as_bytes().to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).ok()?);
    key.seal_in_place_append_tag(nonce, Aad::from(associated_data.as_bytes()), &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_nonce_data_and_bytes_it_was_sealed_with_open_it() {
        let key = ApiV3Key::new("0123456789abcdef0123456789ABCDEF").unwrap();
        let other = ApiV3Key::new("0123456789abcdef0123456789ABCDEf").unwrap();
        let text = seal(&key, "nonce-nonce-", "transaction", "money").unwrap();
        assert_eq!(decrypt(&key, "nonce-nonce-", "transaction", &text).as_deref(), Some(b"money".as_slice()));
        for (key, nonce, data, text) in [
            (&other, "nonce-nonce-", "transaction", text.as_str()),
            (&key, "nonce-nonce.", "transaction", text.as_str()),
            (&key, "nonce-nonce", "transaction", text.as_str()),
            (&key, "nonce-nonce-", "", text.as_str()),
            (&key, "nonce-nonce-", "transactions", text.as_str()),
            (&key, "nonce-nonce-", "transaction", text.get(4..).unwrap()),
            (&key, "nonce-nonce-", "transaction", ""),
            (&key, "nonce-nonce-", "transaction", "AAAA"),
            (&key, "nonce-nonce-", "transaction", "not base64"),
        ] {
            assert_eq!(decrypt(key, nonce, data, text), None, "{nonce} {data} {text}");
        }
    }

    #[test]
    fn missing_associated_data_is_empty_and_another_algorithm_is_refused() {
        let key = ApiV3Key::new("0123456789abcdef0123456789ABCDEF").unwrap();
        let text = seal(&key, "nonce-nonce-", "", "money").unwrap();
        let opens = |algorithm: &str, data: &str| {
            let sealed = format!(
                r#"{{"algorithm":"{algorithm}","nonce":"nonce-nonce-","ciphertext":"{text}"{data}}}"#
            );
            open(&key, &Object::parse(sealed.as_bytes()).unwrap()).is_some()
        };
        assert!(opens(ALGORITHM, ""));
        assert!(opens(ALGORITHM, r#","associated_data":"""#));
        assert!(opens(ALGORITHM, r#","associated_data":null"#));
        assert!(!opens(ALGORITHM, r#","associated_data":false"#));
        assert!(!opens(ALGORITHM, r#","associated_data":"transaction""#));
        assert!(!opens(ALGORITHM, r#","associated_data":1"#));
        assert!(!opens("AEAD_AES_128_GCM", ""));
        assert!(!opens("", ""));
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        assert!(ApiV3Key::new(&"k".repeat(32)).is_some());
        for length in [0, 16, 31, 33] {
            assert!(ApiV3Key::new(&"k".repeat(length)).is_none(), "{length}");
        }
    }
}
