//! The real program on a real file, ended in every way a machine can end it. See `docs/crashes.md`.
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
mod disk;
#[cfg(feature = "failpoints")]
mod failpoints;
mod http;
mod kill;
mod power;
mod shop;
