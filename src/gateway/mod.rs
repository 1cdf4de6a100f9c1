//! The tongues: what each payment gateway writes and signs. Pure and synchronous, no I/O:
//! a gateway builds a `Request` and reads a `Response`; sending is `http`'s business.

use crate::domain::{
    ids::{Openid, OutRefundNo, OutTradeNo, TransactionId},
    money::Fen,
    order::{Attempt, Claim, Environment, Provider},
    refund::{Refund, RefundHint, RefundState},
    time::UnixMs,
};
use serde::Serialize;

pub mod wechat_oauth;
pub mod wechat_v2;

/// Time and an unpredictable text, handed in so that the same inputs always make the same message.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub now: UnixMs,
    /// 32 letters and digits.
    pub nonce: String,
}

/// Which origin of the configuration a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    WechatApi,
    WechatOauth,
}

/// A message to a gateway, ready to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub base: Base,
    /// The gateway's own name for the call: safe to log, unlike `path`.
    pub call: &'static str,
    /// Path and query.
    pub path: String,
    /// `None` is a GET.
    pub body: Option<String>,
    pub content_type: &'static str,
    /// The gateway wants to see the merchant's client certificate (mutual TLS).
    pub certificate: bool,
}

/// What came back, whatever it was.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A callback as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Notify<'a> {
    pub body: &'a [u8],
}

/// What the payer's browser or app needs to start paying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Checkout {
    Jsapi { params: wechat_v2::jsapi::JsapiParams },
}

/// What the gateway made of a request to prepare a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepaid {
    Ready {
        prepay_id: String,
    },
    /// It has been paid: query, then settle.
    Paid,
    /// Closed at the gateway: this number is spent.
    Closed,
    /// The number was used with other parameters: query, close, then a new number.
    NumberUsed,
    /// Perhaps done, perhaps not: the same number and parameters again.
    Unknown {
        code: String,
    },
    /// Certainly not done, and asking again cannot help.
    Refused {
        code: String,
    },
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
    Unknown {
        code: String,
    },
}

/// What the gateway made of a request to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundAsked {
    /// Taken on; no money has moved yet.
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

/// A callback about a refund, read. It carries no signature, so the best it can be is a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundNotified {
    Hint(RefundHint),
    Rejected(Rejection),
}

/// A callback, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    Paid(VerifiedPayment),
    /// Authentic, and no payment.
    NotPaid {
        out_trade_no: Option<OutTradeNo>,
    },
    Rejected {
        rejection: Rejection,
        out_trade_no: Option<OutTradeNo>,
    },
}

/// Why a callback is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not the flat document the protocol prescribes.
    Malformed,
    /// The gateway itself reports a fault; such messages are not signed.
    CommFail,
    BadSign,
    /// Signed with our key for somebody else's appid.
    AppidMismatch,
    MchIdMismatch,
    /// Signed, but a field that money needs is missing or unreadable.
    Incomplete,
    /// The secret part of a refund notify is missing or was not encrypted with our key.
    BadCipher,
}

impl Rejection {
    /// The word kept with the notice.
    pub const fn verdict(self) -> &'static str {
        match self {
            Rejection::Malformed => "malformed",
            Rejection::CommFail => "comm_fail",
            Rejection::BadSign => "bad_sign",
            Rejection::AppidMismatch => "appid_mismatch",
            Rejection::MchIdMismatch => "mch_id_mismatch",
            Rejection::Incomplete => "incomplete",
            Rejection::BadCipher => "bad_cipher",
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
    #[error("it speaks of another {0}")]
    Identity(&'static str),
    #[error("it lacks a readable {0}")]
    Incomplete(&'static str),
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
    pub content_type: &'static str,
    pub body: String,
}

/// A payment whose signature, algorithm, appid and mch_id were checked against our account.
/// Made only by a gateway's `notified` and `trade`; the only thing `flow::settle` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPayment {
    provider: Provider,
    account: String,
    environment: Environment,
    out_trade_no: OutTradeNo,
    transaction_id: TransactionId,
    amount: Fen,
    currency: String,
    trade_type: String,
    payer: Option<Openid>,
    paid_at: Option<UnixMs>,
}

impl VerifiedPayment {
    pub fn out_trade_no(&self) -> &OutTradeNo {
        &self.out_trade_no
    }

    pub fn transaction_id(&self) -> &TransactionId {
        &self.transaction_id
    }

    pub fn amount(&self) -> Fen {
        self.amount
    }

    pub fn provider(&self) -> Provider {
        self.provider
    }

    pub fn trade_type(&self) -> &str {
        &self.trade_type
    }

    /// Who paid. Never used to choose whom to credit: the order's owner is credited.
    pub fn payer(&self) -> Option<&Openid> {
        self.payer.as_ref()
    }

    /// When the gateway says it was paid, if it says so readably.
    pub fn paid_at(&self) -> Option<UnixMs> {
        self.paid_at
    }

    pub fn claim(&self) -> Claim<'_> {
        Claim {
            provider: self.provider,
            account: &self.account,
            environment: self.environment,
            transaction_id: &self.transaction_id,
            amount: self.amount,
            currency: &self.currency,
        }
    }
}

/// A payment of which an unknown part has gone back. Not a `VerifiedPayment`, so that nothing can settle it: it is
/// for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundedPayment(VerifiedPayment);

impl RefundedPayment {
    pub fn claim(&self) -> Claim<'_> {
        self.0.claim()
    }
}

/// What a gateway says about one refund of ours, after signature, identity, number and both amounts were
/// checked. Made only by a gateway's `refund_news`; the only thing that ends a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRefund {
    out_refund_no: OutRefundNo,
    standing: RefundStanding,
    refund_id: String,
    /// Where the money went, in the gateway's words.
    received_by: String,
}

impl VerifiedRefund {
    pub fn out_refund_no(&self) -> &OutRefundNo {
        &self.out_refund_no
    }

    pub fn standing(&self) -> RefundStanding {
        self.standing
    }

    pub fn refund_id(&self) -> &str {
        &self.refund_id
    }

    pub fn received_by(&self) -> &str {
        &self.received_by
    }
}

/// One payment gateway: builds what we ask, reads what it says. Unknown is never paid and never failed.
pub trait Gateway: Send + Sync {
    fn provider(&self) -> Provider;
    /// Which account at the gateway this is, in one word: kept with every attempt.
    fn account(&self) -> String;
    fn environment(&self) -> Environment;
    /// Whether what was made for this account can be asked about here: at another one "not found" and "refused" prove
    /// nothing.
    fn is_ours(&self, account: &str, environment: Environment) -> bool {
        self.account() == account && self.environment() == environment
    }

    /// Asks the gateway to prepare the attempt. The same attempt always asks with the same parameters.
    fn prepay(&self, attempt: &Attempt, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: the outcome is unknown.
    fn prepaid(&self, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted>;
    /// What the payer needs, signed with this stamp.
    fn checkout(&self, prepay_id: &str, stamp: &Stamp) -> Checkout;

    fn query(&self, attempt: &Attempt, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn trade(&self, answer: &Response, attempt: &Attempt) -> Result<Trade, Untrusted>;

    /// Asks about one payment by the gateway's own number, whatever order it was for.
    fn query_payment(&self, payment: &TransactionId, stamp: &Stamp) -> Request;
    /// Reads the answer; `out_trade_no` is the number the payment was made under.
    ///
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn payment(&self, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Trade, Untrusted>;

    fn close(&self, attempt: &Attempt, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn closing(&self, answer: &Response, attempt: &Attempt) -> Result<Closing, Untrusted>;

    /// Asks for a refund. The same refund always asks with the same number and amounts.
    fn refund(&self, refund: &Refund, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: the outcome is unknown.
    fn refund_asked(&self, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted>;

    fn refund_query(&self, refund: &Refund, stamp: &Stamp) -> Request;
    /// # Errors
    /// A reply that may not be used: nothing is known.
    fn refund_news(&self, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted>;

    fn notified(&self, notify: Notify<'_>) -> Notified;
    fn refund_notified(&self, notify: Notify<'_>) -> RefundNotified;
    fn ack(&self, ack: Ack) -> AckReply;
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
        ] {
            assert_eq!(
                (rejection.verdict(), rejection.is_evidence(), rejection.needs_work()),
                (verdict, evidence, work)
            );
        }
    }
}
