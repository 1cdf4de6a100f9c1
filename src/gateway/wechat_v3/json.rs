//! The one reader of V3's JSON. Two readers of the same bytes must not see different messages, so a name that stands
//! twice in an object is refused wherever it stands, and a number is kept as it was written.

use crate::{domain::money::Fen, gateway::members};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Objects and lists inside each other: WeChat's own messages have four.
const DEEPEST: usize = 16;

/// A JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// As if it were missing.
    Null,
    /// `true` or `false`: nothing this program reads.
    Word,
    /// Digits, sign, point and exponent as they were written.
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(Object),
}

impl Object {
    /// `None` for anything but one object in UTF-8 with unique names and at most 16 levels.
    pub fn parse(bytes: &[u8]) -> Option<Object> {
        match read(std::str::from_utf8(bytes).ok()?, DEEPEST)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text that is present and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.text_or_empty(name).filter(|text| !text.is_empty())
    }

    pub fn text_or_empty(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn object(&self, name: &str) -> Option<&Object> {
        match self.value(name)? {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The objects of a list; `None` when it is no list, or holds anything else.
    pub fn objects(&self, name: &str) -> Option<Vec<&Object>> {
        let Value::List(values) = self.value(name)? else { return None };
        values
            .iter()
            .map(|value| match value {
                Value::Object(object) => Some(object),
                _ => None,
            })
            .collect()
    }

    /// An amount in fen: an integer in plain digits, not a text, and without sign, point or exponent.
    pub fn fen(&self, name: &str) -> Option<Fen> {
        match self.value(name)? {
            Value::Number(written) => Fen::parse_fen(written).ok(),
            _ => None,
        }
    }
}

/// Reads one value. serde_json checks the grammar; each level is read again with its own rules.
fn read(text: &str, levels: usize) -> Option<Value> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    Some(match text.bytes().next()? {
        b'{' => {
            let levels = levels.checked_sub(1)?;
            let members = members::of(text).ok()?;
            let value = |(name, raw): (String, &RawValue)| Some((name, read(raw.get(), levels)?));
            Value::Object(Object(members.into_iter().map(value).collect::<Option<_>>()?))
        }
        b'[' => {
            let levels = levels.checked_sub(1)?;
            let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Value::List(values.into_iter().map(|raw| read(raw.get(), levels)).collect::<Option<_>>()?)
        }
        b'"' => Value::Text(serde_json::from_str(text).ok()?),
        b't' | b'f' => serde_json::from_str::<bool>(text).ok().map(|_| Value::Word)?,
        b'n' => serde_json::from_str::<()>(text).ok().map(|()| Value::Null)?,
        _ => Value::Number(serde_json::from_str::<&RawValue>(text).ok()?.get().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_with_whatever_it_has_besides() {
        let object = Object::parse(
            " {\"a\":\"\\u4e2d\\\"\",\"amount\":{\"total\":100,\"rate\":1.5e3},\"list\":[{\"x\":1},{}],\"n\":null,\"b\":true,\"e\":\"\"}\n"
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(object.text("a"), Some("中\""));
        assert_eq!((object.text("e"), object.text_or_empty("e")), (None, Some("")));
        assert_eq!((object.text("n"), object.text("b"), object.text("amount")), (None, None, None));
        let amount = object.object("amount").unwrap();
        assert_eq!(amount.fen("total"), Fen::new(100));
        assert_eq!((amount.fen("rate"), object.fen("a"), object.fen("missing")), (None, None, None));
        assert_eq!(object.objects("list").unwrap().len(), 2);
        assert_eq!((object.objects("amount"), object.object("list")), (None, None));
    }

    #[test]
    fn an_amount_is_an_integer_in_plain_digits() {
        let total = |written: &str| {
            let body = format!("{{\"total\":{written}}}");
            Object::parse(body.as_bytes()).and_then(|object| object.fen("total")).map(Fen::get)
        };
        assert_eq!((total("0"), total("100"), total(" 100 ")), (Some(0), Some(100), Some(100)));
        for written in [
            "\"100\"",
            "100.0",
            "1e2",
            "1E2",
            "-100",
            "-0",
            "+100",
            "0100",
            "1_000",
            "0x64",
            "null",
            "true",
            "[100]",
            "{\"total\":100}",
            "9007199254740993",
            "",
            "1 00",
            "NaN",
            "１００",
        ] {
            assert_eq!(total(written), None, "{written}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_stands() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"amount":{"total":1,"total":100}}"#,
            r#"{"x":{"unknown":{"a":1,"b":2,"a":3}}}"#,
            r#"{"list":[{"a":1},{"a":1,"a":1}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(Object::parse(body.as_bytes()), None, "{body}");
        }
        assert!(Object::parse(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#).is_some());
    }

    #[test]
    fn bytes_that_are_not_one_object_are_refused() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(Object::parse(nested(16).as_bytes()).is_some());
        let (deep, bottomless) = (nested(17), "[".repeat(100_000));
        let lists = format!("{{\"a\":{}{}}}", "[".repeat(16), "]".repeat(16));
        for body in [
            "",
            " ",
            "null",
            "[]",
            "\"a\"",
            "1",
            "{",
            "{}{}",
            "{}x",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{'a':1}",
            "{\"a\":1}//",
            "\u{FEFF}{}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\\ud800\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":tru}",
            "{\"a\":nulll}",
            "{\"a\":-}",
            "{\"\\ud800\":1}",
            deep.as_str(),
            bottomless.as_str(),
            lists.as_str(),
            "<xml/>",
        ] {
            assert_eq!(Object::parse(body.as_bytes()), None, "{}", body.get(..60).unwrap_or(body));
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xFF\"}"), None);
    }
}
