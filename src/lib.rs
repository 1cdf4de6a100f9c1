//! Shouyin: a merchant payment backend.
pub mod clock;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod simulator;
