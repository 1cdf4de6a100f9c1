//! The refund callback. It is signed, and yet only a hint to query, as for every protocol: one rule for what ends a
//! refund.
//!
//! Source: the V3 page on refund result callbacks.

use super::{
    WechatV3,
    json::Object,
    notify::{self, Opened},
};
use crate::{
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        refund::RefundHint,
    },
    gateway::{Notify, RefundNotified, Rejection},
};

pub(super) fn read(gateway: &WechatV3, notify: Notify<'_>) -> RefundNotified {
    let opened = match notify::open(gateway, notify) {
        Ok(opened) => opened,
        Err(rejection) => {
            let out_trade_no = notify::named(gateway, notify.body);
            return RefundNotified::Rejected { rejection, out_trade_no };
        }
    };
    let out_trade_no = notify::number_in(&opened.contents);
    hint(gateway, &opened)
        .map_or_else(|rejection| RefundNotified::Rejected { rejection, out_trade_no }, RefundNotified::Hint)
}

/// # Errors
/// Not about a refund, for somebody else, or a field is missing or unreadable.
pub(super) fn hint(gateway: &WechatV3, opened: &Opened) -> Result<RefundHint, Rejection> {
    if !opened.event_type.starts_with("REFUND.") {
        return Err(Rejection::Malformed);
    }
    if opened.contents.text("mchid") != Some(&gateway.account.mch_id) {
        return Err(Rejection::MchIdMismatch);
    }
    read_contents(&opened.contents).ok_or(Rejection::Incomplete)
}

fn read_contents(contents: &Object) -> Option<RefundHint> {
    let amount = contents.object("amount")?;
    // In the words of V2, which the books know.
    let status = match contents.text("refund_status")? {
        "ABNORMAL" => "CHANGE",
        "CLOSED" => "REFUNDCLOSE",
        other => other,
    };
    Some(RefundHint {
        out_refund_no: OutRefundNo::parse(contents.text("out_refund_no")?)?,
        out_trade_no: OutTradeNo::parse(contents.text("out_trade_no")?)?,
        transaction_id: TransactionId::parse(contents.text("transaction_id")?)?,
        total: amount.fen("total")?,
        amount: Some(amount.fen("refund")?),
        status: status.to_owned(),
        signed: true,
    })
}
