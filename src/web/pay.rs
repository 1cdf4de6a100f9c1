//! The payment page of one order, and the two questions it asks the server.

use super::{
    Web,
    browser::Browser,
    csrf,
    error::WebError,
    layout::{Layout, page},
    orders::own,
    session::{SignedIn, see_other},
};
use crate::{
    domain::order::{Channel, Order},
    flow::{
        confirm::{self, PageResult},
        top_up::{self, Pay},
    },
    gateway::Checkout,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path, Query},
};
use askama::Template;
use fast_qr::{QRBuilder, convert::Builder, convert::svg::SvgBuilder};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "pay.html")]
struct PayPage {
    layout: Layout,
    out_trade_no: String,
    amount: String,
    goods_name: String,
    kind: PayKind,
    /// JSON for `getBrandWCPayRequest`.
    params: String,
    bridge_src: Option<String>,
    pay_js: String,
    watch_js: String,
    expires: String,
    qr_svg: String,
    page_url: String,
    wechat_login: String,
}

/// What this browser can do.
enum PayKind {
    Jsapi,
    OpenInWechat,
    NeedOpenid,
    Busy,
    Refused,
    UsedUp,
}

/// GET /orders/{out_trade_no}/pay
///
/// # Errors
/// 404 for anybody but the owner; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    visitor: SignedIn,
    number: Path<String>,
) -> Result<HttpResponse, WebError> {
    let order = own(&web, &visitor, &number).await?;
    let order_page = format!("/orders/{}", order.out_trade_no);
    let here = format!("{order_page}/pay");
    if !order.is_payable(web.app.clock.now()) {
        return Ok(see_other(&order_page, None));
    }
    let login = format!("/wechat/login?next={}", here.replace('/', "%2F"));
    let (kind, params) = if visitor.kind != Browser::WechatPhone {
        (PayKind::OpenInWechat, String::new())
    } else if visitor.openid.is_none() {
        return Ok(see_other(&login, None));
    } else {
        let ip = visitor.ip.to_string();
        match top_up::checkout(&web.app, order.id, Channel::WechatJsapi, visitor.openid.as_ref(), &ip).await?
        {
            Pay::Paid | Pay::Closed => return Ok(see_other(&order_page, None)),
            Pay::Ready(Checkout::Jsapi { params }) => {
                (PayKind::Jsapi, serde_json::to_string(&params).unwrap_or_default())
            }
            Pay::NeedOpenid => (PayKind::NeedOpenid, String::new()),
            Pay::Busy => (PayKind::Busy, String::new()),
            Pay::Refused | Pay::NotOffered => (PayKind::Refused, String::new()),
            Pay::Ready(_) => (PayKind::Busy, String::new()),
            Pay::UsedUp => (PayKind::UsedUp, String::new()),
        }
    };
    let page_url = format!("{}{here}", web.app.config.public_url);
    let template = PayPage {
        layout: Layout::of(&web, &visitor),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        goods_name: order.goods_name.clone(),
        qr_svg: if matches!(kind, PayKind::OpenInWechat) { qr_svg(&page_url) } else { String::new() },
        kind,
        params,
        bridge_src: web.bridge.as_ref().map(|origin| format!("{origin}/static/simulator/bridge.js")),
        pay_js: web.assets.pay_js.url.clone(),
        watch_js: web.assets.watch_js.url.clone(),
        expires: order.expires_at.beijing_text().chars().skip(11).take(5).collect(),
        page_url,
        wechat_login: login,
    };
    Ok(page(&web, &visitor, StatusCode::OK, &template))
}

#[derive(Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    wait: u64,
}

/// GET /orders/{out_trade_no}/status?wait=SECONDS: the server's truth, as JSON.
///
/// # Errors
/// 404 for anybody but the owner, and then no gateway is asked; the books.
pub async fn status(
    web: Data<Arc<Web>>,
    visitor: SignedIn,
    number: Path<String>,
    query: Query<StatusQuery>,
) -> Result<HttpResponse, WebError> {
    let order = own(&web, &visitor, &number).await?;
    let order = confirm::status(&web.app, order, query.wait).await?;
    Ok(HttpResponse::Ok().json(described(&order)))
}

fn described(order: &Order) -> serde_json::Value {
    let closed = order.closed_at.is_some();
    json!({
        "status": order.status.number(),
        "closed": closed,
        "paid": order.is_paid(),
        "final": order.is_paid() || closed,
        "next": format!("/orders/{}", order.out_trade_no),
    })
}

#[derive(Deserialize)]
pub struct ReturnedForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    result: String,
}

/// POST /orders/{out_trade_no}/returned: what the pay sheet told the page. Only the story is changed by it.
///
/// # Errors
/// 404 for anybody but the owner; 422 for a word that is not ok, cancel or fail.
pub async fn returned(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    number: Path<String>,
    form: Form<ReturnedForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &visitor, &form.token)?;
    let order = own(&web, &visitor, &number).await?;
    let result = PageResult::parse(&form.result)
        .ok_or_else(|| WebError::Unprocessable("result 只能是 ok、cancel 或 fail。".to_owned()))?;
    confirm::returned(&web.app, &order, result).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn qr_svg(text: &str) -> String {
    QRBuilder::new(text).build().map(|qr| SvgBuilder::default().margin(2).to_str(&qr)).unwrap_or_default()
}
