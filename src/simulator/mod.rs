//! A WeChat and an Alipay that keep trades, check our signature and every field rule, and call notify_url.
//! No real money and no real gateway is ever touched; used by `demo`, `simulate` and the tests.

use crate::{
    clock::{Clock, NoEntropy},
    config::SimulatorKeys,
    domain::{money::Fen, time::UnixMs},
    gateway::{
        Headers, Protocol, Response,
        wechat_v2::{Account, xml::Fields},
    },
    http::Http,
};
use actix_web::{App, HttpServer, ResponseError, dev::Server, web};
use secrecy::SecretString;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub mod faults;
pub mod refunds;
pub mod trades;

mod alipay;
mod bills;
mod bridge;
mod cashier;
mod deliver;
mod h5;
mod ids;
mod layout;
mod notify;
mod oauth;
mod overview;
mod phone;
mod refund_notify;
mod rules;
#[cfg(test)]
pub(crate) mod testing;
mod wallet;
mod wechat_v2;
mod wechat_v3;

pub use alipay::AlipayApp;
pub use faults::{Content, Scenario};
pub use refunds::{RefundStatus, RefundView};
pub use trades::{Sent, TradeState};
pub use wechat_v3::{
    keys::{Signer, V3Keys},
    notify::SignedNotify,
};

/// Where its pages would be when it answers without a network.
const IN_PROCESS: &str = "http://127.0.0.1:8090";
/// How often `run` looks for due callbacks.
const LOOK: Duration = Duration::from_millis(50);

/// Who the merchant is and how the simulated WeChat behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub account: Account,
    /// The web authorisation secret of `account.appids.web`.
    pub app_secret: SecretString,
    /// The secret of the mini program, `account.appids.mini`.
    pub mini_secret: SecretString,
    /// What V3 is signed with; it is not spoken without.
    pub v3: Option<V3Keys>,
    /// The merchant at Alipay, which is not spoken without.
    pub alipay: Option<AlipayApp>,
    /// Gaps between tries of a refused callback and the time a refund takes are divided by this; 0 counts as 1.
    pub speed: u32,
    /// For trades that get none of their own.
    pub scenario: Scenario,
    /// Origin of the merchant's pages, without a trailing slash: may frame the cashier, hear its
    /// result and be returned to by web authorisation.
    pub bridge_origin: String,
    /// Refuse openids this simulator never issued under this appid.
    pub strict_openid: bool,
}

impl Options {
    /// Without mischief, at the gateways' own pace; V2 alone, and one secret for web and mini program.
    pub fn new(account: Account, app_secret: SecretString, bridge_origin: String) -> Options {
        Options {
            account,
            mini_secret: app_secret.clone(),
            app_secret,
            v3: None,
            alipay: None,
            speed: 1,
            scenario: Scenario::Ok,
            bridge_origin,
            strict_openid: true,
        }
    }

    /// The same for a merchant with these keys, in every protocol they have keys for.
    pub fn of(keys: &SimulatorKeys, account: Account, bridge_origin: String) -> Options {
        Options {
            mini_secret: SecretString::from(keys.mini_secret()),
            v3: V3Keys::of(keys),
            alipay: AlipayApp::of(keys),
            ..Options::new(account, SecretString::from(keys.app_secret.clone()), bridge_origin)
        }
    }
}

/// The simulated WeChat. Cloning shares the book.
#[derive(Clone)]
pub struct Simulator(Arc<Inner>);

struct Inner {
    options: Options,
    clock: Clock,
    http: Http,
    book: Mutex<trades::Book>,
    codes: Mutex<oauth::Codes>,
}

/// An API call as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub headers: Headers<'a>,
    pub body: &'a [u8],
}

/// A trade as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeView {
    pub protocol: Protocol,
    pub appid: String,
    /// V2's word for the way to pay; Alipay's own words.
    pub trade_type: String,
    pub state: TradeState,
    pub total_fee: Fen,
    pub prepay_id: String,
    /// `Some` once paid.
    pub transaction_id: Option<String>,
    pub scenario: Scenario,
    /// Every try of every callback, with its reply.
    pub callbacks: Vec<Sent>,
}

/// Why the simulator cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    #[error("the simulator knows no trade {0}")]
    UnknownTrade(String),
    #[error("the simulator knows no refund {0}")]
    UnknownRefund(String),
    #[error("refund {0} is {1} and stays so")]
    RefundEnded(String, &'static str),
    #[error("trade {0} is {1} and cannot be paid")]
    NotPayable(String, &'static str),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("a simulator page cannot be written: {0}")]
    Page(#[from] askama::Error),
}

impl ResponseError for SimulatorError {}

impl Simulator {
    pub fn new(options: Options, clock: Clock, http: Http) -> Simulator {
        let book = Mutex::new(trades::Book::new(options.scenario));
        Simulator(Arc::new(Inner { options, clock, http, book, codes: Mutex::default() }))
    }

    /// The payer pays: the trade is SUCCESS and its scenario's callbacks wait for `deliver_due`.
    /// Answers with the transaction_id.
    ///
    /// # Errors
    /// An unknown number; a trade that is paid, or closed unless its scenario is late-payment; no random bytes.
    pub fn pay(&self, out_trade_no: &str) -> Result<String, SimulatorError> {
        let (transaction_id, callbacks) = self.take_payment(out_trade_no)?;
        self.book().schedule(callbacks);
        Ok(transaction_id)
    }

    /// The payer reads the QR code of an order precreated at Alipay, without paying yet: only now is there a trade.
    ///
    /// # Errors
    /// An unknown number; a code that is dead.
    pub fn scan(&self, out_trade_no: &str) -> Result<(), SimulatorError> {
        let now = self.now();
        alipay::trade::scan(self, &mut self.book(), out_trade_no, now)
    }

    /// Queues the true callback of a paid trade once more, to be sent at once.
    ///
    /// # Errors
    /// An unknown or unpaid trade; no random bytes.
    pub fn resend(&self, out_trade_no: &str) -> Result<(), SimulatorError> {
        let now = self.0.clock.now();
        let mut book = self.book();
        let trade = book.trade(out_trade_no, now).filter(|trade| trade.is_paid());
        let trade = trade.ok_or_else(|| SimulatorError::UnknownTrade(out_trade_no.to_owned()))?;
        let callback = deliver::again(self, trade, now)?;
        book.schedule(vec![callback]);
        Ok(())
    }

    /// For a number that exists or is still to come.
    pub fn set_scenario(&self, out_trade_no: &str, scenario: Scenario) {
        self.book().set_scenario(out_trade_no, scenario);
    }

    /// For numbers not seen yet.
    pub fn set_default_scenario(&self, scenario: Scenario) {
        self.book().set_default_scenario(scenario);
    }

    pub fn trade(&self, out_trade_no: &str) -> Option<TradeView> {
        let mut book = self.book();
        let scenario = book.scenario(out_trade_no);
        let trade = book.trade(out_trade_no, self.0.clock.now())?;
        Some(TradeView {
            protocol: trade.protocol,
            appid: trade.appid.clone(),
            trade_type: trade.trade_type.clone(),
            state: trade.state,
            total_fee: trade.total_fee,
            prepay_id: trade.prepay_id.clone(),
            transaction_id: trade.is_paid().then(|| trade.transaction_id.clone()),
            scenario,
            callbacks: trade.callbacks.clone(),
        })
    }

    /// Answers an API call without a network. A reply that a scenario holds back is given at once. `None` for a call
    /// the gateways do not know.
    ///
    /// # Errors
    /// No random bytes.
    pub fn answer(&self, asked: &Asked<'_>) -> Result<Option<Response>, NoEntropy> {
        let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
        if path == alipay::PATH {
            let answer = alipay::answer(self, asked.method, query, asked.body, IN_PROCESS)?;
            return Ok(Some(Response { received_at: self.now(), ..answer.reply.response() }));
        }
        if let Some((response, _)) = wechat_v3::answer(self, asked, IN_PROCESS, None)? {
            return Ok(Some(response));
        }
        let call = wechat_v2::Call::of_path(asked.target).filter(|_| asked.method == "POST");
        let Some(call) = call else { return Ok(None) };
        let (reply, _) = wechat_v2::answer(self, call, asked.body, IN_PROCESS)?;
        let body = reply.into_bytes();
        Ok(Some(Response { received_at: self.now(), ..Response::new(200, body) }))
    }

    /// When the next callback falls due, if any waits.
    pub fn next_due(&self) -> Option<UnixMs> {
        self.book().next_due()
    }

    /// The number that a prepay_id, a code_url or an address with a prepay_id in it was handed out for: what the
    /// payer's phone pays.
    pub fn number_of(&self, shown: &str) -> Option<String> {
        let in_address = shown.split_once("prepay_id=").and_then(|(_, rest)| rest.split('&').next());
        self.book().number_of_prepay_id(in_address.unwrap_or(shown))
    }

    /// Every API call that could be read, oldest first: its name, a blank and the out_trade_no it named, or for
    /// calls about a refund the out_refund_no.
    pub fn calls(&self) -> Vec<String> {
        self.book().calls()
    }

    /// What payers have paid in all, in fen: the truth the merchant's ledger is held against.
    pub fn paid_total_fen(&self) -> i64 {
        self.book().paid_total_fen()
    }

    /// A genuine openid under the service account's appid, the same for the same person.
    pub fn openid_of(&self, person: u64) -> String {
        let account = self.account();
        oauth::openid_of(account, &account.appids.web, &format!("{person:016x}"))
    }

    /// The same person's openid under the mini program's appid; `None` when there is no mini program.
    pub fn mini_openid_of(&self, person: u64) -> Option<String> {
        let account = self.account();
        Some(oauth::openid_of(account, account.appids.mini.as_deref()?, &format!("{person:016x}")))
    }

    /// What `wx.login` gives this person's mini program: good once, for five minutes. `None` when there is no mini
    /// program.
    ///
    /// # Errors
    /// No random bytes.
    pub fn js_code(&self, person: u64) -> Result<Option<String>, NoEntropy> {
        let Some(openid) = self.mini_openid_of(person) else { return Ok(None) };
        let code = self.0.clock.nonce()?;
        self.codes().issue(&code, oauth::Use::MiniProgram, openid, self.now());
        Ok(Some(code))
    }

    /// The callback this trade has or would have, with fields replaced before signing (an empty value
    /// takes the field out), signed with the trade's algorithm or the `sign_type` among the overrides.
    /// An unknown number gets a callback for one fen.
    pub fn signed_notify(&self, out_trade_no: &str, overrides: &[(&str, &str)]) -> String {
        let trade = self.book().trade(out_trade_no, self.0.clock.now()).cloned();
        notify::overridden(self, out_trade_no, trade.as_ref(), overrides)
    }

    /// Signs these very fields with our key: MD5 or HMAC-SHA256 as their `sign_type` or else the account says.
    pub fn sign_notify(&self, fields: Fields) -> String {
        notify::signed(&self.0.options.account, fields, self.0.options.account.sign_type)
    }

    /// Sends every callback due by the clock, each once, and answers how many were sent.
    /// A refused one waits for its next turn.
    pub async fn deliver_due(&self) -> usize {
        let due = self.book().take_due(self.0.clock.now());
        deliver::send_all(self, due).await
    }

    /// Delivers callbacks as they fall due, for ever.
    pub async fn run(self) {
        loop {
            let due = self.book().take_due(self.0.clock.now());
            if !due.is_empty() {
                // A merchant that answers slowly must not hold up the callbacks of other trades.
                let simulator = self.clone();
                tokio::spawn(async move { deliver::send_all(&simulator, due).await });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Marks the trade paid and makes its callbacks, without queueing them.
    fn take_payment(&self, out_trade_no: &str) -> Result<(String, Vec<trades::Callback>), SimulatorError> {
        let now = self.0.clock.now();
        let mut book = self.book();
        let scenario = book.scenario(out_trade_no);
        alipay::trade::scan(self, &mut book, out_trade_no, now)?;
        let trade = book
            .trade(out_trade_no, now)
            .ok_or_else(|| SimulatorError::UnknownTrade(out_trade_no.to_owned()))?;
        let payable = match trade.state {
            TradeState::NotPay => true,
            TradeState::Closed => scenario.pays_closed_trades(),
            TradeState::Success | TradeState::Refund => false,
        };
        if !payable {
            return Err(SimulatorError::NotPayable(out_trade_no.to_owned(), trade.state.as_str()));
        }
        let mut paid = trade.clone();
        paid.state = TradeState::Success;
        paid.paid_at = Some(now);
        paid.coupon = scenario.uses_coupon().then(|| notify::coupon_of(paid.total_fee));
        let callbacks = deliver::planned(self, &paid, scenario, now)?;
        let transaction_id = paid.transaction_id.clone();
        let rotates = paid.protocol == Protocol::WechatV3 && scenario.rotates_certificate();
        *trade = paid;
        book.v3.rotated |= rotates;
        Ok((transaction_id, callbacks))
    }

    /// A panic elsewhere leaves the book as it was between two statements, which is good enough to go on.
    fn book(&self) -> MutexGuard<'_, trades::Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn codes(&self) -> MutexGuard<'_, oauth::Codes> {
        self.0.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMs {
        self.0.clock.now()
    }

    fn alipay(&self) -> Option<&AlipayApp> {
        self.0.options.alipay.as_ref()
    }

    fn account(&self) -> &Account {
        &self.0.options.account
    }
}

/// Every URL of the simulator, to mount on any actix server.
pub fn routes(simulator: &Simulator) -> impl Fn(&mut web::ServiceConfig) + Clone + use<> {
    let simulator = simulator.clone();
    move |config| {
        config.app_data(web::Data::new(simulator.clone()));
        wechat_v2::routes(config);
        alipay::routes(config);
        wechat_v3::routes(config);
        oauth::routes(config);
        overview::routes(config);
        cashier::routes(config);
        bridge::routes(config);
        h5::routes(config);
        phone::routes(config);
    }
}

/// The simulator alone on a listener: one worker, no signal handling. The answer must be awaited or spawned.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(simulator: Simulator, listener: TcpListener) -> std::io::Result<Server> {
    let routes = routes(&simulator);
    Ok(HttpServer::new(move || App::new().configure(routes.clone()))
        .workers(1)
        .disable_signals()
        .listen(listener)?
        .run())
}

#[cfg(test)]
mod tests;
