//! The payment page of one order, and the two questions it asks the server.

use super::{
    Web, csrf,
    error::{WebError, Wrong},
    layout::{Layout, page},
    orders::own,
    providers, records,
    session::{SignedIn, see_other},
    ways::{Ways, name},
    words::Lang,
};
use crate::{
    domain::{
        order::{Attempt, Channel, Order},
        time::UnixMs,
    },
    flow::{
        confirm::{self, PageResult},
        top_up::{self, Pay},
    },
    gateway::Checkout,
    store::{attempts, statements},
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
    /// When it is too late, `21:30` in Beijing: for the order, or sooner for what is shown.
    expires: String,
    /// The same from now on, in ms, for the page's own clock.
    life_ms: i64,
    qr_svg: String,
    /// At the gateway.
    pay_url: String,
    /// The app that pays.
    app: &'static str,
    /// Its colours.
    provider: &'static str,
    page_url: String,
    /// This page with the same choice.
    here: String,
    /// The page that asks whether it has been paid, for browsers without script.
    paid_url: String,
    others: Vec<OtherWay>,
    elsewhere: &'static str,
    /// Demo: where somebody pays for the phone that nobody has.
    wallet_url: Option<String>,
}

/// A link to pay by something else.
struct OtherWay {
    url: String,
    name: &'static str,
    hint: &'static str,
}

/// What this browser can do.
enum PayKind {
    Jsapi,
    /// The page's own address as a QR code and as a link to be carried to WeChat.
    OpenInWechat,
    Qr,
    Redirect,
    /// For an app or a mini program: nothing to be done in a browser.
    InApp,
    Elsewhere,
    Busy,
    Refused,
    UsedUp,
    Frozen,
}

/// What the page shows of one way to pay.
struct Shown {
    kind: PayKind,
    params: String,
    /// What the QR code says.
    code: String,
    pay_url: String,
}

impl Shown {
    fn plain(kind: PayKind) -> Shown {
        Shown { kind, params: String::new(), code: String::new(), pay_url: String::new() }
    }

    fn of(checkout: Checkout) -> Shown {
        match checkout {
            Checkout::Jsapi { params } => Shown {
                params: serde_json::to_string(&params).unwrap_or_default(),
                ..Shown::plain(PayKind::Jsapi)
            },
            Checkout::Qr { code_url } => Shown { code: code_url, ..Shown::plain(PayKind::Qr) },
            Checkout::Redirect { url } => Shown { pay_url: url, ..Shown::plain(PayKind::Redirect) },
            Checkout::App { .. } => Shown::plain(PayKind::InApp),
        }
    }
}

#[derive(Deserialize)]
pub struct PayQuery {
    #[serde(default)]
    channel: String,
}

/// GET /orders/{out_trade_no}/pay: prepares the payment by the channel named, or the one begun with, or this
/// browser's first.
///
/// # Errors
/// 404 for anybody but the owner; 422 for a channel that is not offered here; 403 for a link of another site that
/// would put a payment begun aside; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    number: Path<String>,
    query: Query<PayQuery>,
) -> Result<HttpResponse, WebError> {
    let order = own(&web, &visitor, &number).await?;
    let order_page = format!("/orders/{}", order.out_trade_no);
    if !order.is_payable(web.app.clock.now()) {
        return Ok(see_other(&order_page, None));
    }
    let ways = Ways::of(&web, &visitor);
    let begun = open_attempt(&web, &order).await?;
    // Money has come that does not fit: no more of it before somebody has looked.
    let id = order.id;
    if web.app.store.read(move |db| statements::odd_payments(db, &[id])).await?.iter().any(|odd| odd.open) {
        return Ok(see_other(&order_page, None));
    }
    if let Some(attempt) =
        begun.as_ref().filter(|attempt| attempt.channel.in_app() && query.channel.is_empty())
    {
        // Somebody pays it there: no visit of a browser puts that aside, only the choice of another way.
        let shown = Shown::plain(PayKind::InApp);
        return draw(&web, &visitor, &order, &ways, Some(attempt.channel), shown).await;
    }
    let Some(channel) = chosen(&web, &request, &ways, &query.channel, begun.as_ref())? else {
        return draw(&web, &visitor, &order, &ways, None, Shown::plain(PayKind::Elsewhere)).await;
    };
    if ways.carries(channel) {
        let shown = Shown { code: address(&web, &order), ..Shown::plain(PayKind::OpenInWechat) };
        return draw(&web, &visitor, &order, &ways, Some(channel), shown).await;
    }
    let ip = visitor.ip.to_string();
    let pay = top_up::checkout(&web.app, order.id, channel, visitor.openid.as_ref(), &ip).await?;
    let shown = match pay {
        Pay::Paid | Pay::Closed => return Ok(see_other(&order_page, None)),
        Pay::Ready(checkout) => Shown::of(checkout),
        Pay::NeedOpenid => return Ok(see_other(&wechat_login(&order), None)),
        Pay::Busy => Shown::plain(PayKind::Busy),
        Pay::Refused | Pay::NotOffered => Shown::plain(PayKind::Refused),
        Pay::UsedUp => Shown::plain(PayKind::UsedUp),
        Pay::Frozen => Shown::plain(PayKind::Frozen),
    };
    draw(&web, &visitor, &order, &ways, Some(channel), shown).await
}

/// By which channel this page pays. Another one than that of the attempt begun puts the attempt aside, so only our
/// own pages and the payer may ask for it.
fn chosen(
    web: &Web,
    request: &HttpRequest,
    ways: &Ways,
    named: &str,
    begun: Option<&Attempt>,
) -> Result<Option<Channel>, WebError> {
    if named.is_empty() {
        let begun = begun.map(|attempt| attempt.channel).filter(|channel| ways.has(*channel));
        return Ok(begun.or(ways.default()));
    }
    let channel = ways.named(named, false).map_err(WebError::Wrong)?;
    let switches = begun.is_some_and(|attempt| attempt.channel != channel);
    if switches && !csrf::from_us(request, &web.app) {
        return Err(WebError::Forbidden);
    }
    Ok(Some(channel))
}

async fn open_attempt(web: &Web, order: &Order) -> Result<Option<Attempt>, WebError> {
    let id = order.id;
    let attempts = web.app.store.read(move |db| attempts::of_order(db, id)).await?;
    Ok(attempts.into_iter().rfind(|attempt| attempt.closed_at.is_none()))
}

fn address(web: &Web, order: &Order) -> String {
    web.app.config.url(&format!("/orders/{}/pay", order.out_trade_no))
}

fn wechat_login(order: &Order) -> String {
    format!("/wechat/login?next=%2Forders%2F{}%2Fpay", order.out_trade_no)
}

async fn draw(
    web: &Web,
    visitor: &SignedIn,
    order: &Order,
    ways: &Ways,
    channel: Option<Channel>,
    shown: Shown,
) -> Result<HttpResponse, WebError> {
    let (expires_at, attempt) = match shown.kind {
        PayKind::Qr | PayKind::Redirect => fresh_until(web, order).await?,
        _ => (order.expires_at, None),
    };
    let provider = channel.unwrap_or(Channel::WechatJsapi).provider();
    let path = format!("/orders/{}/pay", order.out_trade_no);
    let template = PayPage {
        layout: Layout::of(web, visitor),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        goods_name: records::goods(order, visitor.view.lang).to_owned(),
        qr_svg: if shown.code.is_empty() { String::new() } else { qr_svg(&shown.code) },
        kind: shown.kind,
        params: shown.params,
        pay_url: shown.pay_url,
        bridge_src: web.bridge.as_ref().map(|origin| format!("{origin}/static/simulator/bridge.js")),
        pay_js: web.assets.pay_js.url.clone(),
        watch_js: web.assets.watch_js.url.clone(),
        expires: deadline(expires_at, web.app.clock.now()),
        life_ms: expires_at.since(web.app.clock.now()).max(0),
        app: providers::app(provider, visitor.view.lang),
        provider: provider.as_str(),
        page_url: address(web, order),
        here: channel.map_or_else(|| path.clone(), |channel| format!("{path}?channel={}", channel.as_str())),
        paid_url: attempt.map_or_else(
            || format!("/orders/{}", order.out_trade_no),
            |attempt| format!("/return/{}", attempt.out_trade_no),
        ),
        others: others(ways, channel, &path, visitor.view.lang),
        elsewhere: ways.elsewhere(visitor.view.lang),
        wallet_url: web.bridge.as_ref().map(|origin| format!("{origin}/")),
    };
    Ok(page(web, visitor, StatusCode::OK, &template))
}

/// `20:30`, Beijing, or `11-21 00:10` on another day.
fn deadline(at: UnixMs, now: UnixMs) -> String {
    let from = if at.beijing_day() == now.beijing_day() { 11 } else { 5 };
    at.beijing_text().get(from..16).unwrap_or_default().to_owned()
}

/// How long what was just prepared may be used: as long as the gateway keeps it, and no longer than the order.
async fn fresh_until(web: &Web, order: &Order) -> Result<(UnixMs, Option<Attempt>), WebError> {
    let attempt = open_attempt(web, order).await?;
    let until = attempt.as_ref().and_then(|attempt| {
        let (gateway, _) = web.app.gateway_for(attempt.channel)?;
        Some(attempt.prepaid_at?.plus_ms(gateway.prepaid_life_ms(attempt.channel)))
    });
    Ok((until.map_or(order.expires_at, |until| until.min(order.expires_at)), attempt))
}

fn others(ways: &Ways, channel: Option<Channel>, path: &str, lang: Lang) -> Vec<OtherWay> {
    let other = |other: &Channel| OtherWay {
        url: format!("{path}?channel={}", other.as_str()),
        name: name(*other, lang),
        hint: ways.hint(*other, lang),
    };
    ways.here().iter().filter(|other| Some(**other) != channel).map(other).collect()
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
/// 404 for anybody but the owner; 422 for a word that is not ok, cancel or fail; 429 too often.
pub async fn returned(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    number: Path<String>,
    form: Form<ReturnedForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &visitor, &form.token)?;
    let order = own(&web, &visitor, &number).await?;
    let result = PageResult::parse(&form.result).ok_or(WebError::Wrong(Wrong::Result))?;
    web.limits.returned(&web.app, visitor.user.id).await?;
    confirm::returned(&web.app, &order, result).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Drawn here, so that no script and no other server is needed.
pub fn qr_svg(text: &str) -> String {
    QRBuilder::new(text).build().map(|qr| SvgBuilder::default().margin(2).to_str(&qr)).unwrap_or_default()
}
