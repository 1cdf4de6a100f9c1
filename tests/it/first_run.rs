//! The first day in steps that nobody ticks, and the question that shows whether a gateway knows us.

use crate::{
    attacks::rows,
    harness::{Browser, PASSWORD, Shop, admin_called},
    reconcile::{job, morning},
    refund_pages::press,
    second_factor::enrol,
};
use shouyin::{
    app::App,
    domain::user::Role,
    flow::{
        self_test::{self, Said},
        set_up,
    },
    gateway::wechat_v2::ApiKey,
};

/// Which steps are done.
async fn done(admin: &Browser) -> Vec<String> {
    let told = admin.get_json("/admin/first-run").await.json();
    let steps = told["steps"].as_array().unwrap().iter().filter(|step| step["done"] == true);
    steps.map(|step| step["step"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn every_step_of_the_first_day_is_read_off_the_books_and_the_link_goes_with_the_last() {
    let shop =
        Shop::open_with(|config| config.channels.retain(|channel| channel.as_str() == "wechat_jsapi")).await;
    let admin = shop.admin().await;
    assert_eq!(done(&admin).await, ["owner", "channels"]);
    let page = admin.get("/admin/first-run").await.body;
    for words in ["下一步：支付平台认得我们的密钥", "/notify/wechat：还没有收到过", "第二天 10:10"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(admin.get("/admin").await.body.contains("上线步骤还有 7 项没有完成"));

    let ann = shop.user("ann").await;
    let number = ann.top_up("0.01").await;
    assert_eq!(done(&admin).await, ["owner", "channels", "keys"], "prepared is proof enough");
    shop.simulator.pay(&number).unwrap();
    while shop.sweep().await == 0 {
        shop.clock.advance_ms(1_000);
    }
    assert!(shop.order(&number).await.is_paid());
    assert_eq!(
        done(&admin).await,
        ["owner", "channels", "keys", "payment"],
        "asked about, and no callback came"
    );
    shop.deliver().await;
    assert!(done(&admin).await.contains(&"callbacks".to_owned()));
    shop.refund(&number, "0.01").await.unwrap();
    assert!(!done(&admin).await.contains(&"refund".to_owned()), "asked for is not refunded");
    shop.wait_for_refunds(3, 60).await;
    enrol(&shop, &admin).await;
    assert_eq!(
        done(&admin).await,
        ["owner", "channels", "keys", "payment", "callbacks", "refund", "second_factor"]
    );
    let finance = shop.admin_as(Role::Finance).await;
    let now = done(&admin).await;
    assert!(now.contains(&"second_person".to_owned()) && !now.contains(&"second_factor".to_owned()));
    // Whose password stands alone is not for everybody.
    let page = finance.get("/admin/first-run").await.body;
    assert!(page.contains("还有 1 位没有打开") && !page.contains("还没有打开的"), "{page}");
    assert!(admin.get("/admin/first-run").await.body.contains("还没有打开的：finance"));
    // Whoever can do little about it is not asked to.
    assert!(!finance.get("/admin").await.body.contains("上线步骤"));
    assert!(!finance.get("/admin/first-run").await.body.contains("href=\"/admin/diagnostics\""));
    enrol(&shop, &finance).await;
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    let again = shop.admin_as(Role::Owner).await;
    enrol(&shop, &again).await;
    assert_eq!(done(&again).await.len(), 9);
    assert!(!again.get("/admin").await.body.contains("上线步骤"));
    assert!(again.get("/admin/first-run").await.body.contains("9 项都完成了"));
}

#[actix_web::test]
async fn asked_now_every_gateway_says_under_its_signature_that_it_knows_no_such_order() {
    let shop = Shop::open_v3().await;
    let admin = shop.admin().await;
    let before = shop.simulator.calls().len();
    let path = "/admin/diagnostics/gateways";
    assert_eq!(admin.post(path, &[]).await.status, 403, "no form token");
    let token = admin.form_token("/admin/diagnostics").await;
    let page = admin.post(path, &[("token", &token)]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("支付渠道刚才的答复"));
    let gateways = shop.app.gateways().count();
    assert_eq!(page.body.matches("mark-ok\">有答复，签名正确").count(), gateways, "{}", page.body);
    assert_eq!(shop.simulator.calls().len() - before, gateways);
    assert!(rows(&shop, "orders").await.is_empty() && rows(&shop, "attempts").await.is_empty());
    // That no such order is known is an answer.
    assert!(!page.body.contains("没有可用的回答"), "{}", page.body);
    let acts = rows(&shop, "audit_log").await;
    let acts: Vec<_> = acts.iter().filter(|act| act["action"] == "gateways_tested").collect();
    assert_eq!((acts.len(), &acts[0]["actor"]), (1, &"boss".into()));
    // One within a minute, whoever asks.
    assert_eq!(press(&admin, path, &[]).await.status, 429);
    assert_eq!(shop.simulator.calls().len() - before, gateways);
}

#[actix_web::test]
async fn a_gateway_that_knows_us_not_is_told_from_one_that_is_not_reached() {
    let mut shop = Shop::open().await;
    let mut config = shop.app.config.clone();
    config.wechat_v2.as_mut().unwrap().key = ApiKey::new("another key of thirty-two letter").unwrap();
    let stranger = App::new(config, shop.app.store.clone(), shop.clock.clone()).unwrap();
    let boss = admin_called("boss");
    let said = |tested: Vec<self_test::Tested>| tested.into_iter().map(|one| one.said).collect::<Vec<_>>();
    let heard = said(self_test::run(&stranger, &boss).await.unwrap());
    assert!(matches!(&heard[0], Said::Refused(_)), "{heard:?}");
    shop.cut_off().await;
    let heard = said(self_test::run(&shop.app, &boss).await.unwrap());
    assert!(heard.iter().all(|said| matches!(said, Said::NotReached(_))), "{heard:?}");
    set_up::admin_by_command(&shop.app, "boss", PASSWORD.to_owned(), Role::Owner).await.unwrap();
    let admin = shop.browser();
    admin.log_in("boss", PASSWORD).await;
    let page = press(&admin, "/admin/diagnostics/gateways", &[]).await;
    assert!(page.body.contains("没有连上") && page.body.contains("网络和域名解析"), "{}", page.body);
}
