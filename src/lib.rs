//! Shouyin: a merchant payment backend.
pub mod app;
pub mod clock;
pub mod config;
pub mod domain;
pub mod flow;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod store;
pub mod token;
