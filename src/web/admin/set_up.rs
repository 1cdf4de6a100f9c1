//! The first administrator, behind the one-time link.

use crate::domain::user::{Role, User};
use crate::{
    flow::{log_in, register::RegisterError, set_up},
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        register::sentences,
        session::{Visitor, cookie, see_other},
        words::Lang,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetUpPage {
    layout: Layout,
    action: String,
    username: String,
    username_error: Option<&'static str>,
    password_error: Option<&'static str>,
}

#[derive(Deserialize)]
pub struct SetUpForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// GET /admin/setup/{link}
///
/// # Errors
/// 404 for a link that is used, old or wrong.
pub async fn show(
    web: Data<Arc<Web>>,
    visitor: Visitor,
    link: Path<String>,
) -> Result<HttpResponse, WebError> {
    web.limits.register(&web.app, visitor.ip).await?;
    if !set_up::is_open(&web.app, &link).await? {
        return Err(WebError::LinkOver(Lang::set_up_over));
    }
    Ok(form(&web, &visitor, StatusCode::OK, &link, "", (None, None)))
}

/// POST /admin/setup/{link}: makes the administrator, uses up the link, signs in.
///
/// # Errors
/// As `show`; what a person can mend comes back as the form with 422.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    link: Path<String>,
    posted: Form<SetUpForm>,
) -> Result<HttpResponse, WebError> {
    let posted = posted.into_inner();
    csrf::check(&request, &web.app, &visitor, &posted.token)?;
    web.limits.register(&web.app, visitor.ip).await?;
    match set_up::first_admin(&web.app, &link, &posted.username, posted.password).await {
        Ok(Some(id)) => {
            let user = User { id, username: String::new(), role: Role::Owner };
            let place = visitor.place();
            let secret = log_in::open_session_at(&web.app, &user, Some(visitor.browser), None, place).await?;
            Ok(see_other("/admin/first-run", Some(cookie(&web.app, &secret))))
        }
        Ok(None) => Err(WebError::LinkOver(Lang::set_up_over)),
        Err(RegisterError::Flow(error)) => Err(error.into()),
        Err(mendable) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let username: String = posted.username.chars().take(64).collect();
            Ok(form(&web, &visitor, status, &link, &username, sentences(&mendable, visitor.view.lang)))
        }
    }
}

fn form(
    web: &Web,
    visitor: &Visitor,
    status: StatusCode,
    link: &str,
    username: &str,
    errors: (Option<&'static str>, Option<&'static str>),
) -> HttpResponse {
    let template = SetUpPage {
        layout: Layout::of(web, visitor),
        action: format!("/admin/setup/{link}"),
        username: username.to_owned(),
        username_error: errors.0,
        password_error: errors.1,
    };
    page(web, visitor, status, &template)
}
