//! An administrator's own account: role, password, sessions, and whether a code is asked for.

use super::{
    account::{SessionRow, SignOutForm},
    frame,
};
use crate::{
    flow::{
        accounts::{self, AccountError},
        second_factor,
    },
    store::sessions,
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        rights::{about_role_zh, role_zh},
        session::{Admin, see_other},
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
#[template(path = "admin/me.html")]
struct MePage {
    layout: Layout,
    flash: Option<&'static str>,
    name: String,
    role: &'static str,
    about: &'static str,
    /// How many recovery codes are left, when a code is asked for.
    codes_left: Option<i64>,
    sessions: Vec<SessionRow>,
    faults: Faults,
}

/// What stands beside a field.
#[derive(Default)]
pub struct Faults {
    pub old: Option<String>,
    pub new: Option<String>,
    /// The password of the second factor's forms.
    pub factor: Option<String>,
}

#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    did: String,
}

#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    old: String,
    #[serde(default)]
    new: String,
}

/// GET /admin/me
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, admin: Admin, flash: Query<Flash>) -> Result<HttpResponse, WebError> {
    form(&web, &admin, did_zh(&flash.did), Faults::default()).await
}

/// The page, with 422 when something stands beside a field.
///
/// # Errors
/// The books.
pub async fn form(
    web: &Web,
    admin: &Admin,
    flash: Option<&'static str>,
    faults: Faults,
) -> Result<HttpResponse, WebError> {
    let (id, now) = (admin.user.id, web.app.clock.now());
    let sessions = web.app.store.read(move |db| sessions::of_user(db, id, now)).await?;
    let is_wrong = faults.old.is_some() || faults.new.is_some() || faults.factor.is_some();
    let template = MePage {
        layout: frame(web, admin).await?,
        flash,
        name: admin.user.username.clone(),
        role: role_zh(admin.user.role),
        about: about_role_zh(admin.user.role),
        codes_left: second_factor::standing(&web.app, &admin.user).await?,
        sessions: sessions.iter().map(|listed| SessionRow::of(listed, admin)).collect(),
        faults,
    };
    let status = if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(page(web, admin, status, &template))
}

fn did_zh(word: &str) -> Option<&'static str> {
    match word {
        "password" => Some("密码已更改，其他地方的登录都已退出。"),
        "signed_out" => Some("已退出那个登录。"),
        "second_factor_off" => Some("两步验证已关闭，登录时不再要验证码。"),
        _ => None,
    }
}

/// POST /admin/me/password
///
/// # Errors
/// A password that is wrong or not accepted comes back as the form with 422; the books.
pub async fn password(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<PasswordForm>,
) -> Result<HttpResponse, WebError> {
    let PasswordForm { token, old, new } = posted.into_inner();
    csrf::check(&request, &web.app, &admin, &token)?;
    web.limits.sign_in(&web.app, &admin.user.username, admin.ip).await?;
    let faults = match accounts::change_password(&web.app, &admin.user, &admin.browser, old, new).await {
        Ok(()) => return Ok(see_other("/admin/me?did=password", None)),
        Err(error @ AccountError::WrongPassword) => {
            Faults { old: Some(WebError::from(error).sentence()), ..Faults::default() }
        }
        Err(error @ AccountError::Weak(_)) => {
            Faults { new: Some(WebError::from(error).sentence()), ..Faults::default() }
        }
        Err(error) => return Err(error.into()),
    };
    form(&web, &admin, None, faults).await
}

/// POST /admin/me/sign-out: one of one's own sessions.
///
/// # Errors
/// The books.
pub async fn sign_out(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<SignOutForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &posted.token)?;
    accounts::sign_out(&web.app, &admin.user, admin.user.id, Some(posted.session.clone())).await?;
    Ok(see_other("/admin/me?did=signed_out", None))
}
