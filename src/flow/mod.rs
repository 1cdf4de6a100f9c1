//! The stories: one file each, read from top to bottom.

pub mod accounts;
pub mod adjust;
pub mod ask_order;
pub mod bind_openid;
pub mod close;
pub mod confirm;
pub mod credit_by_hand;
pub mod decide_refund;
pub mod due_bills;
pub mod export;
pub mod freeze;
pub mod gateway_keys;
pub mod log_in;
pub mod notify;
pub mod password;
pub mod query;
pub mod reconcile;
pub mod refund;
pub mod refund_standing;
pub mod register;
pub mod request_refund;
pub mod second_factor;
pub mod set_up;
pub mod settle;
pub mod timeline;
pub mod top_up;
pub mod work;

use crate::{clock::NoEntropy, store::StoreError};

/// What can stop any story.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("no keys are configured for {0}")]
    NoKeys(&'static str),
    #[error("too many passwords are being checked")]
    HashingBusy,
}
