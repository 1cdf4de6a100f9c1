//! Signing in and out.

use super::{
    Web, csrf,
    error::WebError,
    layout::{Layout, page},
    session::{Visitor, cookie, local_path, see_other},
};
use crate::{
    flow::log_in::{self, Entered},
    store::sessions::Place,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Query},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    layout: Layout,
    username: String,
    next: String,
    error: Option<&'static str>,
    wechat_login: bool,
    /// WeChat has said who it is, and no account is theirs.
    unknown: bool,
}

/// Where to go after signing in.
#[derive(Deserialize)]
pub struct NextQuery {
    #[serde(default)]
    pub next: String,
}

/// What the way back from WeChat says of somebody without an account.
pub const UNKNOWN: &str = "unknown";

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
    #[serde(default)]
    wechat: String,
}

#[derive(Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    wechat: String,
}

#[derive(Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    pub token: String,
}

/// GET /login
pub async fn show(web: Data<Arc<Web>>, visitor: Visitor, query: Query<LoginQuery>) -> HttpResponse {
    if visitor.user.is_some() {
        return see_other("/top-up", None);
    }
    let unknown = query.wechat == UNKNOWN;
    let form = LoginPage {
        layout: Layout::of(&web, &visitor),
        username: String::new(),
        next: wanted(&query.next),
        error: None,
        wechat_login: !unknown && visitor.can_ask_wechat(&web.app),
        unknown,
    };
    page(&web, &visitor, StatusCode::OK, &form)
}

/// Empty when nobody wanted to go anywhere: then the account decides.
fn wanted(next: &str) -> String {
    if next.is_empty() { String::new() } else { local_path(next) }
}

/// POST /login
///
/// # Errors
/// See `WebError`; a wrong name or password comes back as the form with 422, both with the same words.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    form: Form<LoginForm>,
) -> Result<HttpResponse, WebError> {
    let form = form.into_inner();
    csrf::check(&request, &web.app, &visitor, &form.token)?;
    web.limits.sign_in(&web.app, &form.username, visitor.ip).await?;
    let next = local_path(&form.next);
    let entered = match log_in::check(&web.app, &form.username, form.password).await? {
        Some((user, proof)) => {
            let place = if user.role.is_admin() { visitor.place() } else { Place::default() };
            let home =
                if user.role.is_admin() && form.next.is_empty() { "/admin/orders" } else { next.as_str() };
            let (browser, openid) = (visitor.browser.clone(), visitor.openid.clone());
            let entered =
                log_in::enter(&web.app, (&user, proof), browser, openid, place, home.to_owned()).await?;
            entered.map(|entered| (entered, home.to_owned()))
        }
        None => None,
    };
    Ok(match entered {
        Some((Entered::In(secret), home)) => see_other(&home, Some(cookie(&web.app, &secret))),
        Some((Entered::CodeFirst(secret), _)) => see_other("/login/code", Some(cookie(&web.app, &secret))),
        None => {
            let unknown = form.wechat == UNKNOWN;
            let form = LoginPage {
                layout: Layout::of(&web, &visitor),
                username: form.username.chars().take(64).collect(),
                next: wanted(&form.next),
                error: Some(visitor.view.lang.wrong_login()),
                wechat_login: !unknown && visitor.can_ask_wechat(&web.app),
                unknown,
            };
            page(&web, &visitor, StatusCode::UNPROCESSABLE_ENTITY, &form)
        }
    })
}

/// POST /logout: the session is dead on the server, and the browser gets a new cookie.
///
/// # Errors
/// `Forbidden` without the form's token; the books.
pub async fn out(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &visitor, &form.token)?;
    log_in::log_out(&web.app, &visitor.browser).await?;
    Ok(see_other("/login", Some(cookie(&web.app, &web.app.clock.token()?))))
}
