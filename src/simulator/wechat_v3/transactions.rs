//! Orders in V3: preparing one of four ways to pay, asking, closing.

use super::{Fault, Verdict, put, rules};
use crate::{
    clock::NoEntropy,
    domain::{money::Fen, order::Provider, time::UnixMs},
    gateway::{
        Protocol,
        wechat_v2::{sign::SignType, xml::Fields},
    },
    simulator::{
        Asked, Simulator, ids, notify, oauth,
        trades::{Closing, NotPlaced, Placed, Trade, TradeState},
    },
};
use serde_json::{Value, json};
use url::form_urlencoded;

/// An order without `time_expire` is open for a week; one with less than a minute gets a minute.
const USUAL_LIFE_MS: i64 = 7 * 24 * 3_600_000;
const SHORTEST_LIFE_MS: i64 = 60_000;

type Done = Result<Verdict, Fault>;

pub fn prepare(
    simulator: &Simulator,
    asked: &Asked<'_>,
    trade_type: &'static str,
    origin: &str,
) -> Result<Done, NoEntropy> {
    let read = rules::checked(asked.body, rules::ORDER, trade_type)
        .and_then(|order| identity(simulator, &order, trade_type).map(|()| order));
    let placed = match read.and_then(|order| expiry(&order, simulator.now()).map(|at| (order, at))) {
        Ok((order, expires_at)) => placed(simulator, &order, trade_type, expires_at)?,
        Err(fault) => return Ok(Err(fault)),
    };
    Ok(place(simulator, asked, placed, origin))
}

/// Whose order it is, and whether appid, way to pay and openid belong together.
fn identity(simulator: &Simulator, order: &Fields, trade_type: &str) -> Result<(), Fault> {
    let account = simulator.account();
    let (appids, appid) = (&account.appids, order.get("appid").unwrap_or_default());
    if order.get("mchid") != Some(&account.mch_id) {
        return Err(Fault::param("mchid", "与签名的商户号不一致"));
    }
    if !appids.include(appid) {
        return Err(Fault::new(400, "APPID_MCHID_NOT_MATCH", "appid和mchid不匹配，请检查绑定关系"));
    }
    let right = match trade_type {
        "JSAPI" => appid == appids.web || appids.mini.as_deref() == Some(appid),
        "APP" => appids.app.as_deref() == Some(appid),
        _ => appid == appids.web,
    };
    if !right {
        return Err(Fault::new(403, "NO_AUTH", "该appid的类型不能用这种支付方式"));
    }
    match order.get("payer.openid") {
        // The real one looks away; nobody who sends it knows what he is doing.
        Some(_) if trade_type != "JSAPI" => Err(Fault::param("payer.openid", "只用于 JSAPI")),
        Some(openid) if simulator.0.options.strict_openid && !oauth::is_issued(account, appid, openid) => {
            Err(Fault::param("payer.openid", "appid和openid不匹配"))
        }
        _ => Ok(()),
    }
}

fn expiry(order: &Fields, now: UnixMs) -> Result<UnixMs, Fault> {
    let Some(text) = order.get("time_expire") else { return Ok(now.plus_ms(USUAL_LIFE_MS)) };
    match rules::parse_time(text) {
        Some(at) if at > now => Ok(at.max(now.plus_ms(SHORTEST_LIFE_MS))),
        _ => Err(Fault::param("time_expire", "应晚于现在")),
    }
}

fn placed(
    simulator: &Simulator,
    order: &Fields,
    trade_type: &'static str,
    expires_at: UnixMs,
) -> Result<Placed, NoEntropy> {
    let clock = &simulator.0.clock;
    let text = |name| order.get(name).unwrap_or_default().to_owned();
    let prepay_id = ids::prepay_id(clock)?;
    let mut parameters = order.clone();
    parameters.set("trade_type", trade_type);
    Ok(Placed {
        protocol: Protocol::WechatV3,
        out_trade_no: text("out_trade_no"),
        parameters,
        merchant: text("mchid"),
        appid: text("appid"),
        trade_type: trade_type.to_owned(),
        goods: text("description"),
        notify_url: text("notify_url"),
        payer: order.get("payer.openid").map(str::to_owned),
        total_fee: fen(order, "amount.total"),
        // How V2 would sign, which says nothing about V3.
        sign_type: SignType::HmacSha256,
        expires_at: Some(expires_at),
        code_url: (trade_type == "NATIVE").then(|| ids::code_url(&prepay_id)),
        prepay_id,
        transaction_id: ids::transaction_id(clock)?,
    })
}

pub fn fen(fields: &Fields, name: &str) -> Fen {
    fields.get(name).and_then(|text| Fen::parse_fen(text).ok()).unwrap_or_default()
}

fn place(simulator: &Simulator, asked: &Asked<'_>, placed: Placed, origin: &str) -> Done {
    let (number, trade_type, total) =
        (placed.out_trade_no.clone(), placed.trade_type.clone(), placed.total_fee);
    let now = simulator.now();
    let mut book = simulator.book();
    let scenario = book.scenario(&number);
    let times = book.count_asked(&number);
    if scenario.spoils_unified_order(times) {
        return Err(Fault::new(500, "SYSTEM_ERROR", "系统错误"));
    }
    let prepay_id = book.place(placed, now).map_err(|refused| match refused {
        NotPlaced::Paid => Fault::new(400, "ORDERPAID", "该订单已支付"),
        NotPlaced::Closed => Fault::new(400, "ORDER_CLOSED", "该订单已关闭"),
        NotPlaced::ExpiresTooSoon => Fault::param("time_expire", "应至少晚于现在 1 分钟"),
        NotPlaced::Used => {
            let known = book.trade(&number, now).map(|trade| trade.total_fee);
            if known == Some(total) {
                Fault::new(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
            } else {
                Fault::new(403, "OUT_TRADE_NO_USED", "商户订单号重复")
            }
        }
    })?;
    book.v3.remember(&number, asked.headers.only("wechatpay-serial"));
    let body = match trade_type.as_str() {
        "NATIVE" => json!({ "code_url": ids::code_url(&prepay_id) }),
        "MWEB" => json!({ "h5_url": ids::h5_url(origin, &prepay_id) }),
        _ => json!({ "prepay_id": prepay_id }),
    };
    Ok(Verdict { held: scenario.holds_reply(times), ..Verdict::done(body) })
}

/// The query names the merchant, besides the path.
fn named(simulator: &Simulator, query: &str) -> Result<(), Fault> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    match pairs.as_slice() {
        [(name, mchid)] if name == "mchid" && *mchid == simulator.account().mch_id => Ok(()),
        _ => Err(Fault::param("mchid", "应为查询串里唯一的参数，且是签名的商户号")),
    }
}

fn not_found() -> Fault {
    Fault::new(404, "ORDER_NOT_EXIST", "订单不存在")
}

pub fn query(simulator: &Simulator, number: Option<&String>, query: &str) -> Done {
    named(simulator, query)?;
    let mut book = simulator.book();
    let trade = number.and_then(|number| book.trade_with(Provider::Wechat, number, simulator.now()));
    trade.map(|trade| Verdict::done(told(trade))).ok_or_else(not_found)
}

/// A number WeChat gave is known once it is used.
pub fn query_paid(simulator: &Simulator, number: Option<&str>, query: &str) -> Done {
    named(simulator, query)?;
    let mut book = simulator.book();
    let trade = number.and_then(|number| book.trade_with(Provider::Wechat, number, simulator.now()));
    trade.filter(|trade| trade.is_paid()).map(|trade| Verdict::done(told(trade))).ok_or_else(not_found)
}

fn told(trade: &Trade) -> Value {
    match trade.state {
        TradeState::Success | TradeState::Refund => paid(trade),
        TradeState::NotPay | TradeState::Closed => {
            let mut body = json!({
                "amount": { "payer_currency": "CNY", "total": trade.total_fee.get() },
                "appid": trade.appid,
                "mchid": trade.merchant,
                "out_trade_no": trade.out_trade_no,
                "promotion_detail": [],
            });
            state(&mut body, trade);
            body
        }
    }
}

/// The transaction that query and callback share. The amounts hold even before it is paid.
pub fn paid(trade: &Trade) -> Value {
    let (total, coupon) = (trade.total_fee.get(), trade.coupon.map_or(0, Fen::get));
    let mut body = json!({
        "amount": {
            "currency": "CNY",
            "payer_currency": "CNY",
            "payer_total": total.saturating_sub(coupon),
            "total": total,
        },
        "appid": trade.appid,
        "bank_type": "OTHERS",
        "mchid": trade.merchant,
        "out_trade_no": trade.out_trade_no,
        "payer": { "openid": notify::payer(trade) },
        "promotion_detail": [],
        "success_time": rules::write_time(trade.paid_at.unwrap_or(trade.created_at)),
        "trade_type": trade.trade_type,
        "transaction_id": trade.transaction_id,
    });
    if coupon > 0 {
        let promotion = json!([{
            "amount": coupon, "coupon_id": "10000", "currency": "CNY", "merchant_contribute": 0,
            "name": "满减 & 立减", "other_contribute": 0, "scope": "GLOBAL", "type": "NOCASH",
            "wechatpay_contribute": coupon,
        }]);
        put(&mut body, "promotion_detail", promotion);
        put(&mut body, "version_9", json!({ "made_by": "simulator" }));
    }
    state(&mut body, trade);
    body
}

fn state(body: &mut Value, trade: &Trade) {
    if let Some(attach) = trade.parameters.get("attach") {
        put(body, "attach", attach);
    }
    put(body, "trade_state", trade.state.as_str());
    put(body, "trade_state_desc", trade.state.desc_zh());
}

pub fn close(simulator: &Simulator, number: &str, body: &[u8]) -> Done {
    let fields = rules::checked(body, rules::CLOSE, "")?;
    if fields.get("mchid") != Some(&simulator.account().mch_id) {
        return Err(Fault::param("mchid", "与签名的商户号不一致"));
    }
    let now = simulator.now();
    let mut book = simulator.book();
    if book.trade_with(Provider::Wechat, number, now).is_none() {
        return Err(not_found());
    }
    match book.close(number, now) {
        Closing::Done => Ok(Verdict { status: 204, body: None, held: false }),
        Closing::Paid => Err(Fault::new(400, "ORDERPAID", "订单已支付")),
        Closing::Already => Err(Fault::new(400, "ORDER_CLOSED", "订单已关闭")),
        Closing::Unknown => Err(not_found()),
    }
}
