//! HTTP in, HTTP out: parse, call one flow, render.

pub mod admin;
pub mod assets;
pub mod browser;
pub mod csrf;
pub mod envelope;
pub mod error;
pub mod grouped;
pub mod health;
pub mod home;
pub mod layout;
pub mod limits;
pub mod log_in;
pub mod log_in_code;
pub mod notify;
pub mod orders;
pub mod pay;
pub mod providers;
pub mod records;
pub mod register;
pub mod return_page;
pub mod rights;
pub mod routes;
pub mod server;
pub mod session;
pub mod top_up;
pub mod view;
pub mod ways;
pub mod wechat;
pub mod words;

use crate::app::App;
use actix_web::http::header::{HeaderName, HeaderValue};
pub use grouped::grouped;
use limits::Limits;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What the handlers share besides the flows' `App`.
pub struct Web {
    pub app: Arc<App>,
    pub limits: Limits,
    pub assets: assets::Assets,
    /// Only `demo` has one: the simulator's origin, whose script stands in for the WeChat browser.
    pub bridge: Option<String>,
    /// Of every answer.
    security: Vec<(HeaderName, HeaderValue)>,
    /// Set when the process is told to stop: no new traffic, please.
    draining: AtomicBool,
    /// Whether every background job has run lately.
    pub jobs_alive: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Web {
    pub fn new(
        app: Arc<App>,
        bridge: Option<String>,
        jobs_alive: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> Arc<Web> {
        Arc::new(Web {
            limits: Limits::new(),
            assets: assets::Assets::new(),
            security: envelope::security(&app, bridge.as_deref()),
            app,
            bridge,
            draining: AtomicBool::new(false),
            jobs_alive,
        })
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
