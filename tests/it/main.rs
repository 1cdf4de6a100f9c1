//! One integration binary: the real server over HTTP, the simulator as its gateway, a manual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice)]

mod harness;
mod prove;
mod top_up;
mod vectors;
