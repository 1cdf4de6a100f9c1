//! Alipay's open platform: forms signed with RSA2, replies in JSON signed over their own text.
//!
//! Amounts are yuan with two decimals, times are Beijing's. The app has a key of its own; what Alipay sends is verified
//! with Alipay's key for that app, which is another one.

use super::{
    Ack, AckReply, Base, Bill, BillFile, Billed, Checkout, Closing, Gateway, Notified, Notify, Prepaid,
    Protocol, RefundAsked, RefundNews, RefundNotified, Rejection, Request, Response, Stamp, Trade, Untrusted,
    rsa,
};
use crate::domain::{
    bill::BillDay,
    ids::{OutTradeNo, TransactionId},
    order::{Attempt, Channel, Environment, Provider},
    refund::Refund,
    time::UnixMs,
};
use serde_json::Value;
use sign::Params;

pub mod bill;
pub mod cert_sn;
pub mod form;
pub mod notify;
pub mod page_pay;
pub mod payment;
pub mod precreate;
pub mod raw_json;
pub mod refund;
pub mod refund_query;
pub mod reply;
pub mod sign;
pub mod sub_code;
pub mod trade_close;
pub mod trade_query;
pub mod wap_pay;

/// Who we are at Alipay. Keys and algorithm come from here, never from a message.
#[derive(Clone, Debug)]
pub struct Account {
    pub app_id: String,
    /// The Alipay account the money goes to, 16 digits from 2088 on.
    pub seller_id: String,
    /// The app's: what we sign with.
    pub key: rsa::PrivateKey,
    /// Alipay's for this app, not the app's own: what we verify with.
    pub public_key: rsa::PublicKey,
    /// In certificate mode.
    pub certificates: Option<Certificates>,
    /// Where browsers are sent to pay; our own calls go where `http` has `Base::Alipay`.
    pub gateway_url: String,
    /// Our own origin, where browsers come back to.
    pub public_url: String,
    pub environment: Environment,
}

/// Which certificates are in use, in the digests `cert_sn` makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    pub app_cert_sn: String,
    pub alipay_root_cert_sn: String,
    /// The one whose key is `public_key`.
    pub alipay_cert_sn: String,
    /// The last moments of the app's and of Alipay's own.
    pub app_ends: UnixMs,
    pub alipay_ends: UnixMs,
}

impl Account {
    /// App and seller, as attempts keep them.
    pub fn name(&self) -> String {
        format!("{}:{}", self.app_id, self.seller_id)
    }
}

/// Alipay as a gateway.
#[derive(Clone, Debug)]
pub struct Alipay {
    pub account: Account,
}

const MINUTE_MS: i64 = 60_000;
/// A code that nobody has scanned can be for two hours (precreate page); ten minutes are left for the payer.
const CODE_LIFE_MS: i64 = 110 * MINUTE_MS;
/// The address of a page is made anew each time it is asked for.
const PAGE_LIFE_MS: i64 = 24 * 60 * MINUTE_MS;

impl Gateway for Alipay {
    fn protocol(&self) -> Protocol {
        Protocol::Alipay
    }

    fn environment(&self) -> Environment {
        self.account.environment
    }

    fn account(&self, channel: Channel) -> Option<String> {
        (channel.provider() == Provider::Alipay).then(|| self.account.name())
    }

    fn is_ours(&self, account: &str, environment: Environment) -> bool {
        account == self.account.name() && environment == self.account.environment
    }

    fn prepay(&self, attempt: &Attempt, stamp: &Stamp) -> Option<Request> {
        (attempt.channel == Channel::AlipayQr).then(|| precreate::request(&self.account, attempt, stamp))
    }

    fn prepaid(&self, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
        precreate::read(&self.account, answer, attempt)
    }

    fn prepaid_life_ms(&self, channel: Channel) -> i64 {
        if channel == Channel::AlipayQr { CODE_LIFE_MS } else { PAGE_LIFE_MS }
    }

    fn checkout(&self, attempt: &Attempt, prepay_id: &str, stamp: &Stamp) -> Checkout {
        match attempt.channel {
            Channel::AlipayQr => Checkout::Qr { code_url: prepay_id.to_owned() },
            Channel::AlipayWap => Checkout::Redirect { url: wap_pay::url(&self.account, attempt, stamp) },
            _ => Checkout::Redirect { url: page_pay::url(&self.account, attempt, stamp) },
        }
    }

    fn query(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        trade_query::request(&self.account, &attempt.out_trade_no, stamp)
    }

    fn trade(&self, answer: &Response, attempt: &Attempt) -> Result<Trade, Untrusted> {
        trade_query::read(&self.account, answer, &attempt.out_trade_no)
    }

    fn query_payment(&self, payment: &TransactionId, _account: &str, stamp: &Stamp) -> Request {
        trade_query::request_by_payment(&self.account, payment, stamp)
    }

    fn payment(&self, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Trade, Untrusted> {
        trade_query::read(&self.account, answer, out_trade_no)
    }

    fn close(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        trade_close::request(&self.account, &attempt.out_trade_no, stamp)
    }

    fn closing(&self, answer: &Response, attempt: &Attempt) -> Result<Closing, Untrusted> {
        trade_close::read(&self.account, answer, &attempt.out_trade_no)
    }

    fn refund(&self, refund: &Refund, stamp: &Stamp) -> Request {
        refund::request(&self.account, refund, stamp)
    }

    fn refund_asked(&self, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted> {
        refund::read(&self.account, answer, refund)
    }

    fn refund_query(&self, refund: &Refund, stamp: &Stamp) -> Request {
        refund_query::request(&self.account, refund, stamp)
    }

    fn refund_news(&self, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted> {
        refund_query::read(&self.account, answer, refund)
    }

    fn bill_account(&self) -> String {
        self.account.seller_id.clone()
    }

    /// All apps of one seller share its bills.
    fn is_billed(&self, account: &str) -> bool {
        account.split_once(':').is_some_and(|(_, seller_id)| seller_id == self.account.seller_id)
    }

    fn bill(&self, day: BillDay, stamp: &Stamp) -> Request {
        bill::request(&self.account, day, stamp)
    }

    fn billed(&self, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
        bill::read(&self.account, answer, day)
    }

    fn bill_file(&self, file: &BillFile, _stamp: &Stamp) -> Request {
        bill::file_request(file)
    }

    fn bill_fetched(&self, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted> {
        bill::read_file(&self.account, answer, file)
    }

    fn notified(&self, notify: Notify<'_>) -> Notified {
        notify::read(&self.account, notify.body)
    }

    /// Alipay calls one address with payments and refunds alike, so nothing that comes here is its.
    fn refund_notified(&self, _notify: Notify<'_>) -> RefundNotified {
        RefundNotified::Rejected { rejection: Rejection::Malformed, out_trade_no: None }
    }

    fn ack(&self, ack: Ack) -> AckReply {
        notify::ack(ack)
    }

    fn certificates(&self) -> Vec<(String, UnixMs)> {
        let Some(certificates) = &self.account.certificates else { return Vec::new() };
        vec![
            ("应用公钥证书 ALIPAY_APP_CERT_PEM".to_owned(), certificates.app_ends),
            ("支付宝公钥证书 ALIPAY_CERT_PEM".to_owned(), certificates.alipay_ends),
        ]
    }
}

/// What every call carries, before its signature (public parameters, page 02kf5q).
fn parameters(account: &Account, method: &str, biz_content: &Value, stamp: &Stamp) -> Params {
    let mut params = Params::new();
    let mut set = |name: &str, value: &str| params.insert(name.to_owned(), value.to_owned());
    set("app_id", &account.app_id);
    set("method", method);
    set("format", "JSON");
    set("charset", "utf-8");
    set("sign_type", sign::SIGN_TYPE);
    set("timestamp", &stamp.now.beijing_text());
    set("version", "1.0");
    set("biz_content", &biz_content.to_string());
    if let Some(certificates) = &account.certificates {
        set("app_cert_sn", &certificates.app_cert_sn);
        set("alipay_root_cert_sn", &certificates.alipay_root_cert_sn);
    }
    params
}

/// A call from server to server.
fn call(account: &Account, method: &'static str, params: Params) -> Request {
    Request {
        base: Base::Alipay,
        call: method,
        // The configured address is the whole of it.
        path: String::new(),
        body: Some(sign::signed_form(params, &account.key)),
        content_type: "application/x-www-form-urlencoded;charset=utf-8",
        headers: Vec::new(),
        certificate: false,
    }
}

/// A signed address for a browser: the same call as a GET, with the doors of ours it leads back to.
fn address(account: &Account, attempt: &Attempt, mut params: Params) -> String {
    params.insert("notify_url".to_owned(), attempt.notify_url.clone());
    params.insert("return_url".to_owned(), return_url(account, attempt));
    format!("{}?{}", account.gateway_url, sign::signed_form(params, &account.key))
}

fn return_url(account: &Account, attempt: &Attempt) -> String {
    super::return_url(&account.public_url, &attempt.out_trade_no)
}

/// Longest `subject`, in characters.
const LONGEST_SUBJECT: usize = 256;

/// What is bought, without the characters the gateway refuses (precreate page); the order's number when nothing is left.
fn subject(attempt: &Attempt) -> String {
    let plain = |c: &char| !c.is_control() && !"/=&".contains(*c);
    let subject: String = attempt.goods_name.chars().filter(plain).take(LONGEST_SUBJECT).collect();
    if subject.trim().is_empty() { attempt.out_trade_no.to_string() } else { subject }
}

#[cfg(test)]
mod tests;
