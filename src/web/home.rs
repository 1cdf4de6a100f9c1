//! The front door.

use super::session::{Visitor, see_other};
use actix_web::HttpResponse;

/// GET /
pub async fn show(visitor: Visitor) -> HttpResponse {
    see_other(if visitor.user.is_some() { "/top-up" } else { "/login" }, None)
}
