//! One integration binary: the real server over HTTP, the simulator as its gateway, a manual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod accounts;
mod attacks;
mod books;
mod callbacks;
mod certificate;
mod channels;
mod closing;
mod corpus;
mod database;
mod demo;
mod endings;
mod exceptions;
mod hammer;
mod hardening;
mod harness;
mod instances;
mod oauth;
mod pay_page;
mod protocols;
mod prove;
mod reconcile;
mod reconcile_command;
mod refund_ends;
mod refund_pages;
mod refunds;
mod scenarios;
mod screenshots;
mod seed_defects;
mod top_up;
mod vectors;
mod vectors_alipay;
mod vectors_bill;
mod vectors_v3;
mod webdriver;
