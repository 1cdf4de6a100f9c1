//! One administrator's account, for an owner: its role, its sessions, its second factor, open or closed.

use super::{
    accounts::{Choice, choices},
    frame,
    work_item::written,
};
use crate::{
    domain::{time::UnixMs, user::Role},
    flow::accounts,
    store::{
        StoreError,
        sessions::{self, Listed},
        users,
    },
    token,
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        rights::{Accounts, May, about_role_zh, role_zh},
        session::{Visitor, see_other},
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "admin/account.html")]
struct AccountPage {
    layout: Layout,
    flash: Option<&'static str>,
    id: i64,
    name: String,
    role: &'static str,
    about: &'static str,
    created: String,
    closed: Option<String>,
    has_second_factor: bool,
    has_no_password: bool,
    is_me: bool,
    roles: Vec<Choice>,
    sessions: Vec<SessionRow>,
    /// Where a session is ended.
    sign_out: String,
}

#[derive(Template)]
#[template(path = "admin/new_password.html")]
struct NewPasswordPage {
    layout: Layout,
    back: String,
    name: String,
    link: String,
}

/// A session as a line.
pub struct SessionRow {
    pub id: String,
    pub device: String,
    pub ip: String,
    pub began: String,
    pub seen: String,
    /// The one this page is shown in.
    pub is_here: bool,
}

impl SessionRow {
    pub fn of(listed: &Listed, visitor: &Visitor) -> SessionRow {
        let said = |text: &str| if text.is_empty() { "未知".to_owned() } else { text.to_owned() };
        SessionRow {
            id: listed.id(),
            device: said(&listed.device),
            ip: said(&listed.ip),
            began: UnixMs(listed.created_at).beijing_text(),
            seen: UnixMs(listed.seen_at).beijing_text(),
            is_here: listed.is(&token::hash(&visitor.browser)),
        }
    }
}

#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    did: String,
}

#[derive(Deserialize)]
pub struct RoleForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    role: String,
}

#[derive(Deserialize)]
pub struct ReasonForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    reason: String,
}

/// Which session; none for all.
#[derive(Deserialize)]
pub struct SignOutForm {
    #[serde(default)]
    pub token: String,
    #[serde(default)]
    pub session: String,
}

/// GET /admin/accounts/{id}
///
/// # Errors
/// 404 for anybody who is no administrator; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: May<Accounts>,
    id: Path<i64>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let (id, now) = (id.into_inner(), web.app.clock.now());
    let read = web.app.store.read(move |db| {
        let Some(account) = users::admin(db, id)? else { return Ok(None) };
        Ok::<_, StoreError>(Some((account, sessions::of_user(db, id, now)?)))
    });
    let (account, sessions) = read.await?.ok_or(WebError::NotFound)?;
    let template = AccountPage {
        layout: frame(&web, &admin).await?,
        flash: did_zh(&flash.did),
        id,
        role: role_zh(account.user.role),
        about: about_role_zh(account.user.role),
        created: account.created_at.beijing_text(),
        closed: account.disabled_at.map(UnixMs::beijing_text),
        has_second_factor: account.has_second_factor,
        has_no_password: account.has_no_password,
        is_me: id == admin.user.id,
        roles: choices(account.user.role),
        sessions: sessions.iter().map(|listed| SessionRow::of(listed, &admin)).collect(),
        sign_out: format!("/admin/accounts/{id}/sign-out"),
        name: account.user.username,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn did_zh(word: &str) -> Option<&'static str> {
    match word {
        "role" => Some("角色已更改。这个账号的所有登录都已退出，重新登录后生效。"),
        "disabled" => Some("账号已停用，所有登录都已退出。它做过的事仍在操作日志里。"),
        "enabled" => Some("账号已恢复，可以重新登录。"),
        "signed_out" => Some("已退出。"),
        _ => None,
    }
}

fn back(id: i64, did: &str) -> HttpResponse {
    see_other(&format!("/admin/accounts/{id}?did={did}"), None)
}

/// POST /admin/accounts/{id}/role
///
/// # Errors
/// 404; 409 for the last owner; 422 without a role; the books.
pub async fn role(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<i64>,
    form: Form<RoleForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let role = Role::parse_admin(&form.role)
        .ok_or_else(|| WebError::Unprocessable("请选择一个角色，没有任何改动。".to_owned()))?;
    accounts::set_role(&web.app, &admin.user, *id, role).await?;
    Ok(back(*id, "role"))
}

/// POST /admin/accounts/{id}/disable
///
/// # Errors
/// 404; 409 for the last owner and for oneself; 422 without a reason; the books.
pub async fn disable(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<i64>,
    form: Form<ReasonForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let reason = written(&form.reason, "请写明为什么停用，没有任何改动。")?;
    accounts::disable(&web.app, &admin.user, *id, reason).await?;
    Ok(back(*id, "disabled"))
}

/// POST /admin/accounts/{id}/enable
///
/// # Errors
/// 404; 422 without a reason; the books.
pub async fn enable(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<i64>,
    form: Form<ReasonForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let reason = written(&form.reason, "请写明为什么恢复，没有任何改动。")?;
    accounts::enable(&web.app, &admin.user, *id, reason).await?;
    Ok(back(*id, "enabled"))
}

/// POST /admin/accounts/{id}/sign-out: one session, or all.
///
/// # Errors
/// 404; the books.
pub async fn sign_out(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<i64>,
    form: Form<SignOutForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let session = (!form.session.is_empty()).then(|| form.session.clone());
    accounts::sign_out(&web.app, &admin.user, *id, session).await?;
    Ok(back(*id, "signed_out"))
}

/// POST /admin/accounts/{id}/second-factor: takes it away with the password; shows the link for a new one, this once.
///
/// # Errors
/// 404; 409 for one's own and when there is none; 422 without a reason; the books.
pub async fn remove_second_factor(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<i64>,
    form: Form<ReasonForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let reason = written(&form.reason, "请写明为什么关闭，没有任何改动。")?;
    let link = accounts::remove_second_factor(&web.app, &admin.user, *id, reason).await?;
    let id = *id;
    let name = web.app.store.read(move |db| Ok(users::by_id(db, id)?.map(|user| user.username))).await?;
    let template = NewPasswordPage {
        layout: frame(&web, &admin).await?,
        back: format!("/admin/accounts/{id}"),
        name: name.unwrap_or_default(),
        link,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}
