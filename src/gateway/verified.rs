//! What a gateway has said and we have checked. Their fields are open to the gateways alone, so nothing outside can make
//! one up.

use super::{Protocol, RefundStanding};
#[cfg(feature = "canaries")]
use crate::domain::order::Attempt;
use crate::domain::{
    ids::{Openid, OutRefundNo, OutTradeNo, TransactionId},
    money::Fen,
    order::{Claim, Environment, Provider},
    time::UnixMs,
};

/// A payment whose signature, algorithm, appid and mch_id were checked against our account.
/// Made only by a gateway's `notified` and `trade`; the only thing `flow::settle` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPayment {
    pub(super) protocol: Protocol,
    pub(super) account: String,
    pub(super) environment: Environment,
    pub(super) out_trade_no: OutTradeNo,
    pub(super) transaction_id: TransactionId,
    pub(super) amount: Fen,
    pub(super) currency: String,
    pub(super) trade_type: String,
    pub(super) payer: Option<Openid>,
    pub(super) paid_at: Option<UnixMs>,
}

impl VerifiedPayment {
    /// What a wrong version of the daily comparison would take for the gateway's word.
    #[cfg(feature = "canaries")]
    pub fn of_bill(protocol: Protocol, attempt: &Attempt, transaction_id: TransactionId) -> VerifiedPayment {
        VerifiedPayment {
            protocol,
            account: attempt.account.clone(),
            environment: attempt.environment,
            out_trade_no: attempt.out_trade_no.clone(),
            transaction_id,
            amount: attempt.amount,
            currency: "CNY".to_owned(),
            trade_type: String::new(),
            payer: None,
            paid_at: None,
        }
    }

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
        self.protocol.provider()
    }

    /// How the news of it came.
    pub fn protocol(&self) -> Protocol {
        self.protocol
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

    /// The same with a refund of it known besides: nothing settles it any more.
    pub fn refunded(self) -> RefundedPayment {
        RefundedPayment(self)
    }

    pub fn claim(&self) -> Claim<'_> {
        Claim {
            provider: self.protocol.provider(),
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
pub struct RefundedPayment(pub(super) VerifiedPayment);

impl RefundedPayment {
    pub fn claim(&self) -> Claim<'_> {
        self.0.claim()
    }
}

/// What a gateway says about one refund of ours, after signature, identity, number and both amounts were
/// checked. Made only by a gateway's `refund_news`; the only thing that ends a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRefund {
    pub(super) out_refund_no: OutRefundNo,
    pub(super) standing: RefundStanding,
    pub(super) refund_id: String,
    /// Where the money went, in the gateway's words.
    pub(super) received_by: String,
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
