//! The only outbound calls: connect 2 s, whole call 5 s, replies capped at 1 MiB (files: 60 s, 64 MiB), no redirects,
//! no proxy, and the next origin of the list when one cannot be connected to.

use crate::{
    config::{ClientCertificate, Origins},
    gateway::{Base, Request, Response, bill},
};
use futures_util::{StreamExt, future::BoxFuture};
use std::{sync::Arc, time::Duration};

const CONNECT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(5);
const MAX_REPLY: usize = 1024 * 1024;
/// For what is a file and no message, as a day's bill is; and for pages, which may have a password to check.
const FILE_TOTAL: Duration = Duration::from_secs(60);
const MAX_FILE: usize = bill::LARGEST;

/// Sends requests. Cloning shares the connections.
#[derive(Clone)]
pub struct Http {
    line: Line,
    origins: Origins,
}

/// What a request travels over.
#[derive(Clone)]
enum Line {
    Network {
        client: reqwest::Client,
        /// Shows the merchant's certificate to whoever asks for one.
        showing: Option<reqwest::Client>,
    },
    InProcess(InProcess),
}

/// A world without a network: answers as a server would.
pub type InProcess = Arc<dyn Fn(Letter) -> BoxFuture<'static, Result<Response, HttpError>> + Send + Sync>;

/// What goes to a server that is a function.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Absolute.
    pub url: String,
    /// A POST has a body, a GET has none.
    pub post: bool,
    /// As `gateway::Headers` reads them.
    pub headers: String,
    pub body: Vec<u8>,
}

/// A POST of a content type and bytes, or a GET.
struct Message<'a> {
    headers: &'a [(&'static str, String)],
    body: Option<(&'a str, Vec<u8>)>,
    wanted: Wanted,
}

/// What the answer is: how long it may take, how much of it there may be, and which headers are kept.
#[derive(Clone, Copy)]
enum Wanted {
    Message,
    File,
    Page,
}

impl Message<'_> {
    fn posted_to(self, url: &str) -> Letter {
        let headers = self.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase()));
        let headers = headers.collect();
        let post = self.body.is_some();
        Letter { url: url.to_owned(), post, headers, body: self.body.unwrap_or_default().1 }
    }
}

/// Why there is no answer. Only `Connect` and `NoCertificate` prove that nothing was done at the other end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("nothing was sent: no client certificate is configured")]
    NoCertificate,
    #[error("no answer in time")]
    Timeout,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the answer is larger than {0} MiB")]
    TooLarge(usize),
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
        Ok(Http { line: Line::Network { client: client(None)?, showing: None }, origins })
    }

    /// Shows this certificate in the calls that want one, and in no other.
    ///
    /// # Errors
    /// The TLS library refuses it.
    pub fn showing(mut self, certificate: &ClientCertificate) -> Result<Http, HttpError> {
        if let Line::Network { showing, .. } = &mut self.line {
            let identity = reqwest::Identity::from_pem(certificate.pem()).map_err(described)?;
            *showing = Some(client(Some(identity))?);
        }
        Ok(self)
    }

    /// Every request goes to `server` instead of the network, which then keeps the limits of time.
    pub fn in_process(origins: Origins, server: InProcess) -> Http {
        Http { line: Line::InProcess(server), origins }
    }

    /// Whether calls that want the merchant's client certificate can be made: there is one, or nobody to show it to,
    /// because all origins are plain HTTP, which is loopback.
    pub fn can_show_certificate(&self) -> bool {
        let configured = matches!(&self.line, Line::Network { showing: Some(_), .. });
        configured || self.origins.wechat_api.iter().all(|origin| is_plain(origin))
    }

    /// Sends a gateway's request; any HTTP status is an answer.
    ///
    /// # Errors
    /// No origin could be connected to; no certificate to show; time ran out; the answer broke off or is too large.
    pub async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.send_to_one(request, Wanted::Message).await
    }

    /// The same for an answer that is a file: more time, and more of it.
    ///
    /// # Errors
    /// As `send`.
    pub async fn fetch(&self, request: &Request) -> Result<Response, HttpError> {
        self.send_to_one(request, Wanted::File).await
    }

    async fn send_to_one(&self, request: &Request, wanted: Wanted) -> Result<Response, HttpError> {
        let given = [String::new()];
        let origins: &[String] = match request.base {
            Base::WechatApi => &self.origins.wechat_api,
            Base::WechatOauth => &self.origins.wechat_oauth,
            Base::Alipay => &self.origins.alipay,
            Base::Given => &given,
        };
        let mut last = HttpError::Connect("no origin configured".to_owned());
        for origin in origins {
            let url = format!("{origin}{}", request.path);
            let message = Message {
                headers: &request.headers,
                body: request.body.as_ref().map(|body| (request.content_type, body.clone().into_bytes())),
                wanted,
            };
            let shows = request.certificate && !is_plain(origin);
            match self.exchange(shows, &url, message).await {
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
    pub async fn post(
        &self,
        url: &str,
        content_type: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Response, HttpError> {
        let message = Message { headers, body: Some((content_type, body)), wanted: Wanted::Message };
        self.exchange(false, url, message).await
    }

    /// Opens a page or posts a form as a program with a cookie jar would, which the simulator's phone is: cookies that
    /// are set come back as `set-cookie` lines.
    ///
    /// # Errors
    /// As `send`.
    pub async fn browse(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        form: Option<String>,
    ) -> Result<Response, HttpError> {
        let body = form.map(|form| ("application/x-www-form-urlencoded", form.into_bytes()));
        self.exchange(false, url, Message { headers, body, wanted: Wanted::Page }).await
    }

    async fn exchange(&self, shows: bool, url: &str, message: Message<'_>) -> Result<Response, HttpError> {
        let (client, showing) = match &self.line {
            Line::Network { client, showing } => (client, showing),
            Line::InProcess(server) => {
                return server(message.posted_to(url)).await;
            }
        };
        let client = if shows { showing.as_ref().ok_or(HttpError::NoCertificate)? } else { client };
        let request = match message.body {
            Some((content_type, body)) => client.post(url).header("content-type", content_type).body(body),
            None => client.get(url),
        };
        let request =
            message.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        match message.wanted {
            Wanted::Message => read(request, MAX_REPLY, "wechatpay-").await,
            Wanted::File => read(request.timeout(FILE_TOTAL), MAX_FILE, "wechatpay-").await,
            Wanted::Page => read(request.timeout(FILE_TOTAL), MAX_REPLY, "set-cookie").await,
        }
    }
}

fn is_plain(origin: &str) -> bool {
    origin.starts_with("http://")
}

fn client(identity: Option<reqwest::Identity>) -> Result<reqwest::Client, HttpError> {
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("shouyin/", env!("CARGO_PKG_VERSION")));
    let builder = match identity {
        Some(identity) => builder.identity(identity),
        None => builder,
    };
    builder.build().map_err(|error| HttpError::Broken(error.to_string()))
}

/// `kept` is what the names of the headers begin with that are kept.
async fn read(request: reqwest::RequestBuilder, most: usize, kept: &str) -> Result<Response, HttpError> {
    let answer = request.send().await.map_err(described)?;
    let status = answer.status().as_u16();
    let headers = headers_named(answer.headers(), kept);
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(described)?;
        if body.len().saturating_add(chunk.len()) > most {
            return Err(HttpError::TooLarge(most / 1024 / 1024));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body, ..Response::default() })
}

/// Headers whose names begin so, each as often as it came.
fn headers_named(headers: &reqwest::header::HeaderMap, kept: &str) -> String {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(kept))
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or_default()))
        .collect()
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
