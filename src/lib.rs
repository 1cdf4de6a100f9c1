//! Shouyin (收银): a merchant payment backend that people trust with money.
//!
//! Floors, from the top; imports go down, never sideways or up (`tests/tidy.rs` holds them):
//! 8 `cli` · 7 `prove` · 6 `web` `jobs` `simulator` · 5 `flow` · 4 `app` · 3 `clock` `config` `http` `store` `metrics`
//! `token` · 2 `gateway` · 1 `domain`. Beside them `canary`, wrong versions for the
//! tests of the proof, and `failpoint`, places where a test may end the process: neither exists in a normal build.
//!
//! Three walks to begin with. A callback: `web::notify` → `flow::notify` → `gateway::wechat_v2::notify`
//! → `flow::settle` → `store::settlement`, and back with the answer. A top-up: `web::top_up` →
//! `flow::top_up` → `store::orders` → `gateway::wechat_v2::unified_order` → `http` → `web::pay`. A lost
//! callback: `web::pay` or `jobs::query_pending` → `flow::query` → `gateway::wechat_v2::order_query` → the
//! same `flow::settle`.

pub mod cli;

pub mod prove;

pub mod jobs;
pub mod simulator;
pub mod web;

pub mod flow;

pub mod app;

pub mod clock;
pub mod config;
pub mod http;
pub mod metrics;
pub mod store;
pub mod token;

pub mod gateway;

pub mod domain;

pub mod canary;
pub mod failpoint;
