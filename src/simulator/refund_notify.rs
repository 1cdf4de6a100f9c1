//! The refund result callback: unsigned, its facts encrypted under the merchant's key.
//!
//! Source: page 4011989265 (fields); answer and gaps between tries as for payments.

use super::{
    layout::{layout, layout_in},
    refunds::{Refund, RefundStatus, overridden},
};
use crate::{
    clock::{Clock, NoEntropy},
    gateway::wechat_v2::{Account, refund_notify, xml::Fields},
};

/// Where refunds go here, in WeChat's words for the payer's balance.
pub const RECEIVED_BY: &str = "支付用户零钱";
/// What pays a refund unless the merchant says otherwise.
const USUAL_ACCOUNT: &str = "REFUND_SOURCE_UNSETTLED_FUNDS";

/// 29 digits, as today's real ones have.
///
/// # Errors
/// No random bytes.
pub fn refund_id(clock: &Clock) -> Result<String, NoEntropy> {
    let day: String = clock.now().beijing_compact().chars().take(8).collect();
    let tail = u64::from_be_bytes(clock.random()?).checked_rem(10_000_000_000_000_000).unwrap_or_default();
    Ok(format!("50300{day}{tail:016}"))
}

/// What the secret part says of a refund that has ended.
pub fn fields(refund: &Refund) -> Fields {
    let mut fields = facts(refund);
    fields.set("refund_status", refund.end.as_str());
    fields.set("refund_request_source", if refund.elsewhere { "VENDOR_PLATFORM" } else { "API" });
    fields.set("refund_recv_accout", RECEIVED_BY);
    fields.set("refund_account", account_of(refund));
    if refund.end == RefundStatus::Success {
        fields.set("success_time", &refund.ends_at.beijing_text());
    }
    fields
}

/// Numbers and amounts, which the reply to the request has too.
pub fn facts(refund: &Refund) -> Fields {
    let (total_fee, refund_fee) = (refund.total_fee.get(), refund.refund_fee.get());
    let settled_total = total_fee.saturating_sub(refund.trade_coupon.get());
    let settled_refund = refund_fee.saturating_sub(refund.coupon.get());
    [
        ("transaction_id", refund.transaction_id.as_str()),
        ("out_trade_no", refund.out_trade_no.as_str()),
        ("refund_id", refund.refund_id.as_str()),
        ("out_refund_no", refund.out_refund_no.as_str()),
        ("total_fee", total_fee.to_string().as_str()),
        ("settlement_total_fee", settled_total.to_string().as_str()),
        ("refund_fee", refund_fee.to_string().as_str()),
        ("settlement_refund_fee", settled_refund.to_string().as_str()),
    ]
    .into_iter()
    .collect()
}

/// What pays a refund.
pub fn account_of(refund: &Refund) -> &str {
    refund.account.as_deref().unwrap_or(USUAL_ACCOUNT)
}

/// A refund nobody asked for, of one fen.
pub fn unknown(out_refund_no: &str) -> Fields {
    [
        ("transaction_id", "4200000000202601010000000000"),
        ("out_trade_no", "never-placed"),
        ("refund_id", "50300202601010000000000000000"),
        ("out_refund_no", out_refund_no),
        ("total_fee", "1"),
        ("settlement_total_fee", "1"),
        ("refund_fee", "1"),
        ("settlement_refund_fee", "1"),
        ("refund_status", "SUCCESS"),
        ("refund_request_source", "VENDOR_PLATFORM"),
        ("refund_recv_accout", RECEIVED_BY),
        ("refund_account", USUAL_ACCOUNT),
        ("success_time", "2026-01-01 00:00:00"),
    ]
    .into_iter()
    .collect()
}

/// The whole message around its secret part.
pub fn sealed(
    account: &Account,
    appid: &str,
    inside: Fields,
    outside: &[(&str, &str)],
    nonce: &str,
) -> String {
    let req_info = refund_notify::seal(&account.key, &layout_in("root", &inside)).unwrap_or_default();
    let message = [
        ("return_code", "SUCCESS"),
        ("appid", appid),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", nonce),
        ("req_info", req_info.as_str()),
    ];
    layout(&overridden(message.into_iter().collect(), outside))
}
