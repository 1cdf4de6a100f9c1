//! Our own V3 at the simulator.

use super::*;
use crate::gateway::{RefundNotified, wechat_v3::WechatV3};

/// Sends without a network, and receives at once.
fn sent(simulator: &Simulator, request: &Request) -> Response {
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
    let body = request.body.as_deref().unwrap_or_default();
    let method = if request.body.is_some() { "POST" } else { "GET" };
    let asked = Asked { method, target: &request.path, headers: Headers(&headers), body: body.as_bytes() };
    simulator.answer(&asked).unwrap().unwrap_or_else(|| panic!("{method} {}", request.path))
}

fn v3_attempt(simulator: &Simulator, gateway: &WechatV3, channel: Channel) -> Attempt {
    let payer = match channel {
        Channel::WechatJsapi => Some(simulator.openid_of(1)),
        Channel::WechatMini => simulator.mini_openid_of(1),
        _ => None,
    };
    Attempt {
        channel,
        account: gateway.account(channel).unwrap(),
        payer: payer.as_deref().and_then(Openid::parse),
        ..attempt(simulator, "http://127.0.0.1:9/notify")
    }
}

#[test]
fn our_own_v3_gateway_pays_by_every_channel_with_either_kind_of_key() {
    for public_key in [true, false] {
        for channel in [
            Channel::WechatJsapi,
            Channel::WechatMini,
            Channel::WechatNative,
            Channel::WechatH5,
            Channel::WechatApp,
        ] {
            let (simulator, clock) = v3_simulator();
            let gateway = WechatV3::new(v3_account(public_key));
            let stamp = || clock.stamp().unwrap();
            let attempt = v3_attempt(&simulator, &gateway, channel);
            let keys = gateway.keys(&stamp());
            assert_eq!(keys.is_none(), public_key, "certificates are asked for by who needs them");
            if let Some(ask) = keys {
                gateway.keys_told(&sent(&simulator, &ask)).unwrap();
            }
            let answer = sent(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap());
            let prepay_id = match gateway.prepaid(&answer, &attempt) {
                Ok(Prepaid::Ready { prepay_id }) => prepay_id,
                other => panic!("{channel:?} {other:?} {}", String::from_utf8_lossy(&answer.body)),
            };
            let number = match gateway.checkout(&attempt, &prepay_id, &stamp()) {
                Checkout::Jsapi { params } => simulator.number_of(&simulator.opens_sheet(&params).unwrap()),
                Checkout::App { params } => simulator.number_of(&simulator.opens_app(&params).unwrap()),
                Checkout::Qr { code_url } => simulator.number_of(&code_url),
                Checkout::Redirect { url } => simulator.number_of(&url),
            };
            assert_eq!(number.as_deref(), Some(NUMBER), "{channel:?}");
            let ask = || sent(&simulator, &gateway.query(&attempt, &stamp()));
            assert!(matches!(gateway.trade(&ask(), &attempt), Ok(Trade::Pending { .. })));
            let payment = simulator.pay(NUMBER).unwrap();
            match gateway.trade(&ask(), &attempt) {
                Ok(Trade::Paid(paid)) => assert_eq!(paid.transaction_id().as_str(), payment),
                other => panic!("{channel:?} {other:?}"),
            }
            let answer = sent(&simulator, &gateway.close(&attempt, &stamp()));
            assert_eq!(gateway.closing(&answer, &attempt), Ok(Closing::Paid));
            let callback = simulator.v3_notify(NUMBER, &[]).unwrap().unwrap();
            let notify = Notify {
                headers: Headers(&callback.lines()),
                body: callback.body.as_bytes(),
                received_at: clock.now(),
            };
            assert!(matches!(gateway.notified(notify), Notified::Paid(_)), "{channel:?} {public_key}");
        }
    }
}

#[test]
fn our_own_v3_gateway_closes_and_a_number_used_otherwise_is_known_for_it() {
    let (simulator, clock) = v3_simulator();
    let gateway = WechatV3::new(v3_account(true));
    let stamp = || clock.stamp().unwrap();
    let attempt = v3_attempt(&simulator, &gateway, Channel::WechatNative);
    let close = || sent(&simulator, &gateway.close(&attempt, &stamp()));
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::NotFound));
    let ask = sent(&simulator, &gateway.query(&attempt, &stamp()));
    assert_eq!(gateway.trade(&ask, &attempt), Ok(Trade::NotFound));
    let prepay = |attempt: &Attempt| {
        let answer = sent(&simulator, &gateway.prepay(attempt, &stamp()).unwrap());
        gateway.prepaid(&answer, attempt).unwrap()
    };
    simulator.set_scenario(NUMBER, Scenario::SystemError);
    assert!(matches!(prepay(&attempt), Prepaid::Unknown { .. }));
    assert!(matches!(prepay(&attempt), Prepaid::Unknown { .. }));
    assert!(matches!(prepay(&attempt), Prepaid::Ready { .. }));
    let dearer = Attempt { amount: Fen::new(991).unwrap(), ..attempt.clone() };
    assert_eq!(prepay(&dearer), Prepaid::NumberUsed);
    let renamed = Attempt { goods_name: "other".to_owned(), ..attempt.clone() };
    assert_eq!(prepay(&renamed), Prepaid::NumberUsed);
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::Closed));
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::Closed));
    assert_eq!(prepay(&attempt), Prepaid::Closed);
    let ask = sent(&simulator, &gateway.query(&attempt, &stamp()));
    assert!(matches!(gateway.trade(&ask, &attempt), Ok(Trade::Closed { .. })));
}

/// Every callback of a scenario as our gateway hears it: at each try, with certificates fetched between them.
async fn heard(scenario: Scenario, public_key: bool) -> Vec<String> {
    let (simulator, clock) = v3_simulator();
    let gateway = WechatV3::new(v3_account(public_key));
    let stamp = || clock.stamp().unwrap();
    let fetch = || {
        if let Some(ask) = gateway.keys(&stamp()) {
            gateway.keys_told(&sent(&simulator, &ask)).unwrap();
        }
    };
    fetch();
    let attempt = v3_attempt(&simulator, &gateway, Channel::WechatNative);
    let answer = sent(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap());
    gateway.prepaid(&answer, &attempt).unwrap();
    clock.advance_ms(61_000);
    simulator.set_scenario(NUMBER, scenario);
    simulator.pay(NUMBER).unwrap();
    let mut verdicts = Vec::new();
    for _ in 0..2 {
        simulator.deliver_due().await;
        let sent = simulator.trade(NUMBER).unwrap().callbacks.pop().unwrap();
        let callback = SignedNotify { headers: sent.headers, body: sent.body };
        let lines = callback.lines();
        let notify =
            Notify { headers: Headers(&lines), body: callback.body.as_bytes(), received_at: clock.now() };
        verdicts.push(match gateway.notified(notify) {
            Notified::Paid(payment) => format!("{} fen", payment.amount().get()),
            Notified::Rejected { rejection, .. } => rejection.counted().to_owned(),
            other => format!("{other:?}"),
        });
        fetch();
        clock.advance_ms(15_000);
    }
    verdicts
}

#[actix_web::test]
async fn our_own_v3_gateway_believes_what_is_true_and_nothing_else() {
    for (scenario, public_key, verdicts) in [
        (Scenario::Ok, true, ["990 fen", "990 fen"]),
        (Scenario::Coupon, false, ["990 fen", "990 fen"]),
        (Scenario::WrongAmount, true, ["989 fen", "989 fen"]),
        (Scenario::WrongSign, true, ["bad_sign", "bad_sign"]),
        (Scenario::Md5Sign, false, ["bad_sign", "bad_sign"]),
        (Scenario::SignTestProbe, true, ["sign_probe", "990 fen"]),
        (Scenario::ClockSkew, true, ["stale", "990 fen"]),
        (Scenario::CertRotated, false, ["bad_sign", "990 fen"]),
        (Scenario::CertRotated, true, ["bad_sign", "bad_sign"]),
        (Scenario::PublicKeyMode, true, ["990 fen", "990 fen"]),
        (Scenario::PublicKeyMode, false, ["bad_sign", "bad_sign"]),
    ] {
        assert_eq!(heard(scenario, public_key).await, verdicts, "{} {public_key}", scenario.name());
    }
}

#[test]
fn our_own_v3_gateway_refunds_and_learns_how_it_ended() {
    for (scenario, asked, news) in [
        (Scenario::Ok, "accepted", "Success"),
        (Scenario::RefundAbnormal, "accepted", "Abnormal"),
        (Scenario::RefundClosed, "accepted", "Closed"),
        (Scenario::RefundNotEnough, "not enough", "not found"),
        (Scenario::RefundLostReply, "unknown", "Success"),
    ] {
        let (simulator, clock) = v3_simulator();
        let gateway = WechatV3::new(v3_account(true));
        let stamp = || clock.stamp().unwrap();
        let attempt = v3_attempt(&simulator, &gateway, Channel::WechatNative);
        gateway.prepaid(&sent(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap()), &attempt).unwrap();
        simulator.set_scenario(NUMBER, scenario);
        simulator.pay(NUMBER).unwrap();
        let refund = Refund {
            provider: Provider::Wechat,
            account: attempt.account.clone(),
            notify_url: "http://127.0.0.1:9/notify/refund".to_owned(),
            ..refund(&simulator, "r1@x", 400)
        };
        let answer = sent(&simulator, &gateway.refund(&refund, &stamp()));
        let heard = match gateway.refund_asked(&answer, &refund).unwrap() {
            RefundAsked::Accepted { .. } => "accepted",
            RefundAsked::NotEnough => "not enough",
            RefundAsked::Unknown { .. } => "unknown",
            other => panic!("{other:?}"),
        };
        assert_eq!(heard, asked, "{}", scenario.name());
        clock.advance_ms(20_000);
        let answer = sent(&simulator, &gateway.refund_query(&refund, &stamp()));
        let told = match gateway.refund_news(&answer, &refund).unwrap() {
            RefundNews::Found(found) => format!("{:?}", found.standing()),
            RefundNews::NotFound => "not found".to_owned(),
            RefundNews::Unknown { code } => code,
        };
        assert_eq!(told, news, "{}", scenario.name());
        if asked == "not enough" {
            continue;
        }
        let callback = simulator.v3_refund_notify("r1@x", &[]).unwrap().unwrap();
        let lines = callback.lines();
        let notify =
            Notify { headers: Headers(&lines), body: callback.body.as_bytes(), received_at: clock.now() };
        match gateway.refund_notified(notify) {
            RefundNotified::Hint(hint) => assert_eq!(hint.out_refund_no.as_str(), "r1@x"),
            other @ RefundNotified::Rejected { .. } => panic!("{other:?}"),
        }
    }
}
