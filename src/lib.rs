//! Shouyin: a merchant payment backend.
pub mod clock;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod store;
