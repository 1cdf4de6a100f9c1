//! A second opinion on V3's JSON: read by hand, character by character, and then held against what serde_json makes
//! of the same bytes.

use super::second::fen;
use serde_json::Value;
use std::collections::BTreeMap;

/// Levels of objects and lists.
const DEEPEST: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`, `true` or `false`.
    Word,
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// `None` unless the bytes are one object, not too deep, in which no name stands twice, wherever it stands.
    pub fn object(bytes: &[u8]) -> Option<Json> {
        let mut reader = Reader(std::str::from_utf8(bytes).ok()?);
        let read = reader.value(DEEPEST)?;
        if !reader.ends() || !matches!(read, Json::Object(_)) {
            return None;
        }
        match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => assert!(read.is(&value), "two readers: {read:?} and {value:?}"),
            // What no `f64` holds is a number all the same.
            Err(error) => assert!(error.to_string().starts_with("number out of range"), "{error}"),
        }
        Some(read)
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// A text that is present and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Json::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub fn says(&self, name: &str, text: &str) -> bool {
        self.text(name) == Some(text)
    }

    /// Fen of a number in plain digits.
    pub fn fen(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Json::Number(written) => fen(written),
            _ => None,
        }
    }

    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Json::Word, Value::Null | Value::Bool(_)) => true,
            (Json::Number(written), Value::Number(number)) => {
                number.as_i64().is_none_or(|number| written.parse() == Ok(number))
            }
            (Json::Text(text), Value::String(other)) => text == other,
            (Json::List(list), Value::Array(other)) => {
                list.len() == other.len() && list.iter().zip(other).all(|(ours, theirs)| ours.is(theirs))
            }
            (Json::Object(members), Value::Object(other)) => {
                let same = |(name, ours): (&String, &Json)| other.get(name).is_some_and(|to| ours.is(to));
                members.len() == other.len() && members.iter().all(same)
            }
            _ => false,
        }
    }
}

/// What is still to be read.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn ends(&mut self) -> bool {
        self.space();
        self.0.is_empty()
    }

    /// Whether this stands here; if so, it is read.
    fn has(&mut self, text: &str) -> bool {
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// The same behind white space.
    fn sign(&mut self, text: &str) -> bool {
        self.space();
        self.has(text)
    }

    fn value(&mut self, levels: usize) -> Option<Json> {
        self.space();
        if ["null", "true", "false"].iter().any(|word| self.has(word)) {
            return Some(Json::Word);
        }
        match self.0.bytes().next()? {
            b'"' => self.text().map(Json::Text),
            b'{' => self.members(levels.checked_sub(1)?),
            b'[' => self.list(levels.checked_sub(1)?),
            _ => self.number(),
        }
    }

    fn members(&mut self, levels: usize) -> Option<Json> {
        let mut members = BTreeMap::new();
        if !self.has("{") || self.sign("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.text()?;
            let value = if self.sign(":") { self.value(levels)? } else { return None };
            if members.insert(name, value).is_some() {
                return None;
            }
            if self.sign("}") {
                return Some(Json::Object(members));
            }
            if !self.sign(",") {
                return None;
            }
        }
    }

    fn list(&mut self, levels: usize) -> Option<Json> {
        let mut list = Vec::new();
        if !self.has("[") || self.sign("]") {
            return Some(Json::List(list));
        }
        loop {
            list.push(self.value(levels)?);
            if self.sign("]") {
                return Some(Json::List(list));
            }
            if !self.sign(",") {
                return None;
            }
        }
    }

    /// In the units of UTF-16, so that half a pair of surrogates is found wherever it stands.
    fn text(&mut self) -> Option<String> {
        let mut units = Vec::new();
        if !self.has("\"") {
            return None;
        }
        while !self.has("\"") {
            let c = self.next()?;
            match c {
                '\\' => units.push(self.escaped()?),
                c if c < ' ' => return None,
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
        String::from_utf16(&units).ok()
    }

    fn escaped(&mut self) -> Option<u16> {
        Some(match self.next()? {
            c @ ('"' | '\\' | '/') => u16::try_from(u32::from(c)).ok()?,
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            'u' => (0..4).try_fold(0, |unit: u16, _| {
                Some(unit << 4 | u16::try_from(self.next()?.to_digit(16)?).ok()?)
            })?,
            _ => return None,
        })
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let c = chars.next();
        self.0 = chars.as_str();
        c
    }

    fn number(&mut self) -> Option<Json> {
        let mut written = String::new();
        if self.has("-") {
            written.push('-');
        }
        let whole = self.digits();
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        written.push_str(&whole);
        if self.has(".") {
            written.push('.');
            written.push_str(Some(self.digits()).filter(|digits| !digits.is_empty())?.as_str());
        }
        if let Some(e) = ["e", "E"].into_iter().find(|e| self.has(e)) {
            let sign = ["+", "-"].into_iter().find(|sign| self.has(sign)).unwrap_or_default();
            let digits = Some(self.digits()).filter(|digits| !digits.is_empty())?;
            written.push_str(&format!("{e}{sign}{digits}"));
        }
        Some(Json::Number(written))
    }

    fn digits(&mut self) -> String {
        let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = self.0.strip_suffix(rest).unwrap_or_default().to_owned();
        self.0 = rest;
        digits
    }
}
