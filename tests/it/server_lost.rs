//! The database server is gone, or its answer is: what callbacks, pages and balancers are told, and what holds afterwards.

use crate::{
    faults::paid_and_unheard,
    harness::{Answer, Shop},
    wire::Wire,
};
use shouyin::store::orders;
use std::time::Duration;

/// Tries before what should work again is given up; each takes up to some seconds.
const PATIENCE: usize = 20;

async fn shop() -> Option<(Shop, Wire)> {
    if crate::database::server().is_none() {
        eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
        return None;
    }
    let mut wire = None;
    let shop = Shop::open_with(|config| wire = Some(Wire::before(config))).await;
    Some((shop, wire.unwrap()))
}

/// WeChat waits five seconds for an answer.
async fn notify(shop: &Shop, callback: &str) -> Answer {
    tokio::time::timeout(Duration::from_secs(5), shop.notify(callback))
        .await
        .expect("an answer within five seconds")
}

#[actix_web::test]
async fn while_the_server_is_gone_callbacks_are_to_come_again_and_pages_say_what_is_safe() {
    let Some((shop, wire)) = shop().await else { return };
    let (ann, number, callback) = paid_and_unheard(&shop).await;
    assert_eq!(shop.browser().get("/readyz").await.status, 200);
    let [token, intent] = ann.top_up_form().await;
    wire.cut();
    for _ in 0..2 {
        let answer = notify(&shop, &callback).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.body.contains("FAIL"), "{}", answer.body);
    }
    let ready = shop.browser().get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: the database does not take writes\n"));
    let page = ann.get("/orders").await;
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("款项是安全的") && page.body.contains("请勿重复支付"), "{}", page.body);
    assert_eq!(shop.browser().get("/healthz").await.status, 200);
    let top_up = ann.send_top_up(&token, &intent, "50").await;
    assert_eq!(top_up.status, 503, "{}", top_up.body);
    assert!(shop.app.may_sweep().await, "what cannot be counted is not refused for that");
    wire.mend();
    // The same process goes on: whatever still waits for the old connections gives up within seconds.
    let mut answer = notify(&shop, &callback).await;
    for _ in 0..PATIENCE {
        if answer.status == 503 {
            answer = notify(&shop, &callback).await;
        }
    }
    assert!(answer.body.contains("SUCCESS"), "{}", answer.body);
    for path in ["/orders", "/readyz"] {
        let mut status = ann.get(path).await.status;
        for _ in 0..PATIENCE {
            if status == 503 {
                status = ann.get(path).await.status;
            }
        }
        assert_eq!(status, 200, "{path}");
    }
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_credit_whose_commit_was_never_answered_is_found_made_when_the_callback_comes_again() {
    let Some((shop, wire)) = shop().await else { return };
    let (_, number, callback) = paid_and_unheard(&shop).await;
    wire.lose_the_answer_to_the_next_commit();
    let answer = notify(&shop, &callback).await;
    assert_eq!(answer.status, 503, "nobody knows: {}", answer.body);
    assert!(answer.body.contains("FAIL"), "{}", answer.body);
    assert_eq!(wire.lost(), 1, "the server had committed");
    let credited = shop.books(&number).await;
    assert_eq!((credited.balance, credited.order.is_paid()), (5000, true));
    assert!(notify(&shop, &callback).await.body.contains("SUCCESS"));
    assert_eq!(shop.books(&number).await.balance, 5000);
    assert_eq!(shop.verdicts().await, ["ok", "duplicate"]);
}

#[actix_web::test]
async fn an_order_whose_commit_was_never_answered_is_the_same_order_when_the_form_comes_again() {
    let Some((shop, wire)) = shop().await else { return };
    let ann = shop.user("ann").await;
    let [token, intent] = ann.top_up_form().await;
    let kept = intent.clone();
    wire.lose_the_answer_to_the_next_commit();
    let answer = ann.send_top_up(&token, &intent, "50").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(wire.lost(), 1, "the server had committed");
    let there = shop.app.store.read(move |db| orders::by_intent(db, 1, &kept)).await.unwrap();
    assert!(there.is_some(), "it was that COMMIT");
    let again = ann.send_top_up(&token, &intent, "50").await;
    assert_eq!(again.status, 201, "{}", again.body);
    let number = again.json()["out_trade_no"].as_str().unwrap().to_owned();
    let user = shop.order(&number).await.user_id;
    let all = shop.app.store.read(move |db| orders::of_user(db, user, None, 10)).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
}
