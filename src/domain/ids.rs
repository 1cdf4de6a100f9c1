//! Names of orders, payments and people, each parsed once where it enters.

use std::fmt;

/// Our number for an order at the gateway: 1 to 32 of `0-9 A-Z a-z _ - | *`
/// (parameter rules page 4011941162; the numbers we make ourselves are 32 lower-case hex digits).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutTradeNo(String);

/// Our number for a refund: 1 to 64 of the same characters and `@` (refund page 4011984092).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutRefundNo(String);

/// WeChat's number for a payment: text, because it does not fit 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(String);

/// A WeChat user under one appid. Printed only in part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Openid(String);

/// A sign-in name: 2 to 32 letters, digits, `_ . - @`; kept in lower case, so `Ann` and `ann` are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

macro_rules! text_id {
    ($name:ident, $valid:expr) => {
        impl $name {
            /// `None` unless the text keeps the type's rule.
            pub fn parse(text: &str) -> Option<$name> {
                let valid: fn(&str) -> bool = $valid;
                valid(text).then(|| $name(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(OutTradeNo, |t| (1..=32).contains(&t.len())
    && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b)));
text_id!(OutRefundNo, |t| (1..=64).contains(&t.len())
    && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b)));
text_id!(TransactionId, |t| (1..=64).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric()));
text_id!(Openid, |t| (1..=128).contains(&t.len())
    && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));

impl Username {
    /// `None` unless 2 to 32 letters or digits of any script, or `_ . - @`.
    pub fn parse(text: &str) -> Option<Username> {
        let name = text.to_lowercase();
        let fits = (2..=32).contains(&name.chars().count())
            && name.chars().all(|c| c.is_alphanumeric() || "_.-@".contains(c));
        fits.then_some(Username(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OutTradeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for OutRefundNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Openid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// First four and last four characters; the middle is nobody's business in a log or on a page.
pub fn masked(text: &str) -> String {
    let length = text.chars().count();
    if length <= 8 {
        return "****".to_owned();
    }
    let head: String = text.chars().take(4).collect();
    let tail: String = text.chars().skip(length.saturating_sub(4)).collect();
    format!("{head}…{tail}")
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_number_that_could_break_a_message_is_refused() {
        for text in ["", "a b", "a&b", "<x>", "订单", "123456789012345678901234567890123"] {
            assert_eq!(OutTradeNo::parse(text), None, "{text}");
        }
        assert!(OutTradeNo::parse("R2026_-|*").is_some());
    }

    #[test]
    fn a_name_is_the_same_in_any_case() {
        assert_eq!(Username::parse("Ann"), Username::parse("aNN"));
        assert!(Username::parse("王小明").is_some());
        for text in ["a", "<script>", "a b", "' OR '1'='1", "\u{0}ab", "x".repeat(33).as_str()] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_openid_is_never_printed_in_full() {
        let openid = Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE").unwrap();
        assert_eq!(format!("{openid:?}"), "oUpF…kukE");
    }
}
