//! The calls of the V3 API as WeChat answers them: who asks, field rules, then the book; every reply signed, errors too.
//!
//! Source: the official pages of each call, and of signing and verifying; errors as their tables list them.

use super::{Asked, Simulator, SimulatorError, trades::Message};
use crate::{
    clock::NoEntropy,
    gateway::{Headers, Response},
};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use keys::{Named, V3Keys};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::time::Duration;

mod authorization;
mod bill;
mod certificates;
pub mod keys;
pub mod notify;
mod refund;
mod rules;
mod transactions;

/// How long `timeout-after-accept` keeps its reply: longer than any patience of ours.
const HELD: Duration = Duration::from_millis(6_500);
const SIGNATURE_TYPE: &str = "WECHATPAY2-SHA256-RSA2048";

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/v3/{call:.*}", web::to(over_http));
}

/// What has gone wrong with a call.
#[derive(Debug)]
pub(super) struct Fault {
    status: u16,
    code: &'static str,
    message: String,
    /// The parameter it is about.
    field: Option<String>,
}

impl Fault {
    fn new(status: u16, code: &'static str, message: &str) -> Fault {
        Fault { status, code, message: message.to_owned(), field: None }
    }

    fn sign(message: &str) -> Fault {
        Fault::new(401, "SIGN_ERROR", message)
    }

    fn param(field: &str, issue: &str) -> Fault {
        let message = format!("参数 {field} 错误：{issue}");
        Fault { status: 400, code: "PARAM_ERROR", message, field: Some(field.to_owned()) }
    }

    fn body(&self) -> Value {
        let mut body = json!({ "code": self.code, "message": self.message });
        if let Some(field) = &self.field {
            let pointer = format!("/{}", field.replace('.', "/"));
            let detail = json!({ "location": "body", "field": pointer, "issue": self.message });
            put(&mut body, "detail", detail);
        }
        body
    }
}

/// Adds a member to an object, or replaces it.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value.into());
    }
}

/// What a call comes to, before it is signed.
struct Verdict {
    status: u16,
    /// Nothing at all for 204.
    body: Option<Value>,
    /// The reply is to be held back.
    held: bool,
}

impl Verdict {
    fn done(body: Value) -> Verdict {
        Verdict { status: 200, body: Some(body), held: false }
    }
}

impl From<Fault> for Verdict {
    fn from(fault: Fault) -> Verdict {
        Verdict { status: fault.status, body: Some(fault.body()), held: false }
    }
}

/// The calls of the API that the simulator answers, with what their paths name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    /// By V2's word for the way to pay.
    Prepare(&'static str),
    QueryByNumber(String),
    QueryByPayment(String),
    Close(String),
    Refund,
    RefundQuery(String),
    Certificates,
    TradeBill,
    BillFile,
}

impl Call {
    fn of(method: &str, path: &str) -> Option<Call> {
        let named = |text: &&str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let rest = path.strip_prefix("/v3/")?;
        match (method, rest.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", ["pay", "transactions", kind]) => Some(Call::Prepare(trade_type(kind)?)),
            ("GET", ["pay", "transactions", "out-trade-no", number]) => {
                Some(Call::QueryByNumber(named(number)))
            }
            ("GET", ["pay", "transactions", "id", payment]) => Some(Call::QueryByPayment(named(payment))),
            ("POST", ["pay", "transactions", "out-trade-no", number, "close"]) => {
                Some(Call::Close(named(number)))
            }
            ("POST", ["refund", "domestic", "refunds"]) => Some(Call::Refund),
            ("GET", ["refund", "domestic", "refunds", number]) => Some(Call::RefundQuery(named(number))),
            ("GET", ["certificates"]) => Some(Call::Certificates),
            ("GET", ["bill", "tradebill"]) => Some(Call::TradeBill),
            ("GET", ["billdownload", "file"]) => Some(Call::BillFile),
            _ => None,
        }
    }

    /// For the list of calls: the name, a blank, the number it is mostly about.
    fn logged(&self, body: &[u8]) -> (String, String) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let of = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self {
            Call::Prepare(trade_type) => {
                (format!("transactions/{}", product(trade_type)), of("out_trade_no"))
            }
            Call::QueryByNumber(number) => ("transactions/out-trade-no".to_owned(), number.clone()),
            Call::QueryByPayment(payment) => ("transactions/id".to_owned(), payment.clone()),
            Call::Close(number) => ("transactions/close".to_owned(), number.clone()),
            Call::Refund => ("refunds".to_owned(), of("out_refund_no")),
            Call::RefundQuery(number) => ("refunds/query".to_owned(), number.clone()),
            Call::Certificates => ("certificates".to_owned(), String::new()),
            Call::TradeBill => ("bill/tradebill".to_owned(), String::new()),
            Call::BillFile => ("billdownload/file".to_owned(), String::new()),
        }
    }
}

/// V2's word for what V3 has in the path.
fn trade_type(product: &str) -> Option<&'static str> {
    match product {
        "jsapi" => Some("JSAPI"),
        "native" => Some("NATIVE"),
        "h5" => Some("MWEB"),
        "app" => Some("APP"),
        _ => None,
    }
}

fn product(trade_type: &str) -> &'static str {
    match trade_type {
        "JSAPI" => "jsapi",
        "NATIVE" => "native",
        "MWEB" => "h5",
        _ => "app",
    }
}

async fn over_http(
    simulator: web::Data<Simulator>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, SimulatorError> {
    let headers: String = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or_default()))
        .collect();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let asked = Asked { method: request.method().as_str(), target, headers: Headers(&headers), body: &body };
    let origin = {
        let connection = request.connection_info();
        format!("{}://{}", connection.scheme(), connection.host())
    };
    let lacking = lacking_header(&asked);
    let (response, held) = match answer(&simulator, &asked, &origin, lacking)? {
        Some(answered) => answered,
        None => (Response::new(404, br#"{"code":"NOT_FOUND","message":"no such path"}"#.to_vec()), false),
    };
    if held {
        tokio::time::sleep(HELD).await;
    }
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = HttpResponse::build(status);
    for (name, value) in response.headers.lines().filter_map(|line| line.split_once(": ")) {
        reply.insert_header((name, value));
    }
    if status == StatusCode::NO_CONTENT {
        return Ok(reply.finish());
    }
    Ok(reply.content_type("application/json; charset=utf-8").body(response.body))
}

/// What every request must carry besides its authorization.
fn lacking_header(asked: &Asked<'_>) -> Option<Fault> {
    let of = |name| asked.headers.only(name).unwrap_or_default();
    if of("user-agent").is_empty() {
        return Some(Fault::new(403, "NO_AUTH", "Http头缺少User-Agent"));
    }
    let typed = asked.method != "POST" || of("content-type").starts_with("application/json");
    (!typed).then(|| Fault::new(415, "PARAM_ERROR", "Http头Content-Type应为application/json"))
}

/// The path every call takes: what is answered, and whether the reply is to be held back. `None` for a path V3 has not,
/// and when there are no keys to speak it with. `already` is a fault found by whoever received it.
///
/// # Errors
/// No random bytes.
pub(super) fn answer(
    simulator: &Simulator,
    asked: &Asked<'_>,
    origin: &str,
    already: Option<Fault>,
) -> Result<Option<(Response, bool)>, NoEntropy> {
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let Some(keys) = simulator.0.options.v3.as_ref() else { return Ok(None) };
    let Some(call) = Call::of(asked.method, path) else { return Ok(None) };
    let (name, subject) = call.logged(asked.body);
    simulator.book().log_call(&name, &subject);
    let (by, refused) = match signer(simulator, keys, asked, &call) {
        Ok(by) => (by, None),
        Err(fault) => (&keys.platform, Some(fault)),
    };
    let refused = already
        .or(refused)
        .or_else(|| authorization::check(asked, keys, &simulator.account().mch_id, simulator.now()).err())
        .or_else(|| {
            let accepts =
                asked.headers.only("accept").is_some_and(|accept| accept.contains("application/json"));
            (!accepts).then(|| Fault::new(406, "PARAM_ERROR", "Http头Accept应为application/json"))
        });
    let verdict = match refused {
        Some(fault) => fault.into(),
        None => called(simulator, &call, asked, query, origin)?,
    };
    let response = signed(simulator, by, &verdict)?;
    note(simulator, &call, asked, &subject, &response);
    Ok(Some((response, verdict.held)))
}

fn called(
    simulator: &Simulator,
    call: &Call,
    asked: &Asked<'_>,
    query: &str,
    origin: &str,
) -> Result<Verdict, NoEntropy> {
    let body = asked.body;
    let done = match call {
        Call::Prepare(trade_type) => transactions::prepare(simulator, asked, trade_type, origin)?,
        Call::QueryByNumber(number) => transactions::query(simulator, Some(number), query),
        Call::QueryByPayment(payment) => {
            let number = simulator.book().number_of_transaction_id(payment);
            transactions::query_paid(simulator, number.as_deref(), query)
        }
        Call::Close(number) => transactions::close(simulator, number, body),
        Call::Refund => refund::take_on(simulator, asked)?,
        Call::RefundQuery(number) => refund::query(simulator, number),
        Call::Certificates => certificates::list(simulator)?,
        Call::TradeBill => bill::place(simulator, query, origin),
        Call::BillFile => bill::file(simulator, query),
    };
    Ok(done.unwrap_or_else(Verdict::from))
}

/// Whose key signs the reply: the one the merchant names, else the platform certificate of today. The list of
/// certificates vouches for a new one with the old.
fn signer<'a>(
    simulator: &Simulator,
    keys: &'a V3Keys,
    asked: &Asked<'_>,
    call: &Call,
) -> Result<&'a Named, Fault> {
    let rotated = simulator.book().v3.rotated;
    match asked.headers.only("wechatpay-serial") {
        Some(serial) => keys.named(serial, rotated).ok_or_else(|| {
            Fault::new(400, "PARAM_ERROR", "Http头Wechatpay-Serial不是微信支付公钥或平台证书的序列号")
        }),
        None if rotated && *call != Call::Certificates => Ok(&keys.next_platform),
        None => Ok(&keys.platform),
    }
}

fn signed(simulator: &Simulator, by: &Named, verdict: &Verdict) -> Result<Response, NoEntropy> {
    // A file goes as it is: nobody signs it.
    if let Some(Value::String(file)) = &verdict.body {
        let body = file.clone().into_bytes();
        return Ok(Response { received_at: simulator.now(), ..Response::new(verdict.status, body) });
    }
    let body = verdict.body.as_ref().map(Value::to_string).unwrap_or_default();
    let (now, nonce) = (simulator.now(), simulator.0.clock.nonce()?);
    let headers = signature_headers(by, &now.secs().to_string(), &nonce, &body);
    let mut lines: String =
        headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
    lines.push_str(&format!("request-id: {}-0\n", simulator.0.clock.nonce()?));
    Ok(Response { status: verdict.status, headers: lines, body: body.into_bytes(), received_at: now })
}

/// Over time, nonce and body, each ended by a line feed.
fn signature_headers(by: &Named, timestamp: &str, nonce: &str, body: &str) -> Vec<(&'static str, String)> {
    let signature = by.key.sign(format!("{timestamp}\n{nonce}\n{body}\n").as_bytes());
    vec![
        ("Wechatpay-Timestamp", timestamp.to_owned()),
        ("Wechatpay-Nonce", nonce.to_owned()),
        ("Wechatpay-Signature", signature),
        ("Wechatpay-Serial", by.serial.clone()),
        ("Wechatpay-Signature-Type", SIGNATURE_TYPE.to_owned()),
    ]
}

/// Keeps the exchange for the log on the cashier page.
fn note(simulator: &Simulator, call: &Call, asked: &Asked<'_>, subject: &str, response: &Response) {
    let answered = format!("HTTP {}\n{}", response.status, String::from_utf8_lossy(&response.body));
    let message = Message {
        at: simulator.now(),
        call: format!("{} {}", asked.method, asked.target),
        asked: String::from_utf8_lossy(asked.body).into_owned(),
        answered,
    };
    let mut book = simulator.book();
    let number = match call {
        Call::Refund | Call::RefundQuery(_) => {
            book.refunds.by_number(subject).map(|refund| refund.out_trade_no.clone())
        }
        Call::QueryByPayment(payment) => book.number_of_transaction_id(payment),
        _ => Some(subject.to_owned()),
    };
    book.note(&number.unwrap_or_default(), message);
}

#[cfg(test)]
mod tests;
