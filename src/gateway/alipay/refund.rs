//! alipay.trade.refund: asks for a refund. Code 10000 means taken on; that money moved is the query's to say.
//!
//! The same `out_request_no` is one refund for ever: a repetition answers 10000 with `fund_change` N.

use super::{
    Account,
    reply::{self, Reply},
};
use crate::{
    domain::{money::Fen, refund::Refund},
    gateway::{RefundAsked, Request, Response, Stamp, Untrusted},
};
use serde_json::json;

const METHOD: &str = "alipay.trade.refund";
/// Longest `refund_reason`, in characters.
const LONGEST_REASON: usize = 256;

/// Every parameter comes from the stored refund, so a repeated call is the same refund to Alipay.
pub fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let mut content = json!({
        "trade_no": refund.transaction_id.as_str(),
        "refund_amount": refund.amount.yuan(),
        "out_request_no": refund.out_refund_no.as_str(),
    });
    let reason: String = refund.reason.chars().take(LONGEST_REASON).collect();
    if let Some(content) = content.as_object_mut().filter(|_| !reason.is_empty()) {
        content.insert("refund_reason".to_owned(), reason.into());
    }
    super::call(account, METHOD, super::parameters(account, METHOD, &content, stamp))
}

/// # Errors
/// A reply that may not be used, or that speaks of another trade or of less than this refund: the outcome is unknown.
pub fn read(account: &Account, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted> {
    let fields = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => fields,
        Reply::Failed(failure) => {
            return Ok(failure.refund_meaning().asked(failure.text()));
        }
    };
    reply::must_be(&fields, "trade_no", refund.transaction_id.as_str())?;
    reply::may_be(&fields, "out_trade_no", refund.out_trade_no.as_str())?;
    // `fund_change` Y says that this very call moved the money; without it the refund may still be on its way. The sum
    // is of all refunds of the trade that are through: only then must this one be in it.
    let least = if fields.text("fund_change").as_deref() == Some("Y") { refund.amount } else { Fen::ZERO };
    let fits = |sum: Fen| (least..=refund.total).contains(&sum);
    if fields.says("refund_fee") && !fields.yuan("refund_fee").is_some_and(fits) {
        return Err(Untrusted::Identity("refund_fee"));
    }
    // Alipay has no number of its own for a refund.
    Ok(RefundAsked::Accepted { refund_id: String::new() })
}
