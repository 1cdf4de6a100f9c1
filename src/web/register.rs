//! Registering.

use super::{
    Web, csrf,
    error::WebError,
    layout::{Layout, page},
    log_in::NextQuery,
    session::{Visitor, cookie, local_path, see_other},
    words::Lang,
};
use crate::{
    domain::user::{Role, User},
    flow::{
        log_in,
        password::WeakPassword,
        register::{self, RegisterError},
    },
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
#[template(path = "register.html")]
struct RegisterPage {
    layout: Layout,
    username: String,
    next: String,
    username_error: Option<&'static str>,
    password_error: Option<&'static str>,
}

/// Only these fields exist; anything else a form sends has no effect.
#[derive(Deserialize)]
pub struct RegisterForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// GET /register
pub async fn show(web: Data<Arc<Web>>, visitor: Visitor, query: Query<NextQuery>) -> HttpResponse {
    if visitor.user.is_some() {
        return see_other("/top-up", None);
    }
    let form = RegisterPage {
        layout: Layout::of(&web, &visitor),
        username: String::new(),
        next: local_path(&query.next),
        username_error: None,
        password_error: None,
    };
    page(&web, &visitor, StatusCode::OK, &form)
}

/// POST /register: makes the account and signs it in.
///
/// # Errors
/// See `WebError`; what a person can mend comes back as the form with 422.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    form: Form<RegisterForm>,
) -> Result<HttpResponse, WebError> {
    let form = form.into_inner();
    csrf::check(&request, &web.app, &visitor, &form.token)?;
    web.limits.register(&web.app, visitor.ip).await?;
    let next = local_path(&form.next);
    let id = match register::register(&web.app, &form.username, form.password).await {
        Ok(id) => id,
        Err(RegisterError::Flow(error)) => return Err(error.into()),
        Err(mendable) => {
            let (username_error, password_error) = sentences(&mendable, visitor.view.lang);
            let form = RegisterPage {
                layout: Layout::of(&web, &visitor),
                username: form.username.chars().take(64).collect(),
                next,
                username_error,
                password_error,
            };
            return Ok(page(&web, &visitor, StatusCode::UNPROCESSABLE_ENTITY, &form));
        }
    };
    let user = User { id, username: String::new(), role: Role::User };
    let secret = log_in::open_session(&web.app, &user, Some(visitor.browser), None).await?;
    Ok(see_other(&next, Some(cookie(&web.app, &secret))))
}

/// The sentence for the name and the sentence for the password.
pub const fn sentences(error: &RegisterError, lang: Lang) -> (Option<&'static str>, Option<&'static str>) {
    match error {
        RegisterError::BadName => (Some(lang.bad_name()), None),
        RegisterError::NameTaken => (Some(lang.name_taken()), None),
        RegisterError::Weak(password) => (None, Some(weak(*password, lang))),
        RegisterError::Flow(_) => (None, None),
    }
}

/// Why a password is not accepted.
pub const fn weak(password: WeakPassword, lang: Lang) -> &'static str {
    match password {
        WeakPassword::TooShort => lang.password_too_short(),
        WeakPassword::TooLong => lang.password_too_long(),
        WeakPassword::Common => lang.password_too_common(),
    }
}
