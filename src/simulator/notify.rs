//! The pay result callback: its text and its signature; and sending callbacks until the merchant acknowledges.
//!
//! Source: page 4011937248 (fields, answer, gaps between tries).

use super::{
    Simulator,
    faults::{Content, Scenario},
    layout::layout,
    trades::{Callback, Sent, Trade},
};
use crate::{
    clock::NoEntropy,
    domain::{money::Fen, time::UnixMs},
    gateway::{
        Response,
        wechat_v2::{
            Account,
            sign::{self, SignType},
            xml::Fields,
        },
    },
    http::HttpError,
};
use futures_util::{StreamExt, future::join_all, stream};
use std::collections::BTreeMap;

/// Seconds from a refused try to the next: 24 h 4 min in all.
const GAPS_SECS: [i64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];
/// Trades whose callbacks are under way at the same moment.
const AT_ONCE: usize = 32;

/// The fields of a payment that callback and orderquery share. The amounts hold even before it is paid.
pub fn payment_fields(trade: &Trade) -> Fields {
    let total_fee = trade.total_fee.get();
    let coupon = trade.coupon.map_or(0, Fen::get);
    let cash_fee = total_fee.saturating_sub(coupon).to_string();
    let mut fields: Fields = [
        ("out_trade_no", trade.out_trade_no.as_str()),
        ("transaction_id", trade.transaction_id.as_str()),
        ("openid", payer(trade)),
        ("is_subscribe", "N"),
        ("trade_type", trade.parameter("trade_type")),
        ("bank_type", "OTHERS"),
        ("total_fee", total_fee.to_string().as_str()),
        ("fee_type", "CNY"),
        ("cash_fee", cash_fee.as_str()),
        ("cash_fee_type", "CNY"),
        ("time_end", trade.paid_at.unwrap_or(trade.created_at).beijing_compact().as_str()),
    ]
    .into_iter()
    .collect();
    for echoed in ["attach", "device_info"] {
        if let Some(value) = trade.parameters.get(echoed) {
            fields.set(echoed, value);
        }
    }
    if coupon > 0 {
        add_coupon(&mut fields, &cash_fee, coupon);
    }
    fields
}

/// A tenth of the amount, at least one fen.
pub fn coupon_of(total_fee: Fen) -> Fen {
    Fen::new(total_fee.get().checked_div(10).unwrap_or_default().max(1)).unwrap_or_default()
}

/// A coupon that is not prepaid, so the merchant is settled only the cash, and fields nobody has heard of.
fn add_coupon(fields: &mut Fields, cash_fee: &str, coupon: i64) {
    let coupon = coupon.to_string();
    for (name, value) in [
        ("settlement_total_fee", cash_fee),
        ("coupon_fee", &coupon),
        ("coupon_count", "1"),
        ("coupon_id_0", "10000"),
        ("coupon_type_0", "NO_CASH"),
        ("coupon_fee_0", &coupon),
        ("Version_9", "simulator"),
        ("promotion_detail", r#"{"promotion_detail":[{"promotion_id":"10000","name":"满减 & 立减"}]}"#),
    ] {
        fields.set(name, value);
    }
}

fn payer(trade: &Trade) -> &str {
    trade.parameters.get("openid").unwrap_or("oSimulatedPayerWithoutOpenid")
}

/// The callbacks a payment causes now.
pub fn planned(
    simulator: &Simulator,
    trade: &Trade,
    scenario: Scenario,
    now: UnixMs,
) -> Result<Vec<Callback>, NoEntropy> {
    scenario
        .callbacks()
        .into_iter()
        .map(|plan| {
            Ok(Callback {
                out_trade_no: trade.out_trade_no.clone(),
                out_refund_no: None,
                notify_url: trade.parameter("notify_url").to_owned(),
                body: body(simulator.account(), trade, plan.content, &simulator.0.clock.nonce()?),
                due: now.plus_secs(plan.delay_secs),
                failed: 0,
                repeats: plan.repeats,
                parallel: scenario.in_parallel(),
            })
        })
        .collect()
}

/// One more true callback, not repeated.
pub fn again(simulator: &Simulator, trade: &Trade, now: UnixMs) -> Result<Callback, NoEntropy> {
    Ok(Callback {
        out_trade_no: trade.out_trade_no.clone(),
        out_refund_no: None,
        notify_url: trade.parameter("notify_url").to_owned(),
        body: body(simulator.account(), trade, Content::True, &simulator.0.clock.nonce()?),
        due: now,
        failed: 0,
        repeats: false,
        parallel: false,
    })
}

fn body(account: &Account, trade: &Trade, content: Content, nonce: &str) -> String {
    let mut fields = notice(account, payment_fields(trade), nonce);
    match content {
        Content::True => signed(account, fields, trade.sign_type),
        Content::OneFenLess => {
            fields.set("total_fee", &trade.total_fee.get().saturating_sub(1).to_string());
            signed(account, fields, trade.sign_type)
        }
        Content::OtherAlgorithm => signed(account, fields, other(trade.sign_type)),
        Content::WrongSign => {
            let mut different = fields.clone();
            different.set("nonce_str", "another");
            fields.set("sign", &sign::sign(&different, &account.key, trade.sign_type));
            layout(&fields)
        }
    }
}

fn notice(account: &Account, mut fields: Fields, nonce: &str) -> Fields {
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", account.appids.web.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", nonce),
    ] {
        fields.set(name, value);
    }
    fields
}

const fn other(sign_type: SignType) -> SignType {
    match sign_type {
        SignType::Md5 => SignType::HmacSha256,
        SignType::HmacSha256 => SignType::Md5,
    }
}

/// Signs with the fields' own `sign_type`, else with `usual`. WeChat mostly leaves `sign_type` out, so do we.
pub fn signed(account: &Account, mut fields: Fields, usual: SignType) -> String {
    let sign_type = fields.get("sign_type").and_then(SignType::parse).unwrap_or(usual);
    fields.remove("sign");
    let signature = sign::sign(&fields, &account.key, sign_type);
    fields.set("sign", &signature);
    layout(&fields)
}

pub fn overridden(
    simulator: &Simulator,
    out_trade_no: &str,
    trade: Option<&Trade>,
    overrides: &[(&str, &str)],
) -> String {
    let account = simulator.account();
    let payment = trade.map_or_else(|| unknown(out_trade_no, simulator.now()), payment_fields);
    let mut fields = notice(account, payment, "5K8264ILTKCH16CQ2502SI8ZNMTM67VS");
    for (name, value) in overrides {
        if value.is_empty() {
            fields.remove(name);
        } else {
            fields.set(name, value);
        }
    }
    signed(account, fields, trade.map_or(account.sign_type, |trade| trade.sign_type))
}

fn unknown(out_trade_no: &str, now: UnixMs) -> Fields {
    [
        ("out_trade_no", out_trade_no),
        ("transaction_id", "4200000000202601010000000000"),
        ("openid", "oSimulatedPayerWithoutOpenid"),
        ("is_subscribe", "N"),
        ("trade_type", "JSAPI"),
        ("bank_type", "OTHERS"),
        ("total_fee", "1"),
        ("fee_type", "CNY"),
        ("cash_fee", "1"),
        ("time_end", now.beijing_compact().as_str()),
    ]
    .into_iter()
    .collect()
}

/// Sends each callback once; those of one trade one after the other unless its scenario says at once.
pub async fn send_all(simulator: &Simulator, callbacks: Vec<Callback>) -> usize {
    let count = callbacks.len();
    let mut by_trade: BTreeMap<String, Vec<Callback>> = BTreeMap::new();
    for callback in callbacks {
        by_trade.entry(callback.out_trade_no.clone()).or_default().push(callback);
    }
    stream::iter(by_trade.into_values())
        .for_each_concurrent(AT_ONCE, |callbacks| async move {
            let (at_once, in_turn): (Vec<_>, Vec<_>) = callbacks.into_iter().partition(|c| c.parallel);
            join_all(at_once.into_iter().map(|callback| send(simulator, callback))).await;
            for callback in in_turn {
                send(simulator, callback).await;
            }
        })
        .await;
    count
}

async fn send(simulator: &Simulator, mut callback: Callback) {
    let at = simulator.now();
    let bytes = callback.body.clone().into_bytes();
    let answer = simulator.0.http.post(&callback.notify_url, "text/xml", &[], bytes).await;
    let now = simulator.now();
    let sent = recorded(&callback, at, now, answer);
    let accepted = sent.accepted;
    let mut book = simulator.book();
    match &callback.out_refund_no {
        Some(number) => book.refunds.note(number, sent),
        None => {
            if let Some(trade) = book.trade(&callback.out_trade_no, now) {
                trade.callbacks.push(sent);
            }
        }
    }
    if accepted || !callback.repeats {
        return;
    }
    if let Some(gap) = gap_ms(callback.failed, simulator.0.options.speed) {
        callback.failed = callback.failed.saturating_add(1);
        callback.due = now.plus_ms(gap);
        book.schedule(vec![callback]);
    }
}

fn recorded(callback: &Callback, at: UnixMs, now: UnixMs, answer: Result<Response, HttpError>) -> Sent {
    let (status, reply, accepted) = match answer {
        Ok(answer) => (
            Some(answer.status),
            String::from_utf8_lossy(&answer.body).chars().take(2000).collect(),
            acknowledges(&answer),
        ),
        Err(error) => (None, error.to_string(), false),
    };
    Sent { at, body: callback.body.clone(), status, reply, accepted, took_ms: now.since(at) }
}

/// HTTP 200 and a V2 document whose `return_code` is SUCCESS; the plain word `success` is Alipay's.
fn acknowledges(answer: &Response) -> bool {
    answer.status == 200
        && Fields::parse(&answer.body).is_ok_and(|fields| fields.get("return_code") == Some("SUCCESS"))
}

/// Milliseconds to the next try after `failed` + 1 failures; `None` when WeChat gives up.
fn gap_ms(failed: usize, speed: u32) -> Option<i64> {
    let gap = GAPS_SECS.get(failed)?.saturating_mul(1000);
    gap.checked_div(i64::from(speed.max(1)))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::gateway::{Notified, Rejection, wechat_v2::notify::read};
    use actix_web::{App, HttpResponse, HttpServer, web};
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    const YES: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>";

    /// A merchant that answers `replies` in turn, the last one for ever.
    fn merchant(replies: Vec<(u16, &'static str)>) -> (String, Arc<AtomicUsize>) {
        let heard = Arc::new(AtomicUsize::new(0));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/notify", listener.local_addr().unwrap());
        let counter = heard.clone();
        let server = HttpServer::new(move || {
            let (counter, replies) = (counter.clone(), replies.clone());
            App::new().default_service(web::to(move || {
                let turn = counter.fetch_add(1, Ordering::SeqCst);
                let (status, body) = replies[turn.min(replies.len() - 1)];
                async move { HttpResponse::build(status.try_into().unwrap()).body(body) }
            }))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        actix_web::rt::spawn(server);
        (url, heard)
    }

    async fn placed_at(simulator: &Simulator, notify_url: &str) {
        let mut fields = order(simulator);
        fields.set("notify_url", notify_url);
        let reply = call(simulator, "/pay/unifiedorder", fields).await;
        assert_eq!(reply.get("result_code"), Some("SUCCESS"), "{reply:?}");
    }

    #[test]
    fn the_gaps_add_up_to_twenty_four_hours_and_four_minutes_and_speed_divides_them() {
        assert_eq!(GAPS_SECS.iter().sum::<i64>(), 24 * 3600 + 4 * 60);
        assert_eq!(gap_ms(0, 1), Some(15_000));
        assert_eq!(gap_ms(3, 60), Some(3_000));
        assert_eq!(gap_ms(0, 0), Some(15_000));
        assert_eq!(gap_ms(15, 1), None);
    }

    #[test]
    fn only_a_v2_success_with_status_200_acknowledges() {
        let answer = |status, body: &str| Response { status, body: body.as_bytes().to_vec() };
        assert!(acknowledges(&answer(200, YES)));
        for (status, body) in [
            (500, YES),
            (302, YES),
            (200, "success"),
            (200, ""),
            (200, "<xml><return_code><![CDATA[FAIL]]></return_code></xml>"),
        ] {
            assert!(!acknowledges(&answer(status, body)), "{status} {body}");
        }
    }

    #[actix_web::test]
    async fn a_refused_callback_comes_again_after_fifteen_seconds_until_it_is_acknowledged() {
        let (simulator, clock) = simulator();
        let (url, heard) = merchant(vec![(200, "success"), (500, YES), (200, YES)]);
        placed_at(&simulator, &url).await;
        simulator.pay(NUMBER).unwrap();
        assert_eq!(simulator.deliver_due().await, 1);
        assert_eq!(simulator.deliver_due().await, 0);
        clock.advance_ms(14_999);
        assert_eq!(simulator.deliver_due().await, 0);
        clock.advance_ms(1);
        assert_eq!(simulator.deliver_due().await, 1);
        clock.advance_ms(15_000);
        assert_eq!(simulator.deliver_due().await, 1);
        clock.advance_ms(90_000_000);
        assert_eq!(simulator.deliver_due().await, 0);
        assert_eq!(heard.load(Ordering::SeqCst), 3);
        let sent = simulator.trade(NUMBER).unwrap().callbacks;
        let seen: Vec<_> = sent.iter().map(|sent| (sent.status, sent.accepted)).collect();
        assert_eq!(seen, [(Some(200), false), (Some(500), false), (Some(200), true)]);
    }

    #[actix_web::test]
    async fn every_scenario_reaches_the_merchant_as_often_as_it_says() {
        for scenario in Scenario::ALL {
            let (simulator, clock) = simulator();
            let (url, heard) = merchant(vec![(200, YES)]);
            placed_at(&simulator, &url).await;
            simulator.set_scenario(NUMBER, scenario);
            simulator.pay(NUMBER).unwrap();
            simulator.deliver_due().await;
            clock.advance_ms(30_000);
            simulator.deliver_due().await;
            assert_eq!(heard.load(Ordering::SeqCst), scenario.callbacks().len(), "{}", scenario.name());
        }
    }

    #[actix_web::test]
    async fn the_gateway_believes_a_true_callback_and_no_forged_one() {
        for (scenario, expected) in [
            (Scenario::Ok, Ok(990)),
            (Scenario::Coupon, Ok(990)),
            (Scenario::WrongAmount, Ok(989)),
            (Scenario::WrongSign, Err(Rejection::BadSign)),
            (Scenario::Md5Sign, Err(Rejection::BadSign)),
        ] {
            let (simulator, _) = simulator();
            placed_at(&simulator, "http://127.0.0.1:9/notify").await;
            simulator.set_scenario(NUMBER, scenario);
            let (_, callbacks) = simulator.take_payment(NUMBER).unwrap();
            let heard = match read(simulator.account(), callbacks[0].body.as_bytes()) {
                Notified::Paid(payment) => Ok(payment.amount().get()),
                Notified::Rejected { rejection, .. } => Err(rejection),
                Notified::NotPaid { .. } => panic!("not paid"),
            };
            assert_eq!(heard, expected, "{}", scenario.name());
        }
    }

    #[actix_web::test]
    async fn a_coupon_leaves_the_total_and_makes_the_cash_smaller() {
        let (simulator, _) = simulator();
        placed_at(&simulator, "http://127.0.0.1:9/notify").await;
        simulator.set_scenario(NUMBER, Scenario::Coupon);
        let (_, callbacks) = simulator.take_payment(NUMBER).unwrap();
        let fields = Fields::parse(callbacks[0].body.as_bytes()).unwrap();
        for (name, value) in [
            ("total_fee", "990"),
            ("cash_fee", "891"),
            ("settlement_total_fee", "891"),
            ("coupon_fee", "99"),
            ("coupon_fee_0", "99"),
            ("coupon_count", "1"),
            ("coupon_type_0", "NO_CASH"),
        ] {
            assert_eq!(fields.get(name), Some(value), "{name}");
        }
    }

    #[actix_web::test]
    async fn tests_can_have_any_callback_signed() {
        let (simulator, _) = simulator();
        prepay(&simulator).await;
        let amount = |body: &str| match read(simulator.account(), body.as_bytes()) {
            Notified::Paid(payment) => Some(payment.amount().get()),
            _ => None,
        };
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[])), Some(990));
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("total_fee", "1")])), Some(1));
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("transaction_id", "")])), None);
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("sign_type", "MD5")])), None);
        assert_eq!(amount(&simulator.signed_notify("never-placed", &[])), Some(1));
        let body = simulator.signed_notify(NUMBER, &[]);
        assert_eq!(simulator.sign_notify(Fields::parse(body.as_bytes()).unwrap()), body);
        assert!(matches!(
            read(simulator.account(), simulator.signed_notify(NUMBER, &[("mch_id", "1")]).as_bytes()),
            Notified::Rejected { rejection: Rejection::MchIdMismatch, .. }
        ));
    }
}
