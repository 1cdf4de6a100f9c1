//! A second opinion on V2 messages: XML by another parser and by hand, signatures from a plain sorted map,
//! money and time by their own arithmetic. Shares nothing with the program but two hash functions.

use aws_lc_rs::digest::{SHA256, digest};
use md5::{Digest, Md5};
use std::{collections::BTreeMap, ops::Range};

/// The merchant of every message in the corpora: that of `tests/vectors`.
pub const APPID: &str = "wx2421b1c4370ec43b";
pub const MCH_ID: &str = "10000100";
pub const KEY: &str = "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf";

/// The largest amount in fen, 2^53.
const MOST: u128 = 9_007_199_254_740_992;

/// A flat message as the second reader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub fields: BTreeMap<String, String>,
    /// Where in the body the element `sign` stands.
    sign_at: Option<Range<usize>>,
}

impl Message {
    /// `None` unless the body is well-formed XML with a root of unique, childless elements.
    pub fn read(body: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(body).ok()?;
        let document = roxmltree::Document::parse(text).ok()?;
        let mut message = Message::default();
        for node in document.root_element().children().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name().to_owned();
            let value = decoded(inside(text.get(node.range())?))?;
            // The parser's own reading of the value. It keeps the layout around CDATA and turns CR LF into
            // LF, so white space is left out of the comparison.
            let parsed: String = node.children().filter_map(|child| child.text()).collect();
            assert_eq!(without_space(&parsed), without_space(&value), "two readers of {name}");
            if name == "sign" {
                message.sign_at = Some(node.range());
            }
            if message.fields.insert(name, value).is_some() {
                return None;
            }
        }
        Some(message)
    }

    /// Present and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn says(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// Signed with our key, by an algorithm that its `sign_type` does not deny.
    pub fn is_authentic(&self) -> bool {
        let Some(given) = self.get("sign") else { return false };
        let (named, right) = match given.len() {
            32 => ("MD5", md5_sign(&self.fields, KEY)),
            64 => ("HMAC-SHA256", hmac_sign(&self.fields, KEY)),
            _ => return false,
        };
        given == right && self.get("sign_type").is_none_or(|name| name == named)
    }

    /// Whether a value would read as one of the fields that matter if the signed text were taken apart elsewhere.
    pub fn hides_a_field(&self) -> bool {
        let names = "appid mch_id result_code out_trade_no transaction_id total_fee fee_type trade_type openid time_end";
        let marks: Vec<String> = names.split(' ').map(|name| format!("&{name}=")).collect();
        self.fields.values().any(|value| marks.iter().any(|mark| value.contains(mark)))
    }

    /// The same body, signed with our key where it has a `sign`: what a fuzzer cannot guess.
    pub fn signed(body: &[u8]) -> Option<Vec<u8>> {
        let message = Message::read(body)?;
        let at = message.sign_at.clone()?;
        let sign = match message.get("sign").map(str::len) {
            Some(64) => hmac_sign(&message.fields, KEY),
            _ => md5_sign(&message.fields, KEY),
        };
        let (before, after) = (body.get(..at.start)?, body.get(at.end..)?);
        Some([before, format!("<sign>{sign}</sign>").as_bytes(), after].concat())
    }

    /// What a payment needs; `None` if a part of it is missing or unreadable.
    pub fn payment(&self) -> Option<Payment> {
        Some(Payment {
            out_trade_no: self.get("out_trade_no").filter(|no| is_number(no, "_-|*"))?.to_owned(),
            transaction_id: self.get("transaction_id").filter(|id| is_payment(id))?.to_owned(),
            amount: fen(self.get("total_fee")?).filter(|fen| *fen > 0)?,
            currency: kept(self.get("fee_type").unwrap_or("CNY")),
            trade_type: kept(self.get("trade_type").unwrap_or("")),
            paid_at: self.get("time_end").and_then(beijing_ms),
        })
    }
}

/// The facts that credit somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub out_trade_no: String,
    pub transaction_id: String,
    pub amount: i64,
    pub currency: String,
    pub trade_type: String,
    pub paid_at: Option<i64>,
}

/// Upper-case hex of MD5 over the sorted fields and the key.
pub fn md5_sign(fields: &BTreeMap<String, String>, key: &str) -> String {
    hex(&Md5::digest(with_key(fields, key).as_bytes()))
}

/// Upper-case hex of HMAC-SHA256 (RFC 2104, by hand) over the same text.
pub fn hmac_sign(fields: &BTreeMap<String, String>, key: &str) -> String {
    let mut block = [0_u8; 64];
    let short = match key.len() {
        0..=64 => key.as_bytes().to_vec(),
        _ => digest(&SHA256, key.as_bytes()).as_ref().to_vec(),
    };
    block.iter_mut().zip(short).for_each(|(to, from)| *to = from);
    let inner = [block.map(|byte| byte ^ 0x36).as_slice(), with_key(fields, key).as_bytes()].concat();
    let outer = [block.map(|byte| byte ^ 0x5C).as_slice(), digest(&SHA256, &inner).as_ref()].concat();
    hex(digest(&SHA256, &outer).as_ref())
}

/// The text under the signature, without the key.
pub fn canonical(fields: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, value)| name.as_str() != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Fen of a canonical decimal text, 0 to 2^53.
pub fn fen(text: &str) -> Option<i64> {
    let canonical = text == "0" || text.starts_with(|c: char| ('1'..='9').contains(&c));
    if !canonical || text.len() > 16 || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let fen = text.bytes().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    i64::try_from(fen).ok().filter(|_| fen <= MOST)
}

/// Fen of yuan with at most two decimals, 0 to 2^53.
pub fn yuan(text: &str) -> Option<i64> {
    let (whole, cents) = match text.bytes().position(|byte| byte == b'.') {
        None => (text, "00".to_owned()),
        Some(dot) => {
            let cents = text.get(dot + 1..)?;
            (text.get(..dot)?, format!("{cents}{}", if cents.len() == 1 { "0" } else { "" }))
        }
    };
    let plain = cents.len() == 2 && cents.bytes().all(|byte| byte.is_ascii_digit());
    let joined = format!("{whole}{cents}");
    if !plain || fen(whole).is_none() {
        return None;
    }
    fen(joined.trim_start_matches('0')).or_else(|| joined.bytes().all(|byte| byte == b'0').then_some(0))
}

/// Milliseconds since 1970 of `yyyyMMddHHmmss` at UTC+8, by counting days.
pub fn beijing_ms(text: &str) -> Option<i64> {
    if text.len() != 14 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |range: Range<usize>| text.get(range).and_then(|digits| digits.parse::<i64>().ok());
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *months.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days from 1 January of year 0 to that of `year`, in the Gregorian calendar.
    let before = |year: i64| 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let in_year: i64 =
        months.iter().zip(1..).filter(|(_, number)| *number < month).map(|(days, _)| days).sum();
    let days = before(year) - before(1970) + in_year + day - 1;
    Some((((days * 24 + hour - 8) * 60 + minute) * 60 + second) * 1000)
}

/// At most 32 ASCII letters and digits, or of these characters.
pub fn is_number(text: &str, also: &str) -> bool {
    text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// A gateway's number of a payment: WeChat's have 32 characters at most, Alipay's 64.
pub fn is_payment(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// What the program keeps of a word that is not its own: 64 characters, and one that stands for each that cannot be
/// printed.
pub fn kept(word: &str) -> String {
    let printed = |c: char| "'\"\\".contains(c) || format!("{c:?}") == format!("'{c}'");
    word.chars().take(64).map(|c| if printed(c) { c } else { '\u{fffd}' }).collect()
}

/// What stands between an element's tags.
fn inside(element: &str) -> &str {
    let start = element.find('>').map_or(element.len(), |at| at + 1);
    let end = element.rfind("</").unwrap_or(start);
    element.get(start..end).unwrap_or("")
}

/// A value by the rule of `Fields::parse`, read from the source text.
fn decoded(mut rest: &str) -> Option<String> {
    let mut runs = vec![(String::new(), false)];
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("<![CDATA[") {
            let (verbatim, after) = tail.split_once("]]>")?;
            runs.extend([(verbatim.to_owned(), true), (String::new(), false)]);
            rest = after;
            continue;
        }
        let (c, after) = match rest.strip_prefix('&').map(|tail| tail.split_once(';')) {
            Some(reference) => reference.and_then(|(name, after)| Some((entity(name)?, after)))?,
            None if c == '<' => return None,
            None => (c, rest.get(c.len_utf8()..)?),
        };
        runs.last_mut()?.0.push(c);
        rest = after;
    }
    match runs.as_slice() {
        [(plain, _)] => Some(plain.trim_matches([' ', '\t', '\r', '\n']).to_owned()),
        runs => Some(
            runs.iter()
                .filter(|(text, cdata)| *cdata || !without_space(text).is_empty())
                .map(|(text, _)| text.as_str())
                .collect(),
        ),
    }
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

fn without_space(text: &str) -> String {
    text.replace([' ', '\t', '\r', '\n'], "")
}

fn with_key(fields: &BTreeMap<String, String>, key: &str) -> String {
    let text = canonical(fields);
    if text.is_empty() { format!("key={key}") } else { format!("{text}&key={key}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
