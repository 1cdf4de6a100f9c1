//! Alipay in certificate mode: requests name the app's certificate and the root, replies name Alipay's, and what another
//! certificate has signed is neither believed nor taken for a failure.

use crate::{
    channels::{COMPUTER, order, pay_of, user_of},
    harness::{START, Shop, admin_called},
    protocols::{credited, refunded, visit},
    refund_pages::press,
};
use shouyin::{
    app::App,
    config::{RsaKeys, SimulatorKeys},
    domain::{
        ids::OutTradeNo,
        money::Fen,
        order::{Provider, Settled, Source},
        refund::RefundState,
    },
    flow::{
        ask_order,
        query::Asked,
        request_refund::{self, Payment, Wish},
    },
    gateway::alipay::{
        Account, Certificates,
        cert_sn::{self, Certificate},
    },
    jobs,
    simulator::{AlipayApp, faults::Scenario},
};

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];

/// What a merchant configures who has downloaded these certificates.
fn use_certificates(account: &mut Account, keys: &SimulatorKeys) {
    let made = AlipayApp::certified(keys, START).unwrap().certificates.unwrap();
    let (app, alipay) =
        (Certificate::parse(&made.app.pem).unwrap(), Certificate::parse(&made.alipay.pem).unwrap());
    assert!(account.key.matches(&app.public_key));
    account.public_key = alipay.public_key;
    account.certificates = Some(Certificates {
        app_cert_sn: app.sn,
        alipay_root_cert_sn: cert_sn::of_roots(&made.root.pem).unwrap(),
        alipay_cert_sn: alipay.sn,
        app_ends: app.not_after,
        alipay_ends: alipay.not_after,
    });
}

/// Alipay as it was before its certificate was replaced.
fn before_replacement(keys: &SimulatorKeys) -> SimulatorKeys {
    let rsa = keys.rsa.clone().unwrap();
    let rsa = RsaKeys { alipay_platform: rsa.next_platform.clone(), ..rsa };
    SimulatorKeys { rsa: Some(rsa), ..keys.clone() }
}

/// Alipay's certificate is the one before, its root the same.
fn use_replaced(account: &mut Account, keys: &SimulatorKeys) {
    let root = account.certificates.clone().unwrap().alipay_root_cert_sn;
    use_certificates(account, &before_replacement(keys));
    account.certificates.as_mut().unwrap().alipay_root_cert_sn = root;
}

async fn open(change: impl FnOnce(&mut Account, &SimulatorKeys)) -> Shop {
    Shop::open_with_keys(|config, keys| {
        let account = config.alipay.as_mut().unwrap();
        use_certificates(account, keys);
        change(account, keys);
    })
    .await
}

#[actix_web::test]
async fn in_certificate_mode_a_code_is_paid_called_back_credited_once_queried_and_refunded() {
    let shop = open(|_, _| {}).await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "alipay_qr").await;
    assert!(page.body.contains("扫一扫"), "{}", page.body);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
    // A copy that names the certificate, which is under the signature like everything else.
    let named = shop.app.config.alipay.as_ref().unwrap().certificates.clone().unwrap().alipay_cert_sn;
    let copy = shop.simulator.alipay_notify(&number, &[("alipay_cert_sn", &named)]);
    let told = shop.call_back("/notify/alipay", &FORM, copy.clone()).await;
    assert_eq!((told.status, told.body.as_str()), (200, "success"));
    let told = shop.call_back("/notify/alipay", &FORM, copy.replace(&named, &"0".repeat(32))).await;
    assert_eq!(told.body, "fail");
    assert_eq!(shop.verdicts().await, ["ok", "duplicate", "bad_sign"]);
    let heard = ask_order::ask(&shop.app, "command", &shop.order(&number).await).await.unwrap();
    assert_eq!(heard[0].1, Asked::Paid(Settled::Already));
    credited(&shop, &number, Source::Notify).await;
    refunded(&shop, &number, Provider::Alipay, "refund_hint").await;
}

#[actix_web::test]
async fn in_certificate_mode_a_browser_reaches_the_cashier_and_a_lost_callback_is_found() {
    let shop = open(|_, _| {}).await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, pay) = pay_of(&user, "alipay_page").await;
    let url = pay["url"].as_str().unwrap();
    assert!(url.contains("app_cert_sn=") && url.contains("alipay_root_cert_sn="), "{url}");
    assert_eq!(visit(url).await.status, 302);
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    credited(&shop, &number, Source::Sweep).await;
}

#[actix_web::test]
async fn a_certificate_that_alipay_does_not_know_is_refused_in_words_the_administrator_reads() {
    type Spoil = fn(&mut Certificates);
    let wrong: [(Spoil, &str); 3] = [
        (|all| all.app_cert_sn.clone_from(&all.alipay_cert_sn), "isv.app-cert-not-exist 应用公钥证书不存在"),
        (|all| all.app_cert_sn.clear(), "isv.missing-app-cert-sn 缺少应用公钥证书序列号"),
        (
            |all| all.alipay_root_cert_sn.clone_from(&all.app_cert_sn),
            "isv.invalid-alipay-root-cert-sn 无效支付宝根证书序列号",
        ),
    ];
    for (spoil, said) in wrong {
        let shop = open(|account, _| spoil(account.certificates.as_mut().unwrap())).await;
        let user = user_of(&shop, "ann", COMPUTER).await;
        let (number, page) = order(&user, "alipay_qr").await;
        assert!(page.body.contains("支付通道繁忙") && page.body.contains("请勿重复支付"), "{}", page.body);
        assert!(!page.body.contains("isv."), "nothing of it is the payer's: {}", page.body);
        assert!(shop.simulator.trade(&number).is_none(), "{said}");
        let books = shop.books(&number).await;
        assert_eq!((books.balance, books.order.is_paid(), books.order.closed_at), (0, false, None));
        let admin = shop.admin().await;
        let page = press(&admin, "/admin/diagnostics/gateways", &[]).await.body;
        assert!(page.contains(said) && page.contains("请核对商户号、appid、密钥和证书"), "{page}");
    }
}

#[actix_web::test]
async fn what_another_certificate_of_alipays_has_signed_is_unknown_until_the_shop_has_it() {
    let stale: [fn(&mut Account, &SimulatorKeys); 3] = [
        |account, keys| use_replaced(account, keys),
        // The right name under another's signature, and another name under the right one.
        |account, keys| {
            let named = account.certificates.clone();
            use_replaced(account, keys);
            account.certificates = named;
        },
        |account, keys| {
            let key = account.public_key.clone();
            use_replaced(account, keys);
            account.public_key = key;
        },
    ];
    for (nth, stale) in stale.into_iter().enumerate() {
        let mut right = None;
        let shop = Shop::open_with_keys(|config, keys| {
            let account = config.alipay.as_mut().unwrap();
            use_certificates(account, keys);
            right = Some(account.clone());
            stale(account, keys);
        })
        .await;
        let mut config = shop.app.config.clone();
        config.alipay = right;
        let mended = App::new(config, shop.app.store.clone(), shop.clock.clone()).unwrap();
        let user = user_of(&shop, "ann", COMPUTER).await;
        let (number, page) = order(&user, "alipay_qr").await;
        assert!(page.body.contains("支付通道繁忙") && page.body.contains("请勿重复支付"), "{}", page.body);
        // Alipay has made the code all the same.
        shop.simulator.set_scenario(&number, Scenario::NotifyLost);
        shop.simulator.pay(&number).unwrap();
        if nth < 2 {
            let callback = shop.simulator.alipay_notify(&number, &[]);
            assert_eq!(shop.call_back("/notify/alipay", &FORM, callback).await.body, "fail");
            assert_eq!(shop.verdicts().await, ["bad_sign"]);
        }
        shop.clock.advance_ms(10_000);
        assert_eq!(shop.sweep().await, 1);
        let books = shop.books(&number).await;
        assert_eq!((books.balance, books.order.is_paid(), books.order.closed_at), (0, false, None), "{nth}");
        let page = user.get(&format!("/orders/{number}")).await.body;
        assert!(page.contains("<h1>待支付</h1>") && !page.contains("支付失败"), "{page}");

        shop.clock.advance_ms(60_000);
        assert_eq!(jobs::query_pending::run_once(mended.clone()).await.unwrap(), 1);
        credited(&shop, &number, Source::Sweep).await;

        // A refund that went out before anybody noticed.
        let wish = Wish {
            payment: Payment::OfOrder(OutTradeNo::parse(&number).unwrap()),
            amount: Fen::parse_yuan("20").unwrap(),
            reason: "商品已售完".to_owned(),
            intent: shop.clock.nonce().unwrap(),
        };
        let refund = request_refund::request(&shop.app, &admin_called("boss"), wish).await.unwrap();
        assert_eq!((refund.state, shop.simulator.refunds().len()), (RefundState::Asking, 1), "{nth}");
        shop.wait_for_refunds(2, 60).await;
        assert_eq!(shop.same_refund(&refund).await.state, RefundState::Asking, "{nth}");
        for _ in 0..4 {
            shop.clock.advance_ms(3_600_000);
            jobs::refunds::run_once(mended.clone()).await.unwrap();
        }
        assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success, "{nth}");
        assert_eq!(shop.simulator.refunds().len(), 1, "one number, one refund");
    }
}
