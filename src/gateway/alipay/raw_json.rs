//! The object a reply is, with each member's text exactly as it arrived: Alipay signs a part of the document, so
//! that part is never written anew. Names that come twice are refused, because two readers could choose differently.

use crate::{domain::money::Fen, gateway::members};
use std::collections::BTreeMap;

/// Members by name, their values as raw text without the blanks around them.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(BTreeMap<String, &'a str>);

impl<'a> Object<'a> {
    /// # Errors
    /// Not one whole JSON object, or a name twice. Objects inside are only checked to be JSON.
    pub fn parse(text: &'a str) -> Result<Object<'a>, serde_json::Error> {
        let members = members::of(text)?.into_iter();
        Ok(Object(members.map(|(name, value)| (name, value.get())).collect()))
    }

    /// A member's text as it arrived.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// Whether a member says anything: it is there, and neither empty nor null. Lists come inside a text as well.
    pub fn says(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| !matches!(raw, "null" | "\"\"" | "[]" | "\"[]\""))
    }

    /// A member that is a string and not empty. Numbers are no texts.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok().filter(|text: &String| !text.is_empty())
    }

    /// An amount in yuan. Alipay writes it in quotes and, in samples of its own, as a number: then the digits are read
    /// as they arrived, by the same rule, and never by way of a float.
    pub fn yuan(&self, name: &str) -> Option<Fen> {
        let text = self.text(name).or_else(|| self.raw(name).map(str::to_owned))?;
        Fen::parse_yuan(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_very_text_that_arrived() {
        let node = r#"{ "a" : "}{\"\\" ,"u":"\u5145\/","n":{"sign":"x","l":[{"}":1}]} }"#;
        let text = format!("\r\n{{ \"sign\":\"s\" , \"node\" :\t{node} , \"z\":null}}\n");
        let object = Object::parse(&text).unwrap();
        assert_eq!(object.raw("node"), Some(node));
        assert_eq!(
            (object.text("sign").as_deref(), object.text("z"), object.text("node")),
            (Some("s"), None, None)
        );
        let inner = Object::parse(node).unwrap();
        assert_eq!(inner.text("a").as_deref(), Some("}{\"\\"));
        assert_eq!(inner.text("u").as_deref(), Some("充/"));
        assert_eq!(inner.raw("n"), Some(r#"{"sign":"x","l":[{"}":1}]}"#));
    }

    #[test]
    fn an_amount_is_read_from_its_own_digits_with_quotes_or_without() {
        let read = |raw: &str| Object::parse(&format!(r#"{{"a": {raw} }}"#)).unwrap().yuan("a").map(Fen::get);
        for (raw, fen) in
            [("\"88.88\"", 8_888), ("88.88", 8_888), ("0", 0), ("0.1", 10), ("90071992547409.92", 1 << 53)]
        {
            assert_eq!(read(raw), Some(fen), "{raw}");
        }
        for raw in
            ["-1", "-0", "1e2", "0.100", "90071992547409.93", "\"\"", "\" 1\"", "null", "[1]", "true", "{}"]
        {
            assert_eq!(read(raw), None, "{raw}");
        }
        assert_eq!(Object::parse("{}").unwrap().yuan("a"), None);
    }

    #[test]
    fn a_name_twice_is_refused_however_it_is_written() {
        for text in [
            r#"{"sign":"a","sign":"a"}"#,
            r#"{"sign":"a","n":{},"s\u0069gn":"b"}"#,
            r#"{"n":{"code":"10000"},"n":{"code":"40004"}}"#,
        ] {
            assert!(Object::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_whole_object_is_refused() {
        for text in
            ["", "null", "[]", "{}{}", "{} x", "{\"a\":}", "{\"a\":\"b", "{\"a\":[}", "\u{feff}{}", "{'a':1}"]
        {
            assert!(Object::parse(text).is_err(), "{text}");
        }
        assert_eq!(Object::parse(r#"{"a":1,"b":"","c":"\ud800"}"#).unwrap().text("a"), None);
    }
}
