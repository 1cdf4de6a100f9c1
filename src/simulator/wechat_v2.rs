//! The calls of the V2 API as WeChat answers them: shape, signature, identity, field rules, then the book.
//!
//! Source: page 4011936530 and its neighbours for queries and closing; texts of unsigned replies as seen.

use super::{
    Simulator, SimulatorError, bills, ids,
    layout::layout,
    notify, oauth,
    rules::{self, Broken, Rule},
    trades::{Closing, Message, NotPlaced, Placed, Trade, TradeState},
};
use crate::{
    clock::{Clock, NoEntropy},
    domain::{bill::BillDay, money::Fen, order::Provider, time::UnixMs},
    gateway::{
        Protocol,
        wechat_v2::{
            sign::{self, SignType},
            xml::{Fields, XmlFault},
        },
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use std::time::Duration;

/// How long `timeout-after-accept` keeps its reply: longer than any patience of ours.
const HELD: Duration = Duration::from_millis(6_500);
type Handled = Result<HttpResponse, SimulatorError>;

pub fn routes(config: &mut web::ServiceConfig) {
    let post_only = || web::to(|| async { xml(&comm_fail("请使用post方法")) });
    for call in Call::ALL {
        let answered = web::post().to(
            move |simulator: web::Data<Simulator>, request: HttpRequest, body: web::Bytes| async move {
                over_http(&simulator, call, &request, &body).await
            },
        );
        config.service(web::resource(call.path()).route(answered).default_service(post_only()));
    }
}

/// A call whose signature holds.
struct Asked {
    fields: Fields,
    sign_type: SignType,
}

/// A signed reply with result_code FAIL.
struct Failure {
    err_code: &'static str,
    err_code_des: String,
}

/// What a call comes to, before it is signed.
enum Verdict {
    Done(Fields),
    Fail(Failure),
    /// Goes back as it is: a bill, which nobody signs.
    Text(String),
}

impl Verdict {
    fn fail(err_code: &'static str, des: &str) -> Verdict {
        Verdict::Fail(Failure { err_code, err_code_des: des.to_owned() })
    }
}

impl Asked {
    fn get(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_default()
    }
}

async fn over_http(simulator: &Simulator, call: Call, request: &HttpRequest, body: &[u8]) -> Handled {
    let origin = {
        let connection = request.connection_info();
        format!("{}://{}", connection.scheme(), connection.host())
    };
    let (reply, held) = answer(simulator, call, body, &origin)?;
    if held {
        tokio::time::sleep(HELD).await;
    }
    Ok(xml(&reply))
}

/// The calls of the API that the simulator answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    UnifiedOrder,
    OrderQuery,
    CloseOrder,
    Refund,
    RefundQuery,
    DownloadBill,
}

impl Call {
    const ALL: [Call; 6] = [
        Call::UnifiedOrder,
        Call::OrderQuery,
        Call::CloseOrder,
        Call::Refund,
        Call::RefundQuery,
        Call::DownloadBill,
    ];

    pub(super) fn of_path(path: &str) -> Option<Call> {
        Call::ALL.into_iter().find(|call| call.path() == path)
    }

    const fn path(self) -> &'static str {
        match self {
            Call::UnifiedOrder => "/pay/unifiedorder",
            Call::OrderQuery => "/pay/orderquery",
            Call::CloseOrder => "/pay/closeorder",
            Call::Refund => "/secapi/pay/refund",
            Call::RefundQuery => "/pay/refundquery",
            Call::DownloadBill => "/pay/downloadbill",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Call::UnifiedOrder => "unifiedorder",
            Call::OrderQuery => "orderquery",
            Call::CloseOrder => "closeorder",
            Call::Refund => "refund",
            Call::RefundQuery => "refundquery",
            Call::DownloadBill => "downloadbill",
        }
    }

    /// The field with the number a call is mostly about.
    const fn subject(self) -> &'static str {
        match self {
            Call::UnifiedOrder | Call::OrderQuery | Call::CloseOrder => "out_trade_no",
            Call::Refund | Call::RefundQuery => "out_refund_no",
            Call::DownloadBill => "bill_date",
        }
    }

    const fn rules(self) -> &'static [Rule] {
        match self {
            Call::UnifiedOrder => rules::UNIFIED_ORDER,
            Call::OrderQuery => rules::ORDER_QUERY,
            Call::CloseOrder => rules::CLOSE_ORDER,
            Call::Refund => rules::REFUND,
            Call::RefundQuery => rules::REFUND_QUERY,
            Call::DownloadBill => rules::DOWNLOAD_BILL,
        }
    }
}

/// The path every call takes: what is answered, and whether the reply is to be held back.
pub(super) fn answer(
    simulator: &Simulator,
    call: Call,
    body: &[u8],
    origin: &str,
) -> Result<(String, bool), NoEntropy> {
    let asked = match read(simulator, call, body) {
        Ok(asked) => asked,
        Err(reason) => return Ok((comm_fail(reason), false)),
    };
    let (verdict, held) = match (refused(simulator, &asked, call.rules()), call) {
        (Some(failure), Call::DownloadBill) => {
            (Verdict::Text(bills::refused(&failure.err_code_des, "20001")), false)
        }
        (Some(failure), _) => (Verdict::Fail(failure), false),
        (None, Call::DownloadBill) => (Verdict::Text(bill(simulator, &asked)), false),
        (None, Call::UnifiedOrder) => place(simulator, &asked, origin)?,
        (None, Call::OrderQuery) => (query(simulator, &asked), false),
        (None, Call::CloseOrder) => (close(simulator, &asked), false),
        (None, Call::Refund) => (refund::take_on(simulator, &asked)?, false),
        (None, Call::RefundQuery) => (refund::query(simulator, &asked), false),
    };
    let reply = signed(simulator, &asked, verdict)?;
    let message = Message {
        at: simulator.now(),
        call: format!("POST {}", call.path()),
        asked: layout(&asked.fields),
        answered: reply.clone(),
    };
    let mut book = simulator.book();
    let number = refund::trade_of(&book, &asked);
    book.note(&number, message);
    drop(book);
    Ok((reply, held))
}

/// Shape and signature. The algorithm is the message's own `sign_type`; absent means MD5.
fn read(simulator: &Simulator, call: Call, body: &[u8]) -> Result<Asked, &'static str> {
    if body.is_empty() {
        return Err("post数据为空");
    }
    let fields = Fields::parse(body).map_err(|fault| match fault {
        XmlFault::Encoding => "编码格式错误",
        _ => "XML格式错误",
    })?;
    simulator.book().log_call(call.name(), fields.get(call.subject()).unwrap_or_default());
    let sign_type = match fields.get("sign_type") {
        None => SignType::Md5,
        Some(named) => SignType::parse(named).ok_or("签名错误")?,
    };
    sign::verify(&fields, &simulator.account().key, &[sign_type]).map_err(|_| "签名错误")?;
    Ok(Asked { fields, sign_type })
}

/// Identity, then the rules of the fields.
fn refused(simulator: &Simulator, asked: &Asked, own_rules: &[Rule]) -> Option<Failure> {
    let account = simulator.account();
    let fail = |err_code, err_code_des| Some(Failure { err_code, err_code_des });
    if asked.fields.get("mch_id").is_some_and(|named| named != account.mch_id) {
        return fail("MCHID_NOT_EXIST", "商户号不存在".to_owned());
    }
    if asked.fields.get("appid").is_some_and(|named| !account.appids.include(named)) {
        return fail("APPID_NOT_EXIST", "appid不存在".to_owned());
    }
    match rules::check(&asked.fields, own_rules) {
        Err(Broken::Lacking(name)) => fail("LACK_PARAMS", format!("缺少参数 {name}")),
        Err(Broken::Wrong(name, wanted)) => fail("PARAM_ERROR", format!("参数 {name} 错误，应为{wanted}")),
        Ok(()) => None,
    }
}

/// What trade_type, appid and openid say about each other.
fn mismatch(simulator: &Simulator, asked: &Asked) -> Option<&'static str> {
    let (appids, appid) = (&simulator.account().appids, asked.get("appid"));
    let right = match asked.get("trade_type") {
        "JSAPI" => appid == appids.web || appids.mini.as_deref() == Some(appid),
        "APP" => appids.app.as_deref() == Some(appid),
        _ => appid == appids.web,
    };
    if !right {
        return Some("trade_type 与 appid 的类型不符");
    }
    match asked.fields.get("openid") {
        // The real one looks away; nobody who sends it knows what he is doing.
        Some(_) if asked.get("trade_type") != "JSAPI" => Some("参数 openid 只用于 JSAPI"),
        Some(openid) if simulator.0.options.strict_openid => {
            let issued = oauth::is_issued(simulator.account(), appid, openid);
            (!issued).then_some("参数 openid 错误，appid和openid不匹配")
        }
        _ => None,
    }
}

/// The verdict, and whether the reply is to be held back.
fn place(simulator: &Simulator, asked: &Asked, origin: &str) -> Result<(Verdict, bool), NoEntropy> {
    if let Some(reason) = mismatch(simulator, asked) {
        return Ok((Verdict::fail("PARAM_ERROR", reason), false));
    }
    let number = asked.get("out_trade_no");
    let now = simulator.now();
    let placed = placed(&simulator.0.clock, asked)?;
    let mut book = simulator.book();
    let scenario = book.scenario(number);
    let times = book.count_asked(number);
    if scenario.spoils_unified_order(times) {
        return Ok((Verdict::fail("SYSTEMERROR", "系统错误"), false));
    }
    let verdict = match book.place(placed, now) {
        Ok(prepay_id) => Verdict::Done(prepared(asked, &prepay_id, origin)),
        Err(NotPlaced::Paid) => Verdict::fail("ORDERPAID", "该订单已支付"),
        Err(NotPlaced::Closed) => Verdict::fail("ORDERCLOSED", "该订单已关闭"),
        Err(NotPlaced::Used) => Verdict::fail("OUT_TRADE_NO_USED", "商户订单号重复，且参数不一致"),
        Err(NotPlaced::ExpiresTooSoon) => {
            Verdict::fail("PARAM_ERROR", "参数 time_expire 错误，应至少晚于现在 1 分钟")
        }
    };
    Ok((verdict, scenario.holds_reply(times)))
}

fn placed(clock: &Clock, asked: &Asked) -> Result<Placed, NoEntropy> {
    let mut parameters = asked.fields.clone();
    parameters.remove("nonce_str");
    parameters.remove("sign");
    let text = |name| asked.get(name).to_owned();
    let prepay_id = ids::prepay_id(clock)?;
    Ok(Placed {
        protocol: Protocol::WechatV2,
        out_trade_no: text("out_trade_no"),
        parameters,
        merchant: text("mch_id"),
        appid: text("appid"),
        trade_type: text("trade_type"),
        goods: text("body"),
        notify_url: text("notify_url"),
        payer: asked.fields.get("openid").map(str::to_owned),
        total_fee: Fen::parse_fen(asked.get("total_fee")).unwrap_or_default(),
        sign_type: asked.sign_type,
        expires_at: asked.fields.get("time_expire").and_then(UnixMs::parse_beijing_compact),
        code_url: (asked.get("trade_type") == "NATIVE").then(|| ids::code_url(&prepay_id)),
        prepay_id,
        transaction_id: ids::transaction_id(clock)?,
    })
}

fn prepared(asked: &Asked, prepay_id: &str, origin: &str) -> Fields {
    let mut fields: Fields =
        [("trade_type", asked.get("trade_type")), ("prepay_id", prepay_id)].into_iter().collect();
    match asked.get("trade_type") {
        "NATIVE" => fields.set("code_url", &ids::code_url(prepay_id)),
        "MWEB" => fields.set("mweb_url", &ids::h5_url(origin, prepay_id)),
        _ => {}
    }
    fields
}

fn close(simulator: &Simulator, asked: &Asked) -> Verdict {
    let (number, now) = (asked.get("out_trade_no"), simulator.now());
    let mut book = simulator.book();
    if book.trade_with(Provider::Wechat, number, now).is_none() {
        return Verdict::fail("ORDERNOTEXIST", "订单不存在");
    }
    match book.close(number, now) {
        Closing::Done => Verdict::Done([("result_msg", "OK")].into_iter().collect()),
        Closing::Paid => Verdict::fail("ORDERPAID", "订单已支付"),
        Closing::Already => Verdict::fail("ORDERCLOSED", "订单已关闭"),
        Closing::Unknown => Verdict::fail("ORDERNOTEXIST", "订单不存在"),
    }
}

fn query(simulator: &Simulator, asked: &Asked) -> Verdict {
    let mut book = simulator.book();
    let number = match (asked.fields.get("transaction_id"), asked.fields.get("out_trade_no")) {
        (Some(transaction_id), _) => book.number_of_transaction_id(transaction_id),
        (None, Some(number)) => Some(number.to_owned()),
        (None, None) => return Verdict::fail("LACK_PARAMS", "缺少参数 transaction_id 或 out_trade_no"),
    };
    let by_transaction_id = asked.fields.get("transaction_id").is_some();
    let trade = number
        .and_then(|number| book.trade_with(Provider::Wechat, &number, simulator.now()))
        .filter(|trade| trade.is_paid() || !by_transaction_id)
        // No page says what another appid of the same merchant is told: here, nothing.
        .filter(|trade| trade.appid == asked.get("appid"));
    match trade {
        Some(trade) => Verdict::Done(told(trade)),
        None => Verdict::fail("ORDERNOTEXIST", "订单不存在"),
    }
}

/// Without a payment only number, attach and state are there, as WeChat promises no more.
fn told(trade: &Trade) -> Fields {
    let mut fields = match trade.state {
        TradeState::Success | TradeState::Refund => notify::payment_fields(trade),
        TradeState::NotPay | TradeState::Closed => {
            let attach = trade.parameters.get("attach").map(|attach| ("attach", attach));
            [("out_trade_no", trade.out_trade_no.as_str())].into_iter().chain(attach).collect()
        }
    };
    fields.set("appid", &trade.appid);
    fields.set("trade_state", trade.state.as_str());
    fields.set("trade_state_desc", trade.state.desc_zh());
    fields
}

fn bill(simulator: &Simulator, asked: &Asked) -> String {
    let at = UnixMs::parse_beijing_compact(&format!("{}000000", asked.get("bill_date")));
    let Some(day) = at.map(BillDay::of) else { return bills::refused("invalid bill_date", "20003") };
    if !bills::is_ready(day, simulator.now()) {
        return bills::refused("Bill Creating", "20001");
    }
    match bills::lines(simulator, Provider::Wechat, day).as_slice() {
        [] => bills::refused("No Bill Exist", "20002"),
        lines => bills::wechat_text(lines),
    }
}

fn signed(simulator: &Simulator, asked: &Asked, verdict: Verdict) -> Result<String, NoEntropy> {
    let mut reply = match verdict {
        Verdict::Text(text) => return Ok(text),
        Verdict::Done(mut fields) => {
            fields.set("result_code", "SUCCESS");
            fields
        }
        Verdict::Fail(failure) => [
            ("result_code", "FAIL"),
            ("err_code", failure.err_code),
            ("err_code_des", failure.err_code_des.as_str()),
        ]
        .into_iter()
        .collect(),
    };
    reply.set("return_code", "SUCCESS");
    reply.set("return_msg", "OK");
    for echoed in ["appid", "mch_id", "device_info"] {
        if let Some(value) = asked.fields.get(echoed).filter(|_| reply.get(echoed).is_none()) {
            reply.set(echoed, value);
        }
    }
    reply.set("nonce_str", &simulator.0.clock.nonce()?);
    let signature = sign::sign(&reply, &simulator.account().key, asked.sign_type);
    reply.set("sign", &signature);
    Ok(layout(&reply))
}

/// The unsigned reply of the transport level.
fn comm_fail(reason: &str) -> String {
    layout(&[("return_code", "FAIL"), ("return_msg", reason)].into_iter().collect())
}

fn xml(body: &str) -> HttpResponse {
    HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(body.to_owned())
}

mod refund;
#[cfg(test)]
mod tests;
