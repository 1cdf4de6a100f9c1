//! Where a browser comes back to from WeChat's or Alipay's own page. That it came back proves nothing, nor does
//! anything in the address: only the books say "paid".

use super::{
    Web,
    error::WebError,
    layout::{Layout, page},
    session::{SignedIn, see_other},
};
use crate::{domain::ids::OutTradeNo, flow::confirm, store::attempts};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "return.html")]
struct ReturnPage {
    layout: Layout,
    out_trade_no: String,
    amount: String,
    /// This page, which asks anew each time.
    here: String,
    pay_url: String,
    watch_js: String,
}

/// GET /return/{out_trade_no}, the number of an attempt. Parameters are not read. The gateway is asked before the
/// page is drawn, as often as a waiting page may, so that it works without script too.
///
/// # Errors
/// 404 for anybody but the owner; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    visitor: SignedIn,
    number: Path<String>,
) -> Result<HttpResponse, WebError> {
    let number = OutTradeNo::parse(&number).ok_or(WebError::NotFound)?;
    let here = format!("/return/{number}");
    let found = web.app.store.read(move |db| attempts::with_order(db, &number)).await?;
    let (attempt, order) =
        found.filter(|(_, order)| order.user_id == visitor.user.id).ok_or(WebError::NotFound)?;
    let order = confirm::came_back(&web.app, &attempt, order).await?;
    let order_page = format!("/orders/{}", order.out_trade_no);
    if !order.is_payable(web.app.clock.now()) {
        return Ok(see_other(&order_page, None));
    }
    let template = ReturnPage {
        layout: Layout::of(&web, &visitor),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        here,
        pay_url: format!("{order_page}/pay"),
        watch_js: web.assets.watch_js.url.clone(),
    };
    Ok(page(&web, &visitor, StatusCode::OK, &template))
}
