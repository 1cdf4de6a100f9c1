//! The static files, inside the binary, under addresses that change with their content.

use crate::{token, web::Web};
use actix_web::{HttpResponse, web::Data, web::Path};
use std::sync::Arc;

/// One file with its address.
pub struct Asset {
    pub url: String,
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// All of them, by field.
pub struct Assets {
    pub css: Asset,
    pub admin_css: Asset,
    pub admin_js: Asset,
    pub copy_js: Asset,
    pub pay_js: Asset,
    pub top_up_js: Asset,
    pub watch_js: Asset,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

impl Assets {
    pub fn new() -> Assets {
        Assets {
            css: asset("app.css", CSS, include_str!("../../static/app.css")),
            admin_css: asset("admin.css", CSS, include_str!("../../static/admin.css")),
            admin_js: asset("admin.js", JS, include_str!("../../static/admin.js")),
            copy_js: asset("copy.js", JS, include_str!("../../static/copy.js")),
            pay_js: asset("pay.js", JS, include_str!("../../static/pay.js")),
            top_up_js: asset("top_up.js", JS, include_str!("../../static/top_up.js")),
            watch_js: asset("watch.js", JS, include_str!("../../static/watch.js")),
        }
    }

    fn all(&self) -> [&Asset; 7] {
        [
            &self.css,
            &self.admin_css,
            &self.admin_js,
            &self.copy_js,
            &self.pay_js,
            &self.top_up_js,
            &self.watch_js,
        ]
    }
}

impl Default for Assets {
    fn default() -> Assets {
        Assets::new()
    }
}

fn asset(name: &'static str, content_type: &'static str, body: &'static str) -> Asset {
    let hash: String = token::hash(body).chars().take(12).collect();
    Asset { url: format!("/static/{hash}/{name}"), name, content_type, body }
}

/// GET /static/{hash}/{name}
pub async fn serve(web: Data<Arc<Web>>, path: Path<(String, String)>) -> HttpResponse {
    let (hash, name) = path.into_inner();
    let wanted = format!("/static/{hash}/{name}");
    match web.assets.all().into_iter().find(|asset| asset.name == name && asset.url == wanted) {
        Some(asset) => HttpResponse::Ok()
            .insert_header(("content-type", asset.content_type))
            .insert_header(("cache-control", "public, max-age=31536000, immutable"))
            .body(asset.body),
        None => HttpResponse::NotFound().finish(),
    }
}
