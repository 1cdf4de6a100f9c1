//! Every row of the table "what a V2 callback gets", over real HTTP: the answer to the byte, and the books.

use crate::harness::{Answer, Shop};
use reqwest::{Client, Method, redirect::Policy};
use shouyin::{
    domain::{
        ids::Openid,
        money::Fen,
        order::{Attempt, Channel, Environment, Source},
    },
    flow::{
        confirm,
        notify::{self, ReplayError},
    },
    gateway::wechat_v2::xml::Fields,
    simulator::faults::Scenario,
    store::{
        attempts, notices,
        orders::{self, NewOrder},
    },
};
use std::{io::Write, net::TcpStream, sync::mpsc};
use tokio::task::JoinHandle;

const OK: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

fn fail(class: &str) -> String {
    format!(
        "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[{class}]]></return_msg></xml>"
    )
}

fn said(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.header("content-type"), &answer.body)
}

/// What a message is allowed to change.
#[derive(Clone, Copy)]
struct Effect<'a> {
    verdict: &'a str,
    /// Opens this work item.
    work: Option<&'a str>,
    /// Credits so many fen; an order that is not credited keeps its whole row.
    credit: i64,
}

const fn only_noted(verdict: &str) -> Effect<'_> {
    Effect { verdict, work: None, credit: 0 }
}

/// Sends one callback and holds answer, order, balance, notices and work items against what is allowed.
async fn check(shop: &Shop, number: &str, body: impl Into<Vec<u8>>, answer: &str, effect: Effect<'_>) {
    let before = shop.books(number).await;
    let answered = shop.notify(body).await;
    assert_eq!(said(&answered), (200, "text/xml; charset=utf-8", answer), "{}", effect.verdict);
    let after = shop.books(number).await;
    assert_eq!(after.verdicts, [before.verdicts.as_slice(), &[effect.verdict.to_owned()]].concat());
    let newest = shop.all_notices().await.remove(0);
    assert_eq!(newest.reply, answer, "the notice keeps the answer");
    let opened: Vec<&str> = after.work[before.work.len()..].iter().map(|item| item.0.as_str()).collect();
    assert_eq!(opened, effect.work.into_iter().collect::<Vec<_>>(), "{}", effect.verdict);
    assert_eq!(after.balance, before.balance + effect.credit, "{}", effect.verdict);
    if effect.credit == 0 {
        assert_eq!(after.order, before.order, "{}", effect.verdict);
    } else {
        assert!(after.order.is_paid() && !before.order.is_paid());
        assert_eq!(after.order.settled_by, Some(Source::Notify));
    }
}

#[actix_web::test]
async fn a_verified_payment_settles_at_once_and_its_repetition_is_only_noted() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    let transaction_id = shop.simulator.pay(&number).unwrap();
    let body = shop.simulator.signed_notify(&number, &[]);
    check(&shop, &number, body.clone(), OK, Effect { verdict: "ok", work: None, credit: 5000 }).await;
    let order = shop.order(&number).await;
    assert_eq!(order.transaction_id.unwrap().as_str(), transaction_id);
    assert_eq!(order.paid_at, Some(shop.clock.now()));
    check(&shop, &number, body, OK, only_noted("duplicate")).await;
    // The same payment in other words: another nonce, another order of fields, an unknown field.
    let reworded = shop.simulator.signed_notify(&number, &[("nonce_str", "other"), ("brand_new", "1")]);
    check(&shop, &number, reworded, OK, only_noted("duplicate")).await;
}

#[actix_web::test]
async fn a_payment_of_a_closed_order_is_credited_and_flagged() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.clock.advance_ms(121 * 60_000);
    assert_eq!(shop.close_expired().await, 1);
    assert!(shop.order(&number).await.closed_at.is_some());
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.simulator.pay(&number).unwrap();
    let body = shop.simulator.signed_notify(&number, &[]);
    let late = Effect { verdict: "late_payment", work: Some("late_payment"), credit: 5000 };
    check(&shop, &number, body.clone(), OK, late).await;
    assert!(shop.order(&number).await.late);
    check(&shop, &number, body, OK, only_noted("duplicate")).await;
}

#[actix_web::test]
async fn a_second_payment_of_a_paid_order_is_a_refund_task_and_no_second_credit() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let other = shop.simulator.signed_notify(&number, &[("transaction_id", "4200000000209901010000000001")]);
    let second = Effect { verdict: "second_payment", work: Some("second_payment"), credit: 0 };
    check(&shop, &number, other.clone(), OK, second).await;
    check(&shop, &number, other, OK, only_noted("second_payment")).await;
}

#[actix_web::test]
async fn a_failed_payment_is_noted_and_changes_nothing() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    let body = shop.simulator.signed_notify(&number, &[("result_code", "FAIL"), ("err_code", "NOTENOUGH")]);
    check(&shop, &number, body, OK, only_noted("biz_fail")).await;
    let body = shop.simulator.signed_notify(&number, &[("result_code", "")]);
    check(&shop, &number, body, OK, only_noted("biz_fail")).await;
}

#[actix_web::test]
async fn a_payment_that_does_not_fit_its_order_is_quarantined() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    for (field, value, verdict) in [
        ("total_fee", "4999", "amount_mismatch"),
        ("total_fee", "5001", "amount_mismatch"),
        ("total_fee", "500000", "amount_mismatch"),
        ("fee_type", "USD", "currency_mismatch"),
        ("fee_type", "cny", "currency_mismatch"),
        ("out_trade_no", "0123456789abcdef0123456789abcdef", "unknown_order"),
    ] {
        // A transaction of its own, so that each is a matter of its own.
        let transaction = format!("42000000002099010100000{:05}", shop.work_items().await.len());
        let fields = [("transaction_id", transaction.as_str()), (field, value)];
        let body = shop.simulator.signed_notify(&number, &fields);
        let effect = Effect { verdict, work: Some(verdict), credit: 0 };
        check(&shop, &number, body.clone(), &fail("ORDER NOT ACCEPTED"), effect).await;
        // The gateway comes again: noted again, still one matter for the administrator.
        check(&shop, &number, body, &fail("ORDER NOT ACCEPTED"), only_noted(verdict)).await;
    }
}

#[actix_web::test]
async fn a_transaction_that_credited_one_order_cannot_credit_another() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let (first, second) = (user.top_up("50").await, user.top_up("50").await);
    let transaction_id = shop.simulator.pay(&first).unwrap();
    shop.deliver().await;
    let body = shop.simulator.signed_notify(&second, &[("transaction_id", &transaction_id)]);
    let effect = Effect { verdict: "transaction_reused", work: Some("transaction_reused"), credit: 0 };
    check(&shop, &second, body, &fail("ORDER NOT ACCEPTED"), effect).await;
}

#[actix_web::test]
async fn play_money_cannot_settle_a_live_order() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let number = bare_attempt(&shop, Channel::WechatJsapi, Environment::Live).await;
    let body = shop.simulator.signed_notify(&number, &[]);
    let effect = Effect { verdict: "environment_mismatch", work: Some("environment_mismatch"), credit: 0 };
    check(&shop, &number, body, &fail("ORDER NOT ACCEPTED"), effect).await;
}

/// The first user's order of one fen whose attempt was written and whose prepay_id is not known yet.
pub async fn bare_attempt(shop: &Shop, channel: Channel, environment: Environment) -> String {
    let (now, number) = (shop.clock.now(), shop.clock.out_trade_no().unwrap());
    let new = NewOrder {
        out_trade_no: number.clone(),
        user_id: 1,
        intent: number.as_str().to_owned(),
        goods_name: "账户充值".to_owned(),
        amount: Fen::new(1).unwrap(),
        environment,
        created_at: now,
        expires_at: now.plus_secs(7200),
    };
    let attempt = Attempt {
        out_trade_no: number.clone(),
        order_id: 0,
        channel,
        account: shop.app.gateway_for(channel).unwrap().1,
        environment,
        amount: new.amount,
        goods_name: new.goods_name.clone(),
        payer: Openid::parse(&shop.simulator.openid_of(1)).filter(|_| channel.names_payer()),
        client_ip: "127.0.0.1".to_owned(),
        notify_url: shop.app.config.url("/notify/wechat"),
        created_at: now,
        expires_at: new.expires_at,
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    };
    let written = shop.app.store.write(move |db| {
        let order_id = orders::insert(db, &new)?;
        attempts::insert(db, &Attempt { order_id, ..attempt.clone() })
    });
    written.await.unwrap();
    number.as_str().to_owned()
}

#[actix_web::test]
async fn a_callback_that_comes_before_the_prepay_id_is_stored_settles() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let number = bare_attempt(&shop, Channel::WechatJsapi, Environment::Simulator).await;
    let body = shop.simulator.signed_notify(&number, &[]);
    check(&shop, &number, body, OK, Effect { verdict: "ok", work: None, credit: 1 }).await;
}

#[actix_web::test]
async fn a_signed_callback_for_somebody_else_is_rejected_and_makes_us_ask() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    // The same matter again opens no second work item.
    for (field, value, verdict, work) in [
        ("appid", "wx0000000000000000", "appid_mismatch", Some("appid_mismatch")),
        ("appid", "", "appid_mismatch", None),
        ("mch_id", "1000000001", "mch_id_mismatch", Some("mch_id_mismatch")),
        ("mch_id", "", "mch_id_mismatch", None),
    ] {
        let body = shop.simulator.signed_notify(&number, &[(field, value)]);
        let effect = Effect { verdict, work, credit: 0 };
        check(&shop, &number, body, &fail("RECIPIENT NOT ACCEPTED"), effect).await;
    }
    assert_eq!(rejected(&shop).await, 4);
    assert_eq!(shop.sweep().await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

/// How many notices nobody vouches for.
async fn rejected(shop: &Shop) -> usize {
    shop.app.store.read(|db| notices::list(db, true, None, 1000)).await.unwrap().len()
}

#[actix_web::test]
async fn a_callback_without_a_good_sign_credits_nobody_and_the_query_it_causes_does() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let spoilt: [fn(&Shop, &str) -> String; 8] = [
        |shop, number| with_sign(shop, number, |_| None),
        |shop, number| with_sign(shop, number, |_| Some(String::new())),
        |shop, number| with_sign(shop, number, |sign| Some(sign.to_lowercase())),
        |shop, number| with_sign(shop, number, |sign| Some(sign.replace(['0', '1', '2', '3'], "4"))),
        |shop, number| with_sign(shop, number, |sign| Some(sign[..32].to_owned())),
        |shop, number| with_sign(shop, number, |sign| Some(format!("{sign} "))),
        |shop, number| shop.simulator.signed_notify(number, &[("sign_type", "MD5")]),
        |shop, number| {
            let body = shop.simulator.signed_notify(number, &[]);
            body.replace("5K8264ILTKCH16CQ2502SI8ZNMTM67VS", "5K8264ILTKCH16CQ2502SI8ZNMTM67VT")
        },
    ];
    for spoil in spoilt {
        let number = user.top_up("50").await;
        shop.simulator.set_scenario(&number, Scenario::NotifyLost);
        shop.simulator.pay(&number).unwrap();
        let body = spoil(&shop, &number);
        check(&shop, &number, body, &fail("SIGNATURE NOT ACCEPTED"), only_noted("bad_sign")).await;
        assert_eq!(shop.sweep().await, 1, "the named order is asked about");
        let order = shop.order(&number).await;
        assert_eq!((order.is_paid(), order.settled_by), (true, Some(Source::Sweep)));
        assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
    }
    assert_eq!(rejected(&shop).await, spoilt.len());
}

/// The true callback with its sign replaced or taken out.
fn with_sign(shop: &Shop, number: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut fields = Fields::parse(shop.simulator.signed_notify(number, &[]).as_bytes()).unwrap();
    let changed = change(fields.get("sign").unwrap());
    fields.remove("sign");
    if let Some(sign) = changed {
        fields.set("sign", &sign);
    }
    fields.to_xml()
}

#[actix_web::test]
async fn a_flood_of_forged_callbacks_makes_us_ask_once_a_minute_and_pays_nobody() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    let forged = with_sign(&shop, &number, |_| Some("0".repeat(64)));
    let refused = fail("SIGNATURE NOT ACCEPTED");
    let asked = || shop.calls(&number).iter().filter(|call| *call == "orderquery").count();
    for _ in 0..20 {
        check(&shop, &number, forged.clone(), &refused, only_noted("bad_sign")).await;
        shop.sweep().await;
        shop.clock.advance_ms(300);
    }
    assert_eq!(asked(), 1);
    // Later, when the sweep itself asks every 110 s.
    shop.clock.advance_ms(40 * 60_000);
    assert_eq!(shop.sweep().await, 1);
    for (wait_ms, expected) in [(59_000, 2), (1_000, 3), (59_000, 3), (1_000, 4)] {
        shop.clock.advance_ms(wait_ms);
        check(&shop, &number, forged.clone(), &refused, only_noted("bad_sign")).await;
        shop.sweep().await;
        assert_eq!(asked(), expected);
    }
}

#[actix_web::test]
async fn a_signed_callback_that_lacks_what_money_needs_is_refused_and_shown_to_the_administrator() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    for (field, value) in [
        ("transaction_id", ""),
        ("transaction_id", "a b"),
        ("total_fee", ""),
        ("total_fee", "0"),
        ("total_fee", "-5000"),
        ("total_fee", "05000"),
        ("total_fee", "+5000"),
        ("total_fee", "5000.00"),
        ("total_fee", "99999999999999999999"),
    ] {
        let number = user.top_up("50").await;
        let body = shop.simulator.signed_notify(&number, &[(field, value)]);
        let effect = Effect { verdict: "incomplete", work: Some("incomplete"), credit: 0 };
        check(&shop, &number, body, &fail("MESSAGE INCOMPLETE"), effect).await;
        assert_eq!(shop.sweep().await, 1, "{field} {value}");
    }
}

#[actix_web::test]
async fn what_is_not_a_flat_document_is_refused_without_a_query() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let good = shop.simulator.signed_notify(&number, &[]);
    let fields = Fields::parse(good.as_bytes()).unwrap();
    let (flat, sign) = (fields.to_xml(), fields.get("sign").unwrap());
    let inside = |text: &str| flat.replace("</xml>", &format!("{text}</xml>"));
    let malformed = [
        String::new(),
        "success".to_owned(),
        format!("{{\"out_trade_no\": \"{number}\"}}"),
        format!("<!DOCTYPE xml [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>{flat}"),
        inside("<total_fee>1</total_fee>"),
        inside(&format!("<sign>{sign}</sign>")),
        inside("<a><b>1</b></a>"),
        inside("<p:total_fee>1</p:total_fee>"),
        inside("<a b=\"c\">1</a>"),
        inside("<a>&unknown;</a>"),
        format!("{flat}<xml></xml>"),
        format!("{flat}trailing"),
        flat.replace("</xml>", ""),
        flat.replace("xml>", "other>"),
    ];
    let mut bodies: Vec<Vec<u8>> = malformed.into_iter().map(String::into_bytes).collect();
    bodies.push([b"<xml><attach>\xb3\xe4\xd6\xb5</attach>", &flat.as_bytes()[5..]].concat());
    bodies.push(flat.encode_utf16().flat_map(u16::to_le_bytes).collect());
    for body in bodies {
        check(&shop, &number, body, &fail("MESSAGE NOT UNDERSTOOD"), only_noted("malformed")).await;
    }
    assert_eq!(shop.sweep().await, 0);
    // The same words, plain again, are what the gateway said.
    check(&shop, &number, flat, OK, Effect { verdict: "ok", work: None, credit: 5000 }).await;
}

#[actix_web::test]
async fn a_body_of_64_kib_is_read_and_one_byte_more_is_too_large() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    let before = shop.books(&number).await;
    let refused = shop.notify(vec![b'x'; 64 * 1024 + 1]).await;
    let words = fail("MESSAGE TOO LARGE OR BROKEN");
    assert_eq!(said(&refused), (413, "text/xml; charset=utf-8", words.as_str()));
    assert_eq!(shop.books(&number).await, before);
    let counted = shop.app.metrics.notices.with_label_values(&["wechat", "unread"]).get();
    assert_eq!(counted, 1);
    let largest = vec![b'x'; 64 * 1024];
    check(&shop, &number, largest, &fail("MESSAGE NOT UNDERSTOOD"), only_noted("malformed")).await;
}

#[actix_web::test]
async fn other_methods_are_not_allowed_and_no_address_redirects() {
    let shop = Shop::open().await;
    let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let url = format!("{}/notify/wechat", shop.url);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = client.request(method.clone(), &url).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{method}");
    }
    for other in ["/", "//", "/x", "?a=b"] {
        let answer = client.post(format!("{url}{other}")).body("<xml></xml>").send().await.unwrap();
        let expected = if other == "?a=b" { 200 } else { 404 };
        assert_eq!(answer.status(), expected, "{other}");
        assert!(answer.headers().get("location").is_none(), "{other}");
        assert!(answer.headers().get("set-cookie").is_none(), "{other}");
    }
}

#[actix_web::test]
async fn twenty_callbacks_at_once_credit_once_and_all_are_answered_success() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let body = shop.simulator.signed_notify(&number, &[]);
    let answers = futures_util::future::join_all((0..20).map(|_| shop.notify(body.clone()))).await;
    for answer in &answers {
        assert_eq!(said(answer), (200, "text/xml; charset=utf-8", OK));
    }
    let mut verdicts = shop.verdicts().await;
    verdicts.sort();
    assert_eq!(verdicts, [vec!["duplicate"; 19], vec!["ok"]].concat());
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_caller_that_hangs_up_at_once_still_settles_the_order() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    for _ in 0..5 {
        let number = user.top_up("50").await;
        // The simulator holds the trade for unpaid, so that no query can be what settles.
        let body = shop.simulator.signed_notify(&number, &[]);
        let mut caller = TcpStream::connect(shop.url.strip_prefix("http://").unwrap()).unwrap();
        let head =
            format!("POST /notify/wechat HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        caller.write_all(format!("{head}{body}").as_bytes()).unwrap();
        drop(caller);
        let order = confirm::status(&shop.app, shop.order(&number).await, 10).await.unwrap();
        assert_eq!(order.settled_by, Some(Source::Notify));
    }
}

/// A write that does not end before it is told to; gives what tells it, and whether it was given up.
pub async fn hold_the_books(shop: &Shop) -> (mpsc::Sender<()>, JoinHandle<bool>) {
    let (release, held) = mpsc::channel::<()>();
    let store = shop.app.store.clone();
    let (enter, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let stuck = tokio::spawn(async move {
        let hold = move |_: &mut _| {
            enter.send(()).unwrap();
            Ok(held.recv().is_ok())
        };
        store.write(hold).await.is_err()
    });
    entered.recv().await.unwrap();
    (release, stuck)
}

#[actix_web::test]
async fn when_the_books_cannot_commit_in_time_wechat_is_told_to_come_again() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let body = shop.simulator.signed_notify(&number, &[]);
    let (release, given_up) = hold_the_books(&shop).await;
    let answer = shop.notify(body.clone()).await;
    let words = fail("TRY AGAIN LATER");
    assert_eq!(said(&answer), (503, "text/xml; charset=utf-8", words.as_str()));
    assert!(!shop.order(&number).await.is_paid());
    release.send(()).unwrap();
    assert!(given_up.await.unwrap(), "the stuck write was given up");
    // WeChat comes again; whichever of the two arrives first credits, and only one does.
    let again = shop.notify(body).await;
    assert_eq!(said(&again), (200, "text/xml; charset=utf-8", OK));
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_kept_callback_can_be_replayed_and_never_credits_twice() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let id = shop.all_notices().await.remove(0).id;
    let replayed = notify::replay(shop.app.clone(), "cli", &id).await.unwrap();
    assert_eq!(replayed.body, OK);
    assert_eq!(shop.verdicts().await, ["ok", "duplicate"]);
    // The copy has the time of the replay and the headers of the first: what was signed in time would look late.
    let copy = shop.all_notices().await.into_iter().find(|notice| notice.remote_ip == "replay").unwrap();
    let refused = notify::replay(shop.app.clone(), "cli", &copy.id).await;
    assert!(matches!(refused, Err(ReplayError::Copy)), "{refused:?}");
    assert_eq!(shop.verdicts().await.len(), 2);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_sign_type_that_the_account_does_not_use_is_not_believed_even_when_the_sign_is_right() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::Md5Sign);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(shop.verdicts().await, ["bad_sign"]);
    assert!(!shop.order(&number).await.is_paid());
}

#[actix_web::test]
async fn every_outcome_is_counted_and_one_that_somebody_must_look_at_raises_an_alert() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let genuine = shop.simulator.signed_notify(&number, &[]);
    let less = shop.simulator.signed_notify(&number, &[("total_fee", "4999")]);
    for (body, verdict, alerts) in
        [(less, "amount_mismatch", 1), (genuine.clone(), "ok", 0), (genuine, "duplicate", 0)]
    {
        shop.notify(body).await;
        let metrics = &shop.app.metrics;
        assert_eq!(metrics.settled.with_label_values(&["notify", verdict]).get(), 1, "{verdict}");
        assert_eq!(metrics.alerts.with_label_values(&[verdict]).get(), alerts, "{verdict}");
    }
}

#[actix_web::test]
async fn an_answer_to_a_query_of_ours_is_not_the_newest_callback() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let (told, asked) = (user.top_up("50").await, user.top_up("10").await);
    shop.simulator.pay(&told).unwrap();
    shop.deliver().await;
    let came = shop.clock.now();
    shop.simulator.set_scenario(&asked, Scenario::NotifyLost);
    shop.simulator.pay(&asked).unwrap();
    shop.clock.advance_ms(10_000);
    shop.sweep().await;
    assert!(shop.order(&asked).await.is_paid());
    let newest = shop.app.store.read(notices::last_authentic).await.unwrap();
    assert_eq!(newest, Some(came));
}
