//! Forms are accepted from our own pages only: by what the browser says of the request's origin,
//! and by a token no other site can know.

use super::{error::WebError, session::Visitor};
use crate::{app::App, token};
use actix_web::HttpRequest;

/// Checks an unsafe request. Old in-app browsers send no Sec-Fetch-Site; then Origin is compared,
/// and the token is asked for in every case.
///
/// # Errors
/// `Forbidden`.
pub fn check(request: &HttpRequest, app: &App, visitor: &Visitor, form_token: &str) -> Result<(), WebError> {
    if from_us(request, app) && token::same(form_token, &visitor.form_token(app)) {
        Ok(())
    } else {
        Err(WebError::Forbidden)
    }
}

/// Whether a page of ours or the payer made this request, as far as the browser says. Enough for what only sets
/// an attempt aside; a form needs its token too.
pub fn from_us(request: &HttpRequest, app: &App) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    match (header("sec-fetch-site"), header("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin == app.config.public_url.as_str(),
        (None, None) => true,
    }
}
