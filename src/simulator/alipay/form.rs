//! Alipay's forms and queries: read, written, signed and checked by the simulator's own few lines. No I/O.
//!
//! Source: official signing page (common/02kf5q); a request's text has sign_type in it, a callback's has not.

use crate::gateway::{
    rsa::{PrivateKey, PublicKey},
    wechat_v2::xml::Fields,
};
use std::borrow::Cow;
use url::form_urlencoded::byte_serialize;

/// Reads pairs, decoding each name and value once. `None` for a broken escape, bytes that are no UTF-8, a pair without
/// `=` or a name that stands there twice.
pub fn read(raw: &str) -> Option<Fields> {
    let mut fields = Fields::default();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        if fields.get(&name).is_some() {
            return None;
        }
        fields.set(&name, &value);
    }
    Some(fields)
}

fn decoded(text: &str) -> Option<String> {
    let whole =
        |piece: &str| piece.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(whole) {
        return None;
    }
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

/// The pairs as they travel in a body or behind a `?`.
pub fn write(fields: &Fields) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether the `sign` of a request is the merchant's over everything else that is not empty.
pub fn request_holds(fields: &Fields, merchant: &PublicKey) -> bool {
    let sign = fields.get("sign").unwrap_or_default();
    merchant.verify(text(fields, &["sign"]).as_bytes(), sign)
}

/// What a callback and a return to the merchant's page are signed over.
pub fn notice_sign(fields: &Fields, ours: &PrivateKey) -> String {
    ours.sign(text(fields, &["sign", "sign_type"]).as_bytes())
}

/// `name=value` joined by `&` in the order of the names, which is how `Fields` keeps them.
fn text(fields: &Fields, without: &[&str]) -> String {
    let signed = fields.iter().filter(|(name, value)| !without.contains(name) && !value.is_empty());
    signed.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_is_decoded_once() {
        let fields: Fields = [
            ("sign", "a+/b=="),
            ("subject", "账户 充值 100%"),
            ("passback_params", "a%3D1%26b%3D2"),
            ("empty", ""),
        ]
        .into_iter()
        .collect();
        assert_eq!(read(&write(&fields)), Some(fields));
        assert_eq!(read("a=%2B+%20").unwrap().get("a"), Some("+  "));
        assert_eq!(read("a=b=c").unwrap().get("a"), Some("b=c"));
    }

    #[test]
    fn a_form_that_can_be_read_in_two_ways_is_refused() {
        for raw in ["a=1&a=1", "a=1&%61=2", "a=%2", "a=%zz", "a=%", "a=%ff", "a=%+1", "a", "%E4=1"] {
            assert_eq!(read(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_request_signs_its_sign_type_and_a_notice_does_not() {
        let key = PrivateKey::generate().unwrap();
        let public = PublicKey::parse(&key.public_base64().unwrap()).unwrap();
        let with = |sign: String| -> Fields {
            [("b", "2"), ("a", "1"), ("none", ""), ("sign_type", "RSA2"), ("sign", sign.as_str())]
                .into_iter()
                .collect()
        };
        assert!(request_holds(&with(key.sign(b"a=1&b=2&sign_type=RSA2")), &public));
        for text in [&b"a=1&b=2"[..], b"b=2&a=1&sign_type=RSA2", b"a=1&b=2&none=&sign_type=RSA2"] {
            assert!(!request_holds(&with(key.sign(text)), &public));
        }
        assert!(public.verify(b"a=1&b=2", &notice_sign(&with(String::new()), &key)));
    }
}
