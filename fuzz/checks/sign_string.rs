//! Signatures: the text under them is the one a plain sorted map gives, and they hold for nothing else.

use super::second;
use shouyin::gateway::wechat_v2::{
    ApiKey,
    sign::{SignFault, SignType, canonical, sign, verify},
    xml::Fields,
};
use std::collections::BTreeMap;

/// The input is the key and then `name=value`, each on a line of its own.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let key = lines.next().unwrap_or_default();
    // Enough for any message, and few enough to try a change of each.
    let pairs = lines.filter_map(|line| line.split_once('=')).take(32);
    let plain: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Some(api_key) = ApiKey::new(key) else { return };
    let fields: Fields = plain.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(canonical(&fields), second::canonical(&plain));
    for (sign_type, right) in [
        (SignType::Md5, second::md5_sign(&plain, key)),
        (SignType::HmacSha256, second::hmac_sign(&plain, key)),
    ] {
        assert_eq!(sign(&fields, &api_key, sign_type), right);
        let named = plain.get("sign_type").filter(|named| !named.is_empty());
        let mut signed = fields.clone();
        signed.set("sign", &right);
        if named.is_some_and(|named| named != sign_type.as_str()) {
            assert_eq!(verify(&signed, &api_key, &SignType::ALL), Err(SignFault::TypeMismatch));
        } else {
            assert_eq!(verify(&signed, &api_key, &[sign_type]), Ok(sign_type));
            nothing_else_holds(&signed, key, sign_type, &right);
        }
    }
}

fn nothing_else_holds(signed: &Fields, key: &str, sign_type: SignType, right: &str) {
    let refused = |fields: &Fields, key: &str| {
        let key = ApiKey::new(key).expect("never empty here");
        assert!(verify(fields, &key, &SignType::ALL).is_err(), "{fields:?}");
    };
    refused(signed, &format!("{key}x"));
    let other: Vec<SignType> = SignType::ALL.into_iter().filter(|other| *other != sign_type).collect();
    let api_key = ApiKey::new(key).expect("never empty here");
    assert_eq!(verify(signed, &api_key, &other), Err(SignFault::NotAllowed));
    for (name, value) in signed.iter() {
        let mut changed = signed.clone();
        changed.set(name, &format!("{value}x"));
        refused(&changed, key);
        if !value.is_empty() {
            changed.remove(name);
            refused(&changed, key);
        }
    }
    let mut more = signed.clone();
    more.set("one_more", if signed.get("one_more") == Some("1") { "2" } else { "1" });
    refused(&more, key);
    let lower = right.to_ascii_lowercase();
    if lower != right {
        more = signed.clone();
        more.set("sign", &lower);
        refused(&more, key);
    }
}
