//! downloadbill: the bill of a day, as text with one line a payment or refund. V3 hands out the same text.
//!
//! Source: the downloadbill page (4011985040) and bills published with SDKs. A bill is not signed, so it proves no
//! payment: what it names is asked about.

use super::{Account, xml::Fields};
use crate::{
    domain::{
        bill::{BillDay, BillKind, BillRow},
        money::Fen,
        time::UnixMs,
    },
    gateway::{
        Request, Response, Stamp, Untrusted,
        bill::{self, Bill, Billed, malformed},
        words::word,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Columns by their names of today and of before.
const AMOUNT: [&str; 2] = ["订单金额", "总金额"];
const REFUND_AMOUNT: [&str; 2] = ["申请退款金额", "退款金额"];
/// Sums of the last line, and the columns they are sums of.
const SUMS: [(&str, &str); 2] = [("订单总金额", "订单金额"), ("申请退款总金额", "申请退款金额")];
const COUNT: &str = "总交易单数";
/// Refunds that moved no money.
const NOT_REFUNDED: [&str; 3] = ["FAIL", "REFUNDCLOSE", "CLOSED"];

pub fn request(account: &Account, day: BillDay, stamp: &Stamp) -> Request {
    let fields: Fields = [("bill_date", day.compact().as_str()), ("bill_type", "ALL")].into_iter().collect();
    super::signed_request(account, &account.appids.web, "downloadbill", "/pay/downloadbill", fields, stamp)
}

/// A body that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downloaded {
    Table(Table),
    /// Unsigned XML in place of a bill.
    Refused {
        message: String,
        code: String,
    },
}

/// A bill as text, its structure checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub summary: BTreeMap<String, String>,
}

/// # Errors
/// A reply that may not be used, or a bill that does not hold together: nothing of it is.
pub fn answered(account: &Account, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    match read(&answer.body)? {
        Downloaded::Table(table) => Ok(Billed::Here(Bill {
            rows: rows(&table, &account.mch_id, day)?,
            sha256: bill::sha256(&answer.body),
        })),
        Downloaded::Refused { message, .. } => {
            let plain = message.to_lowercase().replace(' ', "");
            let later = ["billcreating", "systemerror", "compressgziperror"];
            let code = word(&message);
            match () {
                () if plain.contains("nobillexist") => Ok(Billed::Nothing { code }),
                () if later.iter().any(|text| plain.contains(text)) => Ok(Billed::NotYet { code }),
                () => Err(Untrusted::CommFail(code)),
            }
        }
    }
}

/// Reads a body: a table of a header, lines whose cells begin with a backtick, and two lines of sums.
///
/// # Errors
/// Anything else, as when it was cut off.
pub fn read(body: &[u8]) -> Result<Downloaded, Untrusted> {
    let body = bill::gunzipped(body)?;
    let text = std::str::from_utf8(&body).map_err(|_| malformed("the bill is not UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('<') {
        let fields =
            Fields::parse(text.as_bytes()).map_err(|fault| Untrusted::Malformed(fault.to_string()))?;
        let get = |name| fields.get(name).unwrap_or_default().to_owned();
        return Ok(Downloaded::Refused { message: get("return_msg"), code: get("error_code") });
    }
    let mut lines = text.trim_end_matches(['\r', '\n']).split('\n').map(|line| line.trim_end_matches('\r'));
    let header = names(lines.next().unwrap_or_default())?;
    let mut rows = Vec::new();
    let sums = loop {
        let line = lines.next().ok_or_else(|| malformed("the bill breaks off before its sums"))?;
        match line.strip_prefix('`') {
            Some(cells) => {
                bill::room_after(rows.len())?;
                rows.push(cells_of(cells, header.len())?);
            }
            None => break names(line)?,
        }
    };
    let summed = lines.next().and_then(|line| line.strip_prefix('`'));
    let summed = cells_of(summed.ok_or_else(|| malformed("the bill lacks its sums"))?, sums.len())?;
    if lines.next().is_some() {
        return Err(malformed("something follows the sums of the bill"));
    }
    Ok(Downloaded::Table(Table { header, rows, summary: sums.into_iter().zip(summed).collect() }))
}

/// A line of names, each once.
fn names(line: &str) -> Result<Vec<String>, Untrusted> {
    let names: Vec<String> = line.split(',').map(|name| name.trim().to_owned()).collect();
    let unique = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let plain = names.iter().all(|name| !name.is_empty() && !name.contains('`'));
    if unique && plain { Ok(names) } else { Err(malformed("the bill lacks the names of its columns")) }
}

/// A value may hold commas and not a comma before a backtick: then there are too many cells.
fn cells_of(line: &str, wanted: usize) -> Result<Vec<String>, Untrusted> {
    let cells: Vec<String> = line.split(",`").map(str::to_owned).collect();
    if cells.len() == wanted { Ok(cells) } else { Err(malformed("a line of the bill has other columns")) }
}

/// What the lines of a whole bill say, each of this merchant and its payments of this day.
///
/// # Errors
/// Sums that are not those of the lines, somebody else's bill, another day's, another currency, or a line that cannot
/// be read.
pub fn rows(table: &Table, mch_id: &str, day: BillDay) -> Result<Vec<BillRow>, Untrusted> {
    check_sums(table)?;
    let mut rows = Vec::new();
    // The first line has the names.
    for (row, number) in table.rows.iter().zip(2..) {
        let line = Line { header: &table.header, row };
        if line.get("商户号") != Some(mch_id) {
            return Err(Untrusted::Identity("商户号"));
        }
        rows.extend(line.read(day)?.map(|read| BillRow { line: number, ..read }));
    }
    Ok(rows)
}

struct Line<'a> {
    header: &'a [String],
    row: &'a [String],
}

impl Line<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let at = self.header.iter().position(|named| named == name)?;
        self.row.get(at).map(String::as_str)
    }

    fn amount(&self, names: [&'static str; 2]) -> Result<Fen, Untrusted> {
        let text = names.iter().find_map(|name| self.get(name));
        text.and_then(|text| Fen::parse_yuan(text).ok()).ok_or(Untrusted::Incomplete(names[0]))
    }

    /// `None` for a refund that moved no money.
    fn read(&self, day: BillDay) -> Result<Option<BillRow>, Untrusted> {
        let text = |name: &'static str| self.get(name).map(word).ok_or(Untrusted::Incomplete(name));
        if self.get("货币种类") != Some("CNY") {
            return Err(Untrusted::Incomplete("货币种类"));
        }
        let at = self.get("交易时间").and_then(UnixMs::parse_beijing_text);
        let at = at.ok_or(Untrusted::Incomplete("交易时间"))?;
        let (kind, out_refund_no, amount) = match self.get("交易状态") {
            Some("SUCCESS") if !day.contains(at) => return Err(Untrusted::Identity("day")),
            Some("SUCCESS") => (BillKind::Payment, String::new(), self.amount(AMOUNT)?),
            // A payment by bar code that was taken back at once counts as a refund of all of it.
            Some("REFUND" | "REVOKED")
                if NOT_REFUNDED.contains(&self.get("退款状态").unwrap_or_default()) =>
            {
                return Ok(None);
            }
            Some("REFUND" | "REVOKED") => {
                (BillKind::Refund, text("商户退款单号")?, self.amount(REFUND_AMOUNT)?)
            }
            _ => return Err(Untrusted::Incomplete("交易状态")),
        };
        let (transaction_id, out_trade_no) = (text("微信订单号")?, text("商户订单号")?);
        Ok(Some(BillRow { kind, transaction_id, out_trade_no, out_refund_no, amount, at, line: 0 }))
    }
}

/// Counts are sometimes written `45.0`.
fn check_sums(table: &Table) -> Result<(), Untrusted> {
    let count = table.summary.get(COUNT).map(|text| text.strip_suffix(".0").unwrap_or(text));
    if count != Some(table.rows.len().to_string().as_str()) {
        return Err(malformed("the bill has other lines than it counts"));
    }
    for (sum, column) in SUMS {
        let (Some(said), true) = (table.summary.get(sum), table.header.iter().any(|name| name == column))
        else {
            continue;
        };
        let mut total = Some(Fen::ZERO);
        for row in &table.rows {
            let line = Line { header: &table.header, row };
            let amount = line.amount([column, column]).ok();
            total = total.zip(amount).and_then(|(total, amount)| total.checked_add(amount));
        }
        if total.is_none() || Fen::parse_yuan(said).ok() != total {
            return Err(malformed("the lines of the bill do not come to its sums"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
