//! The only outbound calls: connect 2 s, whole call 5 s, replies capped at 1 MiB, no redirects,
//! no proxy, and the next origin of the list when one cannot be connected to.

use crate::{
    config::Origins,
    gateway::{Base, Request, Response},
};
use futures_util::{StreamExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};

const CONNECT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(5);
const MAX_REPLY: usize = 1024 * 1024;

/// Sends requests. Cloning shares the connections.
#[derive(Clone)]
pub struct Http {
    line: Line,
    origins: Origins,
}

/// What a request travels over.
#[derive(Clone)]
enum Line {
    Network(reqwest::Client),
    InProcess(InProcess),
}

/// A world without a network: takes an absolute URL and a body, and answers as a server would.
pub type InProcess =
    Arc<dyn Fn(String, Vec<u8>) -> BoxFuture<'static, Result<Response, HttpError>> + Send + Sync>;

/// Why there is no answer. Only `Connect` proves that nothing was done at the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("no answer within 5 seconds")]
    Timeout,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("origins", &self.origins).finish_non_exhaustive()
    }
}

impl Http {
    /// # Errors
    /// The TLS library cannot start.
    pub fn new(origins: Origins) -> Result<Http, HttpError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("shouyin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HttpError::Broken(error.to_string()))?;
        Ok(Http { line: Line::Network(client), origins })
    }

    /// Every request goes to `server` instead of the network, which then keeps the limits of time.
    pub fn in_process(origins: Origins, server: InProcess) -> Http {
        Http { line: Line::InProcess(server), origins }
    }

    /// Whether calls that want the merchant's client certificate can be made: over plain HTTP, which is loopback,
    /// there is nobody to show one to.
    pub fn can_show_certificate(&self) -> bool {
        self.origins.wechat_api.iter().all(|origin| origin.starts_with("http://"))
    }

    /// Sends a gateway's request; any HTTP status is an answer.
    ///
    /// # Errors
    /// No origin could be connected to; time ran out; the answer broke off or is too large.
    pub async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let origins = match request.base {
            Base::WechatApi => &self.origins.wechat_api,
            Base::WechatOauth => &self.origins.wechat_oauth,
        };
        let mut last = HttpError::Connect("no origin configured".to_owned());
        for origin in origins {
            let url = format!("{origin}{}", request.path);
            let answer = match &request.body {
                Some(body) => self.post(&url, request.content_type, body.clone().into_bytes()).await,
                None => self.get(&url).await,
            };
            match answer {
                Err(HttpError::Connect(reason)) => {
                    tracing::warn!(call = request.call, %origin, "cannot connect to {origin}: {reason}");
                    last = HttpError::Connect(reason);
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Posts to an absolute address, as the simulator does when it calls `notify_url`.
    ///
    /// # Errors
    /// As `send`.
    pub async fn post(&self, url: &str, content_type: &str, body: Vec<u8>) -> Result<Response, HttpError> {
        match &self.line {
            Line::Network(client) => {
                read(client.post(url).header("content-type", content_type).body(body)).await
            }
            Line::InProcess(server) => server(url.to_owned(), body).await,
        }
    }

    async fn get(&self, url: &str) -> Result<Response, HttpError> {
        match &self.line {
            Line::Network(client) => read(client.get(url)).await,
            Line::InProcess(server) => server(url.to_owned(), Vec::new()).await,
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Response, HttpError> {
    let answer = request.send().await.map_err(described)?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(described)?;
        if body.len().saturating_add(chunk.len()) > MAX_REPLY {
            return Err(HttpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, body })
}

/// Without the URL: it may hold the app secret.
fn described(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        HttpError::Timeout
    } else if error.is_connect() {
        HttpError::Connect(root_cause(&error))
    } else {
        HttpError::Broken(root_cause(&error))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
