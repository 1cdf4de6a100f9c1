//! What people see, and what it does to trades.

use super::{super::testing::*, *};
use actix_web::{App, dev::ServiceResponse, test};

async fn send(simulator: &Simulator, request: test::TestRequest) -> ServiceResponse {
    let app = test::init_service(App::new().configure(super::super::routes(simulator))).await;
    test::call_service(&app, request.to_request()).await
}

async fn press(simulator: &Simulator, button: &str, prepay_id: &str, scenario: &str) -> String {
    let form = [("prepay_id", prepay_id), ("scenario", scenario)];
    let request = test::TestRequest::post().uri(&format!("/cashier/{button}")).set_form(form);
    let answer = send(simulator, request).await;
    assert_eq!(answer.status(), 303);
    let location = answer.headers().get(header::LOCATION).unwrap().to_str().unwrap();
    location.split_once("&result=").unwrap().1.to_owned()
}

async fn page(simulator: &Simulator, uri: &str) -> String {
    let answer = send(simulator, test::TestRequest::get().uri(uri)).await;
    let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(policy.ends_with("frame-ancestors http://shop.test"), "{policy}");
    String::from_utf8(test::read_body(answer).await.to_vec()).unwrap()
}

#[actix_web::test]
async fn the_sheet_shows_the_order_and_says_it_is_a_simulation() {
    let (simulator, _) = simulator();
    let prepay_id = prepay(&simulator).await;
    let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}")).await;
    for text in
        ["9.90", "账户充值", "确认支付", "模拟环境 SIMULATOR", "不涉及真实资金", "POST /pay/unifiedorder"]
    {
        assert!(sheet.contains(text), "{text}");
    }
    assert!(!sheet.contains("style=") && !sheet.contains("onclick") && !sheet.contains("<script>"));
    let list = page(&simulator, "/").await;
    assert!(list.contains(NUMBER) && list.contains("notify-x20-parallel"));
    let answer = send(&simulator, test::TestRequest::get().uri("/cashier?prepay_id=none")).await;
    assert_eq!(answer.status(), 404);
}

#[actix_web::test]
async fn the_page_hears_what_the_scenario_says_whatever_the_truth_is() {
    for (button, scenario, heard, paid) in [
        ("pay", "ok", "ok", true),
        ("pay", "cancel-after-paid", "cancel", true),
        ("pay", "notify-before-return", "ok", true),
        ("cancel", "ok", "cancel", false),
    ] {
        let (simulator, _) = simulator();
        let prepay_id = prepay(&simulator).await;
        assert_eq!(press(&simulator, button, &prepay_id, scenario).await, heard, "{scenario}");
        let trade = simulator.trade(NUMBER).unwrap();
        assert_eq!(trade.transaction_id.is_some(), paid, "{scenario}");
        let tried = usize::from(scenario == "notify-before-return");
        assert_eq!(trade.callbacks.len(), tried, "{scenario}");
    }
}

#[actix_web::test]
async fn a_trade_is_paid_once_and_without_script_the_page_says_so() {
    let (simulator, _) = simulator();
    let prepay_id = prepay(&simulator).await;
    assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "ok");
    assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "fail");
    let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}&result=ok")).await;
    assert!(sheet.contains("已支付，请返回商户页面") && sheet.contains("data-result=\"ok\""));
    assert!(!sheet.contains("确认支付"));
    assert_eq!(simulator.paid_total_fen(), 990);
    press(&simulator, "resend", &prepay_id, "").await;
    assert_eq!(simulator.trade(NUMBER).unwrap().callbacks.len(), 2);
}

#[actix_web::test]
async fn a_closed_trade_is_paid_only_by_a_late_payer() {
    let (simulator, clock) = simulator();
    let prepay_id = prepay(&simulator).await;
    clock.advance_ms(900_000);
    assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "fail");
    assert_eq!(press(&simulator, "pay", &prepay_id, "late-payment").await, "ok");
    assert_eq!(simulator.trade(NUMBER).unwrap().state, TradeState::Success);
}

#[actix_web::test]
async fn the_default_scenario_is_set_on_the_list_page() {
    let (simulator, _) = simulator();
    let request = test::TestRequest::post().uri("/scenario").set_form([("scenario", "notify-lost")]);
    assert_eq!(send(&simulator, request).await.status(), 303);
    prepay(&simulator).await;
    assert_eq!(simulator.trade(NUMBER).unwrap().scenario, Scenario::NotifyLost);
}

#[actix_web::test]
async fn a_person_sees_refunds_and_resolves_one_the_bank_cannot_take() {
    let (simulator, clock) = simulator();
    let prepay_id = paid(&simulator).await;
    assert!(!page(&simulator, "/").await.contains("商户退款单号"));
    press(&simulator, "scenario", &prepay_id, "refund-abnormal").await;
    call(&simulator, "/secapi/pay/refund", refund_of(&simulator, "r-1", 400)).await;
    assert!(page(&simulator, "/").await.contains("退款处理中"));
    clock.advance_ms(20_000);
    let list = page(&simulator, "/").await;
    assert!(list.contains("退款异常") && list.contains("¥0.00"), "{list}");
    let resolve = |number: &'static str| {
        test::TestRequest::post().uri("/refunds/resolve").set_form([("out_refund_no", number)])
    };
    assert_eq!(send(&simulator, resolve("r-2")).await.status(), 404);
    for _ in 0..2 {
        assert_eq!(send(&simulator, resolve("r-1")).await.status(), 303);
    }
    let list = page(&simulator, "/").await;
    assert!(list.contains("退款成功") && list.contains("¥4.00") && !list.contains("退款到账"), "{list}");
    assert_eq!(simulator.refunds()[0].callbacks.len(), 1, "the callback about CHANGE gave way to one");
    let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}")).await;
    assert!(sheet.contains("POST /secapi/pay/refund") && !sheet.contains("late-payment"), "{sheet}");
}
