//! What a payment is measured against before any of it goes back: whose it is, how old, how often, how much.

use super::request_refund::{Payment, RefundError};
use crate::{
    app::App,
    domain::{
        ids::{OutTradeNo, TransactionId},
        ledger::Account,
        money::Fen,
        order::{Channel, Environment, Provider},
        refund::{MOST_PER_PAYMENT, WINDOW_MS},
        time::UnixMs,
    },
    store::{Db, StoreError, ledger, orders, refunds, settlement, users, work_items},
};

/// A payment of which something may go back: how much, whose it is and what the rules say.
#[derive(Clone, Debug)]
pub struct Standing {
    pub(super) order_id: Option<i64>,
    pub(super) work_item_id: Option<i64>,
    pub(super) provider: Provider,
    pub(super) account: String,
    pub(super) environment: Environment,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub total: Fen,
    /// Reserved for refunds or gone back, by whatever order or work item.
    pub reserved: Fen,
    /// How many refunds of it were sent or still may be.
    pub(super) count: i64,
    pub(super) at: UnixMs,
    /// Whom it was credited to.
    pub owner: Option<Owner>,
    pub(super) second_admin_above: Fen,
}

/// Who was credited with a payment.
#[derive(Clone, Debug)]
pub struct Owner {
    pub(super) id: i64,
    pub name: String,
    /// In fen; less than nothing never.
    pub balance: i64,
}

impl Standing {
    /// What may still go back.
    pub fn left(&self) -> Fen {
        Fen::new(self.total.get().saturating_sub(self.reserved.get())).unwrap_or_default()
    }

    /// The limit above which a second administrator has to agree, if this much more goes above it. By the sum, so that
    /// a large refund is not split into small ones.
    pub fn second_admin_above(&self, amount: Fen) -> Option<Fen> {
        let sum = self.reserved.get().saturating_add(amount.get());
        Some(self.second_admin_above).filter(|limit| sum > limit.get())
    }

    /// # Errors
    /// Not even a fen, more than is left, or more than the user has.
    pub fn allows(&self, amount: Fen) -> Result<(), RefundError> {
        if amount == Fen::ZERO {
            return Err(RefundError::NoAmount);
        }
        if amount > self.left() {
            return Err(RefundError::TooMuch(self.left()));
        }
        match &self.owner {
            Some(owner) if owner.balance < amount.get() => Err(RefundError::Spent),
            _ => Ok(()),
        }
    }
}

/// An account of ours that payments were made to, and how refunds of them are asked for.
#[derive(Clone, Debug)]
struct Side {
    provider: Provider,
    account: String,
    by_certificate: bool,
    /// Empty when the gateway is told no address for refunds.
    notify_url: String,
}

/// Of gateways that speak for the same account the first, which is the one that is asked.
fn sides(app: &App) -> Vec<Side> {
    let sides = app.gateways().flat_map(|gateway| {
        let accounts = Channel::ALL.into_iter().filter_map(|channel| gateway.account(channel));
        accounts.map(|account| Side {
            provider: gateway.protocol().provider(),
            account,
            by_certificate: gateway.refunds_by_certificate(),
            notify_url: gateway
                .protocol()
                .refund_notify_path()
                .map_or_else(String::new, |path| app.config.url(path)),
        })
    });
    sides.collect()
}

/// What a payment is measured against.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) now: UnixMs,
    environment: Environment,
    sides: Vec<Side>,
    has_certificate: bool,
    second_admin_above: Fen,
}

impl Rules {
    pub(super) fn of(app: &App) -> Rules {
        Rules {
            now: app.clock.now(),
            environment: app.environment(),
            sides: sides(app),
            has_certificate: app.http.can_show_certificate(),
            second_admin_above: app.config.refund_second_admin_above,
        }
    }

    pub(super) fn standing(
        &self,
        db: &mut Db,
        payment: &Payment,
    ) -> Result<Result<Standing, RefundError>, StoreError> {
        let found = match payment {
            Payment::OfOrder(number) => self.of_order(db, number)?,
            Payment::OfWorkItem(id) => self.of_work_item(db, *id)?,
        };
        Ok(found.and_then(|standing| self.check(&standing).map(|()| standing)))
    }

    fn check(&self, standing: &Standing) -> Result<(), RefundError> {
        let Some(side) = self.side(standing).filter(|_| standing.environment == self.environment) else {
            return Err(RefundError::OtherAccount);
        };
        if standing.count >= i64::from(MOST_PER_PAYMENT) {
            return Err(RefundError::TooMany);
        }
        if self.now.since(standing.at) > WINDOW_MS {
            return Err(RefundError::TooOld);
        }
        if standing.left() == Fen::ZERO {
            return Err(RefundError::TooMuch(Fen::ZERO));
        }
        if self.has_certificate || !side.by_certificate { Ok(()) } else { Err(RefundError::NoCertificate) }
    }

    /// Where the gateway reports how a refund of this payment ended; empty when it is told no address.
    pub(super) fn notify_url(&self, standing: &Standing) -> String {
        self.side(standing).map(|side| side.notify_url.clone()).unwrap_or_default()
    }

    fn side(&self, standing: &Standing) -> Option<&Side> {
        self.sides.iter().find(|side| side.provider == standing.provider && side.account == standing.account)
    }

    fn of_order(
        &self,
        db: &mut Db,
        number: &OutTradeNo,
    ) -> Result<Result<Standing, RefundError>, StoreError> {
        let Some(order) = orders::by_number(db, number)? else { return Ok(Err(RefundError::NotFound)) };
        let attempt = settlement::paid_attempt(db, order.id)?;
        let (Some(transaction_id), Some(at), Some(attempt)) = (order.transaction_id, order.paid_at, attempt)
        else {
            return Ok(Err(RefundError::NotPaid));
        };
        let owner = users::by_id(db, order.user_id)?.ok_or(StoreError::Unreadable("user"))?;
        Ok(Ok(Standing {
            order_id: Some(order.id),
            work_item_id: None,
            provider: attempt.channel.provider(),
            account: attempt.account,
            environment: order.environment,
            out_trade_no: attempt.out_trade_no,
            total: order.amount,
            reserved: order.reserved,
            count: refunds::count_of_payment(db, &transaction_id)?,
            transaction_id,
            at,
            owner: Some(Owner {
                id: owner.id,
                name: owner.username,
                balance: ledger::balance(db, &Account::User(owner.id))?,
            }),
            second_admin_above: self.second_admin_above,
        }))
    }

    fn of_work_item(&self, db: &mut Db, id: i64) -> Result<Result<Standing, RefundError>, StoreError> {
        let item = work_items::by_id(db, id)?;
        let Some((item, payment)) = item.and_then(|item| item.payment().map(|payment| (item, payment)))
        else {
            return Ok(Err(RefundError::NotFound));
        };
        if item.closed_at.is_some() {
            return Ok(Err(RefundError::Closed));
        }
        if settlement::is_credited(db, &payment.transaction_id)? {
            return Ok(Err(RefundError::Credited));
        }
        // One payment can be told of by two items: what goes back of it is counted once.
        let reserved = refunds::reserved_of_payment(db, &payment.transaction_id)?;
        Ok(Ok(Standing {
            order_id: None,
            work_item_id: Some(item.id),
            provider: payment.provider,
            account: payment.account,
            environment: payment.environment,
            out_trade_no: payment.out_trade_no,
            total: payment.amount,
            reserved: Fen::new(reserved).ok_or(StoreError::Unreadable("amount"))?,
            count: refunds::count_of_payment(db, &payment.transaction_id)?,
            transaction_id: payment.transaction_id,
            at: UnixMs(item.opened_at),
            owner: None,
            second_admin_above: self.second_admin_above,
        }))
    }
}
