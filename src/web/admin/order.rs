//! One order with its whole story, and the button that asks the gateway again.

use super::{
    frame,
    refunds::{self, RefundRow, flash_zh, state_zh},
    verdict_zh, via_zh,
    work_items::{WorkRow, row as work_row},
};
use crate::{
    domain::{
        ids::OutTradeNo,
        money::Fen,
        order::{Environment, Order},
        refund::RefundState,
        time::UnixMs,
    },
    flow::{
        ask_order,
        query::Asked,
        timeline::{self, What},
    },
    store::{
        attempts,
        events::EventKind,
        orders,
        refund_settlement::{CONTRADICTED, GIVEN_UP},
        statements, work_items,
    },
    web::{
        Web, csrf,
        error::WebError,
        layout::{Layout, OrderState, page, precise_time},
        log_in::TokenForm,
        orders::{channel_of, transaction_label, with_refunds},
        records::Reading,
        rights::{Ask, May},
        session::{Admin, see_other},
        ways::name_zh,
        words::Lang,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use std::sync::Arc;

/// Work items that are shown of one order.
const MATTERS: i64 = 20;

#[derive(Template)]
#[template(path = "admin/order.html")]
struct OrderPage {
    layout: Layout,
    out_trade_no: String,
    amount: String,
    state: OrderState,
    user: String,
    user_id: i64,
    goods_name: String,
    channel: Option<&'static str>,
    transaction_id: Option<String>,
    transaction_label: &'static str,
    environment: String,
    created: String,
    expires: String,
    paid: Option<String>,
    closed: Option<String>,
    via: String,
    steps: Vec<TimelineStep>,
    flash: Option<String>,
    query_action: String,
    refunds: Vec<RefundRow>,
    /// Of this order, newest first.
    matters: Vec<WorkRow>,
    /// Set when something is left to refund.
    refund_url: Option<String>,
    refunded: Option<String>,
    refundable: String,
}

struct TimelineStep {
    at: String,
    kind: String,
    title: String,
    detail: String,
    raw: Option<String>,
}

/// What the button brought, carried over the redirect as one of a few words.
#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    asked: String,
    #[serde(default)]
    refund: String,
}

/// GET /admin/orders/{out_trade_no}, also by the number of an attempt.
///
/// # Errors
/// 404; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: Admin,
    number: Path<String>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let order = find(&web, &number).await?;
    let timeline = timeline::of(&web.app, order).await?;
    let order = &timeline.order;
    if admin.json {
        let refunds: Vec<_> = timeline.refunds.iter().map(refunds::as_json).collect();
        return Ok(HttpResponse::Ok().json(with_refunds(order, &timeline.refunds, refunds)));
    }
    let kept = order.clone();
    let (channel, odd, matters) = web
        .app
        .store
        .read(move |db| {
            Ok((
                channel_of(db, &kept)?,
                statements::odd_payments(db, &[kept.id])?,
                work_items::of_order(db, kept.id, MATTERS)?,
            ))
        })
        .await?;
    let reading = Reading { lang: Lang::Zh, now: web.app.clock.now() };
    let template = OrderPage {
        layout: frame(&web, &admin).await?,
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        amount: order.amount.yuan(),
        state: reading.state(order, &odd),
        user: timeline.owner.as_ref().map(|user| user.username.clone()).unwrap_or_default(),
        user_id: order.user_id,
        goods_name: order.goods_name.clone(),
        channel: channel.map(name_zh),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()),
        transaction_label: transaction_label(channel),
        environment: match order.environment {
            Environment::Live => "正式".to_owned(),
            Environment::Simulator => "模拟".to_owned(),
        },
        created: order.created_at.beijing_text(),
        expires: order.expires_at.beijing_text(),
        paid: order.paid_at.map(|at| at.beijing_text()),
        closed: order.closed_at.map(|at| at.beijing_text()),
        via: order.settled_by.map(via_zh).unwrap_or_default().to_owned(),
        steps: timeline.steps.iter().map(|step| shown(step, order.created_at)).collect(),
        flash: flash_text(&flash.asked).or_else(|| flash_zh(&flash.refund)).map(str::to_owned),
        refunds: refunds::rows(&web, &admin, &timeline.refunds).await?,
        matters: matters.into_iter().map(work_row).collect(),
        refund_url: (order.refundable() > Fen::ZERO)
            .then(|| format!("/admin/orders/{}/refund", order.out_trade_no)),
        refunded: (order.reserved > Fen::ZERO).then(|| order.reserved.yuan()),
        refundable: order.refundable().yuan(),
        query_action: format!("/admin/orders/{}/query", order.out_trade_no),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn shown(step: &timeline::Step, ordered_at: UnixMs) -> TimelineStep {
    let mut detail = step.detail.clone();
    let (title, kind) = match &step.what {
        What::Event(EventKind::Created) => ("创建订单".to_owned(), "info"),
        What::Event(EventKind::Prepay) => ("预下单成功".to_owned(), "ok"),
        What::Event(EventKind::NoPrepay) => ("预下单没有结果".to_owned(), "warn"),
        What::Event(EventKind::Handed) => ("给出付款页地址".to_owned(), "info"),
        What::Event(EventKind::Returned) => ("付款页返回".to_owned(), "info"),
        What::Event(EventKind::Query) => ("查单".to_owned(), "info"),
        What::Event(EventKind::Close) => ("关闭".to_owned(), "mute"),
        What::Event(EventKind::Credit) => ("入账".to_owned(), "ok"),
        What::Event(EventKind::Refund) => {
            let (title, kind, rest) = refund_step(&step.detail);
            detail = rest;
            (title, kind)
        }
        What::Notice { source, verdict } => {
            let (meaning, kind) = verdict_zh(verdict);
            let message = match source.as_str() {
                "notify" => "回调",
                "refund_notify" => "退款通知",
                "refund_query" => "退款查询回复",
                _ => "查单回复",
            };
            (format!("{message}：{meaning}"), kind)
        }
    };
    let detail = in_chinese(detail);
    let at = precise_time(step.at, ordered_at);
    TimelineStep { at, kind: kind.to_owned(), title, detail, raw: step.raw.clone() }
}

/// What steps are kept in, and what administrators read; the rest are words of the gateways.
const PHRASES: [(&str, &str); 10] = [
    ("closed: not paid in time", "超时未支付"),
    ("closed: what was paid credited nobody", "收到的付款没有入账"),
    ("nothing to close yet", "还没有可关闭的"),
    ("not asked, made for another merchant account", "没有查询，属于另一个商户号或 appid"),
    ("made for another merchant account", "属于另一个商户号或 appid"),
    ("no usable answer, ", "没有可用的回答，"),
    ("the browser brings it to the gateway's page", "由浏览器带到付款页"),
    ("number used with other parameters", "这个单号用过别的参数"),
    ("outcome unknown, ", "结果未知，"),
    ("refused, ", "被拒绝，"),
];

fn in_chinese(detail: String) -> String {
    PHRASES.iter().fold(detail, |detail, (kept, read)| detail.replace(kept, read))
}

/// A step of a refund is written as number, amount and what happened: title, tone and the rest.
fn refund_step(detail: &str) -> (String, &'static str, String) {
    let mut parts = detail.splitn(3, ' ');
    let (number, amount, what) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let (word, whom) = what.split_once(" → ").unwrap_or((what, ""));
    let (said, tone) = match (word, RefundState::parse(word)) {
        (_, Some(RefundState::Waiting)) => ("已登记，待另一位管理员同意", "info"),
        (_, Some(RefundState::Asking)) => ("已登记，向支付平台申请", "info"),
        (_, Some(state)) => state_zh(state),
        ("accepted", _) => ("支付平台已受理", "ok"),
        ("withdrawn", _) => ("已撤回", "mute"),
        (GIVEN_UP, _) => ("管理员已放弃，金额已恢复", "mute"),
        (CONTRADICTED, _) => ("没有退成，而支付平台说有这笔退款", "bad"),
        ("NOTENOUGH", _) => ("商户账户余额不足，稍后再申请", "warn"),
        _ => ("没有受理，稍后再查", "warn"),
    };
    let known = RefundState::parse(word).is_some()
        || matches!(word, "accepted" | "withdrawn" | GIVEN_UP | CONTRADICTED);
    let rest = if known { whom } else { word };
    (format!("退款 {amount}：{said}"), tone, format!("{number} {rest}").trim_end().to_owned())
}

/// POST /admin/orders/{out_trade_no}/query: asks the gateway about every attempt that was ever sent.
///
/// # Errors
/// 404; the books.
pub async fn query(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Ask>,
    number: Path<String>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let order = find(&web, &number).await?;
    let answers = ask_order::ask(&web.app, &admin.user.username, &order).await?;
    let word = outcome(&answers.into_iter().map(|(_, asked)| asked).collect::<Vec<_>>());
    Ok(see_other(&format!("/admin/orders/{}?asked={word}", order.out_trade_no), None))
}

fn outcome(answers: &[Asked]) -> &'static str {
    if answers.is_empty() {
        return "never_sent";
    }
    let any = |is: fn(&Asked) -> bool| answers.iter().any(is);
    // What matters most of all attempts is said: one that was paid before one that was not, and of what nobody answered
    // nothing that would deny it.
    match () {
        () if any(|asked| matches!(asked, Asked::Paid(settled) if settled.credited())) => "credited",
        () if any(|asked| matches!(asked, Asked::Paid(_))) => "paid_before",
        () if any(|asked| matches!(asked, Asked::Refunded(_))) => "refunded",
        () if any(|asked| matches!(asked, Asked::Unknown(_))) => "no_answer",
        () if any(|asked| matches!(asked, Asked::Foreign)) => "foreign",
        () if any(|asked| matches!(asked, Asked::Pending(_))) => "not_paid",
        () if any(|asked| matches!(asked, Asked::Closed)) => "closed",
        () => "not_found",
    }
}

fn flash_text(word: &str) -> Option<&'static str> {
    match word {
        "credited" => Some("支付平台：已支付。我方刚刚入账。"),
        "paid_before" => Some("支付平台：已支付。没有新的入账，详情见时间线。"),
        "not_paid" => Some("支付平台：尚未支付。"),
        "closed" => Some("支付平台：已关闭，未支付。"),
        "not_found" => Some("支付平台：没有这个订单号。"),
        "refunded" => Some("支付平台：这笔付款有退款。详情见下面的退款和待处理事项。"),
        "no_answer" => Some("支付平台没有给出可用的回答，没有任何改动。请稍后再试。"),
        "foreign" => Some(
            "这个订单属于另一个商户号或 appid，没有向支付平台查询，没有任何改动。换回原来的设置后可以查询，或在原商户平台核对。",
        ),
        "never_sent" => Some("这个订单还没有向支付平台下过单。"),
        _ => None,
    }
}

async fn find(web: &Web, number: &str) -> Result<Order, WebError> {
    let number = OutTradeNo::parse(number).ok_or(WebError::NotFound)?;
    let found = web
        .app
        .store
        .read(move |db| match orders::by_number(db, &number)? {
            Some(order) => Ok(Some(order)),
            None => Ok(attempts::with_order(db, &number)?.map(|(_, order)| order)),
        })
        .await?;
    found.ok_or(WebError::NotFound)
}
