//! Who the administrators are, and links for new ones.

use super::{frame, work_item::written};
use crate::{
    domain::{
        time::UnixMs,
        user::{Role, User},
    },
    flow::accounts,
    store::{
        StoreError,
        invitations::{self, Invitation},
        sessions,
        users::{self, Account},
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, page},
        log_in::TokenForm,
        rights::{Accounts, May, about_role_zh, role_zh},
        session::see_other,
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
#[template(path = "admin/accounts.html")]
struct AccountsPage {
    layout: Layout,
    flash: Option<&'static str>,
    rows: Vec<Row>,
    invitations: Vec<Invited>,
    roles: Vec<Choice>,
}

#[derive(Template)]
#[template(path = "admin/invited.html")]
struct InvitedPage {
    layout: Layout,
    link: String,
    role: &'static str,
    for_whom: String,
}

struct Row {
    name: String,
    href: String,
    role: &'static str,
    has_second_factor: bool,
    is_closed: bool,
    is_me: bool,
    seen: Option<String>,
}

struct Invited {
    for_whom: String,
    role: &'static str,
    text: String,
    action: String,
}

/// A role to choose.
pub struct Choice {
    pub value: &'static str,
    pub name: &'static str,
    pub about: &'static str,
    pub chosen: bool,
}

/// Those an administrator may have.
pub fn choices(chosen: Role) -> Vec<Choice> {
    let choice = |role: Role| Choice {
        value: role.as_str(),
        name: role_zh(role),
        about: about_role_zh(role),
        chosen: role == chosen,
    };
    Role::admins().map(choice).collect()
}

#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    did: String,
}

#[derive(Deserialize)]
pub struct InviteForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    for_whom: String,
}

/// GET /admin/accounts
///
/// # Errors
/// The books.
pub async fn list(
    web: Data<Arc<Web>>,
    admin: May<Accounts>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let now = web.app.clock.now();
    let read = web.app.store.read(move |db| {
        let mut accounts = Vec::new();
        for account in users::admins(db)? {
            let latest = sessions::of_user(db, account.user.id, now)?.into_iter().next();
            accounts.push((account, latest.map(|session| UnixMs(session.seen_at))));
        }
        Ok::<_, StoreError>((accounts, invitations::open(db, now)?))
    });
    let (accounts, open) = read.await?;
    let template = AccountsPage {
        layout: frame(&web, &admin).await?,
        flash: (flash.did == "withdrawn").then_some("邀请已收回，链接不能再用。"),
        rows: accounts.into_iter().map(|(account, seen)| row(account, seen, &admin.user)).collect(),
        invitations: open.into_iter().map(invited).collect(),
        roles: choices(Role::Support),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn row(account: Account, seen: Option<UnixMs>, me: &User) -> Row {
    Row {
        href: format!("/admin/accounts/{}", account.user.id),
        role: role_zh(account.user.role),
        has_second_factor: account.has_second_factor,
        is_closed: account.disabled_at.is_some(),
        is_me: account.user.id == me.id,
        seen: seen.map(UnixMs::beijing_text),
        name: account.user.username,
    }
}

fn invited(invitation: Invitation) -> Invited {
    Invited {
        role: role_zh(invitation.role),
        text: format!("{} 邀请，{} 前有效", invitation.invited_by, invitation.expires_at.beijing_text()),
        action: format!("/admin/accounts/invitations/{}/withdraw", invitation.id()),
        for_whom: invitation.for_whom,
    }
}

/// POST /admin/accounts/invite: shows the link, this once.
///
/// # Errors
/// 422 without a role or a note; the books.
pub async fn invite(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    form: Form<InviteForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let role = Role::parse_admin(&form.role)
        .ok_or_else(|| WebError::Unprocessable("请选择一个角色，没有发出邀请。".to_owned()))?;
    let for_whom = written(&form.for_whom, "请写明邀请谁，没有发出邀请。")?;
    let link = accounts::invite(&web.app, &admin.user, role, for_whom.clone()).await?;
    let layout = frame(&web, &admin).await?;
    let template = InvitedPage { layout, link, role: role_zh(role), for_whom };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// POST /admin/accounts/invitations/{id}/withdraw
///
/// # Errors
/// 409 when it is not open any more; the books.
pub async fn withdraw(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Accounts>,
    id: Path<String>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    if accounts::withdraw(&web.app, &admin.user, id.into_inner()).await? {
        Ok(see_other("/admin/accounts?did=withdrawn", None))
    } else {
        Err(WebError::Conflict("这个邀请已经用过、收回或过期。没有任何改动；请刷新页面查看。"))
    }
}
