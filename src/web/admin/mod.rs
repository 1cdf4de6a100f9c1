//! The administrator's pages.

pub mod account;
pub mod accounts;
pub mod adjustment;
pub mod audit_log;
pub mod bill_calendar;
pub mod bill_lines;
pub mod bills;
pub mod csv;
pub mod dashboard;
pub mod diagnostics;
pub mod export;
pub mod first_run;
pub mod invite;
pub mod ledger;
pub mod me;
pub mod notice;
pub mod notices;
pub mod order;
pub mod order_filter;
pub mod orders;
pub mod refund;
pub mod refunds;
pub mod second_factor;
pub mod self_test;
pub mod set_up;
pub mod user;
pub mod users;
pub mod work_item;
pub mod work_items;
pub mod xlsx;

use super::{
    Web,
    error::WebError,
    layout::{Layout, Open},
    session::Admin,
};
use crate::{
    domain::order::Source,
    store::{refunds as refunds_table, work_items as work_items_table},
};

/// The frame of an administrator's page, with what waits in its navigation.
///
/// # Errors
/// The books.
pub async fn frame(web: &Web, admin: &Admin) -> Result<Layout, WebError> {
    let open = web.app.store.read(|db| {
        let (refunds, work) = (refunds_table::count_open(db)?, work_items_table::count_open(db)?);
        Ok::<_, crate::store::StoreError>(Open { refunds, work })
    });
    Ok(Layout { open: open.await?, ..Layout::of(web, admin) }.for_administrators())
}

/// So many characters of what somebody wrote, for the books: PostgreSQL has no text with a NUL.
pub fn storable(text: &str, most: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(most).collect()
}

const MINUTE_MS: i64 = 60_000;

/// The largest unit that has at least two of itself; tenths of a second while they are few.
pub fn duration_zh(ms: i64) -> String {
    let ms = ms.max(0);
    match ms / 1000 {
        secs @ 0..10 => format!("{secs}.{} 秒", ms % 1000 / 100),
        secs @ 10..120 => format!("{secs} 秒"),
        secs @ 120..7_200 => format!("{} 分钟", secs / 60),
        secs @ 7_200..172_800 => format!("{} 小时", secs / 3_600),
        secs => format!("{} 天", secs / 86_400),
    }
}

/// How a payment's news reached us, in one word.
pub fn via_zh(source: Source) -> &'static str {
    match source {
        Source::Notify => "通知",
        Source::Query => "查单",
        Source::Sweep => "巡查",
        Source::Admin => "后台查单",
        Source::Bill => "对账查单",
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
        "stale" => ("时间相差超过五分钟", "warn"),
        "appid_mismatch" => ("appid 不是本商户", "bad"),
        "mch_id_mismatch" => ("商户号不是本商户", "bad"),
        "incomplete" => ("缺少必要字段", "bad"),
        "unknown_order" => ("没有这个订单", "bad"),
        "amount_mismatch" => ("金额不符", "bad"),
        "currency_mismatch" => ("币种不符", "bad"),
        "channel_mismatch" => ("渠道不符", "bad"),
        "environment_mismatch" => ("环境不符", "bad"),
        "transaction_reused" => ("这笔付款已另有去处", "bad"),
        "account_mismatch" => ("收款账户不符", "bad"),
        "credited_after_refund" => ("退款之后又入账", "bad"),
        "refunded_elsewhere" => ("已在别处退款", "bad"),
        "foreign_account" => ("属于别的商户号", "bad"),
        "correction" => ("人工入账，支付平台已确认", "ok"),
        "decrypt_failed" => ("通知解不开", "warn"),
        "refund_hint" => ("退款有消息，去查", "info"),
        "refund_mismatch" => ("退款通知与我方退款不符", "warn"),
        "unknown_refund" => ("没有这笔退款", "warn"),
        "refund_processing" => ("退款处理中", "info"),
        "refund_success" => ("已退款", "ok"),
        "refund_closed" => ("退款已关闭，没有退", "warn"),
        "refund_not_enough" => ("商户余额不足，退款未发出", "bad"),
        "refund_abnormal" => ("退款异常，用户账户收不了", "bad"),
        "refund_failed" => ("退款没有成功", "bad"),
        "refund_contradicted" => ("已放弃的退款，支付平台说付出去了", "bad"),
        "bill_extra" => ("对账：账单有，我方没有", "bad"),
        "bill_missing" => ("对账：我方有，账单没有", "bad"),
        "bill_overdue" => ("对账：一周没有取到账单", "bad"),
        "bill_amount" => ("对账：金额不符", "bad"),
        _ => ("其他", "info"),
    }
}
