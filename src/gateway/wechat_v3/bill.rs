//! tradebill: where the bill of a day lies and the hash it must have; then the file itself, V2's text, unsigned.
//!
//! Source: the pages on applying for a trade bill and on downloading one.

use super::{
    Account, WechatV3,
    reply::{self, Failure, Reply},
    sign,
};
use crate::{
    domain::bill::BillDay,
    gateway::{
        Request, Response, Stamp, Untrusted,
        bill::{self, Bill, BillFile, Billed},
        wechat_v2::bill::{self as text, Downloaded},
        words,
    },
};
use url::Url;

const CALL: &str = "bill/tradebill";
const FILE: &str = "billdownload/file";
/// Where files lie, at the same origins as everything else.
const PLACE: &str = "/v3/billdownload/";

pub(super) fn request(account: &Account, day: BillDay, stamp: &Stamp) -> Request {
    sign::request(account, CALL, format!("/v3/bill/tradebill?bill_date={day}&bill_type=ALL"), None, stamp)
}

/// # Errors
/// A reply that may not be used; no SHA-1; a file that lies elsewhere.
pub(super) fn read(gateway: &WechatV3, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
    let told = match reply::read(gateway, answer)? {
        Reply::Told(told) => told,
        Reply::NoContent => return Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) => return not_told(failure),
    };
    if told.text("hash_type") != Some("SHA1") {
        return Err(Untrusted::Incomplete("hash_type"));
    }
    let sha1 = told.text("hash_value").ok_or(Untrusted::Incomplete("hash_value"))?.to_lowercase();
    let place = told.text("download_url").and_then(place).ok_or(Untrusted::Incomplete("download_url"))?;
    Ok(Billed::At(BillFile { day, place, sha1: Some(sha1) }))
}

/// The codes are not documented as a list, so they are taken by what they have in common.
fn not_told(failure: Failure) -> Result<Billed, Untrusted> {
    let plain = failure.code.replace('_', "");
    let nothing = ["NOSTATEMENT", "NOBILL", "NOTEXIST"].iter().any(|part| plain.contains(part));
    let code = failure.code;
    match failure.status {
        400..=499 if plain.contains("CREATING") => Ok(Billed::NotYet { code }),
        400 | 404 if nothing => Ok(Billed::Nothing { code }),
        202 | 429 | 500..=599 => Ok(Billed::NotYet { code }),
        _ => Err(Untrusted::CommFail(code)),
    }
}

/// Path and query of an address of WeChat's: what is signed and sent, to the origins that are configured.
fn place(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let place = format!("{}?{}", url.path(), url.query()?);
    place.starts_with(PLACE).then_some(place)
}

pub(super) fn file_request(account: &Account, file: &BillFile, stamp: &Stamp) -> Request {
    sign::request(account, FILE, file.place.clone(), None, stamp)
}

/// Believes the file by the hash that came signed.
///
/// # Errors
/// A reply that may not be used; another hash; a bill that does not hold together.
pub(super) fn read_file(account: &Account, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let body = bill::gunzipped(&answer.body)?;
    if file.sha1.as_ref() != Some(&bill::sha1(&body)) {
        return Err(Untrusted::BadSign("the bill has another hash than was promised".to_owned()));
    }
    match text::read(&body)? {
        Downloaded::Table(table) => {
            Ok(Bill { rows: text::rows(&table, &account.mch_id, file.day)?, sha256: bill::sha256(&body) })
        }
        Downloaded::Refused { message, .. } => {
            Err(Untrusted::CommFail(words::sentence(&message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fetched_from_wechats_own_download_path_and_from_nowhere_else() {
        let of = |address: &str| place(address);
        assert_eq!(
            of("https://api.mch.weixin.qq.com/v3/billdownload/file?token=a%2Bb").as_deref(),
            Some("/v3/billdownload/file?token=a%2Bb")
        );
        for address in [
            "https://api.mch.weixin.qq.com/v3/certificates?x=1",
            "https://api.mch.weixin.qq.com/v3/billdownload/file",
            "https://api.mch.weixin.qq.com/v3/billdownload/../refund/x?a=1",
            "/v3/billdownload/file?token=a",
            "",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
    }

    #[test]
    fn only_what_says_so_means_that_there_is_no_bill() {
        let said =
            |status, code: &str| not_told(Failure { status, code: code.to_owned(), message: String::new() });
        for code in ["NO_STATEMENT_EXIST", "BILL_NOT_EXIST", "NO_BILL_EXIST"] {
            assert_eq!(said(400, code), Ok(Billed::Nothing { code: code.to_owned() }));
        }
        for (status, code) in [
            (400, "STATEMENT_CREATING"),
            (400, "BILL_CREATING"),
            (429, "FREQUENCY_LIMITED"),
            (500, "SYSTEM_ERROR"),
            (500, "NO_STATEMENT_EXIST"),
        ] {
            assert_eq!(said(status, code), Ok(Billed::NotYet { code: code.to_owned() }), "{status} {code}");
        }
        for (status, code) in [(401, "SIGN_ERROR"), (403, "NO_AUTH"), (400, "PARAM_ERROR")] {
            assert_eq!(said(status, code), Err(Untrusted::CommFail(code.to_owned())));
        }
    }
}
