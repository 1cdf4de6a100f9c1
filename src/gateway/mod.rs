//! The tongues: what each payment gateway writes and signs. Pure and synchronous, no I/O:
//! a gateway builds a `Request` and reads a `Response`; sending is `http`'s business.

use crate::domain::{
    bill::BillDay,
    ids::{OutTradeNo, TransactionId},
    order::{Attempt, Channel, Environment, Provider},
    refund::{Refund, RefundHint, RefundState},
    time::UnixMs,
};
use serde::Serialize;

pub mod alipay;
pub mod bill;
mod members;
mod message;
pub mod rsa;
mod verified;
pub mod wechat;
pub mod wechat_oauth;
pub mod wechat_v2;
pub mod wechat_v3;
mod words;

pub use bill::{Bill, BillFile, Billed};
pub use message::{Base, Headers, Notify, Request, Response, Stamp};
pub use verified::{RefundedPayment, VerifiedPayment, VerifiedRefund};

/// A way of speaking with a provider, and the doors of ours that it calls at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    WechatV2,
    WechatV3,
    Alipay,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::WechatV2, Protocol::WechatV3, Protocol::Alipay];

    pub const fn provider(self) -> Provider {
        match self {
            Protocol::WechatV2 | Protocol::WechatV3 => Provider::Wechat,
            Protocol::Alipay => Provider::Alipay,
        }
    }

    /// The word kept with its notices and counted in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::WechatV2 => "wechat",
            Protocol::WechatV3 => "wechat_v3",
            Protocol::Alipay => "alipay",
        }
    }

    pub fn parse(text: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == text)
    }

    /// The path below `PUBLIC_URL` it calls with the result of a payment.
    pub const fn notify_path(self) -> &'static str {
        match self {
            Protocol::WechatV2 => "/notify/wechat",
            Protocol::WechatV3 => "/notify/wechat/v3",
            Protocol::Alipay => "/notify/alipay",
        }
    }

    /// Whether what it tells about refunds is under a signature.
    pub const fn signs_refunds(self) -> bool {
        !matches!(self, Protocol::WechatV2)
    }

    /// The path it calls with the result of a refund; `None` when no call about a refund names one.
    pub const fn refund_notify_path(self) -> Option<&'static str> {
        match self {
            Protocol::WechatV2 => Some("/notify/wechat/refund"),
            Protocol::WechatV3 => Some("/notify/wechat/v3/refund"),
            Protocol::Alipay => None,
        }
    }
}

/// What the payer's browser or app needs to start paying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Checkout {
    /// For `WeixinJSBridge`, or `wx.requestPayment` of a mini program.
    Jsapi { params: wechat::JsapiParams },
    /// To be shown as a QR code.
    Qr { code_url: String },
    /// Where the browser goes to pay.
    Redirect { url: String },
    /// For the payment library of an app.
    App { params: wechat::AppParams },
}

/// Where a browser comes back to after it has been to the gateway's own page: a place to look, no proof of anything.
pub fn return_url(public_url: &str, out_trade_no: &OutTradeNo) -> String {
    format!("{public_url}/return/{out_trade_no}")
}

/// What the gateway made of a request to prepare a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepaid {
    /// `prepay_id`, or the address that stands for it: what `checkout` turns into what the payer needs.
    Ready { prepay_id: String },
    /// It has been paid: query, then settle.
    Paid,
    /// Closed at the gateway: this number is spent.
    Closed,
    /// The number was used with other parameters: query, close, then a new number.
    NumberUsed,
    /// Perhaps done, perhaps not: the same number and parameters again.
    Unknown { code: String },
    /// Certainly not done, and asking again cannot help.
    Refused { code: String },
}

/// What the gateway says about an order. Anything it does not say plainly is `Pending`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trade {
    Paid(VerifiedPayment),
    Pending {
        state: String,
    },
    /// Final and unpaid.
    Closed {
        state: String,
    },
    /// The gateway has no such number. No proof of anything while a prepay is in flight.
    NotFound,
    /// It was paid, and a refund was started: of all or of a part, by us or by another way, and nobody says here
    /// how it ended. The payment, when the reply names it whole.
    Refunded {
        payment: Option<RefundedPayment>,
    },
}

/// What the gateway made of a request to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    Closed,
    /// Too late, it is paid: query, then settle.
    Paid,
    NotFound,
    /// Nobody has begun to pay, and until somebody does there is nothing the gateway could close: it can be paid until its
    /// time is over, and then by nobody.
    Unbegun,
    Unknown {
        code: String,
    },
}

/// What the gateway made of a request to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundAsked {
    /// Taken on; no money has moved yet. `refund_id` is empty when the gateway gives refunds no number.
    Accepted { refund_id: String },
    /// The merchant's account at the gateway does not hold enough: the same number again, later.
    NotEnough,
    /// Perhaps done, perhaps not, or not now: query, and then the same number again. `code` with its text.
    Unknown { code: String },
    /// Asked too often: the same, after a minute.
    Throttled { code: String },
    /// Not done, and asking again cannot help. Believed once a query knows no such refund.
    Refused { code: String },
}

/// What a code tells of a refund request that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundMeaning {
    NotEnough,
    UnknownOutcome,
    Throttled,
    Refused,
}

impl RefundMeaning {
    /// `code` with its text.
    pub fn asked(self, code: String) -> RefundAsked {
        match self {
            RefundMeaning::NotEnough => RefundAsked::NotEnough,
            RefundMeaning::UnknownOutcome => RefundAsked::Unknown { code },
            RefundMeaning::Throttled => RefundAsked::Throttled { code },
            RefundMeaning::Refused => RefundAsked::Refused { code },
        }
    }
}

/// What the gateway says about a refund. Anything it does not say plainly is `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundNews {
    Found(VerifiedRefund),
    /// No proof of anything while a request may be on its way.
    NotFound,
    Unknown {
        code: String,
    },
}

/// Where a refund stands at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStanding {
    Success,
    Processing,
    /// The payer's card cannot take it.
    Abnormal,
    /// Ended before money moved.
    Closed,
}

impl RefundStanding {
    /// What it makes of ours.
    pub const fn state(self) -> RefundState {
        match self {
            RefundStanding::Success => RefundState::Success,
            RefundStanding::Processing => RefundState::Processing,
            RefundStanding::Abnormal => RefundState::Abnormal,
            RefundStanding::Closed => RefundState::Closed,
        }
    }
}

/// A callback about a refund, read. V2 does not sign it, so for all protocols the best it can be is a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundNotified {
    Hint(RefundHint),
    Rejected { rejection: Rejection, out_trade_no: Option<OutTradeNo> },
}

/// A callback, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    Paid(VerifiedPayment),
    /// Authentic, and no payment.
    NotPaid {
        out_trade_no: Option<OutTradeNo>,
    },
    /// Authentic, and about a refund of a payment.
    Refund(RefundHint),
    Rejected {
        rejection: Rejection,
        out_trade_no: Option<OutTradeNo>,
    },
}

/// The word for what WeChat V3 signs wrongly on purpose. It is as little believed as any other wrong signature, and is
/// counted apart, because nobody needs to look.
pub const SIGN_PROBE: &str = "sign_probe";

/// Why a callback is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not the flat document the protocol prescribes.
    Malformed,
    /// The gateway itself reports a fault; such messages are not signed.
    CommFail,
    BadSign,
    /// One of the messages WeChat V3 signs wrongly on purpose, to see whether we look.
    SignProbe,
    /// Signed, but more than five minutes off our clock: recorded by somebody and sent again, or a clock is wrong.
    Stale,
    /// Signed with our key for somebody else's appid.
    AppidMismatch,
    MchIdMismatch,
    /// Signed, but unreadable where it matters, or a field that money needs is missing.
    Incomplete,
    /// The secret part is missing or was not encrypted with our key.
    BadCipher,
}

impl Rejection {
    /// The word kept with the notice.
    pub const fn verdict(self) -> &'static str {
        match self {
            Rejection::Malformed => "malformed",
            Rejection::CommFail => "comm_fail",
            Rejection::BadSign | Rejection::SignProbe => "bad_sign",
            Rejection::Stale => "stale",
            Rejection::AppidMismatch => "appid_mismatch",
            Rejection::MchIdMismatch => "mch_id_mismatch",
            Rejection::Incomplete => "incomplete",
            Rejection::BadCipher => "decrypt_failed",
        }
    }

    /// The word it is counted under: probes apart, because nobody needs to look.
    pub const fn counted(self) -> &'static str {
        match self {
            Rejection::SignProbe => SIGN_PROBE,
            other => other.verdict(),
        }
    }

    /// Signed with our key and addressed to us: kept for ever as evidence.
    pub const fn is_evidence(self) -> bool {
        matches!(self, Rejection::Incomplete)
    }

    /// Signed with our key, so somebody must look: a key in two hands, or money nobody was credited with.
    pub const fn needs_work(self) -> bool {
        matches!(self, Rejection::AppidMismatch | Rejection::MchIdMismatch | Rejection::Incomplete)
    }

    /// Signed by the gateway, and yet we could not open it or it does not fit our clock: a setting of ours is likely
    /// wrong, and no callback gets through until somebody looks. V2 does not sign what it encrypts.
    pub const fn is_alarm(self, protocol: Protocol) -> bool {
        match self {
            Rejection::Stale => true,
            Rejection::BadCipher => matches!(protocol, Protocol::WechatV3),
            _ => false,
        }
    }
}

/// A reply that may not be used: nothing is known about what the gateway did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("HTTP status {0}")]
    Status(u16),
    #[error("not the protocol's document: {0}")]
    Malformed(String),
    #[error("the gateway reports: {0}")]
    CommFail(String),
    #[error("its signature does not verify: {0}")]
    BadSign(String),
    #[error("its signature does not verify: it is a probe of WeChat's, wrong on purpose")]
    Probe,
    #[error("it speaks of another {0}")]
    Identity(&'static str),
    #[error("it lacks a readable {0}")]
    Incomplete(&'static str),
}

impl Untrusted {
    /// The word a call is counted under that got such a reply: probes apart.
    pub const fn counted(&self, otherwise: &'static str) -> &'static str {
        match self {
            Untrusted::Probe => SIGN_PROBE,
            _ => otherwise,
        }
    }
}

/// The answer to a callback, before the gateway's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    Received,
    /// Not recorded or not believed; the text names the class of fault and reveals nothing.
    Refused(&'static str),
}

/// Bytes to answer a callback with, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckReply {
    pub ack: Ack,
    /// HTTP status.
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// One payment gateway: builds what we ask, reads what it says. Unknown is never paid and never failed.
pub trait Gateway: Send + Sync {
    fn protocol(&self) -> Protocol;
    fn environment(&self) -> Environment;
    /// Which account at the gateway a channel is used under, in one word that is kept with every attempt; `None` when
    /// the account has no such channel.
    fn account(&self, channel: Channel) -> Option<String>;
    /// Whether what was made for this account can be asked about here: at another one "not found" and "refused" prove
    /// nothing.
    fn is_ours(&self, account: &str, environment: Environment) -> bool;

    /// Asks the gateway to prepare the attempt. The same attempt always asks with the same parameters. `None` when
    /// there is nothing to ask: the payer's browser brings the order there, and `checkout` needs no `prepay_id`.
    fn prepay(&self, attempt: &Attempt, stamp: &Stamp) -> Option<Request>;
    /// # Errors
    /// A reply that may not be used: the outcome is unknown.
    fn prepaid(&self, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted>;
    /// How long what `prepaid` brought may be handed to a payer, in ms from the answer.
    fn prepaid_life_ms(&self, channel: Channel) -> i64;
    /// What the payer needs, signed with this stamp.
    fn checkout(&self, attempt: &Attempt, prepay_id: &str, stamp: &Stamp) -> Checkout;

    fn query(&self, attempt: &Attempt, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn trade(&self, answer: &Response, attempt: &Attempt) -> Result<Trade, Untrusted>;

    /// Asks about one payment by the gateway's own number, whatever order it was for; `account` is the one it was made to.
    fn query_payment(&self, payment: &TransactionId, account: &str, stamp: &Stamp) -> Request;
    /// Reads the answer; `out_trade_no` is the number the payment was made under.
    ///
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn payment(&self, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Trade, Untrusted>;

    fn close(&self, attempt: &Attempt, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn closing(&self, answer: &Response, attempt: &Attempt) -> Result<Closing, Untrusted>;

    /// Whether a refund is asked for with the merchant's client certificate.
    fn refunds_by_certificate(&self) -> bool {
        false
    }
    /// Asks for a refund. The same refund always asks with the same number and amounts.
    fn refund(&self, refund: &Refund, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: the outcome is unknown.
    fn refund_asked(&self, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted>;

    fn refund_query(&self, refund: &Refund, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn refund_news(&self, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted>;

    /// Whose bills this gateway hands out, in one word that is kept with each.
    fn bill_account(&self) -> String;
    /// Whether what was made for this account of `account` stands in those bills.
    fn is_billed(&self, account: &str) -> bool;
    fn bill(&self, day: BillDay, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used, or a bill that is not whole: nothing of it is.
    fn billed(&self, answer: &Response, day: BillDay) -> Result<Billed, Untrusted>;
    /// For a bill that lies elsewhere; it may be large.
    fn bill_file(&self, file: &BillFile, stamp: &Stamp) -> Request;
    /// # Errors
    /// As `billed`.
    fn bill_fetched(&self, answer: &Response, file: &BillFile) -> Result<Bill, Untrusted>;

    fn notified(&self, notify: Notify<'_>) -> Notified;
    fn refund_notified(&self, notify: Notify<'_>) -> RefundNotified;
    fn ack(&self, ack: Ack) -> AckReply;

    /// The certificates in use here, each with its name and its last moment.
    fn certificates(&self) -> Vec<(String, UnixMs)> {
        Vec::new()
    }

    /// Asks for the keys this gateway signs with, when it is time to; most hand them out by other ways.
    fn keys(&self, _stamp: &Stamp) -> Option<Request> {
        None
    }

    /// Takes the answer in.
    ///
    /// # Errors
    /// A reply that may not be used: the keys stay as they are.
    fn keys_told(&self, _answer: &Response) -> Result<(), Untrusted> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rejection_says_whether_it_is_evidence_and_whether_somebody_must_look() {
        for (rejection, verdict, evidence, work) in [
            (Rejection::Malformed, "malformed", false, false),
            (Rejection::CommFail, "comm_fail", false, false),
            (Rejection::BadSign, "bad_sign", false, false),
            (Rejection::AppidMismatch, "appid_mismatch", false, true),
            (Rejection::MchIdMismatch, "mch_id_mismatch", false, true),
            (Rejection::Incomplete, "incomplete", true, true),
            (Rejection::BadCipher, "decrypt_failed", false, false),
            (Rejection::Stale, "stale", false, false),
        ] {
            assert_eq!(
                (rejection.verdict(), rejection.is_evidence(), rejection.needs_work()),
                (verdict, evidence, work)
            );
        }
    }

    #[test]
    fn what_was_signed_and_does_not_open_or_fit_our_clock_is_an_alarm_and_what_anybody_can_send_is_none() {
        for (rejection, protocol, alarm) in [
            (Rejection::BadCipher, Protocol::WechatV3, true),
            (Rejection::BadCipher, Protocol::WechatV2, false),
            (Rejection::Stale, Protocol::WechatV3, true),
            (Rejection::BadSign, Protocol::WechatV3, false),
            (Rejection::SignProbe, Protocol::WechatV3, false),
            (Rejection::Malformed, Protocol::WechatV3, false),
        ] {
            assert_eq!(rejection.is_alarm(protocol), alarm, "{rejection:?} by {protocol:?}");
        }
    }
}
