//! WeChat Pay API V3: JSON signed with RSA both ways, its secrets sealed with AES-256-GCM.

use super::{
    Ack, AckReply, Bill, BillFile, Billed, Checkout, Closing, Gateway, Notified, Notify, Prepaid, Protocol,
    RefundAsked, RefundNews, RefundNotified, Request, Response, Stamp, Trade, Untrusted, rsa,
    wechat::{self, Appids},
};
use crate::domain::{
    bill::BillDay,
    ids::{OutTradeNo, TransactionId},
    order::{Attempt, Channel, Environment},
    refund::Refund,
    time::UnixMs,
};
use keys::KeyRing;
pub use keys::{PlatformCertificate, WechatPublicKey};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

pub mod aead;
pub mod app;
mod bill;
mod certificates;
mod close_order;
pub mod error_code;
pub mod jsapi;
pub mod json;
mod keys;
mod notify;
mod order_query;
mod refund;
mod refund_notify;
mod refund_query;
mod reply;
pub mod sign;
mod transactions;

/// Everything but RFC 3986's unreserved characters is escaped.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The merchant's APIv3 key: opens what WeChat seals for us, and signs nothing.
#[derive(Clone, Debug)]
pub struct ApiV3Key(SecretString);

impl ApiV3Key {
    /// `None` unless it has exactly 32 bytes, as AES-256 wants them.
    pub fn new(key: &str) -> Option<ApiV3Key> {
        (key.len() == 32).then(|| ApiV3Key(SecretString::from(key)))
    }

    fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

/// Who we are at WeChat Pay. Keys and algorithms come from here, never from a message.
#[derive(Clone, Debug)]
pub struct Account {
    pub appids: Appids,
    pub mch_id: String,
    /// What we sign with…
    pub key: rsa::PrivateKey,
    /// …and the serial number of its certificate, by which WeChat finds the other half.
    pub serial: String,
    pub api_v3_key: ApiV3Key,
    /// WeChat Pay's public key, for merchants in public-key mode.
    pub public_key: Option<WechatPublicKey>,
    /// Platform certificates known from the start. During a switch to public-key mode both kinds sign.
    pub certificates: Vec<PlatformCertificate>,
    /// Our own origin, without a trailing slash: where a browser that went away to pay comes back to.
    pub public_url: String,
    pub environment: Environment,
}

/// WeChat Pay V3 as a gateway. Clones share one ring of keys.
#[derive(Clone, Debug)]
pub struct WechatV3 {
    account: Account,
    ring: Arc<KeyRing>,
}

impl WechatV3 {
    pub fn new(account: Account) -> WechatV3 {
        let ring = Arc::new(KeyRing::new(account.public_key.clone(), account.certificates.clone()));
        WechatV3 { account, ring }
    }
}

impl Gateway for WechatV3 {
    fn protocol(&self) -> Protocol {
        Protocol::WechatV3
    }

    fn environment(&self) -> Environment {
        self.account.environment
    }

    fn account(&self, channel: Channel) -> Option<String> {
        self.account.appids.of(channel).map(|appid| wechat::account_name(&self.account.mch_id, appid))
    }

    fn is_ours(&self, account: &str, environment: Environment) -> bool {
        let Account { mch_id, appids, .. } = &self.account;
        environment == self.account.environment && wechat::is_account_of(mch_id, appids, account)
    }

    fn prepay(&self, attempt: &Attempt, stamp: &Stamp) -> Option<Request> {
        transactions::request(&self.account, attempt, stamp)
    }

    fn prepaid(&self, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
        transactions::read(self, answer, attempt)
    }

    fn prepaid_life_ms(&self, channel: Channel) -> i64 {
        wechat::prepaid_life_ms(channel)
    }

    fn checkout(&self, attempt: &Attempt, prepay_id: &str, stamp: &Stamp) -> Checkout {
        transactions::checkout(&self.account, attempt, prepay_id, stamp)
    }

    fn query(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        order_query::request(&self.account, &attempt.out_trade_no, stamp)
    }

    fn trade(&self, answer: &Response, attempt: &Attempt) -> Result<Trade, Untrusted> {
        order_query::read(self, answer, &attempt.out_trade_no)
    }

    fn query_payment(&self, payment: &TransactionId, _account: &str, stamp: &Stamp) -> Request {
        order_query::request_by_payment(&self.account, payment, stamp)
    }

    fn payment(&self, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Trade, Untrusted> {
        order_query::read(self, answer, out_trade_no)
    }

    fn close(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        close_order::request(&self.account, &attempt.out_trade_no, stamp)
    }

    fn closing(&self, answer: &Response, _attempt: &Attempt) -> Result<Closing, Untrusted> {
        close_order::read(self, answer)
    }

    fn refund(&self, refund: &Refund, stamp: &Stamp) -> Request {
        refund::request(&self.account, refund, stamp)
    }

    fn refund_asked(&self, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted> {
        refund::read(self, answer, refund)
    }

    fn refund_query(&self, refund: &Refund, stamp: &Stamp) -> Request {
        refund_query::request(&self.account, refund, stamp)
    }

    fn refund_news(&self, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted> {
        refund_query::read(self, answer, refund)
    }

    fn bill_account(&self) -> String {
        self.account.mch_id.clone()
    }

    fn is_billed(&self, account: &str) -> bool {
        account.split_once(':').is_some_and(|(mch_id, _)| mch_id == self.account.mch_id)
    }

    fn bill(&self, day: BillDay, stamp: &Stamp) -> Request {
        bill::request(&self.account, day, stamp)
    }

    fn billed(&self, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
        bill::read(self, answer, day)
    }

    fn bill_file(&self, file: &BillFile, stamp: &Stamp) -> Request {
        bill::file_request(&self.account, file, stamp)
    }

    fn bill_fetched(&self, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted> {
        bill::read_file(&self.account, answer, file)
    }

    fn notified(&self, notify: Notify<'_>) -> Notified {
        notify::read(self, notify)
    }

    fn refund_notified(&self, notify: Notify<'_>) -> RefundNotified {
        refund_notify::read(self, notify)
    }

    fn ack(&self, ack: Ack) -> AckReply {
        notify::ack(ack)
    }

    fn certificates(&self) -> Vec<(String, UnixMs)> {
        self.ring.ends()
    }

    fn keys(&self, stamp: &Stamp) -> Option<Request> {
        self.ring.is_due(stamp.now).then(|| certificates::request(&self.account, stamp))
    }

    fn keys_told(&self, answer: &Response) -> Result<(), Untrusted> {
        let certificates = certificates::read(self, answer)?;
        self.ring.add(certificates, answer.received_at);
        Ok(())
    }
}

/// One part of a path or query. What comes out is what is signed and what is sent.
fn component(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, COMPONENT)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
