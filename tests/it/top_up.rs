//! The main job: from the form to a credited balance.

use crate::harness::Shop;
use serde_json::json;
use shouyin::simulator::faults::Scenario;

#[actix_web::test]
async fn a_paid_top_up_is_credited_by_the_callback() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    assert_eq!(user.status(&number).await["paid"], false);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    let status = user.status(&number).await;
    assert_eq!(
        status,
        json!({"status": 1, "paid": true, "closed": false, "final": true, "next": format!("/orders/{number}")})
    );
    let order = shop.order(&number).await;
    assert_eq!(shop.balance(order.user_id).await, 5000);
    assert_eq!(shop.simulator.paid_total_fen(), 5000);
    assert!(user.get(&format!("/orders/{number}")).await.body.contains("支付成功"));
}

#[actix_web::test]
async fn a_lost_callback_is_made_up_for_by_the_query() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("9.90").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 0);
    assert_eq!(user.status(&number).await["paid"], true);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 990);
}

#[actix_web::test]
async fn a_double_click_is_one_order_and_one_prepay() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
    let (a, b) = tokio::join!(user.post_json("/top-up", &fields), user.post_json("/top-up", &fields));
    assert_eq!((a.status, b.status), (201, 201), "{} {}", a.body, b.body);
    assert_eq!(a.json()["out_trade_no"], b.json()["out_trade_no"]);
    let asked = shop.simulator.calls().iter().filter(|call| call.starts_with("unifiedorder")).count();
    assert_eq!(asked, 1);
}

#[actix_web::test]
async fn a_form_that_was_used_for_one_amount_makes_no_order_of_another() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let send = async |amount: &str| {
        let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", amount)];
        user.post_json("/top-up", &fields).await
    };
    let first = send("50").await;
    assert_eq!(first.status, 201, "{}", first.body);
    let other = send("60").await;
    assert_eq!(other.status, 409, "{}", other.body);
    assert_eq!(send("50").await.json()["out_trade_no"], first.json()["out_trade_no"]);
    assert_eq!(shop.simulator.calls().iter().filter(|call| call.starts_with("unifiedorder")).count(), 1);
}
