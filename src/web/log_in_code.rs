//! The second step of signing in, for accounts with a second factor.

use super::{
    Web, csrf,
    error::WebError,
    layout::{Layout, page},
    session::{Visitor, cookie, see_other},
};
use crate::flow::second_factor::{self, Answer};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "admin/login_code.html")]
struct CodePage {
    layout: Layout,
    error: Option<String>,
}

/// Codes and recovery codes are sealed with that key.
const WRONG: &str = "验证码不正确，或已经用过。请等手机显示下一个再输入；一直不对时，请核对手机的时间。\
                     服务器更换过 SECRET_KEY 时，请负责人重设你的登录。";

#[derive(Deserialize)]
pub struct CodeForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    code: String,
}

/// GET /login/code
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, visitor: Visitor) -> Result<HttpResponse, WebError> {
    if !second_factor::is_waiting(&web.app, &visitor.browser).await? {
        return Ok(see_other("/login", None));
    }
    Ok(form(&web, &visitor, StatusCode::OK, None))
}

/// POST /login/code: signs in, or goes back to the password when that was too long ago.
///
/// # Errors
/// `Forbidden` without the form's token; `TooMany`; a wrong code comes back as the form with 422; the books.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: Visitor,
    posted: Form<CodeForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &visitor, &posted.token)?;
    web.limits.code(&web.app, visitor.ip).await?;
    let wrong = |text: String| form(&web, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(text));
    Ok(match second_factor::answer(&web.app, &visitor.browser, &posted.code, visitor.place()).await? {
        Answer::In { secret, next } => see_other(&next, Some(cookie(&web.app, &secret))),
        Answer::Wrong => wrong(WRONG.to_owned()),
        Answer::Blocked(secs) => {
            wrong(format!("不正确的验证码太多，请在 {secs} 秒后再试。没有登录，账号是安全的。"))
        }
        Answer::Over => see_other("/login", None),
    })
}

fn form(web: &Web, visitor: &Visitor, status: StatusCode, error: Option<String>) -> HttpResponse {
    page(web, visitor, status, &CodePage { layout: Layout::of(web, visitor).for_administrators(), error })
}
