//! The rows of "what a callback gets" that every way to pay shares, by whichever protocol it is told: the answer to the
//! byte, and the books. What only V2 can say has rows of its own in `callbacks`.

use crate::{
    callbacks::{bare_attempt, hold_the_books},
    channels::{mini_login, pay_of, user_of},
    harness::{Answer, Shop},
    protocols::visit,
};
use serde_json::json;
use shouyin::{
    domain::order::{Channel, Environment, Provider, Source},
    gateway::Protocol,
    simulator::Signer,
};

/// A number nobody has.
const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";

/// How a callback differs from the genuine one.
#[derive(Clone, Copy, Debug)]
enum Bent {
    Not,
    OneFenMore,
    OfNobody,
    AfterItWasSigned,
}

/// One callback about a payment of 50 yuan, sent to the door of its protocol.
async fn tell(shop: &Shop, protocol: Protocol, number: &str, bent: Bent) -> Answer {
    let simulator = &shop.simulator;
    let (mut headers, mut body, more) = match protocol {
        Protocol::WechatV2 => {
            let changes: &[(&str, &str)] = match bent {
                Bent::OneFenMore => &[("total_fee", "5001")],
                Bent::OfNobody => &[("out_trade_no", UNKNOWN)],
                Bent::Not | Bent::AfterItWasSigned => &[],
            };
            (vec![], simulator.signed_notify(number, changes).replace("</xml>", ""), "<more>1</more>")
        }
        Protocol::WechatV3 => {
            let changes = match bent {
                Bent::OneFenMore => vec![("amount.total", json!(5001))],
                Bent::OfNobody => vec![("out_trade_no", json!(UNKNOWN))],
                Bent::Not | Bent::AfterItWasSigned => vec![],
            };
            let made = simulator.v3_notify(number, &changes).unwrap().unwrap();
            (made.headers, made.body, " ")
        }
        Protocol::Alipay => {
            let changes: &[(&str, &str)] = match bent {
                Bent::OneFenMore => &[("total_amount", "50.01")],
                Bent::OfNobody => &[("out_trade_no", UNKNOWN)],
                Bent::Not | Bent::AfterItWasSigned => &[],
            };
            (vec![], simulator.alipay_notify(number, changes), "&more=1")
        }
    };
    if matches!(bent, Bent::AfterItWasSigned) {
        body.push_str(more);
    }
    let kind = match protocol {
        Protocol::WechatV2 => "text/xml",
        Protocol::WechatV3 => "application/json",
        Protocol::Alipay => "application/x-www-form-urlencoded; charset=utf-8",
    };
    if protocol == Protocol::WechatV2 {
        body.push_str("</xml>");
    }
    headers.push(("content-type", kind.to_owned()));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    shop.call_back(protocol.notify_path(), &headers, body).await
}

/// Status, content type and body in the gateway's own words; a refusal names its class where there is a place for it.
fn words(protocol: Protocol, refused: Option<&str>) -> (u16, String, String) {
    let (code, message) = refused.map_or(("SUCCESS", "OK"), |class| ("FAIL", class));
    let (status, kind, body) = match protocol {
        Protocol::WechatV2 => (
            200,
            "text/xml; charset=utf-8",
            format!(
                "<xml><return_code><![CDATA[{code}]]></return_code><return_msg><![CDATA[{message}]]></return_msg></xml>"
            ),
        ),
        Protocol::WechatV3 => (
            if refused.is_some() { 400 } else { 200 },
            "application/json",
            format!("{{\"code\":\"{code}\",\"message\":\"{message}\"}}"),
        ),
        Protocol::Alipay => {
            let word = if refused.is_some() { "fail" } else { "success" };
            (200, "text/plain; charset=utf-8", word.to_owned())
        }
    };
    (status, kind.to_owned(), body)
}

fn said(answer: Answer) -> (u16, String, String) {
    (answer.status, answer.header("content-type").to_owned(), answer.body)
}

/// What a callback gets, and all it may change.
struct Row {
    bent: Bent,
    verdict: &'static str,
    refused: Option<&'static str>,
    /// Whether an administrator finds it under its verdict.
    shown: bool,
    /// In fen; an order that is not credited keeps its whole row.
    credit: i64,
}

const BAD_SIGNATURE: Row = Row {
    bent: Bent::AfterItWasSigned,
    verdict: "bad_sign",
    refused: Some("SIGNATURE NOT ACCEPTED"),
    shown: false,
    credit: 0,
};
const UNKNOWN_ORDER: Row = quarantined(Bent::OfNobody, "unknown_order");
const OTHER_AMOUNT: Row = quarantined(Bent::OneFenMore, "amount_mismatch");
const OTHER_ENVIRONMENT: Row = quarantined(Bent::Not, "environment_mismatch");
const PAID: Row = Row { bent: Bent::Not, verdict: "ok", refused: None, shown: false, credit: 5000 };
const REPEATED: Row = Row { verdict: "duplicate", credit: 0, ..PAID };

/// Signed and addressed to us, and it does not fit.
const fn quarantined(bent: Bent, verdict: &'static str) -> Row {
    Row { bent, verdict, refused: Some("ORDER NOT ACCEPTED"), shown: true, credit: 0 }
}

async fn holds(shop: &Shop, protocol: Protocol, number: &str, row: &Row) {
    let what = format!("{} by {protocol:?}", row.verdict);
    let before = shop.books(number).await;
    let answer = said(tell(shop, protocol, number, row.bent).await);
    let wanted = words(protocol, row.refused);
    assert_eq!(answer, wanted, "{what}");
    let after = shop.books(number).await;
    assert_eq!(after.verdicts, [before.verdicts.as_slice(), &[row.verdict.to_owned()]].concat(), "{what}");
    let newest = shop.all_notices().await.remove(0);
    let kept = (newest.provider.as_str(), newest.reply.as_str());
    assert_eq!(kept, (protocol.as_str(), wanted.2.as_str()), "{what}: the notice keeps the answer");
    let opened: Vec<&str> = after.work[before.work.len()..].iter().map(|item| item.0.as_str()).collect();
    assert_eq!(opened, [row.verdict].into_iter().filter(|_| row.shown).collect::<Vec<_>>(), "{what}");
    assert_eq!(after.balance, before.balance + row.credit, "{what}");
    if row.credit == 0 {
        assert_eq!(after.order, before.order, "{what}");
    } else {
        assert!(after.order.is_paid() && !before.order.is_paid(), "{what}");
        assert_eq!(after.order.settled_by, Some(Source::Notify), "{what}");
    }
}

/// Somebody's order of 50 yuan that the gateway has prepared for this way to pay, and that was paid there.
async fn paid_there(shop: &Shop, channel: Channel) -> String {
    let name = channel.as_str().replace('_', "-");
    let user = match channel {
        Channel::WechatJsapi => shop.user(&name).await,
        _ => user_of(shop, &name, "curl/8.8.0").await,
    };
    if channel == Channel::WechatMini {
        let code = shop.simulator.js_code(7).unwrap().unwrap();
        assert_eq!(mini_login(&user, &code).await.status, 200);
    }
    let (number, pay) = pay_of(&user, channel.as_str()).await;
    if matches!(channel, Channel::AlipayPage | Channel::AlipayWap) {
        // The browser brings it there.
        assert!(visit(pay["url"].as_str().unwrap()).await.status < 400, "{pay}");
    }
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.attempts(&number).await[0].channel, channel);
    number
}

/// What is refused comes first: it must not get in the way of the truth behind it.
async fn the_plain_rows_hold(shop: &Shop, channel: Channel) {
    let number = paid_there(shop, channel).await;
    let protocol = shop.simulator.trade(&number).unwrap().protocol;
    for row in [BAD_SIGNATURE, UNKNOWN_ORDER, OTHER_AMOUNT, PAID, REPEATED] {
        holds(shop, protocol, &number, &row).await;
    }
    assert_eq!(shop.books(&number).await.balance, 5000, "{channel:?}");
}

#[actix_web::test]
async fn every_way_to_pay_by_v2_and_by_alipay_keeps_the_plain_rows() {
    let shop = Shop::open().await;
    for channel in Channel::ALL {
        the_plain_rows_hold(&shop, channel).await;
    }
}

#[actix_web::test]
async fn every_way_to_pay_by_v3_keeps_the_plain_rows() {
    let shop = Shop::open_v3().await;
    for channel in Channel::ALL.into_iter().filter(|channel| channel.provider() == Provider::Wechat) {
        the_plain_rows_hold(&shop, channel).await;
        assert_eq!(shop.all_notices().await.remove(0).provider, Protocol::WechatV3.as_str(), "{channel:?}");
    }
}

/// Shops that pay by V3 and by Alipay, each with a way to do so.
async fn by_the_other_protocols() -> [(Shop, Channel, Protocol); 2] {
    let v3 = Shop::open_v3().await;
    // Also for what it was never asked to prepare.
    v3.simulator.sign_callbacks_with(Some(Signer::PublicKey));
    [
        (v3, Channel::WechatNative, Protocol::WechatV3),
        (Shop::open().await, Channel::AlipayQr, Protocol::Alipay),
    ]
}

#[actix_web::test]
async fn play_money_cannot_settle_a_live_order_by_v3_or_alipay() {
    for (shop, channel, protocol) in by_the_other_protocols().await {
        shop.user("ann").await;
        let number = bare_attempt(&shop, channel, Environment::Live).await;
        holds(&shop, protocol, &number, &OTHER_ENVIRONMENT).await;
        let here = bare_attempt(&shop, channel, Environment::Simulator).await;
        holds(&shop, protocol, &here, &Row { credit: 1, ..PAID }).await;
    }
}

#[actix_web::test]
async fn when_the_books_cannot_commit_in_time_v3_and_alipay_are_told_to_come_again() {
    for (shop, channel, protocol) in by_the_other_protocols().await {
        let number = paid_there(&shop, channel).await;
        let (release, given_up) = hold_the_books(&shop).await;
        let answer = said(tell(&shop, protocol, &number, Bent::Not).await);
        let (_, kind, body) = words(protocol, Some("TRY AGAIN LATER"));
        assert_eq!(answer, (503, kind, body), "{protocol:?}");
        assert!(!shop.order(&number).await.is_paid());
        release.send(()).unwrap();
        assert!(given_up.await.unwrap(), "the stuck write was given up");
        // The gateway comes again; whichever of the two arrives first credits, and only one does.
        let again = said(tell(&shop, protocol, &number, Bent::Not).await);
        assert_eq!(again, words(protocol, None), "{protocol:?}");
        assert_eq!(shop.books(&number).await.balance, 5000);
    }
}
