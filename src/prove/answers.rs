//! What a callback is, judged without the shop's own readers, and whether it was answered as it should be.

use super::{
    certificates,
    keys::{Signer, V3_ALGORITHM, alipay_text, v3_text},
    network::{Callback, Story},
    oracle::{ALL, Oracle, Reply},
    world::World,
};
use crate::{
    app::App,
    domain::{
        ids::{OutTradeNo, TransactionId},
        money::Fen,
        time::UnixMs,
    },
    gateway::{
        Protocol,
        wechat_v2::{refund_notify, sign, xml::Fields},
    },
    simulator::TradeView,
    store::{
        Db, StoreError, attempts, notices, refunds,
        settlement::{self, REFUNDED_ELSEWHERE},
        work_items,
    },
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A message of V3 is believed so long before and after its time, in seconds.
const V3_WINDOW_SECS: i64 = 300;

/// How an instance answered, and what it could know.
pub struct Heard {
    pub reply: Reply,
    /// By the clock of who answered.
    pub received_at: UnixMs,
    pub books_failed: bool,
    /// It names a certificate that this instance has not fetched yet.
    pub stranger: bool,
}

/// What a callback is.
enum Truth {
    /// Nobody can vouch for it, or it is not true.
    Lie,
    /// Authentic, and no payment: a failure, somebody who is about to pay, a refund.
    Told,
    Paid {
        number: String,
        transaction_id: String,
    },
}

impl Oracle {
    /// What was answered to a callback, held against what is true.
    pub fn judge_answer(&self, world: &World, callback: &Callback, heard: &Heard) {
        let Heard { reply, received_at, books_failed, stranger } = *heard;
        let about = callback.door.story;
        match about {
            Story::Payment => world.note(|| format!("a callback is answered {reply:?}")),
            Story::Refund => world.note(|| format!("a refund callback is answered {reply:?}")),
        }
        if reply == Reply::Success && about == Story::Payment {
            self.count_success();
        }
        if reply == Reply::Error {
            if !books_failed {
                self.report("a callback could not be recorded although the books work");
            }
            return;
        }
        match (truth(world, callback, received_at), reply) {
            (Truth::Lie, Reply::Success) => {
                self.report("a message nobody can vouch for was answered SUCCESS")
            }
            // It comes again, and by then the certificate was fetched.
            (Truth::Told | Truth::Paid { .. }, Reply::Fail) if stranger => {}
            (Truth::Told, Reply::Fail) => self.report("a true report was refused"),
            (Truth::Told, Reply::Success) if !kept(world, callback) => {
                self.report("a callback was answered SUCCESS and is not in the books")
            }
            // The gateway had said that it was refunded, and a clerk has sent back what came all the same.
            (Truth::Paid { transaction_id, .. }, Reply::Fail) if is_sent_back(world, &transaction_id) => {}
            (Truth::Paid { number, .. }, Reply::Fail) => {
                self.report(&format!("a true callback for {number} was refused"));
            }
            (Truth::Paid { number, transaction_id }, Reply::Success)
                if !kept(world, callback) || !recorded(world, &number, &transaction_id) =>
            {
                self.report(&format!("a callback for {number} was answered SUCCESS and is not recorded"));
            }
            (Truth::Paid { .. }, Reply::Success) => {
                if let Some(signer) = signer(world, callback) {
                    self.count_shown(format!("told by {}", signer.what));
                }
            }
            _ => {}
        }
    }
}

/// The key of WeChat's that a message of V3 names.
fn signer<'a>(world: &'a World, callback: &Callback) -> Option<&'a Signer> {
    let keys = world.keys.as_ref().filter(|_| callback.door.protocol == Protocol::WechatV3)?;
    keys.named(&header(callback, "wechatpay-serial")?)
}

/// Whether it names a certificate that this instance has not got.
pub fn is_strange(world: &World, app: &App, callback: &Callback) -> bool {
    let named = signer(world, callback);
    named.is_some_and(|by| by.is_certificate() && certificates::lacks(app, &by.serial))
}

/// The one value under this name.
fn header(callback: &Callback, name: &str) -> Option<String> {
    let of_line = |line: &'_ str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
    let values: Vec<String> = callback.headers.lines().filter_map(of_line).collect();
    <[String; 1]>::try_from(values).ok().map(|[only]| only)
}

fn truth(world: &World, callback: &Callback, received_at: UnixMs) -> Truth {
    let told = match (callback.door.protocol, callback.door.story) {
        (Protocol::WechatV2, Story::Payment) => v2(world, &callback.body),
        (Protocol::WechatV2, Story::Refund) => v2_refund(world, &callback.body),
        (Protocol::WechatV3, _) => v3(world, callback, received_at),
        (Protocol::Alipay, _) => alipay(world, &callback.body),
    };
    told.unwrap_or(Truth::Lie)
}

fn v2(world: &World, body: &[u8]) -> Option<Truth> {
    let fields = Fields::parse(body).ok()?;
    let account = &world.account;
    let of = |name: &str| fields.get(name).unwrap_or_default();
    let signed = of("sign") == sign::sign(&fields, &account.key, account.sign_type)
        && ["", account.sign_type.as_str()].contains(&of("sign_type"));
    if !signed || of("return_code") != "SUCCESS" {
        return None;
    }
    if of("result_code") != "SUCCESS" {
        return Some(Truth::Told);
    }
    let trade = world.simulator.trade(of("out_trade_no"))?;
    let fits = trade.total_fee.get().to_string() == of("total_fee")
        && trade.appid == of("appid")
        && of("mch_id") == account.mch_id
        && of("fee_type") == "CNY";
    if fits { paid(&trade, of("out_trade_no"), of("transaction_id")) } else { None }
}

/// Nobody signs it, so it is as true as the refund it names. What it says of the refund's state is not believed anyway.
fn v2_refund(world: &World, body: &[u8]) -> Option<Truth> {
    let (outer, account) = (Fields::parse(body).ok()?, &world.account);
    let for_us = outer.get("return_code") == Some("SUCCESS")
        && outer.get("appid").is_some_and(|appid| account.appids.include(appid))
        && outer.get("mch_id") == Some(&account.mch_id);
    if !for_us {
        return None;
    }
    let plain = refund_notify::open(&account.key, outer.get("req_info")?)?;
    let inner = Fields::parse_root(&plain, "root").ok()?;
    let of = |name: &str| inner.get(name).unwrap_or_default();
    let refunds = world.simulator.refunds();
    // Of one that was made elsewhere nobody here has a row to hurry.
    let mut ours = refunds.iter().filter(|refund| !refund.elsewhere);
    let refund = ours.find(|refund| refund.out_refund_no == of("out_refund_no"))?;
    let trade = world.simulator.trade(&refund.out_trade_no)?;
    let fits = refund.out_trade_no == of("out_trade_no")
        && refund.transaction_id == of("transaction_id")
        && refund.amount.get().to_string() == of("refund_fee")
        && trade.total_fee.get().to_string() == of("total_fee");
    (fits && inner.get("refund_status").is_some()).then_some(Truth::Told)
}

fn v3(world: &World, callback: &Callback, received_at: UnixMs) -> Option<Truth> {
    let (keys, body) = (world.keys.as_ref()?, std::str::from_utf8(&callback.body).ok()?);
    let header = |name: &str| header(callback, name);
    let (secs, nonce) = (header("wechatpay-timestamp")?, header("wechatpay-nonce")?);
    let signed = signer(world, callback)?.key.sign(v3_text(&secs, &nonce, body).as_bytes());
    let by_wechat =
        header("wechatpay-signature-type")? == V3_ALGORITHM && header("wechatpay-signature")? == signed;
    let off = received_at.secs().saturating_sub(secs.parse().ok()?);
    if !by_wechat || off.saturating_abs() > V3_WINDOW_SECS {
        return None;
    }
    let envelope = as_written(body)?;
    let inside = as_written(&keys.opened(envelope.get("resource")?)?)?;
    let text =
        |pointer: &str| inside.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let fen = |pointer: &str| inside.pointer(pointer).and_then(Value::as_i64).and_then(Fen::new);
    let event = envelope.get("event_type")?.as_str()?;
    if event.starts_with("REFUND.") {
        text("/out_refund_no").and(text("/refund_status")).and(text("/out_trade_no"))?;
        fen("/amount/refund").and(fen("/amount/total")).and(text("/transaction_id"))?;
        return (text("/mchid")? == world.account.mch_id).then_some(Truth::Told);
    }
    if callback.door.story == Story::Refund {
        return None;
    }
    if text("/trade_state")? != "SUCCESS" {
        return Some(Truth::Told);
    }
    let trade = world.simulator.trade(text("/out_trade_no")?)?;
    let fits = fen("/amount/total")? == trade.total_fee
        && text("/amount/currency")? == "CNY"
        && text("/appid")? == trade.appid
        && text("/mchid")? == world.account.mch_id;
    if fits { paid(&trade, text("/out_trade_no")?, text("/transaction_id")?) } else { None }
}

/// JSON in the one form the simulator writes: with a name twice, or another order, it is somebody else's.
fn as_written(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let written = value.to_string();
    (written == text).then_some(value)
}

fn alipay(world: &World, body: &[u8]) -> Option<Truth> {
    let (keys, account) = (world.keys.as_ref()?, world.config.alipay.as_ref()?);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let by_name: BTreeMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    let of = |name: &str| by_name.get(name).copied().unwrap_or_default();
    let by_alipay = by_name.len() == pairs.len()
        && of("sign_type") == "RSA2"
        && of("sign") == keys.alipay.sign(alipay_text(&pairs).as_bytes());
    let for_us = of("app_id") == account.app_id && of("seller_id") == account.seller_id;
    let is_notice = of("notify_type") == "trade_status_sync" && !of("notify_id").is_empty();
    if !by_alipay || !for_us || !is_notice || of("trade_status").is_empty() {
        return None;
    }
    let went_back = !["", "0.00"].contains(&of("refund_fee"));
    if went_back || !of("out_biz_no").is_empty() || !of("gmt_refund").is_empty() {
        // A refund without a number of its own went back under the trade's.
        let named = went_back || !of("out_biz_no").is_empty();
        let whole = ["out_trade_no", "trade_no", "total_amount"];
        return (named && whole.iter().all(|name| !of(name).is_empty())).then_some(Truth::Told);
    }
    match of("trade_status") {
        "WAIT_BUYER_PAY" | "TRADE_CLOSED" => Some(Truth::Told),
        "TRADE_SUCCESS" | "TRADE_FINISHED" => {
            let trade = world.simulator.trade(of("out_trade_no"))?;
            let fits = trade.protocol == Protocol::Alipay
                && trade.total_fee.yuan() == of("total_amount")
                && of("trans_currency").is_empty();
            if fits { paid(&trade, of("out_trade_no"), of("trade_no")) } else { None }
        }
        _ => None,
    }
}

/// Whether somebody has made this very payment.
fn paid(trade: &TradeView, number: &str, transaction_id: &str) -> Option<Truth> {
    let made = trade.transaction_id.as_deref() == Some(transaction_id);
    made.then(|| Truth::Paid { number: number.to_owned(), transaction_id: transaction_id.to_owned() })
}

/// Whether these very bytes are kept: for ever, or in the ring where nobody signed them.
fn kept(world: &World, callback: &Callback) -> bool {
    let in_ring = callback.door.protocol == Protocol::WechatV2 && callback.door.story == Story::Refund;
    let found = world.store.look(|db| if in_ring { ring(db) } else { evidence(db) });
    found.is_some_and(|found| found.is_ok_and(|kept| kept.iter().any(|notice| notice.body == callback.body)))
}

fn ring(db: &mut Db) -> Result<Vec<notices::Notice>, StoreError> {
    notices::list(db, true, None, ALL)
}

/// Every message that somebody vouched for.
pub(super) fn evidence(db: &mut Db) -> Result<Vec<notices::Notice>, StoreError> {
    let rejected: BTreeSet<String> = ring(db)?.into_iter().map(|notice| notice.id).collect();
    let all = notices::list(db, false, None, ALL)?;
    Ok(all.into_iter().filter(|notice| !rejected.contains(&notice.id)).collect())
}

/// Refunded by hand without having credited anybody, and whoever hears of the payment after that is told so.
fn is_sent_back(world: &World, transaction_id: &str) -> bool {
    let Some(payment) = TransactionId::parse(transaction_id) else { return false };
    let found = world.store.look(|db| {
        let returned =
            refunds::reserved_of_payment(db, &payment)? > 0 && !settlement::is_credited(db, &payment)?;
        Ok::<_, StoreError>((returned, work_items::list(db, None, ALL)?))
    });
    let Some(Ok((returned, items))) = found else { return false };
    let told =
        |kind: &str| items.iter().any(|item| item.kind == kind && item.transaction_id == transaction_id);
    returned && told(REFUNDED_ELSEWHERE) && told("transaction_reused")
}

/// The order is paid by this payment, or somebody was told that it was paid twice.
fn recorded(world: &World, number: &str, transaction_id: &str) -> bool {
    let Some(attempt) = OutTradeNo::parse(number) else { return false };
    let found = world.store.look(|db| {
        let order = attempts::with_order(db, &attempt)?.map(|(_, order)| order);
        Ok::<_, StoreError>((order, work_items::list(db, None, ALL)?))
    });
    let Some(Ok((Some(order), items))) = found else { return false };
    let paid_by = order.transaction_id.as_ref().map(|id| id.as_str());
    paid_by == Some(transaction_id)
        || paid_by.is_some() && items.iter().any(|item| item.transaction_id == transaction_id)
}
