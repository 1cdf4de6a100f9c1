//! The real program on real books, ended in every way a machine can end it. See `docs/crashes.md`.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::as_conversions,
    reason = "a test may panic"
)]

mod books;
mod chance;
mod child;
mod cluster;
#[path = "../it/database.rs"]
#[allow(dead_code, reason = "it knows one more place than is used here")]
mod database;
mod disk;
mod failover;
#[cfg(feature = "failpoints")]
mod failpoints;
mod http;
mod kill;
mod load;
mod place;
mod power;
mod rolling;
mod shop;
#[cfg(feature = "postgres-tls")]
mod tls;
mod two;
