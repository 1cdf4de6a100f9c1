//! The simulator's book of truth: which trades exist, what became of them, which callbacks are still to be sent.

use super::{
    faults::{Content, Scenario},
    refunds::Refunds,
    wechat_v3::notify::Memory,
};
use crate::{
    domain::{money::Fen, order::Provider, time::UnixMs},
    gateway::{
        Protocol,
        wechat_v2::{sign::SignType, xml::Fields},
    },
};
use std::collections::BTreeMap;

/// A prepay_id can be paid with for two hours (page 4011936530).
pub const PREPAY_MS: i64 = 2 * 60 * 60 * 1000;
/// A new order must live at least this long from now.
const SHORTEST_LIFE_MS: i64 = 60 * 1000;
/// API messages kept for the cashier's log, per trade.
const KEPT_MESSAGES: usize = 40;
const KEPT_CALLS: usize = 100_000;

/// WeChat's `trade_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradeState {
    NotPay,
    Success,
    Closed,
    Refund,
}

impl TradeState {
    pub const fn as_str(self) -> &'static str {
        match self {
            TradeState::NotPay => "NOTPAY",
            TradeState::Success => "SUCCESS",
            TradeState::Closed => "CLOSED",
            TradeState::Refund => "REFUND",
        }
    }

    pub const fn desc_zh(self) -> &'static str {
        match self {
            TradeState::NotPay => "订单未支付",
            TradeState::Success => "支付成功",
            TradeState::Closed => "订单已关闭",
            TradeState::Refund => "转入退款",
        }
    }
}

/// One out_trade_no at the simulated WeChat.
#[derive(Clone, Debug)]
pub struct Trade {
    /// 1 for the first trade of this book.
    pub serial: u64,
    /// What it was ordered in, and is notified in.
    pub protocol: Protocol,
    pub out_trade_no: String,
    /// The order as it arrived, without what differs at every try. What nests is named with points: `amount.total`.
    pub parameters: Fields,
    /// The gateway's number of the merchant.
    pub merchant: String,
    pub appid: String,
    /// V2's word for the way to pay: JSAPI, NATIVE, MWEB, APP; Alipay's own words.
    pub trade_type: String,
    pub goods: String,
    pub notify_url: String,
    /// Who must pay, when the order says so.
    pub payer: Option<String>,
    pub total_fee: Fen,
    /// How V2 signs about it.
    pub sign_type: SignType,
    pub prepay_id: String,
    /// Reserved when the order is placed, used once it is paid.
    pub transaction_id: String,
    pub created_at: UnixMs,
    /// When `prepay_id` was last handed out.
    pub prepaid_at: UnixMs,
    pub expires_at: Option<UnixMs>,
    /// Precreated at Alipay, and nobody has scanned the code: as good as no trade.
    pub unscanned: bool,
    pub state: TradeState,
    pub paid_at: Option<UnixMs>,
    /// The part of `total_fee` a coupon paid.
    pub coupon: Option<Fen>,
    pub messages: Vec<Message>,
    pub callbacks: Vec<Sent>,
}

impl Trade {
    pub fn is_paid(&self) -> bool {
        self.paid_at.is_some()
    }

    fn expire(&mut self, now: UnixMs) {
        if self.state == TradeState::NotPay && self.expires_at.is_some_and(|expires_at| expires_at <= now) {
            self.state = TradeState::Closed;
        }
    }
}

/// An API call about a trade and its reply, for the log on the cashier page.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: UnixMs,
    /// Method and path.
    pub call: String,
    pub asked: String,
    pub answered: String,
}

/// One try to deliver a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: UnixMs,
    pub content_type: &'static str,
    /// Besides the content type.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// `None` when there was no HTTP answer.
    pub status: Option<u16>,
    /// The reply's body, or why there is none.
    pub reply: String,
    /// Acknowledged in the words of its protocol.
    pub accepted: bool,
    pub took_ms: i64,
}

/// A callback on its way.
#[derive(Clone, Debug)]
pub struct Callback {
    pub protocol: Protocol,
    pub out_trade_no: String,
    /// Of the refund it speaks of, if it speaks of one.
    pub out_refund_no: Option<String>,
    pub notify_url: String,
    pub content_type: &'static str,
    /// Besides those that V3 makes anew for every try.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// What is wrong with it, for what is only decided when it leaves.
    pub content: Content,
    pub due: UnixMs,
    /// Tries that failed so far.
    pub failed: usize,
    pub repeats: bool,
    pub parallel: bool,
}

/// A placed order as it arrived, with the ids it gets if it is new.
pub struct Placed {
    pub protocol: Protocol,
    pub out_trade_no: String,
    pub parameters: Fields,
    pub merchant: String,
    pub appid: String,
    pub trade_type: String,
    pub goods: String,
    pub notify_url: String,
    pub payer: Option<String>,
    pub total_fee: Fen,
    pub sign_type: SignType,
    pub expires_at: Option<UnixMs>,
    pub prepay_id: String,
    /// What a QR code says in place of the prepay_id.
    pub code_url: Option<String>,
    pub transaction_id: String,
}

/// Why an order is not placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPlaced {
    Paid,
    Closed,
    /// The number was used with other parameters.
    Used,
    ExpiresTooSoon,
}

/// What became of a request to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Done,
    Paid,
    Already,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Book {
    trades: BTreeMap<String, Trade>,
    /// By everything a payer can be shown: prepay_id, code_url.
    numbers_by_prepay_id: BTreeMap<String, String>,
    numbers_by_transaction_id: BTreeMap<String, String>,
    scenarios: BTreeMap<String, Scenario>,
    default_scenario: Scenario,
    /// Well-formed requests for a prepay_id, per number.
    asked: BTreeMap<String, u32>,
    calls: Vec<String>,
    queue: BTreeMap<(UnixMs, u64), Callback>,
    last_serial: u64,
    pub refunds: Refunds,
    pub v3: Memory,
}

impl Book {
    pub fn new(default_scenario: Scenario) -> Book {
        Book { default_scenario, ..Book::default() }
    }

    /// The trade as it stands at `now`: an unpaid one past its time is closed.
    pub fn trade(&mut self, out_trade_no: &str, now: UnixMs) -> Option<&mut Trade> {
        let trade = self.trades.get_mut(out_trade_no)?;
        trade.expire(now);
        Some(trade)
    }

    /// The same, if it is a trade with this provider: the numbers of one mean nothing to the other.
    pub fn trade_with(&mut self, provider: Provider, out_trade_no: &str, now: UnixMs) -> Option<&mut Trade> {
        self.trade(out_trade_no, now).filter(|trade| trade.protocol.provider() == provider)
    }

    /// Of a prepay_id or a code_url.
    pub fn number_of_prepay_id(&self, prepay_id: &str) -> Option<String> {
        self.numbers_by_prepay_id.get(prepay_id).cloned()
    }

    pub fn number_of_transaction_id(&self, transaction_id: &str) -> Option<String> {
        self.numbers_by_transaction_id.get(transaction_id).cloned()
    }

    /// Every trade as it stands at `now`, newest first.
    pub fn newest(&mut self, now: UnixMs, limit: usize) -> Vec<Trade> {
        let mut trades: Vec<&mut Trade> = self.trades.values_mut().collect();
        trades.sort_by_key(|trade| std::cmp::Reverse(trade.serial));
        trades
            .into_iter()
            .take(limit)
            .map(|trade| {
                trade.expire(now);
                trade.clone()
            })
            .collect()
    }

    /// A repeat with the same parameters gets the same prepay_id; anything else about a known number is refused.
    ///
    /// # Errors
    /// The number is paid, closed or used with other parameters; a new order would expire within a minute.
    pub fn place(&mut self, placed: Placed, now: UnixMs) -> Result<String, NotPlaced> {
        if let Some(trade) = self.trade(&placed.out_trade_no, now) {
            return match trade.state {
                TradeState::Success | TradeState::Refund => Err(NotPlaced::Paid),
                TradeState::Closed => Err(NotPlaced::Closed),
                TradeState::NotPay if trade.parameters != placed.parameters => Err(NotPlaced::Used),
                TradeState::NotPay => {
                    trade.prepaid_at = now;
                    Ok(trade.prepay_id.clone())
                }
            };
        }
        if placed.expires_at.is_some_and(|expires_at| expires_at.since(now) < SHORTEST_LIFE_MS) {
            return Err(NotPlaced::ExpiresTooSoon);
        }
        let serial = self.next_serial();
        let number = placed.out_trade_no.clone();
        for shown in std::iter::once(&placed.prepay_id).chain(&placed.code_url) {
            self.numbers_by_prepay_id.insert(shown.clone(), number.clone());
        }
        self.numbers_by_transaction_id.insert(placed.transaction_id.clone(), number.clone());
        let prepay_id = placed.prepay_id.clone();
        self.trades.insert(number, opened(placed, serial, now));
        Ok(prepay_id)
    }

    pub fn close(&mut self, out_trade_no: &str, now: UnixMs) -> Closing {
        let Some(trade) = self.trade(out_trade_no, now) else { return Closing::Unknown };
        match trade.state {
            TradeState::Success | TradeState::Refund => Closing::Paid,
            TradeState::Closed => Closing::Already,
            TradeState::NotPay => {
                trade.state = TradeState::Closed;
                Closing::Done
            }
        }
    }

    /// The number's own scenario; a number seen for the first time keeps today's default.
    pub fn scenario(&mut self, out_trade_no: &str) -> Scenario {
        let default = self.default_scenario;
        *self.scenarios.entry(out_trade_no.to_owned()).or_insert(default)
    }

    pub fn set_scenario(&mut self, out_trade_no: &str, scenario: Scenario) {
        self.scenarios.insert(out_trade_no.to_owned(), scenario);
    }

    pub fn default_scenario(&self) -> Scenario {
        self.default_scenario
    }

    pub fn set_default_scenario(&mut self, scenario: Scenario) {
        self.default_scenario = scenario;
    }

    /// Counts a request for a prepay_id of this number: 1 for the first.
    pub fn count_asked(&mut self, out_trade_no: &str) -> u32 {
        let asked = self.asked.entry(out_trade_no.to_owned()).or_default();
        *asked = asked.saturating_add(1);
        *asked
    }

    pub fn log_call(&mut self, call: &str, subject: &str) {
        if self.calls.len() < KEPT_CALLS {
            let subject: String = subject.chars().take(32).collect();
            self.calls.push(format!("{call} {subject}").trim_end().to_owned());
        }
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.clone()
    }

    pub fn note(&mut self, out_trade_no: &str, message: Message) {
        if let Some(trade) = self.trades.get_mut(out_trade_no) {
            if trade.messages.len() >= KEPT_MESSAGES {
                trade.messages.remove(0);
            }
            trade.messages.push(message);
        }
    }

    /// Fen paid in all trades, refunded ones included.
    pub fn paid_total_fen(&self) -> i64 {
        self.trades.values().filter(|trade| trade.is_paid()).map(|trade| trade.total_fee.get()).sum()
    }

    pub fn schedule(&mut self, callbacks: Vec<Callback>) {
        for callback in callbacks {
            let serial = self.next_serial();
            self.queue.insert((callback.due, serial), callback);
        }
    }

    /// Callbacks about this refund are not sent any more.
    pub fn drop_callbacks_about(&mut self, out_refund_no: &str) {
        self.queue.retain(|_, callback| callback.out_refund_no.as_deref() != Some(out_refund_no));
    }

    pub fn next_due(&self) -> Option<UnixMs> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Takes out everything due by `now`, in the order it was due.
    pub fn take_due(&mut self, now: UnixMs) -> Vec<Callback> {
        let later = self.queue.split_off(&(now.plus_ms(1), 0));
        std::mem::replace(&mut self.queue, later).into_values().collect()
    }

    fn next_serial(&mut self) -> u64 {
        self.last_serial = self.last_serial.saturating_add(1);
        self.last_serial
    }
}

fn opened(placed: Placed, serial: u64, now: UnixMs) -> Trade {
    Trade {
        unscanned: placed.protocol == Protocol::Alipay && placed.code_url.is_some(),
        serial,
        protocol: placed.protocol,
        out_trade_no: placed.out_trade_no,
        parameters: placed.parameters,
        merchant: placed.merchant,
        appid: placed.appid,
        trade_type: placed.trade_type,
        goods: placed.goods,
        notify_url: placed.notify_url,
        payer: placed.payer,
        total_fee: placed.total_fee,
        sign_type: placed.sign_type,
        prepay_id: placed.prepay_id,
        transaction_id: placed.transaction_id,
        created_at: now,
        prepaid_at: now,
        expires_at: placed.expires_at,
        state: TradeState::NotPay,
        paid_at: None,
        coupon: None,
        messages: Vec::new(),
        callbacks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_770_000_000_000);

    fn placed(number: &str, body: &str, prepay_id: &str) -> Placed {
        Placed {
            protocol: Protocol::WechatV2,
            out_trade_no: number.to_owned(),
            parameters: [("out_trade_no", number), ("body", body)].into_iter().collect(),
            merchant: "10000100".to_owned(),
            appid: "wxd930ea5d5a258f4f".to_owned(),
            trade_type: "NATIVE".to_owned(),
            goods: body.to_owned(),
            notify_url: "http://127.0.0.1:9/notify".to_owned(),
            payer: None,
            total_fee: Fen::new(990).unwrap(),
            sign_type: SignType::HmacSha256,
            expires_at: Some(NOW.plus_secs(300)),
            prepay_id: prepay_id.to_owned(),
            code_url: Some(format!("code:{prepay_id}")),
            transaction_id: format!("t{prepay_id}"),
        }
    }

    #[test]
    fn the_same_order_again_gets_the_same_prepay_id_and_another_is_refused() {
        let mut book = Book::default();
        assert_eq!(book.place(placed("number-1", "a", "p1"), NOW), Ok("p1".to_owned()));
        assert_eq!(book.place(placed("number-1", "a", "p2"), NOW), Ok("p1".to_owned()));
        assert_eq!(book.place(placed("number-1", "b", "p3"), NOW), Err(NotPlaced::Used));
        assert_eq!(book.number_of_prepay_id("p2"), None);
        assert_eq!(book.number_of_prepay_id("code:p1").as_deref(), Some("number-1"));
    }

    #[test]
    fn an_unpaid_trade_closes_when_its_time_is_over_and_a_paid_one_does_not() {
        let mut book = Book::default();
        book.place(placed("number-1", "a", "p1"), NOW).unwrap();
        let late = NOW.plus_secs(300);
        assert_eq!(book.trade("number-1", late.plus_ms(-1)).unwrap().state, TradeState::NotPay);
        assert_eq!(book.trade("number-1", late).unwrap().state, TradeState::Closed);
        assert_eq!(book.place(placed("number-1", "a", "p1"), late), Err(NotPlaced::Closed));

        book.place(placed("number-2", "a", "p2"), NOW).unwrap();
        book.trade("number-2", NOW).unwrap().state = TradeState::Success;
        assert_eq!(book.trade("number-2", late).unwrap().state, TradeState::Success);
    }

    #[test]
    fn closing_twice_says_so_and_a_paid_trade_cannot_be_closed() {
        let mut book = Book::default();
        assert_eq!(book.close("number-1", NOW), Closing::Unknown);
        book.place(placed("number-1", "a", "p1"), NOW).unwrap();
        assert_eq!(book.close("number-1", NOW), Closing::Done);
        assert_eq!(book.close("number-1", NOW), Closing::Already);
        book.trade("number-1", NOW).unwrap().state = TradeState::Success;
        assert_eq!(book.close("number-1", NOW), Closing::Paid);
    }

    #[test]
    fn an_order_that_would_expire_within_a_minute_is_refused_only_when_it_is_new() {
        let mut book = Book::default();
        let almost = NOW.plus_secs(290);
        assert_eq!(book.place(placed("number-1", "a", "p1"), almost), Err(NotPlaced::ExpiresTooSoon));
        book.place(placed("number-1", "a", "p1"), NOW).unwrap();
        assert_eq!(book.place(placed("number-1", "a", "p2"), almost), Ok("p1".to_owned()));
    }
}
