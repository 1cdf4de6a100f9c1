//! alipay.trade.wap.pay: Alipay's own page in a phone's browser, or its app. As with `page_pay` the browser brings the
//! order there.

use super::Account;
use crate::{domain::order::Attempt, gateway::Stamp};
use serde_json::json;

const METHOD: &str = "alipay.trade.wap.pay";

/// The address that opens the page. Whoever gives up there comes back to the same place as whoever pays.
pub fn url(account: &Account, attempt: &Attempt, stamp: &Stamp) -> String {
    let content = json!({
        "out_trade_no": attempt.out_trade_no.as_str(),
        "product_code": "QUICK_WAP_WAY",
        "total_amount": attempt.amount.yuan(),
        "subject": super::subject(attempt),
        "time_expire": attempt.expires_at.beijing_text(),
        "quit_url": super::return_url(account, attempt),
    });
    super::address(account, attempt, super::parameters(account, METHOD, &content, stamp))
}
