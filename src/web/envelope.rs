//! Around every answer: request id, one log line, security headers, and a readable page or
//! problem+json for every failure, also those that the framework makes by itself.

use super::{
    Web,
    error::{Problem, SignInAt},
    layout::{Layout, accepts_json},
    view,
    words::Lang,
};
use crate::app::App;
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorRequestTimeout,
    http::{
        Method, StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use askama::Template;
use std::{sync::Arc, time::Duration};
use tracing::Instrument;

/// A request is given up after this, also one whose form trickles in: longer than the longest poll
/// and than all tries at WeChat together. Whatever it was doing is safe to break off.
const LONGEST: Duration = Duration::from_secs(40);

/// The id of one request: ours, or the caller's if it is plain.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// A plain text that a handler wrote on purpose: not to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Written;

/// What is shown when something failed.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    status: u16,
    title: String,
    message: String,
    request_id: String,
    /// Whether to offer this very page again.
    passes: bool,
    /// Where to go otherwise, and what that is called.
    back: &'static str,
    back_text: &'static str,
}

/// The middleware.
///
/// # Errors
/// Those of the framework below any handler.
pub async fn wrap(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(web) = request.app_data::<Data<Arc<Web>>>().map(|data| Arc::clone(data.get_ref())) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let id = request_id(&request, &web);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let started = web.app.clock.now();
    let span = tracing::info_span!("request", request_id = %id);
    let answered = async {
        // Errors of handlers and extractors arrive here as responses already.
        let response = match tokio::time::timeout(LONGEST, next.call(request)).await {
            Ok(response) => response?.map_into_boxed_body(),
            Err(_) => return Err(ErrorRequestTimeout("the request took too long")),
        };
        let status = response.status().as_u16();
        let ms = web.app.clock.now().since(started);
        if path.starts_with("/static/") || path == "/healthz" {
            tracing::debug!(%method, path, status, ms, "{method} {path} {status}");
        } else {
            tracing::info!(%method, path = shown(&path), status, ms, "{method} {} {status} in {ms} ms", shown(&path));
        }
        Ok::<_, Error>(response)
    }
    .instrument(span)
    .await?;
    let mut answered = explain(&web, answered, &id);
    for cookie in view::remembered(answered.request(), web.app.config.public_url.is_https()) {
        // A cookie of ours is always a header's value.
        let _ = answered.response_mut().add_cookie(&cookie);
    }
    secure(&web, answered.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id) {
        answered.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    Ok(answered)
}

/// A link that makes an administrator is a secret: its address is not logged.
fn shown(path: &str) -> &str {
    match path {
        path if path.starts_with("/admin/setup/") => "/admin/setup/***",
        path if path.starts_with("/admin/invite/") => "/admin/invite/***",
        path => path,
    }
}

fn request_id(request: &ServiceRequest, web: &Web) -> String {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match given.filter(plain) {
        Some(id) => id.to_owned(),
        None => web.app.clock.nonce().unwrap_or_default(),
    }
}

/// Gives a failed request a body people or machines can read, unless the handler wrote one.
fn explain(web: &Web, response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let ours = response.response().extensions().get::<Problem>().cloned();
    let typed = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let written = response.response().extensions().get::<Written>().is_some()
        || typed.is_some_and(|kind| !kind.starts_with("text/plain"));
    if status.as_u16() < 400 || (written && ours.is_none()) {
        return response;
    }
    let problem = ours.unwrap_or_else(|| by_status(status));
    let sign_in = response.response().extensions().get::<SignInAt>().cloned();
    let (request, old) = response.into_parts();
    let mut body = match sign_in {
        Some(SignInAt(at)) if !accepts_json(&request) => {
            HttpResponse::SeeOther().insert_header(("location", at)).finish()
        }
        _ if accepts_json(&request) => problem_json(&problem, id),
        _ => page(web, &request, &problem, id),
    };
    for name in ["retry-after", "allow", "set-cookie", "connection"] {
        if let Some(value) = old.headers().get(name) {
            body.headers_mut().insert(HeaderName::from_static(name), value.clone());
        }
    }
    ServiceResponse::new(request, body)
}

fn problem_json(problem: &Problem, id: &str) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({
        "type": "about:blank",
        "title": (problem.title)(Lang::Zh),
        "status": problem.status,
        "detail": problem.detail.read_in(Lang::Zh),
        "code": problem.code,
        "request_id": id,
        "retryable": matches!(problem.status, 429 | 503),
    });
    HttpResponse::build(status)
        .insert_header(("content-type", "application/problem+json; charset=utf-8"))
        .body(body.to_string())
}

fn page(web: &Web, request: &HttpRequest, problem: &Problem, id: &str) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let layout = Layout::anonymous(web, request);
    // Only what is looked at may be looked at again: a form sent twice is for people to decide.
    let passes = status == StatusCode::SERVICE_UNAVAILABLE && request.method() == Method::GET;
    // Whoever is no administrator finds nothing there, and whoever holds a link is none yet.
    let path = request.path();
    let for_links = ["/admin/setup/", "/admin/invite/"].iter().any(|door| path.starts_with(door));
    let of_desk = path.starts_with("/admin/") && !for_links && problem.code != "not_found";
    let (back, back_text) =
        if of_desk { ("/admin", layout.lang.administration()) } else { ("/", layout.lang.home()) };
    let page = ErrorPage {
        status: problem.status,
        title: (problem.title)(layout.lang).to_owned(),
        message: problem.detail.read_in(layout.lang).to_owned(),
        request_id: id.to_owned(),
        passes,
        back,
        back_text,
        layout,
    };
    HttpResponse::build(status)
        .insert_header(("content-type", "text/html; charset=utf-8"))
        .body(page.render().unwrap_or_default())
}

/// Failures that no handler of ours described.
fn by_status(status: StatusCode) -> Problem {
    let new = |code, title, detail| Problem::new(status.as_u16(), code, title, detail);
    match status.as_u16() {
        404 => new("not_found", Lang::not_found, Lang::not_found_text),
        405 => new("method_not_allowed", Lang::method, Lang::method_text),
        413 => new("too_large", Lang::too_big, Lang::too_big_text),
        400..=499 => new("bad_request", Lang::bad_request, Lang::bad_request_text),
        _ => new("internal", Lang::internal, Lang::internal_text),
    }
}

/// What every answer carries, made once.
pub fn security(app: &App, bridge: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
    let bridge = bridge.map(|origin| format!(" {origin}")).unwrap_or_default();
    let authorize = &app.config.wechat_authorize_base;
    // form-action names WeChat's authorisation too: browsers check it along the redirects of a form.
    let policy = format!(
        "default-src 'none'; script-src 'self'{bridge}; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{bridge}; frame-src weixin: weixinping: weixinpreinject:{bridge}; \
         form-action 'self' {authorize}; base-uri 'none'; frame-ancestors 'none'"
    );
    let mut headers = vec![
        ("content-security-policy", policy.as_str()),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ];
    if app.config.public_url.is_https() {
        headers.push(("strict-transport-security", "max-age=31536000"));
    }
    let typed = |(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    headers.into_iter().filter_map(typed).collect()
}

fn secure(web: &Web, headers: &mut HeaderMap) {
    for (name, value) in &web.security {
        headers.insert(name.clone(), value.clone());
    }
    if !headers.contains_key("cache-control") {
        headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"));
    }
}
