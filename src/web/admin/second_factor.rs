//! Turning the second factor on and off, and its recovery codes.

use super::{
    frame,
    me::{self, Faults},
};
use crate::{
    flow::second_factor::{self, FactorError},
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        pay::qr_svg,
        session::{Admin, see_other},
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "admin/second_factor.html")]
struct EnrolPage {
    layout: Layout,
    qr_svg: String,
    /// In groups of four.
    secret: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/recovery_codes.html")]
struct CodesPage {
    layout: Layout,
    codes: Vec<String>,
    /// All of them, for the clipboard.
    all: String,
    /// Shown because it was just turned on.
    is_first: bool,
}

#[derive(Deserialize)]
pub struct PasswordForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    code: String,
}

/// POST /admin/me/second-factor/begin
///
/// # Errors
/// A wrong password comes back as the page with 422; 409 when it is on already; the books.
pub async fn begin(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<PasswordForm>,
) -> Result<HttpResponse, WebError> {
    let password = checked(&web, &request, &admin, posted).await?;
    match second_factor::begin(&web.app, &admin.user, password).await {
        Ok(()) => Ok(see_other("/admin/me/second-factor", None)),
        Err(error) => beside_password(&web, &admin, error).await,
    }
}

/// GET /admin/me/second-factor: what the phone scans.
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, admin: Admin) -> Result<HttpResponse, WebError> {
    enrolment(&web, &admin, None).await
}

/// POST /admin/me/second-factor: the first code; shows the recovery codes, this once.
///
/// # Errors
/// A wrong code comes back as the page with 422; the books.
pub async fn confirm(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<CodeForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &posted.token)?;
    match second_factor::confirm(&web.app, &admin.user, &admin.browser, &posted.code).await {
        Ok(codes) => shown(&web, &admin, codes, true).await,
        Err(error @ FactorError::WrongCode) => {
            enrolment(&web, &admin, Some(WebError::from(error).sentence())).await
        }
        Err(error) => Err(error.into()),
    }
}

/// POST /admin/me/second-factor/off
///
/// # Errors
/// As `begin`.
pub async fn turn_off(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<PasswordForm>,
) -> Result<HttpResponse, WebError> {
    let password = checked(&web, &request, &admin, posted).await?;
    match second_factor::turn_off(&web.app, &admin.user, password).await {
        Ok(()) => Ok(see_other("/admin/me?did=second_factor_off", None)),
        Err(error) => beside_password(&web, &admin, error).await,
    }
}

/// POST /admin/me/recovery-codes: ten new ones.
///
/// # Errors
/// As `begin`.
pub async fn renew_codes(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: Admin,
    posted: Form<PasswordForm>,
) -> Result<HttpResponse, WebError> {
    let password = checked(&web, &request, &admin, posted).await?;
    match second_factor::renew_codes(&web.app, &admin.user, password).await {
        Ok(codes) => shown(&web, &admin, codes, false).await,
        Err(error) => beside_password(&web, &admin, error).await,
    }
}

/// The password of a form that may be looked at.
async fn checked(
    web: &Web,
    request: &HttpRequest,
    admin: &Admin,
    posted: Form<PasswordForm>,
) -> Result<String, WebError> {
    let posted = posted.into_inner();
    csrf::check(request, &web.app, admin, &posted.token)?;
    web.limits.sign_in(&web.app, &admin.user.username, admin.ip).await?;
    Ok(posted.password)
}

async fn beside_password(web: &Web, admin: &Admin, error: FactorError) -> Result<HttpResponse, WebError> {
    match error {
        FactorError::WrongPassword => {
            let factor = Some(WebError::from(error).sentence());
            me::form(web, admin, None, Faults { factor, ..Faults::default() }).await
        }
        other => Err(other.into()),
    }
}

async fn enrolment(web: &Web, admin: &Admin, error: Option<String>) -> Result<HttpResponse, WebError> {
    let enrolment = match second_factor::enrolment(&web.app, &admin.user).await {
        Ok(enrolment) => enrolment,
        Err(FactorError::NotNow) => return Ok(see_other("/admin/me", None)),
        Err(error) => return Err(error.into()),
    };
    let letters: Vec<char> = enrolment.base32.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let template = EnrolPage {
        layout: frame(web, admin).await?,
        qr_svg: qr_svg(&enrolment.uri),
        secret: groups.join(" "),
        error,
    };
    Ok(page(web, admin, status, &template))
}

async fn shown(
    web: &Web,
    admin: &Admin,
    codes: Vec<String>,
    is_first: bool,
) -> Result<HttpResponse, WebError> {
    let layout = frame(web, admin).await?;
    let template = CodesPage { layout, all: codes.join("\n"), codes, is_first };
    Ok(page(web, admin, StatusCode::OK, &template))
}
