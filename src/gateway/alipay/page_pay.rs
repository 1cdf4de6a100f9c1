//! alipay.trade.page.pay: Alipay's own page in a computer's browser. The server asks for nothing: the browser brings
//! the signed order there, and what it brings back is no proof of anything.

use super::Account;
use crate::{domain::order::Attempt, gateway::Stamp};
use serde_json::json;

const METHOD: &str = "alipay.trade.page.pay";

/// The address that opens the page. The order in it is the stored attempt, so every such address is for one trade.
pub fn url(account: &Account, attempt: &Attempt, stamp: &Stamp) -> String {
    let content = json!({
        "out_trade_no": attempt.out_trade_no.as_str(),
        "product_code": "FAST_INSTANT_TRADE_PAY",
        "total_amount": attempt.amount.yuan(),
        "subject": super::subject(attempt),
        // Absolute: a timeout in minutes would begin only when the payer signs in.
        "time_expire": attempt.expires_at.beijing_text(),
    });
    super::address(account, attempt, super::parameters(account, METHOD, &content, stamp))
}
