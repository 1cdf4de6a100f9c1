//! alipay.data.dataservice.bill.downloadurl.query: where the trade bill of a day lies; then the file itself, a zip of
//! CSV in GBK, with the details in one and sums in another.
//!
//! Source: the page of the method, and bills published with SDKs. The file is not signed and proves no payment.

use super::{
    Account,
    reply::{self, Reply},
};
use crate::{
    domain::{
        bill::{BillDay, BillKind, BillRow},
        money::Fen,
        time::UnixMs,
    },
    gateway::{
        Base, Request, Response, Stamp, Untrusted,
        bill::{self, Bill, BillFile, Billed, malformed},
        words::word,
    },
};
use encoding_rs::GBK;
use serde_json::json;
use std::{borrow::Cow, collections::BTreeSet, io::Cursor};
use url::{Host, Url};
use zip::ZipArchive;

const METHOD: &str = "alipay.data.dataservice.bill.downloadurl.query";
const FILE: &str = "bill.download";
/// Hosts of Alipay's that keep files, also those of its sandbox.
const HOSTS: [&str; 2] = [".alipay.com", ".alipaydev.com"];
/// The files of a bill are two.
const MOST_FILES: usize = 16;
/// In the name of the one that only has sums.
const SUMS: &str = "汇总";
const FIRST_COLUMN: &str = "支付宝交易号";

pub fn request(account: &Account, day: BillDay, stamp: &Stamp) -> Request {
    let content = json!({ "bill_type": "trade", "bill_date": day.to_string() });
    super::call(account, METHOD, super::parameters(account, METHOD, &content, stamp))
}

/// # Errors
/// A reply that may not be used, or an address that is not Alipay's.
pub fn read(account: &Account, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
    let fields = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => fields,
        Reply::Failed(failure) => {
            let code = failure.word();
            return match () {
                () if failure.sub_code.contains("bill_not_exist") => Ok(Billed::Nothing { code }),
                () if failure.code == "20000" || failure.sub_code.starts_with("isp.") => {
                    Ok(Billed::NotYet { code })
                }
                () => Err(Untrusted::CommFail(failure.text())),
            };
        }
    };
    let address = fields.text("bill_download_url").ok_or(Untrusted::Incomplete("bill_download_url"))?;
    let place = place(account, &address).ok_or(Untrusted::Identity("bill_download_url"))?;
    Ok(Billed::At(BillFile { day, place, sha1: None }))
}

/// The address, over TLS whatever it says; at Alipay, or where its gateway is when that is a simulator on this machine.
fn place(account: &Account, address: &str) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    let gateway = Url::parse(&account.gateway_url).ok()?;
    let bare = url.username().is_empty() && url.password().is_none();
    if bare && gateway.scheme() == "http" && url.origin() == gateway.origin() {
        return Some(url.to_string());
    }
    let host = match url.host()? {
        Host::Domain(host) => host.to_owned(),
        Host::Ipv4(_) | Host::Ipv6(_) => return None,
    };
    let theirs = bare && url.port().is_none() && HOSTS.iter().any(|end| host.ends_with(end));
    (theirs && (url.scheme() == "https" || url.set_scheme("https").is_ok())).then(|| url.to_string())
}

/// Nothing of ours goes with it: the address says it all.
pub fn file_request(file: &BillFile) -> Request {
    Request {
        base: Base::Given,
        call: FILE,
        path: file.place.clone(),
        body: None,
        content_type: "",
        headers: Vec::new(),
        certificate: false,
    }
}

/// # Errors
/// A reply that may not be used; somebody else's bill or another day's; one that does not hold together.
pub fn read_file(account: &Account, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let table = table(&details(&answer.body)?)?;
    table.check(&account.seller_id, file.day)?;
    Ok(Bill { rows: table.rows()?, sha256: bill::sha256(&answer.body) })
}

/// The one file of details in the zip, as text.
///
/// # Errors
/// No zip, none or several such files, too large, or not GBK.
pub fn details(body: &[u8]) -> Result<String, Untrusted> {
    let broken = |_| malformed("the bill is no zip");
    let mut archive = ZipArchive::new(Cursor::new(body)).map_err(broken)?;
    if archive.len() > MOST_FILES {
        return Err(malformed("the zip holds too many files"));
    }
    let mut found = None;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(broken)?;
        // Names are in GBK without the flag that would say so, which is no UTF-8 but by a rare chance.
        let raw = entry.name_raw();
        let name = std::str::from_utf8(raw).map_or_else(|_| GBK.decode(raw).0, Cow::Borrowed);
        if !name.to_lowercase().ends_with(".csv") || name.contains(SUMS) {
            continue;
        }
        if found.is_some() {
            return Err(malformed("the zip holds more than one file of details"));
        }
        found = Some(bill::all_of(entry)?);
    }
    let csv = found.ok_or_else(|| malformed("the zip holds no file of details"))?;
    let text = GBK.decode_without_bom_handling_and_without_replacement(&csv);
    Ok(text.ok_or_else(|| malformed("the bill is not GBK"))?.into_owned())
}

/// A bill as text, its structure checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What stands in brackets in the comments above.
    comments: Vec<String>,
    pub header: Vec<String>,
    /// With their lines in the file, counted from 1.
    pub lines: Vec<(i32, Vec<String>)>,
}

/// Reads comments, a line of names and the lines below it.
///
/// # Errors
/// A line with other columns; no end, as when it was cut off.
pub fn table(text: &str) -> Result<Table, Untrusted> {
    let mut table = Table { comments: Vec::new(), header: Vec::new(), lines: Vec::new() };
    let mut ended = false;
    for (line, number) in text.split('\n').map(|line| line.trim_end_matches('\r')).zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix('#') {
            ended |= !table.header.is_empty();
            table.comments.push(comment.to_owned());
            continue;
        }
        bill::room_after(table.lines.len())?;
        let cells = cells(line).ok_or_else(|| malformed("a line of the bill cannot be read"))?;
        match () {
            () if ended => return Err(malformed("something follows the end of the bill")),
            () if table.header.is_empty() => table.header = cells,
            () if cells.len() == table.header.len() => table.lines.push((number, cells)),
            () => return Err(malformed("a line of the bill has other columns")),
        }
    }
    let unique = table.header.iter().collect::<BTreeSet<_>>().len() == table.header.len();
    if !ended || !unique || table.header.first().map(String::as_str) != Some(FIRST_COLUMN) {
        return Err(malformed("the bill lacks its columns or its end"));
    }
    Ok(table)
}

/// The cells of a line of CSV, without the tabs that keep spreadsheets from taking numbers for numbers.
fn cells(line: &str) -> Option<Vec<String>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (cell, after) =
                    rest.split_once(',').map_or((rest, None), |(cell, rest)| (cell, Some(rest)));
                (cell.to_owned(), after)
            }
        };
        cells.push(cell.trim().to_owned());
        match after {
            Some(after) => rest = after,
            None => return Some(cells),
        }
    }
}

/// A cell up to its closing quote, in which a quote stands twice, and what follows the comma behind it.
fn unquoted(text: &str) -> Option<(String, Option<&str>)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_once('"')?;
        cell.push_str(piece);
        match after.chars().next() {
            None => return Some((cell, None)),
            Some(',') => return Some((cell, after.strip_prefix(','))),
            Some('"') => {
                cell.push('"');
                rest = after.strip_prefix('"')?;
            }
            Some(_) => return None,
        }
    }
}

impl Table {
    /// The comments name the account, with four digits behind it, and the day.
    fn check(&self, seller_id: &str, day: BillDay) -> Result<(), Untrusted> {
        let said = |name: &str| {
            let line = self.comments.iter().find(|comment| comment.starts_with(name))?;
            let (_, rest) = line.split_once('[')?;
            rest.split_once(']').map(|(said, _)| said.to_owned())
        };
        if !said("账号").is_some_and(|account| account.starts_with(seller_id)) {
            return Err(Untrusted::Identity("账号"));
        }
        let (year, month, date) = day_parts(day);
        let wanted = format!("{year}年{month}月{date}日 00:00:00");
        if said("起始日期") != Some(wanted) {
            return Err(Untrusted::Identity("起始日期"));
        }
        Ok(())
    }

    /// # Errors
    /// A line that cannot be read.
    fn rows(&self) -> Result<Vec<BillRow>, Untrusted> {
        self.lines.iter().map(|(number, cells)| self.row(*number, cells)).collect()
    }

    fn row(&self, line: i32, cells: &[String]) -> Result<BillRow, Untrusted> {
        let get = |name: &'static str| {
            let at = self.header.iter().position(|named| named == name);
            at.and_then(|at| cells.get(at)).map(String::as_str).ok_or(Untrusted::Incomplete(name))
        };
        let amount = get("订单金额（元）")?;
        let (kind, amount, out_refund_no) = match get("业务类型")? {
            "交易" => (BillKind::Payment, Some(amount), ""),
            // Its amount is below zero.
            refund if refund.starts_with("退款") => {
                (BillKind::Refund, amount.strip_prefix('-'), get("退款批次号/请求号")?)
            }
            _ => return Err(Untrusted::Incomplete("业务类型")),
        };
        let amount = amount.and_then(|amount| Fen::parse_yuan(amount).ok());
        let at = UnixMs::parse_beijing_text(get("完成时间")?);
        Ok(BillRow {
            kind,
            transaction_id: word(get("支付宝交易号")?),
            out_trade_no: word(get("商户订单号")?),
            out_refund_no: word(out_refund_no),
            amount: amount.ok_or(Untrusted::Incomplete("订单金额（元）"))?,
            at: at.ok_or(Untrusted::Incomplete("完成时间"))?,
            line,
        })
    }
}

fn day_parts(day: BillDay) -> (String, String, String) {
    let text = day.to_string();
    let mut parts = text.split('-').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

#[cfg(test)]
mod tests;
