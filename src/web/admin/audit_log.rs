//! Who did what: the audit log, newest first. Rows are only ever added, so there is nothing here to change them with.

use super::{frame, storable};
use crate::{
    domain::time::UnixMs,
    store::audit_log::{self, Entry, Filter},
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
        rights::{AuditLog, May},
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
#[template(path = "admin/audit_log.html")]
struct AuditLogPage {
    layout: Layout,
    shown: Shown,
    rows: Vec<ActRow>,
    next: Option<String>,
}

struct ActRow {
    id: i64,
    at: String,
    actor: String,
    actor_url: String,
    action: String,
    action_zh: &'static str,
    action_url: String,
    target: String,
    target_url: Option<String>,
    detail: String,
    was: String,
    became: String,
}

/// The filter as the address has it: whole words.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    actor: String,
    action: String,
    target: String,
    before: Option<i64>,
}

impl Shown {
    fn href(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("actor", &self.actor), ("action", &self.action), ("target", &self.target)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if let Some(id) = self.before {
            query.append_pair("before", &id.to_string());
        }
        format!("/admin/audit-log?{}", query.finish())
    }
}

/// GET /admin/audit-log
///
/// # Errors
/// The books.
pub async fn list(
    web: Data<Arc<Web>>,
    admin: May<AuditLog>,
    query: Query<Shown>,
) -> Result<HttpResponse, WebError> {
    let shown = query.into_inner();
    let word = |text: &str| {
        let text = storable(text.trim(), 128);
        (!text.is_empty()).then_some(text)
    };
    let filter =
        Filter { actor: word(&shown.actor), action: word(&shown.action), target: word(&shown.target) };
    let before = shown.before;
    let read = web.app.store.read(move |db| audit_log::list(db, &filter, before, PAGE.saturating_add(1)));
    let mut found = read.await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|entry| entry.id);
    if admin.json {
        return Ok(HttpResponse::Ok()
            .json(json!({ "acts": found.iter().map(as_json).collect::<Vec<_>>(), "before": next })));
    }
    let template = AuditLogPage {
        layout: frame(&web, &admin).await?,
        rows: found.into_iter().map(row).collect(),
        next: next.map(|id| Shown { before: Some(id), ..shown.clone() }.href()),
        shown,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn row(entry: Entry) -> ActRow {
    let (action_zh, base) = action_zh(&entry.action);
    ActRow {
        id: entry.id,
        at: UnixMs(entry.at).beijing_text(),
        actor_url: Shown { actor: entry.actor.clone(), ..Shown::default() }.href(),
        action_url: Shown { action: entry.action.clone(), ..Shown::default() }.href(),
        target_url: base.map(|base| format!("{base}{}", entry.target)),
        actor: entry.actor,
        action_zh,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
        was: entry.was,
        became: entry.became,
    }
}

/// What an act is called, and where its target is shown when the target alone says so.
fn action_zh(action: &str) -> (&'static str, Option<&'static str>) {
    const ORDERS: Option<&str> = Some("/admin/orders/");
    const NOTICES: Option<&str> = Some("/admin/notices/");
    const WORK: Option<&str> = Some("/admin/work-items/");
    const REFUNDS: Option<&str> = Some("/admin/orders?q=");
    const USERS: Option<&str> = Some("/admin/users/");
    const BILLS: Option<&str> = Some("/admin/bills/");
    match action {
        "order_queried" => ("重新查单", ORDERS),
        "notice_replayed" => ("重放回调", NOTICES),
        "refund_requested" => ("申请退款", REFUNDS),
        "refund_approved" => ("同意退款", REFUNDS),
        "refund_rejected" => ("拒绝退款", REFUNDS),
        "refund_withdrawn" => ("撤回退款", REFUNDS),
        "refund_queried" => ("查询退款", REFUNDS),
        "refund_given_up" => ("放弃退款", REFUNDS),
        "payment_credited" => ("人工入账", WORK),
        "work_item_noted" => ("备注", WORK),
        "work_item_closed" => ("处理完", WORK),
        "work_item_reopened" => ("重新打开", WORK),
        "user_frozen" => ("冻结用户", USERS),
        "user_unfrozen" => ("解除冻结", USERS),
        "balance_adjusted" => ("调整余额", None),
        "adjustment_requested" => ("申请调整余额", None),
        "adjustment_rejected" => ("拒绝调整余额", None),
        "adjustment_withdrawn" => ("撤回调整余额", None),
        "orders_exported" => ("导出充值记录", None),
        "bill_exported" => ("下载账单明细", BILLS),
        "bill_reconciled" => ("重新对账", BILLS),
        "gateways_tested" => ("自检支付渠道", None),
        "admin_created" => ("新建管理员", None),
        "admin_invited" => ("邀请同事", None),
        "admin_invitation_withdrawn" => ("收回邀请", None),
        "admin_role_changed" => ("更改角色", None),
        "admin_disabled" => ("停用账号", None),
        "admin_enabled" => ("恢复账号", None),
        "admin_signed_out" => ("退出登录", None),
        "password_changed" => ("更改密码", None),
        "password_reset" => ("重设密码", None),
        "second_factor_on" => ("打开两步验证", None),
        "second_factor_off" => ("关闭两步验证", None),
        "second_factor_removed" => ("移除两步验证", None),
        "recovery_code_used" => ("用恢复码登录", None),
        "recovery_codes_renewed" => ("换新恢复码", None),
        "password_renewed" => ("用链接设置新密码", None),
        "admin_signed_in" => ("登录", None),
        "second_factor_blocked" => ("验证码错得太多", None),
        "audit_chain_begins" => ("审计链开始", None),
        _ => ("其他", None),
    }
}

fn as_json(entry: &Entry) -> serde_json::Value {
    json!({
        "id": entry.id,
        "at_ms": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": entry.detail,
        "was": entry.was,
        "became": entry.became,
    })
}
