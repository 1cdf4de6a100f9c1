//! The proof: the whole application in one process, on one thread, in virtual time, against a WeChat
//! whose book is the truth; every fault follows from a seed. `docs/proof.md` says what it covers.

mod answers;
mod certificates;
mod clerks;
mod faults;
mod forgers;
mod hand_oracle;
mod keys;
mod machine;
mod network;
mod oracle;
mod people;
mod refund_oracle;
mod run;
mod world;

pub use run::{Outcome, run, run_on};
pub use world::NoWorld;
