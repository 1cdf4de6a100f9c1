//! What travels between us and a gateway, before anybody has read it.

use crate::domain::time::UnixMs;

/// Time and an unpredictable text, handed in so that the same inputs always make the same message.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub now: UnixMs,
    /// 32 letters and digits.
    pub nonce: String,
}

/// Which origin of the configuration a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    WechatApi,
    WechatOauth,
    Alipay,
    /// The path is the whole address, as a gateway gave it; whoever built the request has checked it.
    Given,
}

/// A message to a gateway, ready to send.
#[derive(Clone, Debug)]
pub struct Request {
    pub base: Base,
    /// The gateway's own name for the call: safe to log, unlike `path`.
    pub call: &'static str,
    /// Path and query.
    pub path: String,
    /// `None` is a GET.
    pub body: Option<String>,
    pub content_type: &'static str,
    /// Further headers, in the order they are sent.
    pub headers: Vec<(&'static str, String)>,
    /// The gateway wants to see the merchant's client certificate (mutual TLS).
    pub certificate: bool,
}

/// What came back, whatever it was.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    /// Those that may carry a signature, as `Headers` reads them.
    pub headers: String,
    pub body: Vec<u8>,
    /// By our clock.
    pub received_at: UnixMs,
}

impl Response {
    /// Without headers and time.
    pub fn new(status: u16, body: Vec<u8>) -> Response {
        Response { status, body, ..Response::default() }
    }
}

/// A callback as it arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notify<'a> {
    pub headers: Headers<'a>,
    pub body: &'a [u8],
    /// By our clock, when it first came.
    pub received_at: UnixMs,
}

/// Headers as they are kept with a notice: one line each, `name: value`, the name in lower case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a>(pub &'a str);

impl<'a> Headers<'a> {
    /// The value of a header that stands there once; `None` when it is missing or repeated.
    pub fn only(self, name: &str) -> Option<&'a str> {
        let mut values = self.0.lines().filter_map(|line| {
            let (named, value) = line.split_once(": ")?;
            (named == name).then_some(value)
        });
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }
}
