//! The administrator's pages.

pub mod notices;
pub mod order;
pub mod orders;
pub mod set_up;
pub mod work_items;

use crate::domain::order::Source;

/// How a payment's news reached us, in one word.
pub fn via_zh(source: Source) -> &'static str {
    match source {
        Source::Notify => "通知",
        Source::Query => "查单",
        Source::Sweep => "巡查",
        Source::Admin => "后台查单",
    }
}

/// What a verdict means, and the tone of its chip.
pub fn verdict_zh(verdict: &str) -> (&'static str, &'static str) {
    match verdict {
        "ok" => ("已入账", "ok"),
        "duplicate" => ("重复通知", "mute"),
        "late_payment" => ("关闭后付款，已入账", "warn"),
        "second_payment" => ("同一订单付了两次，需退款", "bad"),
        "biz_fail" => ("支付未成功", "mute"),
        "comm_fail" => ("通信失败", "mute"),
        "malformed" => ("报文无法识别", "warn"),
        "bad_sign" => ("验签失败", "warn"),
        "appid_mismatch" => ("appid 不是本商户", "bad"),
        "mch_id_mismatch" => ("商户号不是本商户", "bad"),
        "incomplete" => ("缺少必要字段", "bad"),
        "unknown_order" => ("没有这个订单", "bad"),
        "amount_mismatch" => ("金额不符", "bad"),
        "currency_mismatch" => ("币种不符", "bad"),
        "channel_mismatch" => ("渠道不符", "bad"),
        "environment_mismatch" => ("环境不符", "bad"),
        "transaction_reused" => ("微信单号已用于别的订单", "bad"),
        "account_mismatch" => ("收款账户不符", "bad"),
        "credited_after_refund" => ("退款之后又入账", "bad"),
        "refunded_elsewhere" => ("已在别处退款", "bad"),
        "foreign_account" => ("属于别的商户号", "bad"),
        _ => ("其他", "info"),
    }
}
