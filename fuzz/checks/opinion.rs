//! What a reader makes of a callback, in plain texts and numbers, so that two readers can be compared as a whole.

use super::second::Payment;
use shouyin::{
    domain::{order::Environment, refund::RefundHint},
    gateway::{Notified, Protocol},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    Paid { payment: Payment, account: String, payer: Option<String> },
    NotPaid { out_trade_no: Option<String> },
    Refund(Refund),
    Rejected { verdict: &'static str, out_trade_no: Option<String> },
}

/// A refund as a callback hints at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub out_refund_no: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub total: i64,
    pub amount: Option<i64>,
    pub status: String,
}

impl Opinion {
    /// The program's, through the public face of what it says, which is all that `settle` sees of it.
    pub fn of(notified: &Notified, protocol: Protocol) -> Opinion {
        match notified {
            Notified::Paid(paid) => {
                let claim = paid.claim();
                assert_eq!((claim.amount, claim.transaction_id), (paid.amount(), paid.transaction_id()));
                assert_eq!((paid.protocol(), claim.provider), (protocol, protocol.provider()));
                assert_eq!(claim.environment, Environment::Live);
                Opinion::Paid {
                    payment: Payment {
                        out_trade_no: paid.out_trade_no().as_str().to_owned(),
                        transaction_id: paid.transaction_id().as_str().to_owned(),
                        amount: paid.amount().get(),
                        currency: claim.currency.to_owned(),
                        trade_type: paid.trade_type().to_owned(),
                        paid_at: paid.paid_at().map(|at| at.0),
                    },
                    account: claim.account.to_owned(),
                    payer: paid.payer().map(|payer| payer.as_str().to_owned()),
                }
            }
            Notified::NotPaid { out_trade_no } => Opinion::NotPaid {
                out_trade_no: out_trade_no.as_ref().map(|number| number.as_str().to_owned()),
            },
            Notified::Refund(hint) => Opinion::Refund(Refund::of(hint)),
            Notified::Rejected { rejection, out_trade_no } => Opinion::Rejected {
                verdict: rejection.verdict(),
                out_trade_no: out_trade_no.as_ref().map(|number| number.as_str().to_owned()),
            },
        }
    }
}

impl Refund {
    pub fn of(hint: &RefundHint) -> Refund {
        assert!(hint.signed, "read from a message that was verified");
        Refund {
            out_refund_no: hint.out_refund_no.as_str().to_owned(),
            out_trade_no: hint.out_trade_no.as_str().to_owned(),
            transaction_id: hint.transaction_id.as_str().to_owned(),
            total: hint.total.get(),
            amount: hint.amount.map(|fen| fen.get()),
            status: hint.status.clone(),
        }
    }
}
