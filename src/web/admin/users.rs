//! Users: who there is, what each may spend, who is frozen.

use super::{frame, storable};
use crate::{
    domain::{ledger::Account, money::yuan_text, user::User},
    store::{freezes, ledger, users},
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
        session::Admin,
    },
};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use url::form_urlencoded::Serializer;

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage {
    layout: Layout,
    q: String,
    rows: Vec<UserRow>,
    next: Option<String>,
}

struct UserRow {
    id: i64,
    url: String,
    name: String,
    is_admin: bool,
    is_frozen: bool,
    fen: i64,
    balance: String,
    created: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    q: String,
    before: Option<i64>,
}

/// GET /admin/users
///
/// # Errors
/// The books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Shown>) -> Result<HttpResponse, WebError> {
    let Shown { q, before } = query.into_inner();
    let begins = storable(q.trim(), 64);
    let wanted = (!begins.is_empty()).then_some(begins);
    let read = web.app.store.read(move |db| {
        let found = users::list(db, wanted.as_deref(), before, PAGE.saturating_add(1))?;
        let ids: Vec<i64> = found.iter().map(|listed| listed.user.id).collect();
        let accounts: Vec<Account> = ids.iter().map(|id| Account::User(*id)).collect();
        Ok((found, ledger::balances(db, &accounts)?, freezes::among(db, &ids)?))
    });
    let (mut found, balances, frozen) = read.await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|listed| listed.user.id);
    let row = |listed: &users::Listed| {
        let User { id, username, role } = &listed.user;
        let fen = balances.get(&Account::User(*id).name()).copied().unwrap_or_default();
        UserRow {
            id: *id,
            url: format!("/admin/users/{id}"),
            name: username.clone(),
            is_admin: role.is_admin(),
            is_frozen: frozen.contains(id),
            fen,
            balance: yuan_text(fen),
            created: listed.created_at.beijing_text(),
        }
    };
    let rows: Vec<UserRow> = found.iter().map(row).collect();
    if admin.json {
        let row = |row: &UserRow| {
            json!({
                "id": row.id,
                "username": row.name,
                "balance_fen": row.fen,
                "frozen": row.is_frozen,
            })
        };
        return Ok(HttpResponse::Ok()
            .json(json!({ "users": rows.iter().map(row).collect::<Vec<_>>(), "before": next })));
    }
    let href = |id: i64| {
        let mut query = Serializer::new(String::new());
        if !q.is_empty() {
            query.append_pair("q", &q);
        }
        format!("/admin/users?{}", query.append_pair("before", &id.to_string()).finish())
    };
    let next = next.map(href);
    let template = UsersPage { layout: frame(&web, &admin).await?, q, rows, next };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}
