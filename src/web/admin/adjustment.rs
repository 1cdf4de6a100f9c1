//! Balances put right by hand: how one is shown, and the two answers of a second administrator.

use super::{user::adjusted, work_item::written};
use crate::{
    domain::money::yuan_text,
    flow::adjust,
    store::adjustments::{Adjustment, AdjustmentState},
    web::{
        Web, csrf,
        error::WebError,
        rights::{May, Money},
        session::Admin,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Form, Path},
};
use serde::Deserialize;
use std::sync::Arc;

/// One adjustment on its user's page.
pub struct AdjustmentRow {
    pub id: i64,
    pub amount: String,
    pub state: &'static str,
    pub tone: &'static str,
    pub reason: String,
    pub asked: String,
    pub decided: Option<String>,
    pub is_waiting: bool,
    /// The one who asked does not decide.
    pub may_decide: bool,
    pub action: String,
}

pub fn rows(adjustments: &[Adjustment], admin: &Admin) -> Vec<AdjustmentRow> {
    adjustments.iter().map(|one| row(one, &admin.user.username)).collect()
}

fn row(one: &Adjustment, reader: &str) -> AdjustmentRow {
    let (state, tone) = match one.state {
        AdjustmentState::Waiting => ("等另一位管理员同意", "warn"),
        AdjustmentState::Made => ("已调整", "ok"),
        AdjustmentState::Rejected => ("已拒绝", "mute"),
        AdjustmentState::Withdrawn => ("已撤回", "mute"),
    };
    let sign = if one.fen > 0 { "+" } else { "" };
    let finished = one.finished_at.map(|at| at.beijing_text()).unwrap_or_default();
    AdjustmentRow {
        id: one.id,
        amount: format!("{sign}{}", yuan_text(one.fen)),
        state,
        tone,
        reason: one.reason.clone(),
        asked: format!("{} 于 {}", one.requested_by, one.requested_at.beijing_text()),
        decided: one.decided_by.as_ref().map(|by| format!("{by} 于 {finished}")),
        is_waiting: one.state == AdjustmentState::Waiting,
        may_decide: one.requested_by != reader,
        action: format!("/admin/adjustments/{}", one.id),
    }
}

#[derive(Deserialize)]
pub struct NoteForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    note: String,
}

/// POST /admin/adjustments/{id}/approve: a second administrator agrees.
///
/// # Errors
/// 404; 422 without a note; 409 for whoever asked for it, when it was decided before, or the balance no longer holds it.
pub async fn approve(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    id: Path<i64>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    decide(&web, &request, &admin, id.into_inner(), &form, true).await
}

/// POST /admin/adjustments/{id}/reject: the second administrator says no, or who asked for it takes it back.
///
/// # Errors
/// 404; 422 without a note; 409 when it was decided before; the books.
pub async fn reject(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    id: Path<i64>,
    form: Form<NoteForm>,
) -> Result<HttpResponse, WebError> {
    decide(&web, &request, &admin, id.into_inner(), &form, false).await
}

async fn decide(
    web: &Web,
    request: &HttpRequest,
    admin: &Admin,
    id: i64,
    form: &NoteForm,
    agreed: bool,
) -> Result<HttpResponse, WebError> {
    csrf::check(request, &web.app, admin, &form.token)?;
    let note = written(&form.note, "请写明原因，没有任何改动。")?;
    let done = adjust::decide(&web.app, &admin.user, id, agreed, &note).await?;
    Ok(adjusted(admin, &done))
}
