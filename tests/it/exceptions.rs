//! Matters an administrator acts on: crediting by hand, notes, unknown outcomes, replays. Money moves only on the
//! gateway's own word, and once.

use crate::{
    attacks::rows,
    harness::{Browser, PASSWORD, Shop, WECHAT, admin_called, answered},
    refund_pages::{press, refund},
};
use shouyin::{
    domain::{
        ids::OutTradeNo,
        money::Fen,
        order::Attempt,
        user::{Role, User},
    },
    flow::credit_by_hand::{self, CreditError, Wish},
    gateway::Protocol,
    simulator::faults::Scenario,
    store::attempts,
};

/// WeChat takes an order of this attempt that our books may know nothing of, and it is paid.
pub fn pay_at_wechat(shop: &Shop, attempt: &Attempt) {
    let request =
        shop.app.speaker(Protocol::WechatV2).unwrap().prepay(attempt, &shop.clock.stamp().unwrap()).unwrap();
    let answer = answered(&shop.simulator, &request.path, request.body.unwrap().as_bytes()).unwrap();
    assert!(answer.contains("prepay_id"), "{answer}");
    shop.simulator.pay(attempt.out_trade_no.as_str()).unwrap();
}

/// Like an order's first attempt, with another number and amount.
pub async fn like_the_order(shop: &Shop, number: &str, other: &str, fen: i64) -> Attempt {
    let first = shop.attempts(number).await.remove(0);
    Attempt { out_trade_no: OutTradeNo::parse(other).unwrap(), amount: Fen::new(fen).unwrap(), ..first }
}

/// One order paid twice: 50 yuan credited, 50 more waiting for a decision in item 1.
async fn paid_twice() -> (Shop, Browser, String) {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    let phone = Browser::new(shop.url.clone(), WECHAT);
    assert_eq!(phone.log_in("ann", PASSWORD).await.status, 303);
    phone.go_to_wechat_and_back().await;
    phone.get(&format!("/orders/{number}/pay")).await;
    let new = shop.attempts(&number).await.remove(1).out_trade_no;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.simulator.pay(&number).unwrap();
    shop.simulator.pay(new.as_str()).unwrap();
    assert_eq!(shop.deliver().await, 2);
    let kinds: Vec<_> = shop.work_items().await.into_iter().map(|item| item.kind).collect();
    assert_eq!(kinds, ["second_payment"]);
    (shop, admin, number)
}

fn id(shop_items: &[shouyin::store::work_items::WorkItem]) -> String {
    format!("/admin/work-items/{}", shop_items[0].id)
}

#[actix_web::test]
async fn a_second_payment_is_credited_by_hand_once_on_the_gateways_own_word() {
    let (shop, admin, number) = paid_twice().await;
    let owner = shop.order(&number).await.user_id;
    let page = id(&shop.work_items().await);
    let shown = admin.get(&page).await.body;
    for part in ["/credit", "/refund", "/note", "/close", "平台的原文", "50.00"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("name=\"username\""), "the order says whose it is");
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", " ")]).await.status, 422);
    let credit = format!("{page}/credit");
    let (a, b) = tokio::join!(
        press(&admin, &credit, &[("reason", "用户愿意留作余额")]),
        press(&admin, &credit, &[("reason", "用户愿意留作余额")])
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!((statuses, shop.balance(owner).await), ([303, 409], 10_000), "{} {}", a.body, b.body);
    let item = shop.work_items().await.remove(0);
    assert!(item.closed_at.is_some() && item.closed_by.as_deref() == Some("boss"));
    let acts = rows(&shop, "audit_log").await;
    let act = acts.iter().find(|row| row["action"] == "payment_credited").unwrap();
    assert_eq!((&act["was"], &act["became"]), (&"balance 5000".into(), &"balance 10000".into()));
    assert!(act["detail"].as_str().unwrap().contains("用户愿意留作余额"));
    // Nothing brings it a second time, neither credit nor refund nor WeChat.
    assert_eq!(press(&admin, &credit, &[("reason", "again")]).await.status, 409);
    let no = refund(&admin, &page, "abcdefgh", "50").await;
    assert!(no.status == 409 && no.body.contains("不能再从这里退款"), "{}", no.body);
    assert!(admin.get(&format!("{page}/refund")).await.body.contains("不能再从这里退款"));
    // WeChat says that somebody sends it back at the platform: the user has been credited, so a person must know.
    let credited = rows(&shop, "corrections").await.remove(0);
    let inside = [
        ("out_trade_no", item.out_trade_no.as_str()),
        ("transaction_id", credited["transaction_id"].as_str().unwrap()),
    ];
    shop.notify_refund(shop.simulator.refund_notify("at-the-platform", &[], &inside)).await;
    assert_eq!(shop.work_items().await[0].kind, "refunded_elsewhere");
    for attempt in shop.attempts(&number).await {
        shop.simulator.resend(attempt.out_trade_no.as_str()).unwrap();
    }
    shop.deliver().await;
    press(&admin, &format!("/admin/orders/{number}/query"), &[]).await;
    assert_eq!(shop.balance(owner).await, 10_000);
    assert_eq!(rows(&shop, "corrections").await.len(), 1);
    let after = admin.get(&page).await.body;
    assert!(after.contains("人工入账") && !after.contains("/credit\""), "{after}");
}

#[actix_web::test]
async fn a_payment_the_gateway_does_not_confirm_is_never_credited_by_hand() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    // Signed with our key, and unknown to WeChat: a key in two hands.
    shop.notify(shop.simulator.signed_notify(&number, &[("transaction_id", "4200000000209901010000000001")]))
        .await;
    shop.notify(shop.simulator.signed_notify("ZZZ", &[("total_fee", "10000")])).await;
    // Real, but said to be of another amount.
    let other = user.top_up("10").await;
    shop.simulator.set_scenario(&other, Scenario::NotifyLost);
    shop.simulator.pay(&other).unwrap();
    shop.notify(shop.simulator.signed_notify(&other, &[("total_fee", "99900")])).await;
    let items = shop.work_items().await;
    assert_eq!(items.len(), 3);
    for item in &items {
        let path = format!("/admin/work-items/{}/credit", item.id);
        let answer = press(&admin, &path, &[("reason", "believe me"), ("username", "ann")]).await;
        assert_eq!(answer.status, 409, "{}: {}", item.kind, answer.body);
        assert!(
            answer.body.contains("支付平台的答复是") && answer.body.contains("没有确认"),
            "{}",
            answer.body
        );
    }
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 5000);
    assert!(rows(&shop, "corrections").await.is_empty());
    assert!(shop.work_items().await.iter().all(|item| item.closed_at.is_none()));
}

#[actix_web::test]
async fn while_the_gateway_is_out_of_reach_nothing_is_credited_by_hand() {
    let (mut shop, admin, number) = paid_twice().await;
    let page = id(&shop.work_items().await);
    shop.cut_off().await;
    let unheard = press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await;
    assert!(unheard.status == 409 && unheard.body.contains("没有给出可用的回答"), "{}", unheard.body);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 5000);
    // Whoever asks is written down, whatever is answered.
    press(&admin, &format!("/admin/orders/{number}/query"), &[]).await;
    assert!(rows(&shop, "audit_log").await.iter().any(|row| row["action"] == "order_queried"));
    shop.reconnect();
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await.status, 303);
}

#[actix_web::test]
async fn a_payment_for_an_unknown_order_goes_to_the_user_the_administrator_names() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let owner = shop.order(&number).await.user_id;
    let lost = like_the_order(&shop, &number, "of-an-old-backup", 7700).await;
    pay_at_wechat(&shop, &lost);
    shop.deliver().await;
    let page = id(&shop.work_items().await);
    assert!(admin.get(&page).await.body.contains("name=\"username\""));
    for name in ["", "nobody-here", "<x>"] {
        let answer = press(&admin, &format!("{page}/credit"), &[("reason", "x"), ("username", name)]).await;
        assert_eq!((answer.status, shop.balance(owner).await), (422, 0), "{name}");
    }
    let done =
        press(&admin, &format!("{page}/credit"), &[("reason", "旧备份里的订单"), ("username", "ann")]).await;
    assert_eq!((done.status, shop.balance(owner).await), (303, 7700), "{}", done.body);
    assert!(!shop.order(&number).await.is_paid());
    // WeChat keeps coming, because the number stays unknown.
    shop.simulator.resend("of-an-old-backup").unwrap();
    shop.deliver().await;
    assert_eq!((shop.balance(owner).await, shop.work_items().await.len()), (7700, 1));
}

#[actix_web::test]
async fn one_person_names_who_gets_a_payment_of_no_order_up_to_the_limit_and_never_themself() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(7700).unwrap()).await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    for (other, fen) in [("at-the-limit", 7700), ("above-the-limit", 7701)] {
        pay_at_wechat(&shop, &like_the_order(&shop, &number, other, fen).await);
    }
    shop.deliver().await;
    let items = shop.work_items().await;
    let credit = async |other: &str, name: &str| {
        let item = items.iter().find(|item| item.out_trade_no == other).unwrap().id;
        let fields = [("reason", "x"), ("username", name)];
        press(&admin, &format!("/admin/work-items/{item}/credit"), &fields).await
    };
    let too_much = credit("above-the-limit", "ann").await;
    assert_eq!(too_much.status, 422);
    assert!(too_much.body.contains("77.00") && too_much.body.contains("退款"), "{}", too_much.body);
    let own = credit("at-the-limit", "boss").await;
    assert_eq!(own.status, 409);
    assert!(own.body.contains("不能入账给自己"), "{}", own.body);
    assert_eq!(credit("at-the-limit", "ann").await.status, 303);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 7700);
}

#[actix_web::test]
async fn what_one_person_names_within_a_day_counts_together() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(7700).unwrap()).await;
    let number = shop.user("ann").await.top_up("50").await;
    let owner = shop.order(&number).await.user_id;
    for (other, fen) in [("of-order-one", 4000), ("of-order-two", 4000), ("of-order-three", 3700)] {
        pay_at_wechat(&shop, &like_the_order(&shop, &number, other, fen).await);
    }
    shop.deliver().await;
    let items = shop.work_items().await;
    let boss = admin_called("boss");
    let credit = async |actor: &User, other: &str| {
        let work_item_id = items.iter().find(|item| item.out_trade_no == other).unwrap().id;
        let wish = Wish { work_item_id, username: "ann".to_owned(), reason: "旧备份".to_owned() };
        credit_by_hand::credit(&shop.app, actor, wish).await
    };
    // Both fit alone, and both were looked at before either was written.
    let (one, two) = tokio::join!(credit(&boss, "of-order-one"), credit(&boss, "of-order-two"));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let left = if one.is_ok() { "of-order-two" } else { "of-order-one" };
    assert!(matches!(credit(&boss, left).await, Err(CreditError::TooMuch(_))));
    // To the fen; the second person has a day of their own.
    assert!(credit(&boss, "of-order-three").await.is_ok());
    assert_eq!(shop.balance(owner).await, 7700);
    assert!(matches!(credit(&boss, left).await, Err(CreditError::TooMuch(_))));
    shop.clock.advance_ms(24 * 3_600_000 + 1);
    assert!(credit(&boss, left).await.is_ok());
    assert_eq!(shop.balance(owner).await, 11_700);
}

#[actix_web::test]
async fn as_long_as_a_payment_is_with_nobody_closing_its_item_takes_the_right_to_move_money() {
    let (shop, admin, _) = paid_twice().await;
    let close = format!("{}/close", id(&shop.work_items().await));
    let support = shop.admin_as(Role::Support).await;
    let refused = press(&support, &close, &[("note", "不管它")]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("退款和入账"), "{}", refused.body);
    assert!(shop.work_items().await[0].closed_at.is_none());
    assert_eq!(press(&admin, &close, &[("note", "用户已在平台退款")]).await.status, 303);
    assert!(shop.work_items().await[0].closed_at.is_some());
}

#[actix_web::test]
async fn an_unknown_order_that_is_known_again_is_left_to_its_own_query() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let lost = like_the_order(&shop, &number, "restored-later", 5000).await;
    pay_at_wechat(&shop, &lost);
    shop.deliver().await;
    let page = id(&shop.work_items().await);
    let restored = lost.clone();
    shop.app.store.write(move |db| attempts::insert(db, &restored)).await.unwrap();
    let answer = press(&admin, &format!("{page}/credit"), &[("reason", "x"), ("username", "ann")]).await;
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("重新查单"), "{}", answer.body);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 0);
}

#[actix_web::test]
async fn of_a_payment_of_another_amount_what_was_paid_is_credited_and_the_order_stays_unpaid() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let ann = shop.user("ann").await;
    let number = ann.top_up("50").await;
    let ours = like_the_order(&shop, &number, "other-amount", 5000).await;
    let theirs = Attempt { amount: Fen::new(4900).unwrap(), ..ours.clone() };
    shop.app.store.write(move |db| attempts::insert(db, &ours)).await.unwrap();
    pay_at_wechat(&shop, &theirs);
    shop.deliver().await;
    let item = shop.work_items().await.remove(0);
    assert_eq!((item.kind.as_str(), item.amount_fen), ("amount_mismatch", Some(4900)));
    let page = format!("/admin/work-items/{}", item.id);
    let home = admin.get(&format!("/admin/orders/{number}")).await.body;
    for part in [format!("href=\"{page}\""), "需核对".to_owned(), "收到".to_owned(), "49.00".to_owned()]
    {
        assert!(home.contains(&part), "{part}: {home}");
    }
    let shown = admin.get(&page).await.body;
    assert!(shown.contains("实付") && shown.contains("我方订单"), "{shown}");
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await.status, 303);
    let order = shop.order(&number).await;
    assert_eq!((shop.balance(order.user_id).await, order.is_paid()), (4900, false));
    let again = press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await;
    assert!(
        again.status == 409 && again.body.contains("href=\"/admin\""),
        "back to the desk: {}",
        again.body
    );
    // When the order's time is over, nobody is told that it was not paid.
    shop.clock.advance_ms(2 * 60 * 60 * 1000 + 20 * 60 * 1000);
    for _ in 0..5 {
        shop.close_expired().await;
        shop.clock.advance_ms(60_000);
    }
    assert!(shop.order(&number).await.closed_at.is_some());
    let told = ann.get(&format!("/orders/{number}")).await.body;
    assert!(told.contains("商家已处理") && told.contains("¥49.00 已计入余额"), "{told}");
    assert!(!told.contains("超时未支付") && ann.get("/orders").await.body.contains("商家已处理"), "{told}");
    let home = admin.get(&format!("/admin/orders/{number}")).await.body;
    assert!(home.contains("已处理：") && home.contains("关闭</strong> 超时未支付"), "{home}");
}

#[actix_web::test]
async fn a_payment_that_is_being_refunded_is_not_credited_and_goes_back_once() {
    let (shop, admin, number) = paid_twice().await;
    let owner = shop.order(&number).await.user_id;
    let page = id(&shop.work_items().await);
    let form = admin.get(&format!("{page}/refund")).await;
    assert!(form.body.contains("value=\"50.00\""), "{}", form.body);
    let step =
        admin.get(&format!("{page}/refund?intent=abcdefgh&amount=50&why=%E5%85%B6%E4%BB%96&note=x")).await;
    assert!(step.body.contains("不影响任何余额"), "{}", step.body);
    let asked = refund(&admin, &page, "abcdefgh", "50").await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await.status, 409);
    let done = press(&admin, &format!("{page}/close"), &[("note", "退款去了")]).await;
    assert!(done.status == 409 && done.body.contains("正在退款"), "{}", done.body);
    shop.clock.advance_ms(60_000);
    shouyin::jobs::refunds::run_once(shop.app.clone()).await.unwrap();
    assert_eq!(shop.balance(owner).await, 5000, "it never was in the balance");
    let item = shop.work_items().await.remove(0);
    assert_eq!(item.closed_by.as_deref(), Some("shouyin"), "{item:?}");
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await.status, 409);
    assert!(admin.get(&page).await.body.contains("系统 于"));
}

#[actix_web::test]
async fn a_note_leaves_a_matter_open_and_the_list_is_filtered_by_its_address() {
    let (shop, admin, _) = paid_twice().await;
    shop.notify(shop.simulator.signed_notify("ZZZ", &[])).await;
    let items = shop.work_items().await;
    let (unknown, second) = (items[0].id, items[1].id);
    let noted =
        press(&admin, &format!("/admin/work-items/{second}/note"), &[("note", "已电话联系用户")]).await;
    assert_eq!(noted.status, 303);
    assert!(admin.get(noted.header("location")).await.body.contains("boss：已电话联系用户"));
    assert_eq!(
        press(&admin, &format!("/admin/work-items/{second}/note"), &[("note", " ")]).await.status,
        422
    );
    assert_eq!(press(&admin, "/admin/work-items/99/note", &[("note", "x")]).await.status, 404);
    assert!(shop.work_items().await.iter().all(|item| item.closed_at.is_none()));
    let acts = rows(&shop, "audit_log").await;
    let act = acts.iter().find(|row| row["action"] == "work_item_noted").unwrap();
    assert_eq!((&act["was"], &act["became"]), (&"open".into(), &"open".into()));
    press(&admin, &format!("/admin/work-items/{unknown}/close"), &[("note", "不是我们的")]).await;
    for (query, ids) in [
        ("", vec![unknown, second]),
        ("?state=open", vec![second]),
        ("?state=closed", vec![unknown]),
        ("?kind=unknown_order", vec![unknown]),
        ("?state=open&kind=unknown_order", vec![]),
    ] {
        let list = admin.get_json(&format!("/admin/work-items{query}")).await.json();
        let found: Vec<_> =
            list["work_items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect();
        assert_eq!(found, ids, "{query}");
        assert_eq!(list["open_by_kind"], serde_json::json!({ "second_payment": 1 }));
        assert_eq!(admin.get(&format!("/admin/work-items{query}")).await.status, 200, "{query}");
    }
    assert_eq!(admin.get("/admin/work-items?state=odd").await.status, 422);
    let page = admin.get("/admin/work-items").await.body;
    assert!(
        page.contains("kind=second_payment") && page.contains("<span class=\"count\">1</span>"),
        "{page}"
    );
    let metrics = shop.browser().get("/metrics").await.body;
    assert!(metrics.contains("open_work_items_by_kind{kind=\"second_payment\"} 1"), "{metrics}");
    assert!(!metrics.contains("open_work_items_by_kind{kind=\"unknown_order\"}"), "{metrics}");
}

#[actix_web::test]
async fn what_nobody_has_answered_for_long_is_listed_and_stays_as_it_is() {
    let mut shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let paid = user.top_up("50").await;
    shop.simulator.pay(&paid).unwrap();
    shop.deliver().await;
    shop.cut_off().await;
    assert_eq!(user.try_top_up("8").await.status, 503);
    let asked = refund(&admin, &format!("/admin/orders/{paid}"), "abcdefgh", "20").await.json();
    let counts = async |shop: &Shop| {
        let list = admin.get_json("/admin/work-items").await.json();
        let metrics = shop.browser().get("/metrics").await.body;
        let gauge = |name: &str| {
            let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
            line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()
        };
        let shown = (list["unknown_prepays"].as_i64().unwrap(), list["unknown_refunds"].as_i64().unwrap());
        assert_eq!(shown, (gauge("unknown_prepays"), gauge("unknown_refunds")));
        shown
    };
    assert_eq!(counts(&shop).await, (0, 0));
    shop.clock.advance_ms(15 * 60_000);
    assert_eq!(counts(&shop).await, (1, 0));
    let page = admin.get("/admin/work-items").await.body;
    assert!(page.contains("系统会用同一个号码继续询问") && page.contains("预下单没有回答"), "{page}");
    for _ in 0..3 {
        shop.clock.advance_ms(8 * 3_600_000);
        // An administrator's session ends after twelve idle hours.
        assert_eq!(admin.get("/admin/orders").await.status, 200);
    }
    assert_eq!(counts(&shop).await.1, 1);
    let page = admin.get("/admin/work-items").await.body;
    assert!(
        page.contains(asked["out_refund_no"].as_str().unwrap()) && page.contains("退款没有结果"),
        "{page}"
    );
    let after = rows(&shop, "refunds").await;
    assert_eq!((after.len(), &after[0]["state"]), (1, &"asking".into()));
}

#[actix_web::test]
async fn a_message_is_replayed_from_its_page_and_credits_once() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    shop.notify("<xml><a>not ours</a></xml>").await;
    let notices = shop.all_notices().await;
    let (junk, good) = (&notices[0], &notices[1]);
    let owner = shop.order(&number).await.user_id;
    let page = admin.get(&format!("/admin/notices/{}", good.id)).await.body;
    let openid = shop.attempts(&number).await[0].payer.clone().unwrap().as_str().to_owned();
    assert!(page.contains("重放") && page.contains(&number) && !page.contains(&openid), "{page}");
    for (notice, answered) in [(good, "SUCCESS"), (good, "SUCCESS"), (junk, "FAIL")] {
        let path = format!("/admin/notices/{}", notice.id);
        let done = press(&admin, &format!("{path}/replay"), &[]).await;
        assert_eq!(done.status, 303, "{}", done.body);
        let shown = admin.get(done.header("location")).await.body;
        assert!(shown.contains(&format!("我方的回答：{answered}")), "{shown}");
        assert_eq!(shop.balance(owner).await, 5000);
    }
    assert_eq!(shop.verdicts().await.iter().filter(|verdict| *verdict == "duplicate").count(), 2);
    let acts = rows(&shop, "audit_log").await;
    assert_eq!(
        acts.iter().filter(|row| row["action"] == "notice_replayed" && row["actor"] == "boss").count(),
        3
    );
    assert_eq!(press(&admin, "/admin/notices/none/replay", &[]).await.status, 404);
    // Only the beginning of a long one that nobody vouched for is kept.
    shop.notify(vec![b'x'; 20_000]).await;
    let long = shop.all_notices().await.remove(0);
    let cut = press(&admin, &format!("/admin/notices/{}/replay", long.id), &[]).await;
    assert!(cut.status == 409 && cut.body.contains("16 KiB"), "{}", cut.body);
    // A copy is not copied again.
    let copy = shop.all_notices().await.into_iter().find(|notice| notice.remote_ip == "replay").unwrap();
    let path = format!("/admin/notices/{}", copy.id);
    assert!(!admin.get(&path).await.body.contains("/replay"));
    let refused = press(&admin, &format!("{path}/replay"), &[]).await;
    assert!(refused.status == 409 && refused.body.contains("副本"), "{}", refused.body);
    // A reply to a query of ours is no callback.
    let other = shop.user("bob").await.top_up("10").await;
    shop.simulator.set_scenario(&other, Scenario::NotifyLost);
    shop.simulator.pay(&other).unwrap();
    press(&admin, &format!("/admin/orders/{other}/query"), &[]).await;
    let reply = shop.all_notices().await.into_iter().find(|notice| notice.source == "admin").unwrap();
    let path = format!("/admin/notices/{}", reply.id);
    assert!(!admin.get(&path).await.body.contains("/replay"));
    assert_eq!(press(&admin, &format!("{path}/replay"), &[]).await.status, 409);
}
