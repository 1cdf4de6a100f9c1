//! alipay.trade.precreate: asks for a code that a phone's Alipay scans.
//!
//! The trade itself is only made when somebody scans: until then query and close know no such trade, and the code can
//! still be paid. What ends it for certain is `time_expire`, an absolute time, so it is in every request.

use super::{
    Account,
    reply::{self, Reply},
    sub_code::Meaning,
};
use crate::{
    domain::order::Attempt,
    gateway::{Prepaid, Request, Response, Stamp, Untrusted},
};
use serde_json::json;

const METHOD: &str = "alipay.trade.precreate";
/// Longest code we take, in bytes; they have about 50.
const LONGEST_CODE: usize = 256;

/// Every parameter comes from the stored attempt, so a repeated call is a true repetition to Alipay.
pub fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Request {
    let content = json!({
        "out_trade_no": attempt.out_trade_no.as_str(),
        "total_amount": attempt.amount.yuan(),
        "subject": super::subject(attempt),
        "time_expire": attempt.expires_at.beijing_text(),
    });
    let mut params = super::parameters(account, METHOD, &content, stamp);
    params.insert("notify_url".to_owned(), attempt.notify_url.clone());
    super::call(account, METHOD, params)
}

/// # Errors
/// A reply that may not be used: the outcome is unknown.
pub fn read(account: &Account, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
    let failure = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => {
            reply::must_be(&fields, "out_trade_no", attempt.out_trade_no.as_str())?;
            let code = fields.text("qr_code").filter(|code| is_address(code));
            return Ok(Prepaid::Ready { prepay_id: code.ok_or(Untrusted::Incomplete("qr_code"))? });
        }
        Reply::Failed(failure) => failure,
    };
    let code = failure.word();
    Ok(match failure.meaning() {
        Meaning::Paid => Prepaid::Paid,
        Meaning::Closed => Prepaid::Closed,
        Meaning::NumberUsed => Prepaid::NumberUsed,
        Meaning::UnknownOutcome | Meaning::NotFound => Prepaid::Unknown { code },
        Meaning::Refused => Prepaid::Refused { code },
    })
}

/// It goes into a page: nothing but what addresses are made of. Where it leads is Alipay's business.
fn is_address(code: &str) -> bool {
    code.len() <= LONGEST_CODE
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&()*+,;=%".contains(&b))
}
