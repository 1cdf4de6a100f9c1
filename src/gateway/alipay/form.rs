//! The form a callback comes as, read strictly: each name once, each value decoded once, and the bytes kept as they
//! were signed.
//!
//! Source: the notify page of alipay.trade.page.pay: a POST of `application/x-www-form-urlencoded` whose parameter
//! `charset` says how the values are written.

use encoding_rs::{Encoding, GBK, UTF_8};
use std::collections::BTreeMap;

/// Why a body is not the form we read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    #[error("a piece that is not name=value")]
    Shape,
    #[error("a percent sign without two hex digits, or a character that must be escaped")]
    Escape,
    #[error("a name twice")]
    Duplicate,
    #[error("a charset other than utf-8 and gbk: {0}")]
    Charset(String),
    #[error("a value that is not text in its charset")]
    Text,
}

/// The pairs by byte order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    /// In the form's charset: what was signed.
    bytes: Vec<u8>,
    text: String,
}

impl Form {
    /// # Errors
    /// A piece without a name or `=`; a broken escape; a name twice; an unknown charset or bytes that are not in it.
    pub fn parse(body: &[u8]) -> Result<Form, FormFault> {
        let mut pairs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for piece in body.split(|byte| *byte == b'&') {
            let mut sides = piece.splitn(2, |byte| *byte == b'=');
            let (Some(name), Some(value)) = (sides.next(), sides.next()) else {
                return Err(FormFault::Shape);
            };
            let name = String::from_utf8(decoded(name)?).map_err(|_| FormFault::Text)?;
            if !is_name(name.as_bytes()) {
                return Err(FormFault::Shape);
            }
            if pairs.insert(name, decoded(value)?).is_some() {
                return Err(FormFault::Duplicate);
            }
        }
        let charset = charset(pairs.get("charset").map(Vec::as_slice).unwrap_or_default())?;
        let read = |(name, bytes): (String, Vec<u8>)| {
            let text = charset.decode_without_bom_handling_and_without_replacement(&bytes);
            let text = text.ok_or(FormFault::Text)?.into_owned();
            Ok((name, Value { bytes, text }))
        };
        Ok(Form(pairs.into_iter().map(read).collect::<Result<_, FormFault>>()?))
    }

    /// A value that is there and not empty: Alipay leaves out what has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Names in byte order, and values in the bytes that were signed, the empty ones among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.bytes.as_slice()))
    }
}

/// Whether it could name a parameter of Alipay's.
fn is_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
}

/// What `charset` may name; without it values are UTF-8, which is what our requests ask for.
fn charset(named: &[u8]) -> Result<&'static Encoding, FormFault> {
    match named.to_ascii_lowercase().as_slice() {
        b"" | b"utf-8" => Ok(UTF_8),
        b"gbk" => Ok(GBK),
        _ => {
            let text = String::from_utf8_lossy(named);
            Err(FormFault::Charset(text.chars().filter(|c| c.is_ascii_graphic()).take(32).collect()))
        }
    }
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, FormFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex_pair(rest.next(), rest.next()).ok_or(FormFault::Escape)?,
            plain if plain.is_ascii_graphic() => *plain,
            _ => return Err(FormFault::Escape),
        });
    }
    Ok(bytes)
}

fn hex_pair(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &[u8]) -> FormFault {
        Form::parse(body).expect_err(&String::from_utf8_lossy(body))
    }

    #[test]
    fn a_value_is_decoded_once_and_ends_only_at_the_next_ampersand() {
        let form = Form::parse(b"a=1%2B1+%3D+2&b=x=y==&c=%252B&d=&e=%E5%85%85%e5%80%bc").unwrap();
        let texts: Vec<_> = form.iter().map(|(name, _)| (name, form.get(name))).collect();
        let right = [
            ("a", Some("1+1 = 2")),
            ("b", Some("x=y==")),
            ("c", Some("%2B")),
            ("d", None),
            ("e", Some("充值")),
        ];
        assert_eq!(texts, right);
        assert_eq!(form.iter().nth(4), Some(("e", "充值".as_bytes())));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in ["", "a", "a=1&", "&a=1", "a=1&&b=2", "=1", "a%26b=1", "a b=1", "%E5%85%85=1"] {
            assert!(matches!(fault(body.as_bytes()), FormFault::Shape | FormFault::Escape), "{body}");
        }
        for body in
            ["a=%", "a=%F", "a=%u0041", "a=%+1", "a=%-1", "a=1\r\n", "a=\u{5145}", "a=1 2", "a=%\u{ff}"]
        {
            assert_eq!(fault(body.as_bytes()), FormFault::Escape, "{body}");
        }
        for body in ["a=1&b=2&a=1", "a=1&%61=2", "sign=x&sign="] {
            assert_eq!(fault(body.as_bytes()), FormFault::Duplicate, "{body}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_in_the_named_charset_are_refused() {
        for body in ["a=%FF", "a=%ED%A0%80", "a=%C0%AF", "charset=UTF-8&a=%B3%E4", "charset=gbk&a=%FF"] {
            assert_eq!(fault(body.as_bytes()), FormFault::Text, "{body}");
        }
        let gbk = Form::parse(b"charset=GBK&subject=%B3%E4%D6%B5").unwrap();
        assert_eq!(gbk.get("subject"), Some("充值"));
        assert_eq!(gbk.iter().nth(1), Some(("subject", b"\xb3\xe4\xd6\xb5".as_slice())), "as it was signed");
        let refused = FormFault::Charset("utf-7".to_owned());
        assert_eq!(fault(b"charset=utf-7&a=1"), refused);
        assert_eq!(Form::parse(b"a=%EF%BB%BF1").unwrap().get("a"), Some("\u{feff}1"), "no mark is dropped");
    }
}
