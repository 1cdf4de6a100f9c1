//! The account of somebody who was invited, or the new password of one, behind a one-time link.

use crate::{
    flow::{accounts, log_in, register::RegisterError},
    store::invitations::Invitation,
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        register::sentences,
        rights::{about_role_zh, role_zh},
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
#[template(path = "admin/invite.html")]
struct InvitePage {
    layout: Layout,
    action: String,
    role: &'static str,
    about: &'static str,
    invited_by: String,
    /// Whose new password it sets; otherwise it makes an account.
    renews: Option<String>,
    username: String,
    username_error: Option<&'static str>,
    password_error: Option<&'static str>,
}

#[derive(Deserialize)]
pub struct InviteForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// GET /admin/invite/{link}
///
/// # Errors
/// 404 for a link that is used, withdrawn, old or wrong.
pub async fn show(
    web: Data<Arc<Web>>,
    visitor: Visitor,
    link: Path<String>,
) -> Result<HttpResponse, WebError> {
    let invitation = open(&web, &visitor, &link).await?;
    Ok(form(&web, &visitor, StatusCode::OK, &link, invitation, "", (None, None)))
}

/// POST /admin/invite/{link}: makes the account or sets its password, uses up the link, signs in.
///
/// # Errors
/// As `show`; what a person can mend comes back as the form with 422.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    link: Path<String>,
    posted: Form<InviteForm>,
) -> Result<HttpResponse, WebError> {
    let posted = posted.into_inner();
    csrf::check(&request, &web.app, &visitor, &posted.token)?;
    let invitation = open(&web, &visitor, &link).await?;
    match accounts::accept(&web.app, &link, &posted.username, posted.password).await {
        Ok(Some(user)) => {
            let place = visitor.place();
            let secret = log_in::open_session_at(&web.app, &user, Some(visitor.browser), None, place).await?;
            Ok(see_other("/admin/orders", Some(cookie(&web.app, &secret))))
        }
        Ok(None) => Err(WebError::LinkOver(Lang::invite_over)),
        Err(RegisterError::Flow(error)) => Err(error.into()),
        Err(mendable) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let username: String = posted.username.chars().take(64).collect();
            Ok(form(&web, &visitor, status, &link, invitation, &username, sentences(&mendable, Lang::Zh)))
        }
    }
}

async fn open(web: &Web, visitor: &Visitor, link: &str) -> Result<Invitation, WebError> {
    web.limits.register(&web.app, visitor.ip).await?;
    accounts::invitation(&web.app, link).await?.ok_or(WebError::LinkOver(Lang::invite_over))
}

fn form(
    web: &Web,
    visitor: &Visitor,
    status: StatusCode,
    link: &str,
    invitation: Invitation,
    username: &str,
    errors: (Option<&'static str>, Option<&'static str>),
) -> HttpResponse {
    let template = InvitePage {
        layout: Layout::of(web, visitor).for_administrators(),
        action: format!("/admin/invite/{link}"),
        role: role_zh(invitation.role),
        about: about_role_zh(invitation.role),
        renews: invitation.account.is_some().then_some(invitation.for_whom),
        invited_by: invitation.invited_by,
        username: username.to_owned(),
        username_error: errors.0,
        password_error: errors.1,
    };
    page(web, visitor, status, &template)
}
