//! Alipay's one gateway as it answers: public parameters, signature, identity, field rules, then the book.
//!
//! Source: the pages on public parameters and public error codes, and each method's own page.

use super::{
    Simulator, SimulatorError,
    trades::{Book, Message},
};
use crate::{
    clock::NoEntropy,
    config::{SIMULATOR_ALIPAY_APP_ID, SIMULATOR_ALIPAY_SELLER_ID, SimulatorKeys},
    domain::time::UnixMs,
    gateway::{
        Response,
        rsa::{PrivateKey, PublicKey},
        wechat_v2::xml::Fields,
    },
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use certificates::{Certificates, no_such_app_certificate};
use rules::{Broken, Rule};
use serde_json::Value;
use std::time::Duration;

pub mod certificates;
pub mod notify;
pub mod trade;

mod bill;
mod form;
mod refund;
mod rules;
#[cfg(test)]
mod tests;

/// The path of everything.
pub const PATH: &str = "/gateway.do";
/// How long `timeout-after-accept` keeps its reply: longer than any patience of ours.
const HELD: Duration = Duration::from_millis(6_500);
/// How far the merchant's clock may be off. Alipay publishes no figure; an hour finds a wrong zone.
const OFF_MS: i64 = 3_600_000;
/// How old the address of a cashier may be when the browser comes: a page may lie open for long.
const PAGE_AGE_MS: i64 = 24 * 3_600_000;

/// The merchant's app as Alipay knows it, and Alipay's own key for it.
#[derive(Clone, Debug)]
pub struct AlipayApp {
    pub app_id: String,
    pub seller_id: String,
    /// The one the merchant uploaded: it verifies what the merchant signs.
    pub app_public_key: PublicKey,
    /// Signs replies, callbacks and returns.
    pub key: PrivateKey,
    /// In certificate mode.
    pub certificates: Option<Certificates>,
}

impl AlipayApp {
    /// `None` for keys without RSA among them.
    pub fn of(keys: &SimulatorKeys) -> Option<AlipayApp> {
        let rsa = keys.rsa.as_ref()?;
        let app = PrivateKey::parse(&rsa.alipay_app).ok()?;
        Some(AlipayApp {
            app_id: SIMULATOR_ALIPAY_APP_ID.to_owned(),
            seller_id: SIMULATOR_ALIPAY_SELLER_ID.to_owned(),
            app_public_key: PublicKey::parse(&app.public_base64()?).ok()?,
            key: PrivateKey::parse(&rsa.alipay_platform).ok()?,
            certificates: None,
        })
    }

    /// The same in certificate mode, with certificates that hold at `now`.
    pub fn certified(keys: &SimulatorKeys, now: UnixMs) -> Option<AlipayApp> {
        let certificates = Some(Certificates::of(keys, now)?);
        Some(AlipayApp { certificates, ..AlipayApp::of(keys)? })
    }
}

/// What the gateway answers, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Precreate,
    PagePay,
    WapPay,
    Query,
    Close,
    Refund,
    RefundQuery,
    BillUrl,
}

impl Method {
    const ALL: [Method; 8] = [
        Method::Precreate,
        Method::PagePay,
        Method::WapPay,
        Method::Query,
        Method::Close,
        Method::Refund,
        Method::RefundQuery,
        Method::BillUrl,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Method::Precreate => "alipay.trade.precreate",
            Method::PagePay => "alipay.trade.page.pay",
            Method::WapPay => "alipay.trade.wap.pay",
            Method::Query => "alipay.trade.query",
            Method::Close => "alipay.trade.close",
            Method::Refund => "alipay.trade.refund",
            Method::RefundQuery => "alipay.trade.fastpay.refund.query",
            Method::BillUrl => "alipay.data.dataservice.bill.downloadurl.query",
        }
    }

    /// Called by the payer's browser, and answered with a page.
    const fn in_browser(self) -> bool {
        matches!(self, Method::PagePay | Method::WapPay)
    }

    /// The field of biz_content with the number a call is mostly about.
    const fn subject(self) -> &'static str {
        match self {
            Method::Refund | Method::RefundQuery => "out_request_no",
            Method::BillUrl => "bill_date",
            _ => "out_trade_no",
        }
    }

    const fn rules(self) -> [&'static [Rule]; 2] {
        match self {
            Method::Precreate => [rules::ORDER, rules::PRECREATE],
            Method::PagePay => [rules::ORDER, rules::PAGE_PAY],
            Method::WapPay => [rules::ORDER, rules::WAP_PAY],
            Method::Query => [rules::NUMBERS, rules::QUERY],
            Method::Close => [rules::NUMBERS, rules::CLOSE],
            Method::Refund => [rules::NUMBERS, rules::REFUND],
            Method::RefundQuery => [rules::NUMBERS, rules::REFUND_QUERY],
            Method::BillUrl => [rules::BILL, &[]],
        }
    }
}

/// A call whose signature holds and whose fields keep their rules.
struct Asked<'a> {
    app: &'a AlipayApp,
    method: Method,
    public: Fields,
    biz: Fields,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> &str {
        self.biz.get(name).unwrap_or_default()
    }
}

/// The fields of a reply, in the order they are written.
type Node = Vec<(&'static str, Value)>;

/// What a call comes to, before it is signed.
enum Verdict {
    Done(Node),
    /// The browser goes on to the cashier of this prepay_id.
    Cashier(String),
    Fail(Failure),
}

/// A call that is not answered with code 10000.
struct Failure {
    code: &'static str,
    sub_code: &'static str,
    sub_msg: String,
}

impl Failure {
    fn new(code: &'static str, sub_code: &'static str, sub_msg: &str) -> Failure {
        Failure { code, sub_code, sub_msg: sub_msg.to_owned() }
    }

    fn invalid(sub_code: &'static str, sub_msg: &str) -> Failure {
        Failure::new("40002", sub_code, sub_msg)
    }

    fn node(&self) -> Node {
        let msg = match self.code {
            "20000" => "Service Currently Unavailable",
            "40001" => "Missing Required Arguments",
            "40002" => "Invalid Arguments",
            _ => "Business Failed",
        };
        vec![
            ("code", self.code.into()),
            ("msg", msg.into()),
            ("sub_code", self.sub_code.into()),
            ("sub_msg", self.sub_msg.as_str().into()),
        ]
    }
}

impl Verdict {
    fn business(sub_code: &'static str, sub_msg: &str) -> Verdict {
        Verdict::Fail(Failure::new("40004", sub_code, sub_msg))
    }
}

/// What goes back, and whether it is to be held back first.
pub struct Answer {
    pub reply: Reply,
    pub held: bool,
}

pub enum Reply {
    Json(String),
    /// A page for a person: why there is no cashier.
    Page(String),
    /// The path the browser is sent to.
    Redirect(String),
}

impl Reply {
    /// As it leaves when there is no network.
    pub fn response(self) -> Response {
        let (status, headers, body) = match self {
            Reply::Json(body) => (200, "content-type: application/json;charset=utf-8\n".to_owned(), body),
            Reply::Page(text) => (200, "content-type: text/plain; charset=utf-8\n".to_owned(), text),
            Reply::Redirect(to) => (302, format!("location: {to}\n"), String::new()),
        };
        Response { status, headers, body: body.into_bytes(), ..Response::default() }
    }
}

pub fn routes(config: &mut web::ServiceConfig) {
    config.route(bill::FILE_PATH, web::get().to(bill::download));
    config.service(web::resource(PATH).route(web::get().to(over_http)).route(web::post().to(over_http)));
}

async fn over_http(
    simulator: web::Data<Simulator>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, SimulatorError> {
    let origin = {
        let connection = request.connection_info();
        format!("{}://{}", connection.scheme(), connection.host())
    };
    let answer = answer(&simulator, request.method().as_str(), request.query_string(), &body, &origin)?;
    if answer.held {
        tokio::time::sleep(HELD).await;
    }
    Ok(match answer.reply {
        Reply::Json(body) => HttpResponse::Ok().content_type("application/json;charset=utf-8").body(body),
        Reply::Page(text) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text),
        Reply::Redirect(to) => HttpResponse::Found().insert_header((header::LOCATION, to)).finish(),
    })
}

/// The path every call takes.
///
/// # Errors
/// No random bytes.
pub fn answer(
    simulator: &Simulator,
    http_method: &str,
    query: &str,
    body: &[u8],
    origin: &str,
) -> Result<Answer, NoEntropy> {
    let at_door = |failure: Failure| Reply::Json(format!("{{\"error_response\":{}}}", json(&failure.node())));
    let read = read(simulator, query, body).and_then(|read| match read {
        (_, method, _) if http_method != "POST" && !method.in_browser() => {
            Err(Failure::invalid("isv.invalid-method", "请使用 POST"))
        }
        read => Ok(read),
    });
    let (app, method, public) = match read {
        Ok(read) => read,
        // Alipay does not sign what it says to somebody it does not know.
        Err(failure) => return Ok(Answer { reply: at_door(failure), held: false }),
    };
    let (verdict, held, number) = match refused(simulator, app, method, public) {
        Err(failure) => (Verdict::Fail(failure), false, None),
        Ok(asked) => {
            let (verdict, held) = decide(simulator, &asked, origin)?;
            let number = trade_of(&simulator.book(), &asked);
            (verdict, held, Some((number, asked)))
        }
    };
    let reply = reply(app, method, verdict);
    if let Some((number, asked)) = number {
        note(simulator, &number, &asked, http_method, &reply);
    }
    Ok(Answer { reply, held })
}

fn decide(simulator: &Simulator, asked: &Asked<'_>, origin: &str) -> Result<(Verdict, bool), NoEntropy> {
    Ok(match asked.method {
        Method::Precreate | Method::PagePay | Method::WapPay => trade::place(simulator, asked)?,
        Method::Query => (trade::query(simulator, asked), false),
        Method::Close => (trade::close(simulator, asked)?, false),
        Method::Refund => (refund::take_on(simulator, asked)?, false),
        Method::RefundQuery => (refund::query(simulator, asked), false),
        Method::BillUrl => (bill::place(simulator, asked, origin), false),
    })
}

/// Shape, who it is from, and its signature.
fn read<'a>(
    simulator: &'a Simulator,
    query: &str,
    body: &[u8],
) -> Result<(&'a AlipayApp, Method, Fields), Failure> {
    let lacks = |sub_code, sub_msg| Failure::new("40001", sub_code, sub_msg);
    let both = std::str::from_utf8(body).ok().map(|body| format!("{query}&{body}"));
    let fields = both.as_deref().and_then(form::read);
    let fields = fields.ok_or_else(|| Failure::invalid("isv.invalid-parameter", "参数无效，无法解析"))?;
    let get = |name| fields.get(name).filter(|value| !value.is_empty());
    let named = get("method").ok_or_else(|| lacks("isv.missing-method", "缺少方法名参数"))?;
    let method = Method::ALL.into_iter().find(|method| method.name() == named);
    let method = method.ok_or_else(|| Failure::invalid("isv.invalid-method", "不存在的方法名"))?;
    let biz = rules::biz_content(get("biz_content").unwrap_or_default()).unwrap_or_default();
    simulator.book().log_call(method.name(), biz.get(method.subject()).unwrap_or_default());
    let app_id = get("app_id").ok_or_else(|| lacks("isv.missing-app-id", "缺少appId参数"))?;
    let app = simulator.alipay().filter(|app| app.app_id == app_id);
    let app = app.ok_or_else(|| Failure::invalid("isv.invalid-app-id", "无效的AppID参数"))?;
    match get("sign_type") {
        None => return Err(lacks("isv.missing-signature-type", "缺少签名类型参数")),
        // The app's key is registered for RSA2, and the message does not choose.
        Some("RSA2") => {}
        Some(_) => return Err(Failure::invalid("isv.invalid-signature-type", "无效的签名类型")),
    }
    if get("sign").is_none() {
        return Err(lacks("isv.missing-signature", "缺少签名参数"));
    }
    // They say which key the signature is to be checked with, so they come first.
    match &app.certificates {
        Some(certificates) => certificates.check(&fields)?,
        None if get("app_cert_sn").is_some() => return Err(no_such_app_certificate()),
        None => {}
    }
    if !form::request_holds(&fields, &app.app_public_key) {
        return Err(Failure::invalid("isv.invalid-signature", "验签出错，请检查签名与待签名串"));
    }
    Ok((app, method, fields))
}

/// The public parameters, then those of biz_content.
fn refused<'a>(
    simulator: &Simulator,
    app: &'a AlipayApp,
    method: Method,
    public: Fields,
) -> Result<Asked<'a>, Failure> {
    match rules::check(&public, &[rules::PUBLIC]) {
        Err(Broken::Lacking("charset")) => {
            return Err(Failure::new("40001", "isv.missing-charset", "缺少字符集参数"));
        }
        Err(Broken::Lacking("version")) => {
            return Err(Failure::new("40001", "isv.missing-version", "缺少版本参数"));
        }
        Err(Broken::Wrong("charset", _)) => {
            return Err(Failure::invalid("isv.invalid-charset", "字符集错误，应为 utf-8"));
        }
        Err(Broken::Wrong("format", _)) => {
            return Err(Failure::invalid("isv.invalid-format", "无效的数据格式，应为 JSON"));
        }
        Err(Broken::Lacking(name)) => {
            return Err(Failure::invalid("isv.invalid-parameter", &format!("缺少参数 {name}")));
        }
        Err(Broken::Wrong(name, wanted)) => {
            let sub_msg = format!("参数 {name} 无效，应为{wanted}");
            return Err(Failure::invalid("isv.invalid-parameter", &sub_msg));
        }
        Ok(()) => {}
    }
    check_timestamp(simulator, method, &public)?;
    let wrong = |sub_msg: &str| Failure::new("40004", "ACQ.INVALID_PARAMETER", sub_msg);
    let biz = rules::biz_content(public.get("biz_content").unwrap_or_default());
    let biz = biz.ok_or_else(|| wrong("参数有误，biz_content 应为 JSON 对象，值应为字符串"))?;
    match rules::check(&biz, &method.rules()) {
        Err(Broken::Lacking(name)) => return Err(wrong(&format!("参数有误，缺少 {name}"))),
        Err(Broken::Wrong(name, wanted)) => {
            return Err(wrong(&format!("参数有误，{name} 应为{wanted}")));
        }
        Ok(()) => {}
    }
    if biz.get("seller_id").is_some_and(|seller_id| seller_id != app.seller_id) {
        return Err(Failure::new("40004", "ACQ.SELLER_NOT_EXIST", "卖家不存在"));
    }
    let asked = Asked { app, method, public, biz };
    check_together(simulator, &asked)?;
    Ok(asked)
}

fn check_timestamp(simulator: &Simulator, method: Method, public: &Fields) -> Result<(), Failure> {
    let Some(text) = public.get("timestamp").filter(|text| !text.is_empty()) else {
        return Err(Failure::new("40001", "isv.missing-timestamp", "缺少时间戳参数"));
    };
    let oldest = if method.in_browser() { PAGE_AGE_MS } else { OFF_MS };
    let age = rules::parse_time(text).map(|at| simulator.now().since(at));
    if age.is_some_and(|age| (-OFF_MS..=oldest).contains(&age)) {
        return Ok(());
    }
    Err(Failure::invalid("isv.invalid-timestamp", "非法的时间戳参数"))
}

/// What fields say about each other.
fn check_together(simulator: &Simulator, asked: &Asked<'_>) -> Result<(), Failure> {
    let wrong = |sub_msg| Err(Failure::new("40004", "ACQ.INVALID_PARAMETER", sub_msg));
    if let Some(time_expire) = asked.biz.get("time_expire") {
        if asked.biz.get("timeout_express").is_some() {
            return wrong("参数有误，time_expire 与 timeout_express 只能有一个");
        }
        if rules::parse_time(time_expire).is_some_and(|at| at <= simulator.now()) {
            return wrong("参数有误，time_expire 已过");
        }
    }
    let numberless = asked.method != Method::BillUrl
        && asked.biz.get("trade_no").is_none()
        && asked.biz.get("out_trade_no").is_none();
    if numberless {
        return wrong("参数有误，trade_no 与 out_trade_no 不能同时为空");
    }
    Ok(())
}

/// The out_trade_no a call is about: by trade_no when it gives one.
fn trade_of(book: &Book, asked: &Asked<'_>) -> String {
    match asked.biz.get("trade_no") {
        Some(trade_no) => book.number_of_transaction_id(trade_no).unwrap_or_default(),
        None => asked.get("out_trade_no").to_owned(),
    }
}

fn reply(app: &AlipayApp, method: Method, verdict: Verdict) -> Reply {
    let node = match verdict {
        Verdict::Cashier(prepay_id) => return Reply::Redirect(format!("/cashier?prepay_id={prepay_id}")),
        Verdict::Fail(failure) if method.in_browser() => {
            return Reply::Page(format!("支付宝（模拟）\n\n{}\n{}\n", failure.sub_msg, failure.sub_code));
        }
        Verdict::Fail(failure) => failure.node(),
        Verdict::Done(node) => {
            let head: Node = vec![("code", "10000".into()), ("msg", "Success".into())];
            head.into_iter().chain(node).collect()
        }
    };
    let signed = json(&node);
    let sign = app.key.sign(signed.as_bytes());
    let name = method.name().replace('.', "_");
    let by = app.certificates.as_ref().map(|all| format!("\"alipay_cert_sn\":\"{}\",", all.alipay.sn));
    let by = by.unwrap_or_default();
    Reply::Json(format!("{{\"{name}_response\":{signed},{by}\"sign\":\"{sign}\"}}"))
}

/// Written as Alipay writes it: in its own order and with `\/`, so that nobody gets away with writing it anew.
fn json(node: &Node) -> String {
    let text = |value: &Value| value.to_string().replace('/', "\\/");
    let fields = node.iter().map(|(name, value)| format!("\"{name}\":{}", text(value)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn note(simulator: &Simulator, number: &str, asked: &Asked<'_>, http_method: &str, reply: &Reply) {
    let lines = asked.public.iter().map(|(name, value)| format!("{name}={value}\n"));
    let message = Message {
        at: simulator.now(),
        call: format!("{http_method} {PATH} {}", asked.method.name()),
        asked: lines.collect(),
        answered: match reply {
            Reply::Json(text) | Reply::Page(text) => text.clone(),
            Reply::Redirect(to) => format!("302 {to}"),
        },
    };
    simulator.book().note(number, message);
}
