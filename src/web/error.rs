//! The one place an error becomes a status and a sentence: what is known, what is safe, what to do next.
//! `envelope` then makes a page or problem+json of it.

use crate::flow::{FlowError, bind_openid::BindError};
use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use std::fmt;

/// Why a request gets no ordinary answer.
#[derive(Debug)]
pub enum WebError {
    NotFound,
    /// Cross-site, or a form without its token.
    Forbidden,
    /// Nobody is signed in.
    SignInFirst {
        /// Where to send a browser.
        at: String,
    },
    TooMany {
        retry_after_secs: u64,
    },
    /// A request that no page of ours makes.
    BadRequest(&'static str),
    /// Understood, but not now and not like this.
    Conflict(&'static str),
    /// A value that a person can mend.
    Unprocessable(String),
    /// The gateway does not answer; the order is kept.
    GatewayBusy,
    GatewayRefuses,
    Restart,
    Flow(FlowError),
}

/// What `envelope` renders.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: u16,
    pub title: &'static str,
    pub detail: String,
    pub code: &'static str,
}

impl WebError {
    fn problem(&self) -> Problem {
        let (status, code, title, detail) = match self {
            WebError::NotFound => (404, "not_found", "没有找到", "这个地址不存在，或不属于你。".to_owned()),
            WebError::Forbidden => (
                403,
                "forbidden",
                "请求没有被接受",
                "页面可能已过期。没有任何改动，请返回并刷新后重试。".to_owned(),
            ),
            WebError::SignInFirst { .. } => {
                (401, "sign_in_first", "请先登录", "登录后再继续，没有任何改动。".to_owned())
            }
            WebError::TooMany { retry_after_secs } => (
                429,
                "too_many_requests",
                "操作太频繁",
                format!("没有任何改动。请在 {retry_after_secs} 秒后再试。"),
            ),
            WebError::BadRequest(detail) => (400, "bad_request", "请求无法识别", (*detail).to_owned()),
            WebError::Conflict(detail) => (409, "conflict", "无法这样操作", (*detail).to_owned()),
            WebError::Unprocessable(detail) => (422, "unprocessable", "请检查填写的内容", detail.clone()),
            WebError::GatewayBusy => (
                503,
                "gateway_busy",
                "微信支付暂时没有回应",
                "订单已保留。如果已经付过款，请勿重复支付，到账后会自动更新；否则请稍后用同一订单继续支付。"
                    .to_owned(),
            ),
            WebError::GatewayRefuses => (
                502,
                "gateway_refuses",
                "暂时无法支付",
                "收款设置需要商家检查，请联系客服。如果已经付过款，请勿重复支付，到账后会自动更新。"
                    .to_owned(),
            ),
            WebError::Restart => {
                (400, "restart", "微信授权已失效", "没有任何改动。请返回重新进入页面。".to_owned())
            }
            WebError::Flow(FlowError::HashingBusy) => {
                (503, "busy", "登录的人太多", "没有任何改动，请几秒后再试。".to_owned())
            }
            WebError::Flow(_) => (
                503,
                "unavailable",
                "系统暂时无法处理",
                "如果已经付款，款项是安全的，恢复后会自动入账，请勿重复支付。请稍后再试。".to_owned(),
            ),
        };
        Problem { status, title, detail, code }
    }
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem().code)
    }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        if let WebError::Flow(error) = self {
            tracing::error!("request failed: {error}");
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            WebError::TooMany { retry_after_secs } => {
                response.insert_header(("retry-after", retry_after_secs.to_string()));
            }
            WebError::GatewayBusy | WebError::Flow(_) => {
                response.insert_header(("retry-after", "3"));
            }
            _ => {}
        }
        let mut response = response.finish();
        response.extensions_mut().insert(self.problem());
        if let WebError::SignInFirst { at } = self {
            response.extensions_mut().insert(SignInAt(at.clone()));
        }
        response
    }
}

/// Where `envelope` sends a browser that must sign in.
#[derive(Clone, Debug)]
pub struct SignInAt(pub String);

impl From<FlowError> for WebError {
    fn from(error: FlowError) -> WebError {
        WebError::Flow(error)
    }
}

impl From<crate::store::StoreError> for WebError {
    fn from(error: crate::store::StoreError) -> WebError {
        WebError::Flow(FlowError::Store(error))
    }
}

impl From<crate::clock::NoEntropy> for WebError {
    fn from(error: crate::clock::NoEntropy) -> WebError {
        WebError::Flow(FlowError::NoEntropy(error))
    }
}

impl From<BindError> for WebError {
    fn from(error: BindError) -> WebError {
        match error {
            BindError::Restart => WebError::Restart,
            BindError::Busy => WebError::GatewayBusy,
            BindError::Configuration => WebError::GatewayRefuses,
            BindError::Flow(error) => WebError::Flow(error),
        }
    }
}
