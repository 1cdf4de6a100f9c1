//! The silent trip to WeChat, and a mini program's shorter one: who holds this phone.

use super::{
    Web, csrf,
    error::WebError,
    log_in::{NextQuery, UNKNOWN},
    session::{SignedIn, Visitor, cookie, local_path, see_other},
    words::Lang,
};
use crate::flow::{bind_openid, log_in};
use actix_web::{
    Either, HttpRequest, HttpResponse,
    web::{Data, Form, Json, Query},
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// GET /wechat/login: off to WeChat. The way back is made from our configuration, never from a header.
///
/// # Errors
/// 404 without a service account; too many trips; the books.
pub async fn start(
    web: Data<Arc<Web>>,
    visitor: Visitor,
    query: Query<NextQuery>,
) -> Result<HttpResponse, WebError> {
    has_login(&web)?;
    web.limits.wechat_trip(&web.app, visitor.ip).await?;
    let location = bind_openid::start(&web.app, &visitor.browser, &local_path(&query.next)).await?;
    let mut response = HttpResponse::Found();
    visitor.greet(&web.app, &mut response);
    Ok(response.insert_header(("location", location)).finish())
}

/// What WeChat sends back. An openid among the parameters would be ignored: it comes from the token reply alone.
#[derive(Deserialize)]
pub struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// GET /wechat/callback: signs in or binds, then goes on to a clean address.
///
/// # Errors
/// `Restart` when state or code do not hold; WeChat busy; the books.
pub async fn callback(
    web: Data<Arc<Web>>,
    visitor: Visitor,
    query: Query<Returned>,
) -> Result<HttpResponse, WebError> {
    has_login(&web)?;
    web.limits.wechat_trip(&web.app, visitor.ip).await?;
    let signed_in = visitor.user.as_ref();
    let learnt =
        bind_openid::finish(&web.app, &visitor.browser, &query.state, &query.code, signed_in).await?;
    match (signed_in, learnt.owner) {
        (Some(_), _) => {
            bind_openid::keep(&web.app, &visitor.browser, learnt.openid).await?;
            Ok(see_other(&learnt.next, None))
        }
        (None, Some(owner)) => {
            let secret =
                log_in::open_session(&web.app, &owner, Some(visitor.browser), Some(learnt.openid)).await?;
            Ok(see_other(&learnt.next, Some(cookie(&web.app, &secret))))
        }
        // Nobody yet: after signing in, the next trip binds it. Until then another trip would end here again.
        (None, None) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("next", &learnt.next)
                .append_pair("wechat", UNKNOWN)
                .finish();
            Ok(see_other(&format!("/login?{query}"), None))
        }
    }
}

/// A shop that only takes Alipay sends nobody to WeChat.
fn has_login(web: &Web) -> Result<(), WebError> {
    web.app.config.wechat_login.as_ref().map(|_| ()).ok_or(WebError::NotFound)
}

/// What a mini program sends, as JSON or as a form.
#[derive(Deserialize)]
pub struct MiniLogin {
    /// The form's token, as with every form.
    #[serde(default)]
    token: String,
    /// From `wx.login`, good once and for five minutes.
    #[serde(default)]
    code: String,
}

/// POST /wechat/mini/login: learns the signed-in user's openid under the mini program's appid, so that
/// `wechat_mini` has a payer. Answers `{"bound": true}`.
///
/// # Errors
/// 404 without a mini program; `Restart` for a code that does not hold; 409 when the phone is another user's or the
/// user has another phone; WeChat busy; the books.
pub async fn mini_login(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    sent: Either<Json<MiniLogin>, Form<MiniLogin>>,
) -> Result<HttpResponse, WebError> {
    let sent = match sent {
        Either::Left(Json(sent)) | Either::Right(Form(sent)) => sent,
    };
    csrf::check(&request, &web.app, &visitor, &sent.token)?;
    if web.app.config.wechat_mini.is_none() {
        return Err(WebError::NotFound);
    }
    web.limits.wechat_trip(&web.app, visitor.ip).await?;
    if bind_openid::bind_mini(&web.app, &visitor.user, &sent.code).await? {
        return Ok(HttpResponse::Ok().json(json!({ "bound": true })));
    }
    Err(WebError::Impossible(if visitor.user.role.is_admin() {
        Lang::admins_bind_nothing
    } else {
        Lang::wechat_bound
    }))
}
