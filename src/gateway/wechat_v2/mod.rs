//! WeChat Pay API V2: XML signed with MD5 or HMAC-SHA256 under one shared key.

use super::{
    Ack, AckReply, Bill, BillFile, Billed, Checkout, Closing, Gateway, Notified, Notify, Prepaid, Protocol,
    RefundAsked, RefundNews, RefundNotified, Request, Response, Stamp, Trade, Untrusted,
    wechat::{self, Appids},
};
use crate::domain::{
    bill::BillDay,
    ids::{OutTradeNo, TransactionId},
    order::{Attempt, Channel, Environment},
    refund::Refund,
};
use secrecy::{ExposeSecret, SecretString};
use sign::SignType;

pub mod app;
pub mod bill;
pub mod close_order;
pub mod error_code;
mod fields;
pub mod jsapi;
pub mod notify;
pub mod order_query;
pub mod refund;
pub mod refund_notify;
pub mod refund_query;
pub mod reply;
pub mod sign;
pub mod unified_order;
pub mod xml;

/// The merchant's V2 API key. Never empty, because an empty key verifies what anybody signs.
#[derive(Clone, Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// `None` for an empty text. Real keys have 32 characters; configuration insists on that.
    pub fn new(key: &str) -> Option<ApiKey> {
        (!key.is_empty()).then(|| ApiKey(SecretString::from(key)))
    }

    fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Who we are at WeChat Pay. Key and algorithms come from here, never from a message.
#[derive(Clone, Debug)]
pub struct Account {
    pub appids: Appids,
    pub mch_id: String,
    pub key: ApiKey,
    /// What we sign with.
    pub sign_type: SignType,
    /// What we accept in callbacks and replies besides `sign_type`.
    pub accept: Vec<SignType>,
    /// Our own origin, without a trailing slash: where a browser that went away to pay comes back to.
    pub public_url: String,
    pub environment: Environment,
}

/// WeChat Pay V2 as a gateway.
#[derive(Clone, Debug)]
pub struct WechatV2 {
    pub account: Account,
}

impl Account {
    /// The appid that calls about an attempt name: the one of its channel.
    fn appid_of(&self, channel: Channel) -> &str {
        self.appids.of(channel).unwrap_or(&self.appids.web)
    }
}

impl Gateway for WechatV2 {
    fn protocol(&self) -> Protocol {
        Protocol::WechatV2
    }

    fn environment(&self) -> Environment {
        self.account.environment
    }

    fn account(&self, channel: Channel) -> Option<String> {
        let appid = self.account.appids.of(channel)?;
        Some(wechat::account_name(&self.account.mch_id, appid))
    }

    fn is_ours(&self, account: &str, environment: Environment) -> bool {
        let Account { mch_id, appids, .. } = &self.account;
        environment == self.account.environment && wechat::is_account_of(mch_id, appids, account)
    }

    fn prepay(&self, attempt: &Attempt, stamp: &Stamp) -> Option<Request> {
        Some(unified_order::request(&self.account, attempt, stamp))
    }

    fn prepaid(&self, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
        unified_order::read(&self.account, answer, attempt)
    }

    fn prepaid_life_ms(&self, channel: Channel) -> i64 {
        wechat::prepaid_life_ms(channel)
    }

    fn checkout(&self, attempt: &Attempt, prepay_id: &str, stamp: &Stamp) -> Checkout {
        let appid = self.account.appid_of(attempt.channel);
        match attempt.channel {
            Channel::WechatNative => Checkout::Qr { code_url: prepay_id.to_owned() },
            Channel::WechatH5 => Checkout::Redirect {
                url: wechat::with_return(prepay_id, &self.account.public_url, &attempt.out_trade_no),
            },
            Channel::WechatApp => Checkout::App { params: app::sign(&self.account, appid, prepay_id, stamp) },
            _ => Checkout::Jsapi { params: jsapi::sign(&self.account, appid, prepay_id, stamp) },
        }
    }

    fn query(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        order_query::request(&self.account, attempt, stamp)
    }

    fn trade(&self, answer: &Response, attempt: &Attempt) -> Result<Trade, Untrusted> {
        #[cfg(feature = "canaries")]
        if let Some(trade) = wrong::trade(&self.account, answer, attempt) {
            return trade;
        }
        order_query::read(&self.account, answer, &attempt.out_trade_no)
    }

    fn query_payment(&self, payment: &TransactionId, account: &str, stamp: &Stamp) -> Request {
        order_query::request_by_payment(&self.account, payment, account, stamp)
    }

    fn payment(&self, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Trade, Untrusted> {
        order_query::read(&self.account, answer, out_trade_no)
    }

    fn close(&self, attempt: &Attempt, stamp: &Stamp) -> Request {
        close_order::request(&self.account, attempt, stamp)
    }

    fn closing(&self, answer: &Response, attempt: &Attempt) -> Result<Closing, Untrusted> {
        close_order::read(&self.account, answer, &attempt.out_trade_no)
    }

    fn refunds_by_certificate(&self) -> bool {
        true
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
        self.account.mch_id.clone()
    }

    fn is_billed(&self, account: &str) -> bool {
        account.split_once(':').is_some_and(|(mch_id, _)| mch_id == self.account.mch_id)
    }

    fn bill(&self, day: BillDay, stamp: &Stamp) -> Request {
        bill::request(&self.account, day, stamp)
    }

    fn billed(&self, answer: &Response, day: BillDay) -> Result<Billed, Untrusted> {
        bill::answered(&self.account, answer, day)
    }

    /// Never asked for: V2 answers with the bill itself.
    fn bill_file(&self, file: &BillFile, stamp: &Stamp) -> Request {
        bill::request(&self.account, file.day, stamp)
    }

    fn bill_fetched(&self, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted> {
        match bill::answered(&self.account, answer, file.day)? {
            Billed::Here(bill) => Ok(bill),
            _ => Err(Untrusted::Malformed("no bill".to_owned())),
        }
    }

    fn notified(&self, notify: Notify<'_>) -> Notified {
        notify::read(&self.account, notify.body)
    }

    fn refund_notified(&self, notify: Notify<'_>) -> RefundNotified {
        refund_notify::read(&self.account, notify.body)
    }

    fn ack(&self, ack: Ack) -> AckReply {
        notify::ack(ack)
    }
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What a wrong version of reading a query would do.

    use super::*;
    use crate::canary::{self, Canary};

    /// `return_code` taken for `trade_state`: what can be read is paid, with our own order's amount.
    pub(super) fn trade(
        account: &Account,
        answer: &Response,
        attempt: &Attempt,
    ) -> Option<Result<Trade, Untrusted>> {
        if !canary::sings(Canary::ReturnCodeIsTheState) {
            return None;
        }
        let reply::Reply::Done(mut fields) = reply::read(account, answer, &attempt.out_trade_no).ok()? else {
            return None;
        };
        fields.set("total_fee", &attempt.amount.get().to_string());
        fields.set("transaction_id", fields.get("transaction_id").unwrap_or("4200").to_owned().as_str());
        Some(notify::payment(account, &fields).map(Trade::Paid).map_err(Untrusted::Incomplete))
    }
}

/// A signed call: the caller's fields, our identity, nonce, algorithm and signature.
fn signed_request(
    account: &Account,
    appid: &str,
    call: &'static str,
    path: &str,
    mut fields: xml::Fields,
    stamp: &Stamp,
) -> Request {
    fields.set("appid", appid);
    fields.set("mch_id", &account.mch_id);
    fields.set("nonce_str", &stamp.nonce);
    fields.set("sign_type", account.sign_type.as_str());
    let sign = sign::sign(&fields, &account.key, account.sign_type);
    fields.set("sign", &sign);
    Request {
        base: super::Base::WechatApi,
        call,
        path: path.to_owned(),
        body: Some(fields.to_xml()),
        content_type: "text/xml; charset=utf-8",
        headers: Vec::new(),
        certificate: path.starts_with("/secapi/"),
    }
}
