//! Rights at the handler: its signature says what it takes. And how roles and rights are called.

use super::{error::WebError, session::Admin};
use crate::domain::user::{Right, Role};
use actix_web::{FromRequest, HttpRequest, dev::Payload};
use std::{future::Future, marker::PhantomData, ops::Deref, pin::Pin};

/// A right as a type, for `May`.
pub trait Needs: 'static {
    const RIGHT: Right;
}

pub struct Ask;
pub struct Money;
pub struct Work;
pub struct Accounts;
pub struct AuditLog;
pub struct Diagnostics;
pub struct Export;

impl Needs for Ask {
    const RIGHT: Right = Right::Ask;
}
impl Needs for Money {
    const RIGHT: Right = Right::Money;
}
impl Needs for Work {
    const RIGHT: Right = Right::Work;
}
impl Needs for AuditLog {
    const RIGHT: Right = Right::AuditLog;
}
impl Needs for Diagnostics {
    const RIGHT: Right = Right::Diagnostics;
}
impl Needs for Export {
    const RIGHT: Right = Right::Export;
}
impl Needs for Accounts {
    const RIGHT: Right = Right::Accounts;
}

/// An administrator who has this right. One who has not is told so; to anybody else the page does not exist. A
/// handler that takes `Admin` is open to every role: `tests/it/matrix.rs` asks for each route which it is.
pub struct May<R> {
    admin: Admin,
    right: PhantomData<R>,
}

impl<R> Deref for May<R> {
    type Target = Admin;
    fn deref(&self) -> &Admin {
        &self.admin
    }
}

impl<R: Needs> FromRequest for May<R> {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<May<R>, WebError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admin = Admin::from_request(request, payload);
        Box::pin(async move {
            let admin = admin.await?;
            if admin.user.role.may(R::RIGHT) {
                Ok(May { admin, right: PhantomData })
            } else {
                Err(WebError::MissingRight(R::RIGHT))
            }
        })
    }
}

pub const fn role_zh(role: Role) -> &'static str {
    match role {
        Role::User => "用户",
        Role::Owner => "负责人",
        Role::Finance => "财务",
        Role::Support => "客服",
        Role::Auditor => "审计",
        Role::Developer => "技术",
    }
}

/// What a role is for, in a line.
pub const fn about_role_zh(role: Role) -> &'static str {
    match role {
        Role::User => "充值和查看自己的记录",
        Role::Owner => "全部权限，并管理账号",
        Role::Finance => "退款、入账、处理事项、导出",
        Role::Support => "查单、备注和处理事项，不动钱",
        Role::Auditor => "查看全部和操作日志、导出，不做任何改动",
        Role::Developer => "查单、重放通知、诊断，不动钱",
    }
}

pub const fn right_zh(right: Right) -> &'static str {
    match right {
        Right::See => "查看后台",
        Right::Ask => "查单和重放通知",
        Right::Money => "退款和入账",
        Right::Work => "处理事项",
        Right::Export => "导出",
        Right::AuditLog => "查看操作日志",
        Right::Diagnostics => "诊断",
        Right::Accounts => "管理账号",
    }
}

/// The roles that have a right, in one phrase.
pub fn holders_zh(right: Right) -> String {
    right.holders().map(role_zh).collect::<Vec<_>>().join("、")
}
