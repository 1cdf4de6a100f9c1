//! Callbacks on their way: those a payment or a refund causes, sent until the merchant acknowledges them in the words
//! of their protocol.
//!
//! Source: page 4011937248 (V2: answer, gaps between tries), the V3 pages on callbacks (status 200 or 204, the same gaps),
//! Alipay's page on asynchronous notices (the word `success`, gaps of its own).

use super::{
    Simulator, alipay,
    faults::{Content, Planned, Scenario},
    notify, refund_notify,
    refunds::Refund,
    trades::{Book, Callback, Sent, Trade},
    wechat_v3,
};
use crate::{
    clock::NoEntropy,
    domain::time::UnixMs,
    gateway::{Protocol, Response, wechat_v2::xml::Fields},
    http::HttpError,
};
use futures_util::{StreamExt, future::join_all, stream};
use std::collections::BTreeMap;

/// Seconds from a refused try to the next: 24 h 4 min in all.
const WECHAT_GAPS_SECS: &[i64] =
    &[15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];
/// 4 min, 10 min, 10 min, 1 h, 2 h, 6 h, 15 h.
const ALIPAY_GAPS_SECS: &[i64] = &[240, 600, 600, 3600, 7200, 21_600, 54_000];
/// Trades whose callbacks are under way at the same moment.
const AT_ONCE: usize = 32;

/// The callbacks a payment causes now.
///
/// # Errors
/// No random bytes.
pub fn planned(
    simulator: &Simulator,
    trade: &Trade,
    scenario: Scenario,
    now: UnixMs,
) -> Result<Vec<Callback>, NoEntropy> {
    let callbacks = scenario.callbacks().into_iter();
    let callbacks = callbacks.map(|plan| about_payment(simulator, trade, plan, scenario.in_parallel(), now));
    let beside = match trade.protocol {
        Protocol::Alipay => alipay::notify::beside(simulator, trade, scenario, now),
        Protocol::WechatV2 | Protocol::WechatV3 => Vec::new(),
    };
    callbacks.chain(beside.into_iter().map(Ok)).collect()
}

/// One more true callback, not repeated.
///
/// # Errors
/// No random bytes.
pub fn again(simulator: &Simulator, trade: &Trade, now: UnixMs) -> Result<Callback, NoEntropy> {
    let plan = Planned { delay_secs: 0, content: Content::True, repeats: false };
    about_payment(simulator, trade, plan, false, now)
}

fn about_payment(
    simulator: &Simulator,
    trade: &Trade,
    plan: Planned,
    parallel: bool,
    now: UnixMs,
) -> Result<Callback, NoEntropy> {
    let nonce = simulator.0.clock.nonce()?;
    let due = now.plus_secs(plan.delay_secs);
    let body = match trade.protocol {
        Protocol::WechatV2 => notify::body(simulator.account(), trade, plan.content, &nonce),
        Protocol::WechatV3 => wechat_v3::notify::about_payment(simulator, trade, plan.content, &nonce),
        Protocol::Alipay => alipay::notify::body(simulator, trade, plan.content, due),
    };
    Ok(Callback {
        protocol: trade.protocol,
        out_trade_no: trade.out_trade_no.clone(),
        out_refund_no: None,
        notify_url: trade.notify_url.clone(),
        content_type: content_type(trade.protocol),
        headers: Vec::new(),
        body,
        content: plan.content,
        due,
        failed: 0,
        repeats: plan.repeats,
        parallel,
    })
}

/// The callback about a refund's end, due then; `None` when nobody said where to.
pub fn about_refund(
    simulator: &Simulator,
    book: &mut Book,
    refund: &Refund,
    nonce: &str,
) -> Option<Callback> {
    let body = match refund.protocol {
        Protocol::WechatV2 => {
            let inside = refund_notify::fields(refund);
            refund_notify::sealed(simulator.account(), &refund.appid, inside, &[], nonce)
        }
        Protocol::WechatV3 => wechat_v3::notify::about_refund(simulator, refund, nonce),
        Protocol::Alipay => return alipay::notify::about_refund(simulator, book, refund),
    };
    Some(Callback {
        protocol: refund.protocol,
        out_trade_no: refund.out_trade_no.clone(),
        out_refund_no: Some(refund.out_refund_no.clone()),
        notify_url: refund.notify_url.clone()?,
        content_type: content_type(refund.protocol),
        headers: Vec::new(),
        body,
        content: Content::True,
        due: refund.ends_at,
        failed: 0,
        repeats: true,
        parallel: false,
    })
}

pub const fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::WechatV2 => "text/xml",
        Protocol::WechatV3 => "application/json",
        Protocol::Alipay => "application/x-www-form-urlencoded; charset=utf-8",
    }
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
    if callback.failed > 0 && callback.protocol == Protocol::Alipay {
        callback.body = alipay::notify::sent_again(simulator, &callback.body, callback.content, at);
    }
    if callback.protocol == Protocol::WechatV3 {
        // Without randomness it goes out unsigned, and nobody believes it.
        callback.headers = wechat_v3::notify::headers_of(simulator, &callback).unwrap_or_default();
    }
    let bytes = callback.body.clone().into_bytes();
    let headers = &callback.headers;
    let answer = simulator.0.http.post(&callback.notify_url, callback.content_type, headers, bytes).await;
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
    if let Some(gap) = gap_ms(callback.protocol, callback.failed, simulator.0.options.speed) {
        callback.failed = callback.failed.saturating_add(1);
        callback.content = callback.content.of_retry();
        callback.due = now.plus_ms(gap);
        book.schedule(vec![callback]);
    }
}

fn recorded(callback: &Callback, at: UnixMs, now: UnixMs, answer: Result<Response, HttpError>) -> Sent {
    let (status, reply, accepted) = match answer {
        Ok(answer) => (
            Some(answer.status),
            String::from_utf8_lossy(&answer.body).chars().take(2000).collect(),
            acknowledges(callback.protocol, &answer),
        ),
        Err(error) => (None, error.to_string(), false),
    };
    Sent {
        at,
        content_type: callback.content_type,
        headers: callback.headers.clone(),
        body: callback.body.clone(),
        status,
        reply,
        accepted,
        took_ms: now.since(at),
    }
}

/// V2: status 200 and a document whose `return_code` is SUCCESS. V3: the status alone, 200 or 204. Alipay: the word
/// `success` and nothing else.
fn acknowledges(protocol: Protocol, answer: &Response) -> bool {
    match protocol {
        Protocol::WechatV2 => {
            answer.status == 200
                && Fields::parse(&answer.body)
                    .is_ok_and(|fields| fields.get("return_code") == Some("SUCCESS"))
        }
        Protocol::WechatV3 => matches!(answer.status, 200 | 204),
        Protocol::Alipay => answer.status == 200 && answer.body == b"success",
    }
}

/// Milliseconds to the next try after `failed` + 1 failures; `None` when the gateway gives up.
fn gap_ms(protocol: Protocol, failed: usize, speed: u32) -> Option<i64> {
    let gaps = match protocol {
        Protocol::WechatV2 | Protocol::WechatV3 => WECHAT_GAPS_SECS,
        Protocol::Alipay => ALIPAY_GAPS_SECS,
    };
    let gap = gaps.get(failed)?.saturating_mul(1000);
    gap.checked_div(i64::from(speed.max(1)))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
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
        assert_eq!(WECHAT_GAPS_SECS.iter().sum::<i64>(), 24 * 3600 + 4 * 60);
        assert_eq!(gap_ms(Protocol::WechatV2, 0, 1), Some(15_000));
        assert_eq!(gap_ms(Protocol::WechatV3, 3, 60), Some(3_000));
        assert_eq!(gap_ms(Protocol::WechatV2, 0, 0), Some(15_000));
        assert_eq!(gap_ms(Protocol::WechatV3, 15, 1), None);
        assert_eq!(gap_ms(Protocol::Alipay, 0, 1), Some(240_000));
        assert_eq!(gap_ms(Protocol::Alipay, 6, 1), Some(15 * 3_600_000));
        assert_eq!(gap_ms(Protocol::Alipay, 7, 1), None);
    }

    #[test]
    fn each_protocol_is_acknowledged_in_its_own_words_only() {
        const FAIL: &str = "<xml><return_code><![CDATA[FAIL]]></return_code></xml>";
        let acknowledged = |protocol, status, body: &str| {
            acknowledges(
                protocol,
                &Response { status, body: body.as_bytes().to_vec(), ..Response::default() },
            )
        };
        for (status, body, by) in [
            (200, YES, vec![Protocol::WechatV2, Protocol::WechatV3]),
            (200, FAIL, vec![Protocol::WechatV3]),
            (200, "success", vec![Protocol::WechatV3, Protocol::Alipay]),
            (200, "success\n", vec![Protocol::WechatV3]),
            (200, "", vec![Protocol::WechatV3]),
            (204, "", vec![Protocol::WechatV3]),
            (201, "success", vec![]),
            (302, YES, vec![]),
            (401, "", vec![]),
            (500, YES, vec![]),
            (500, "success", vec![]),
        ] {
            let heard: Vec<Protocol> =
                Protocol::ALL.into_iter().filter(|protocol| acknowledged(*protocol, status, body)).collect();
            assert_eq!(heard, by, "{status} {body}");
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
}
