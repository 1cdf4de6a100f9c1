//! A merchant who was opened this year has V3 and nothing of V2; one who changes over has both for a while.

use crate::{
    attacks::rows,
    channels::{COMPUTER, pay_of, user_of},
    harness::{Browser, Shop},
    protocols::{credited, refunded, work},
    reconcile::{job, morning},
    refund_pages::press,
};
use shouyin::{
    app::App,
    config::Config,
    domain::{
        money::Fen,
        order::{Channel, Provider, Source},
    },
    flow::top_up::{self, Pay, Wish},
    gateway::Protocol,
    simulator::faults::Scenario,
};
use std::sync::Arc;

/// What V2 calls its interfaces.
const OF_V2: [&str; 6] =
    ["unifiedorder", "orderquery", "closeorder", "refund", "refundquery", "downloadbill"];

/// Nobody asked by V2, and its doors are shut.
async fn v2_is_not_spoken(shop: &Shop) {
    let calls = shop.simulator.calls();
    let of_v2 = calls.iter().find(|call| call.split(' ').next().is_some_and(|name| OF_V2.contains(&name)));
    assert_eq!(of_v2, None, "{calls:?}");
    assert_eq!(shop.notify("<xml></xml>").await.status, 404);
    assert_eq!(shop.notify_refund("<xml></xml>").await.status, 404);
}

#[actix_web::test]
async fn a_merchant_with_v3_alone_is_paid_and_pays_back() {
    for channel in ["wechat_jsapi", "wechat_native"] {
        let shop = Shop::open_v3_alone().await;
        let user = shop.user("ann").await;
        let (number, _) = pay_of(&user, channel).await;
        assert_eq!(shop.simulator.trade(&number).unwrap().protocol, Protocol::WechatV3, "{channel}");
        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        credited(&shop, &number, Source::Notify).await;
        refunded(&shop, &number, Provider::Wechat, "refund_hint").await;
        v2_is_not_spoken(&shop).await;
    }
}

#[actix_web::test]
async fn with_v3_alone_a_lost_callback_is_found_and_an_unpaid_order_is_closed() {
    let shop = Shop::open_v3_alone().await;
    let user = shop.user("ann").await;
    let (lost, unpaid) = (user.top_up("50").await, user.top_up("10").await);
    shop.simulator.set_scenario(&lost, Scenario::NotifyLost);
    shop.simulator.pay(&lost).unwrap();
    shop.clock.advance_ms(10_000);
    shop.sweep().await;
    credited(&shop, &lost, Source::Sweep).await;
    shop.clock.advance_ms(2 * 3_600_000);
    assert_eq!(shop.close_expired().await, 1);
    assert!(shop.order(&unpaid).await.closed_at.is_some());
    v2_is_not_spoken(&shop).await;
}

#[actix_web::test]
async fn with_v3_alone_the_desk_works_and_the_bill_of_the_day_agrees() {
    let shop = Shop::open_v3_alone().await;
    let number = shop.paid("ann", "50").await;
    let admin = shop.admin().await;
    for page in [
        "/admin",
        "/admin/first-run",
        "/admin/diagnostics",
        "/admin/bills",
        &format!("/admin/orders/{number}"),
        &format!("/admin/orders/{number}/refund"),
    ] {
        let shown = admin.get(page).await;
        assert_eq!(shown.status, 200, "{page}: {}", shown.body);
        assert!(!shown.body.contains("WECHAT_CERT_PEM"), "{page} asks for V2's certificate: {}", shown.body);
    }
    let tested = press(&admin, "/admin/diagnostics/gateways", &[]).await;
    assert!(tested.status < 400 && !tested.body.contains("没有连上"), "{}", tested.body);
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    let lines = rows(&shop, "bill_rows").await;
    assert_eq!((lines.len(), work(&shop).await), (1, vec![]), "{lines:?}");
    v2_is_not_spoken(&shop).await;
}

/// Ann's order of 50 yuan as it was made before the shop had V3.
async fn ordered_by_v2(shop: &Shop) -> (Browser, String) {
    let user = user_of(shop, "ann", COMPUTER).await;
    let config = Config { wechat_v3: None, ..shop.app.config.clone() };
    let before: Arc<App> = App::new(config, shop.app.store.clone(), shop.clock.clone()).unwrap();
    let wish = Wish {
        user_id: 1,
        amount: Fen::parse_yuan("50").unwrap(),
        channel: Channel::WechatNative,
        intent: "before-the-change".to_owned(),
    };
    let order = top_up::create(&before, wish).await.unwrap();
    let pay = top_up::checkout(&before, order.id, Channel::WechatNative, None, "127.0.0.1").await.unwrap();
    assert!(matches!(pay, Pay::Ready(_)), "{pay:?}");
    let number = order.out_trade_no.as_str().to_owned();
    assert_eq!(shop.simulator.trade(&number).unwrap().protocol, Protocol::WechatV2);
    (user, number)
}

#[actix_web::test]
async fn a_callback_of_v2_about_an_order_made_by_v2_is_believed_while_v3_is_on() {
    let shop = Shop::open_v3().await;
    let (user, number) = ordered_by_v2(&shop).await;
    let forged = shop.simulator.signed_notify(&number, &[]).replace("</xml>", "<more>1</more></xml>");
    assert!(shop.notify(forged).await.body.contains("SIGNATURE NOT ACCEPTED"));
    assert!(!shop.order(&number).await.is_paid());
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
    assert_eq!(shop.all_notices().await.remove(0).provider, Protocol::WechatV2.as_str());
    // The next order of the same user goes by V3.
    let (next, _) = pay_of(&user, "wechat_native").await;
    assert_eq!(shop.simulator.trade(&next).unwrap().protocol, Protocol::WechatV3);
}

#[actix_web::test]
async fn an_order_made_by_v2_is_asked_about_and_paid_back_by_v3() {
    let shop = Shop::open_v3().await;
    let (_, number) = ordered_by_v2(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(10_000);
    shop.sweep().await;
    credited(&shop, &number, Source::Sweep).await;
    assert_eq!(shop.calls(&number), ["unifiedorder", "transactions/out-trade-no"]);
    // The shop is in public-key mode, and the refund's callback is signed so whoever made the order.
    refunded(&shop, &number, Provider::Wechat, "refund_hint").await;
}
