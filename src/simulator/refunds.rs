//! Refunds in the simulator's book of truth: taken on, under way, and ended when their time has come.

use super::{
    Simulator, SimulatorError, deliver, refund_notify,
    trades::{Book, Sent, TradeState},
};
use crate::{
    domain::{money::Fen, order::Provider, time::UnixMs},
    gateway::{Protocol, wechat_v2::xml::Fields},
};
use std::collections::BTreeMap;

/// Refund page 4011984092: within a year of the payment, in at most 50 parts, at least a minute apart.
const WINDOW_MS: i64 = 365 * 24 * 3_600_000;
const MOST: usize = 50;
const PACE_MS: i64 = 60_000;

/// WeChat's `refund_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    Processing,
    Success,
    /// The payer's card cannot take it.
    Change,
    Closed,
}

impl RefundStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundStatus::Processing => "PROCESSING",
            RefundStatus::Success => "SUCCESS",
            RefundStatus::Change => "CHANGE",
            RefundStatus::Closed => "REFUNDCLOSE",
        }
    }

    pub const fn desc_zh(self) -> &'static str {
        match self {
            RefundStatus::Processing => "退款处理中",
            RefundStatus::Success => "退款成功",
            RefundStatus::Change => "退款异常",
            RefundStatus::Closed => "退款关闭",
        }
    }
}

/// One out_refund_no at the simulated WeChat. Its end is known from the beginning and shows when `ends_at` comes.
#[derive(Clone, Debug)]
pub struct Refund {
    /// 1 for the first refund of this book.
    pub serial: u64,
    /// What it was asked for in, and is notified in.
    pub protocol: Protocol,
    pub out_refund_no: String,
    pub refund_id: String,
    pub out_trade_no: String,
    /// The trade's.
    pub appid: String,
    pub transaction_id: String,
    pub refund_fee: Fen,
    pub total_fee: Fen,
    /// The part of `refund_fee` that goes back as a coupon.
    pub coupon: Fen,
    /// The part of `total_fee` a coupon paid.
    pub trade_coupon: Fen,
    pub notify_url: Option<String>,
    /// `refund_account` as asked for.
    pub account: Option<String>,
    /// Made on WeChat's own pages, not by the API.
    pub elsewhere: bool,
    pub started_at: UnixMs,
    pub ends_at: UnixMs,
    pub end: RefundStatus,
    pub callbacks: Vec<Sent>,
}

impl Refund {
    pub fn status(&self, now: UnixMs) -> RefundStatus {
        if now < self.ends_at { RefundStatus::Processing } else { self.end }
    }

    /// Its money cannot be refunded a second time.
    fn counts(&self, now: UnixMs) -> bool {
        self.status(now) != RefundStatus::Closed
    }
}

/// A refund as it was asked for, with the id and the course it gets if it is new.
pub struct Wanted {
    pub protocol: Protocol,
    pub out_refund_no: String,
    pub refund_id: String,
    pub out_trade_no: String,
    pub refund_fee: Fen,
    pub total_fee: Fen,
    pub notify_url: Option<String>,
    pub account: Option<String>,
    pub elsewhere: bool,
    pub ends_at: UnixMs,
    pub end: RefundStatus,
}

/// Why a refund is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    Unpaid,
    /// Other amounts than the trade's, or than this number was used with.
    Mismatch,
    /// More than a year after the payment.
    TooOld,
    TooMany,
    TooMuch,
    /// Another refund of this trade was taken on within the minute.
    TooSoon,
}

/// What becomes of a refund that is not refused.
pub enum Taken {
    New(Refund),
    /// The same number and amounts as before: the same refund.
    Again(Refund),
}

#[derive(Debug, Default)]
pub struct Refunds {
    by_number: BTreeMap<String, Refund>,
    /// Requests that could be read, per out_refund_no.
    asked: BTreeMap<String, u32>,
    last_serial: u64,
}

impl Refunds {
    pub fn by_number(&self, out_refund_no: &str) -> Option<&Refund> {
        self.by_number.get(out_refund_no)
    }

    pub fn by_refund_id(&self, refund_id: &str) -> Option<&Refund> {
        self.by_number.values().find(|refund| refund.refund_id == refund_id)
    }

    /// Of one trade, oldest first.
    pub fn of_trade(&self, out_trade_no: &str) -> Vec<&Refund> {
        let mut refunds: Vec<&Refund> =
            self.by_number.values().filter(|refund| refund.out_trade_no == out_trade_no).collect();
        refunds.sort_by_key(|refund| refund.serial);
        refunds
    }

    /// Oldest first.
    pub fn all(&self) -> Vec<&Refund> {
        let mut refunds: Vec<&Refund> = self.by_number.values().collect();
        refunds.sort_by_key(|refund| refund.serial);
        refunds
    }

    /// Fen that reached payers by `now`.
    pub fn total_fen(&self, now: UnixMs) -> i64 {
        let done = |refund: &&Refund| refund.status(now) == RefundStatus::Success;
        self.by_number.values().filter(done).map(|refund| refund.refund_fee.get()).sum()
    }

    /// Fen of this trade that reached the payer by `now`.
    pub fn refunded_fen(&self, out_trade_no: &str, now: UnixMs) -> i64 {
        let done = self.of_trade(out_trade_no).into_iter();
        let done = done.filter(|refund| refund.status(now) == RefundStatus::Success);
        done.map(|refund| refund.refund_fee.get()).sum()
    }

    /// Counts a request for this number: 1 for the first.
    pub fn count_asked(&mut self, out_refund_no: &str) -> u32 {
        let asked = self.asked.entry(out_refund_no.to_owned()).or_default();
        *asked = asked.saturating_add(1);
        *asked
    }

    pub fn note(&mut self, out_refund_no: &str, sent: Sent) {
        if let Some(refund) = self.by_number.get_mut(out_refund_no) {
            refund.callbacks.push(sent);
        }
    }

    /// Fen of this trade that went back or are on their way.
    pub fn reserved_fen(&self, out_trade_no: &str, now: UnixMs) -> i64 {
        let counted = self.of_trade(out_trade_no).into_iter().filter(|refund| refund.counts(now));
        counted.map(|refund| refund.refund_fee.get()).sum()
    }

    fn open(&mut self, refund: Refund) -> Refund {
        self.last_serial = self.last_serial.saturating_add(1);
        let refund = Refund { serial: self.last_serial, ..refund };
        self.by_number.insert(refund.out_refund_no.clone(), refund.clone());
        refund
    }
}

/// Takes a refund on, or says why not. A known number with the same amounts is the same refund, whatever became of it.
///
/// # Errors
/// The trade or its other refunds forbid it.
pub fn take_on(book: &mut Book, wanted: Wanted, now: UnixMs) -> Result<Taken, NotTaken> {
    if let Some(known) = book.refunds.by_number(&wanted.out_refund_no) {
        let same = known.out_trade_no == wanted.out_trade_no
            && known.refund_fee == wanted.refund_fee
            && known.total_fee == wanted.total_fee;
        return if same { Ok(Taken::Again(known.clone())) } else { Err(NotTaken::Mismatch) };
    }
    let provider = wanted.protocol.provider();
    let trade = book.trade_with(provider, &wanted.out_trade_no, now).ok_or(NotTaken::Unpaid)?.clone();
    let paid_at = trade.paid_at.ok_or(NotTaken::Unpaid)?;
    if wanted.total_fee != trade.total_fee || wanted.refund_fee > trade.total_fee {
        return Err(NotTaken::Mismatch);
    }
    if now.since(paid_at) > WINDOW_MS {
        return Err(NotTaken::TooOld);
    }
    let earlier = book.refunds.of_trade(&wanted.out_trade_no);
    if earlier.len() >= MOST {
        return Err(NotTaken::TooMany);
    }
    let reserved = book.refunds.reserved_fen(&wanted.out_trade_no, now);
    if reserved.saturating_add(wanted.refund_fee.get()) > trade.total_fee.get() {
        return Err(NotTaken::TooMuch);
    }
    let recent = |refund: &&Refund| !refund.elsewhere && (0..PACE_MS).contains(&now.since(refund.started_at));
    if provider == Provider::Wechat && earlier.iter().any(recent) {
        return Err(NotTaken::TooSoon);
    }
    if let Some(trade) = book.trade(&wanted.out_trade_no, now) {
        trade.state = TradeState::Refund;
    }
    let trade_coupon = trade.coupon.unwrap_or_default();
    let coupon = share_of(trade_coupon, wanted.refund_fee, trade.total_fee);
    Ok(Taken::New(book.refunds.open(Refund {
        serial: 0,
        protocol: wanted.protocol,
        out_refund_no: wanted.out_refund_no,
        refund_id: wanted.refund_id,
        out_trade_no: wanted.out_trade_no,
        appid: trade.appid,
        transaction_id: trade.transaction_id,
        refund_fee: wanted.refund_fee,
        total_fee: wanted.total_fee,
        coupon,
        trade_coupon,
        notify_url: wanted.notify_url,
        account: wanted.account,
        elsewhere: wanted.elsewhere,
        started_at: now,
        ends_at: wanted.ends_at,
        end: wanted.end,
        callbacks: Vec::new(),
    })))
}

/// When a refund ends that takes this many seconds at the gateway's own pace.
pub fn ends_at(simulator: &Simulator, secs: i64, now: UnixMs) -> UnixMs {
    let speed = i64::from(simulator.0.options.speed.max(1));
    now.plus_ms(secs.saturating_mul(1000).checked_div(speed).unwrap_or_default())
}

/// A coupon goes back in the proportion of the refund, rounded down.
fn share_of(coupon: Fen, refund_fee: Fen, total_fee: Fen) -> Fen {
    let share = coupon.get().saturating_mul(refund_fee.get()).checked_div(total_fee.get());
    Fen::new(share.unwrap_or_default()).unwrap_or_default()
}

/// A refund as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundView {
    pub out_refund_no: String,
    pub refund_id: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub amount: Fen,
    pub status: RefundStatus,
    pub ends_at: UnixMs,
    /// Made on WeChat's own pages, not by the API.
    pub elsewhere: bool,
    /// Every try of every callback about it, with its reply.
    pub callbacks: Vec<Sent>,
}

impl Simulator {
    /// Every refund as it stands now, oldest first: the truth the merchant's books are held against.
    pub fn refunds(&self) -> Vec<RefundView> {
        let now = self.now();
        let view = |refund: &Refund| RefundView {
            out_refund_no: refund.out_refund_no.clone(),
            refund_id: refund.refund_id.clone(),
            out_trade_no: refund.out_trade_no.clone(),
            transaction_id: refund.transaction_id.clone(),
            amount: refund.refund_fee,
            status: refund.status(now),
            ends_at: refund.ends_at,
            elsewhere: refund.elsewhere,
            callbacks: refund.callbacks.clone(),
        };
        self.book().refunds.all().into_iter().map(view).collect()
    }

    /// Fen that have reached payers again.
    pub fn refunded_total_fen(&self) -> i64 {
        let now = self.now();
        self.book().refunds.total_fen(now)
    }

    /// Somebody refunds what is left of a paid trade on WeChat's own pages, at once and without a callback:
    /// orderquery says REFUND from now on.
    ///
    /// # Errors
    /// An unknown or unpaid trade; no random bytes.
    pub fn refund(&self, out_trade_no: &str) -> Result<(), SimulatorError> {
        let now = self.now();
        let refund_id = refund_notify::refund_id(&self.0.clock)?;
        let mut book = self.book();
        let reserved = book.refunds.reserved_fen(out_trade_no, now);
        let trade = book.trade(out_trade_no, now).filter(|trade| trade.is_paid());
        let trade = trade.ok_or_else(|| SimulatorError::UnknownTrade(out_trade_no.to_owned()))?;
        trade.state = TradeState::Refund;
        let (total_fee, protocol) = (trade.total_fee, trade.protocol);
        let Some(left) = Fen::new(total_fee.get().saturating_sub(reserved)).filter(|left| *left > Fen::ZERO)
        else {
            return Ok(());
        };
        let wanted = Wanted {
            protocol,
            out_refund_no: format!("elsewhere-{refund_id}"),
            refund_id,
            out_trade_no: out_trade_no.to_owned(),
            refund_fee: left,
            total_fee,
            notify_url: None,
            account: None,
            elsewhere: true,
            ends_at: now,
            end: RefundStatus::Success,
        };
        // Refused only by age, number or pace, which bind the API: the trade is marked all the same.
        let _ = take_on(&mut book, wanted, now);
        Ok(())
    }

    /// Somebody sorts out a refund that is abnormal or takes long: its money reaches the payer now, and the callback
    /// says so.
    ///
    /// # Errors
    /// An unknown refund; one that succeeded or was closed; no random bytes.
    pub fn resolve_refund(&self, out_refund_no: &str) -> Result<(), SimulatorError> {
        let now = self.now();
        let nonce = self.0.clock.nonce()?;
        let mut book = self.book();
        let refund = book.refunds.by_number.get_mut(out_refund_no);
        let refund = refund.ok_or_else(|| SimulatorError::UnknownRefund(out_refund_no.to_owned()))?;
        let status = refund.status(now);
        if matches!(status, RefundStatus::Success | RefundStatus::Closed) {
            return Err(SimulatorError::RefundEnded(out_refund_no.to_owned(), status.as_str()));
        }
        refund.ends_at = now;
        refund.end = RefundStatus::Success;
        let refund = refund.clone();
        book.drop_callbacks_about(out_refund_no);
        let scenario = book.scenario(&refund.out_trade_no);
        let callback = deliver::about_refund(self, &mut book, &refund, &nonce);
        book.schedule(callback.filter(|_| scenario.notifies_refunds()).into_iter().collect());
        Ok(())
    }

    /// The callback this refund has or would have, with fields outside and inside its secret part replaced (an empty
    /// value takes the field out). An unknown number gets a callback for one fen.
    pub fn refund_notify(
        &self,
        out_refund_no: &str,
        outside: &[(&str, &str)],
        inside: &[(&str, &str)],
    ) -> String {
        let refund = self.book().refunds.by_number(out_refund_no).cloned();
        let (appid, fields) = match &refund {
            Some(refund) => (refund.appid.as_str(), refund_notify::fields(refund)),
            None => (self.account().appids.web.as_str(), refund_notify::unknown(out_refund_no)),
        };
        refund_notify::sealed(
            self.account(),
            appid,
            overridden(fields, inside),
            outside,
            "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        )
    }
}

/// Fields replaced; an empty value takes the field out.
pub fn overridden(mut fields: Fields, overrides: &[(&str, &str)]) -> Fields {
    for (name, value) in overrides {
        if value.is_empty() {
            fields.remove(name);
        } else {
            fields.set(name, value);
        }
    }
    fields
}
