//! A second opinion on Alipay's forms: split at `&`, decoded once, and the text under the signature put together by
//! hand.

use std::collections::BTreeMap;

/// The names that decide what a notify says.
const MATTERS: &str = "notify_type notify_id app_id seller_id trade_status out_trade_no trade_no total_amount trans_currency \
                       gmt_payment refund_fee gmt_refund out_biz_no charset";

/// The pairs as the second reader sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    pairs: BTreeMap<String, Vec<u8>>,
    /// The values are GBK, of which the second reader knows ASCII alone.
    gbk: bool,
}

impl Pairs {
    /// `None` for what two readers could read differently: a piece without `=`, a name of other than letters, digits
    /// and `_-.`, a name twice, an escape that is none, another charset, text that is not UTF-8.
    pub fn read(body: &[u8]) -> Option<Pairs> {
        let mut pairs = BTreeMap::new();
        for piece in body.split(|byte| *byte == b'&') {
            let equals = piece.iter().position(|byte| *byte == b'=')?;
            let name = String::from_utf8(decoded(piece.get(..equals)?)?).ok().filter(|name| is_name(name))?;
            if pairs.insert(name, decoded(piece.get(equals + 1..)?)?).is_some() {
                return None;
            }
        }
        let charset = String::from_utf8(pairs.get("charset").cloned().unwrap_or_default()).ok()?;
        let read = match charset.to_ascii_uppercase().as_str() {
            "" | "UTF-8" => Pairs { pairs, gbk: false },
            "GBK" => Pairs { pairs, gbk: true },
            _ => return None,
        };
        let is_text = |value: &Vec<u8>| read.gbk || std::str::from_utf8(value).is_ok();
        read.pairs.values().all(is_text).then_some(read)
    }

    /// Present and not empty; `None` as well for what the second reader cannot read.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.pairs.get(name).filter(|value| !self.gbk || value.is_ascii())?;
        std::str::from_utf8(value).ok().filter(|value| !value.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.pairs.get(name).is_some_and(|value| !value.is_empty())
    }

    pub fn says(&self, name: &str, text: &str) -> bool {
        self.get(name) == Some(text)
    }

    /// Whether a value is in other than ASCII, of a charset that the second reader has no table of.
    pub fn is_foreign(&self) -> bool {
        self.gbk && self.pairs.values().any(|value| !value.is_ascii())
    }

    /// Every pair but `sign` and `sign_type`, by name.
    pub fn signed_text(&self, with_empty: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, value) in &self.pairs {
            if name == "sign" || name == "sign_type" || (value.is_empty() && !with_empty) {
                continue;
            }
            if !text.is_empty() {
                text.push(b'&');
            }
            text.extend_from_slice(name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value);
        }
        text
    }

    /// How many pairs have no value.
    pub fn empty(&self) -> usize {
        self.pairs.values().filter(|value| value.is_empty()).count()
    }

    /// Whether a value, as it stands in the signed text, could be taken for another pair that matters.
    pub fn is_ambiguous(&self) -> bool {
        self.pairs.values().any(|value| {
            let pieces = (0..value.len()).filter(|at| value.get(*at) == Some(&b'&'));
            pieces.filter_map(|at| value.get(at + 1..)).any(|rest| {
                let name = rest.iter().take_while(|byte| !b"&=".contains(*byte)).count();
                let text = rest.get(..name).and_then(|name| std::str::from_utf8(name).ok());
                rest.get(name) == Some(&b'=')
                    && text.is_some_and(|name| MATTERS.split(' ').any(|matters| matters == name))
            })
        })
    }

    /// The form with each of its pairs changed or removed, and with one more, as bytes to send; and whether it only
    /// lacks a pair that had no value.
    pub fn changes(&self) -> Vec<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        for (name, value) in &self.pairs {
            let mut changed = self.pairs.clone();
            changed.insert(name.clone(), [value, b"0".as_slice()].concat());
            all.push((written(&changed), false));
            changed.remove(name);
            all.push((written(&changed), value.is_empty()));
        }
        let mut more = self.pairs.clone();
        let value = more.get("one_more").cloned().unwrap_or_default();
        more.insert("one_more".to_owned(), [value, b"1".to_vec()].concat());
        all.push((written(&more), false));
        all
    }
}

/// A value with everything escaped.
pub fn escaped(value: &[u8]) -> String {
    value.iter().map(|byte| format!("%{byte:02x}")).collect()
}

fn written(pairs: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&").into_bytes()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Cut at every `%` before anything is decoded, so that nothing is decoded twice.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = text.split(|byte| *byte == b'%');
    let plain = |text: &[u8]| {
        let fits = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
        fits.then(|| text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<u8>>())
    };
    let mut bytes = plain(pieces.next()?)?;
    for piece in pieces {
        let hex = std::str::from_utf8(piece.get(..2)?).ok()?;
        if !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend(plain(piece.get(2..)?)?);
    }
    Some(bytes)
}
