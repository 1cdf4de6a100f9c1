//! Nouns and rules of taking money. No I/O, no clock, no SQL, no wire format.

pub mod bill;
pub mod channel;
pub mod ids;
pub mod ledger;
pub mod money;
pub mod order;
pub mod refund;
pub mod time;
pub mod user;
