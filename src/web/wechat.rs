//! The silent trip to WeChat: who holds this phone.

use super::{
    Web,
    error::WebError,
    log_in::NextQuery,
    session::{Visitor, cookie, local_path, see_other},
};
use crate::flow::{bind_openid, log_in};
use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use serde::Deserialize;
use std::sync::Arc;

/// GET /wechat/login: off to WeChat. The way back is made from our configuration, never from a header.
///
/// # Errors
/// Too many trips; the books.
pub async fn start(
    web: Data<Arc<Web>>,
    visitor: Visitor,
    query: Query<NextQuery>,
) -> Result<HttpResponse, WebError> {
    web.limits.wechat_trip(&web.app, visitor.ip)?;
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
    web.limits.wechat_trip(&web.app, visitor.ip)?;
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
        // Nobody yet: after signing in, the next trip binds it.
        (None, None) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("next", &learnt.next)
                .finish();
            Ok(see_other(&format!("/login?{query}"), None))
        }
    }
}
