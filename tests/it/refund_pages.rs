//! Refunds through the administrator's pages, and what their owner sees of them.

use crate::{
    attacks::rows,
    books::sql,
    harness::{Answer, Browser, PASSWORD, Shop},
};
use reqwest::Method;
use shouyin::{
    config::Config,
    domain::{money::Fen, refund::Refund, user::Role},
    flow::set_up,
    jobs,
    simulator::faults::Scenario,
    store::refunds,
};

/// A shop, its administrator, a user, and the user's paid order of 50 yuan.
pub async fn paid() -> (Shop, Browser, Browser, String) {
    paid_with(|_| {}).await
}

async fn paid_with(change: impl FnOnce(&mut Config)) -> (Shop, Browser, Browser, String) {
    let shop = Shop::open_with(change).await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    (shop, admin, user, number)
}

/// Another administrator, made at the machine.
pub async fn second_admin(shop: &Shop) -> Browser {
    set_up::admin_by_command(&shop.app, "second", PASSWORD.to_owned(), Role::Owner).await.unwrap();
    let browser = shop.browser();
    assert_eq!(browser.log_in("second", PASSWORD).await.status, 303);
    browser
}

/// Sends the last form of a refund.
pub async fn refund(admin: &Browser, home: &str, intent: &str, amount: &str) -> Answer {
    let token = admin.form_token("/admin/refunds?before=1").await;
    let fields = [
        ("token", token.as_str()),
        ("intent", intent),
        ("amount", amount),
        ("typed", amount),
        ("reason", "用户申请"),
    ];
    admin.post_json(&format!("{home}/refund"), &fields).await
}

/// Presses a button that has only the form's token.
pub async fn press(admin: &Browser, path: &str, more: &[(&str, &str)]) -> Answer {
    let token = admin.form_token("/top-up").await;
    let fields: Vec<_> = [("token", token.as_str())].into_iter().chain(more.iter().copied()).collect();
    admin.post(path, &fields).await
}

async fn all(shop: &Shop) -> Vec<Refund> {
    let read = |db: &mut _| {
        let mut all = refunds::ended(db, None, 1_000)?;
        all.extend(refunds::open(db, 1_000)?);
        all.sort_by_key(|refund| refund.id);
        Ok(all)
    };
    shop.app.store.read(read).await.unwrap()
}

fn refund_calls(shop: &Shop) -> usize {
    shop.simulator.calls().iter().filter(|call| call.starts_with("refund ")).count()
}

#[actix_web::test]
async fn a_refund_takes_two_pages_and_its_owner_follows_it_to_the_end() {
    let (shop, admin, user, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    assert!(admin.get(&home).await.body.contains(&format!("{home}/refund")));
    let first = admin.get(&format!("{home}/refund")).await;
    assert!(first.body.contains("name=\"amount\" value=\"50.00\""), "{}", first.body);
    let intent = first.hidden("intent");
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("intent", intent.as_str()),
            ("amount", "20"),
            ("why", "充错账号"),
            ("note", "帮朋友充的"),
        ])
        .finish();
    let second = admin.get(&format!("{home}/refund?{query}")).await;
    assert_eq!(second.status, 200);
    for shown in ["将原路退回", "20.00", "ann", "充错账号：帮朋友充的", "会被冻结"] {
        assert!(second.body.contains(shown), "{shown}: {}", second.body);
    }
    assert!(!second.body.contains("另一位管理员同意"));
    assert_eq!((second.hidden("intent"), all(&shop).await.len()), (intent.clone(), 0), "nothing yet");
    let (token, reason) = (second.hidden("token"), second.hidden("reason"));
    let form = |typed| {
        [
            ("token", token.as_str()),
            ("intent", &intent),
            ("amount", "20.00"),
            ("typed", typed),
            ("reason", &reason),
        ]
    };
    let mistyped = admin.post(&format!("{home}/refund"), &form("2.00")).await;
    assert_eq!((mistyped.status, all(&shop).await.len()), (422, 0), "typed wrong");
    assert!(mistyped.body.contains("typed-error"), "{}", mistyped.body);
    let done = admin.post(&format!("{home}/refund"), &form("20")).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let refund = all(&shop).await.remove(0);
    assert_eq!(refund.reason, "充错账号：帮朋友充的");
    let page = admin.get(done.header("location")).await;
    assert!(
        page.body.contains(refund.out_refund_no.as_str()) && page.body.contains("现在查询"),
        "{}",
        page.body
    );
    assert!(page.body.contains("role=\"status\""), "what has happened is said");

    // The owner sees it, and what is left of the balance.
    let order = user.get_json(&format!("/orders/{number}")).await.json();
    assert_eq!((&order["refunded_fen"], &order["refunds"][0]["state"]), (&0.into(), &"processing".into()));
    assert_eq!(order["refunds"][0]["amount_fen"], 2000);
    assert!(order["refunds"][0]["reason"].is_null() && order["refunds"][0]["requested_by"].is_null());
    let list = user.get_json("/orders").await.json();
    assert_eq!((&list["balance_fen"], &list["frozen_fen"]), (&3000.into(), &2000.into()));
    for (path, word) in [
        (format!("/orders/{number}"), "退款处理中"),
        (format!("/orders/{number}"), "零钱约 5 分钟至 20 分钟，银行卡 1-3 个工作日"),
        ("/orders".to_owned(), "退款处理中"),
        ("/orders".to_owned(), "退款冻结"),
        ("/top-up".to_owned(), "暂时冻结"),
    ] {
        let page = user.get(&path).await;
        assert!(page.body.contains(word), "{word} in {path}: {}", page.body);
    }
    // WeChat has paid it out.
    shop.clock.advance_ms(60_000);
    jobs::refunds::run_once(shop.app.clone()).await.unwrap();
    let order = user.get_json(&format!("/orders/{number}")).await.json();
    assert_eq!((&order["refunded_fen"], &order["refunds"][0]["state"]), (&2000.into(), &"success".into()));
    assert_eq!(order["status"], 1);
    assert_eq!(user.get_json("/orders").await.json()["frozen_fen"], 0);
    let page = user.get(&format!("/orders/{number}")).await;
    assert!(page.body.contains("已退款") && !page.body.contains("零钱约"), "{}", page.body);
    let timeline = admin.get(&home).await.body;
    assert!(
        timeline.contains("退款 -¥20.00：已退款") && timeline.contains("退款 -¥20.00：支付平台已受理"),
        "{timeline}"
    );
    let audit = rows(&shop, "audit_log").await.into_iter().find(|row| row["action"] == "refund_requested");
    let audit = audit.expect("an audit row");
    assert_eq!((&audit["actor"], &audit["was"]), (&"boss".into(), &"refundable ¥50.00".into()));
}

#[actix_web::test]
async fn an_amount_that_cannot_be_refunded_is_mended_beside_its_field_and_nobody_is_asked() {
    let shop = Shop::open().await;
    let (admin, user) = (shop.admin().await, shop.user("ann").await);
    let number = user.top_up("1").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let home = format!("/admin/orders/{number}");
    let calls = shop.simulator.calls();
    let token = admin.form_token("/top-up").await;
    for amount in ["0", "-1", "101", "1.5", "1.005", "1e9", "9223372036854775807", "", "1.01", "１"] {
        let answer = refund(&admin, &home, "abcdefgh", amount).await;
        assert_eq!(answer.status, 422, "{amount}: {}", answer.body);
        let fields = [
            ("token", token.as_str()),
            ("intent", "abcdefgh"),
            ("amount", amount),
            ("typed", amount),
            ("reason", "x"),
        ];
        let page = admin.post(&format!("{home}/refund"), &fields).await;
        assert_eq!(page.status, 422, "{amount}");
        assert!(page.body.contains("amount-error"), "{amount}: {}", page.body);
        if !amount.is_empty() {
            let step = format!("{home}/refund?amount={}&why=%E7%94%A8%E6%88%B7%E7%94%B3%E8%AF%B7", amount);
            assert_eq!(admin.get(&step).await.status, 422, "{amount} on the first page");
        }
    }
    let long = "长".repeat(81);
    let fields = [
        ("token", token.as_str()),
        ("intent", "abcdefgh"),
        ("amount", "1"),
        ("typed", "1"),
        ("reason", &long),
    ];
    let page = admin.post(&format!("{home}/refund"), &fields).await;
    assert!(page.status == 422 && page.body.contains("note-error"), "{}", page.body);
    assert_eq!((all(&shop).await.len(), shop.simulator.calls()), (0, calls));
}

#[actix_web::test]
async fn a_double_click_is_one_refund() {
    let (shop, admin, _, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    let (a, b) =
        tokio::join!(refund(&admin, &home, "same-click", "20"), refund(&admin, &home, "same-click", "20"));
    assert_eq!((a.status, b.status), (201, 201), "{} {}", a.body, b.body);
    assert_eq!(a.json()["out_refund_no"], b.json()["out_refund_no"]);
    assert_eq!((all(&shop).await.len(), refund_calls(&shop)), (1, 1));
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 3000);
    // The same form for something else is refused and changes nothing.
    let other = refund(&admin, &home, "same-click", "21").await;
    assert_eq!((other.status, all(&shop).await.len()), (409, 1), "{}", other.body);
}

#[actix_web::test]
async fn what_cannot_be_refunded_now_is_said_in_a_sentence() {
    let (shop, admin, user, number) = paid().await;
    let open = user.top_up("9").await;
    let unpaid = format!("/admin/orders/{open}");
    assert_eq!(refund(&admin, &unpaid, "abcdefgh", "9").await.status, 409);
    assert!(admin.get(&format!("{unpaid}/refund")).await.body.contains("没有收到过付款"));
    assert!(!admin.get(&unpaid).await.body.contains(&format!("{unpaid}/refund")), "no button");
    let home = format!("/admin/orders/{number}");
    assert_eq!(refund(&admin, &home, "!", "9").await.status, 400, "no usable intent");
    assert_eq!(refund(&admin, &home, "all-of-it", "50").await.status, 201);
    let too_much = refund(&admin, &home, "once-more", "0.01").await;
    assert_eq!(too_much.status, 422);
    assert!(too_much.json()["detail"].as_str().unwrap().contains("最多还能退 0.00 元"), "{}", too_much.body);
    assert!(admin.get(&format!("{home}/refund")).await.body.contains("全部退回"));
    assert_eq!(admin.get("/admin/orders/none/refund").await.status, 404);
    assert_eq!(admin.get("/admin/work-items/99/refund").await.status, 404);
    assert_eq!(all(&shop).await.len(), 1);
}

#[actix_web::test]
async fn a_large_refund_waits_for_a_second_administrator_and_never_for_the_first() {
    let (shop, first, user, number) =
        paid_with(|config| config.refund_second_admin_above = Fen::new(2999).unwrap()).await;
    let home = format!("/admin/orders/{number}");
    let step = format!("{home}/refund?intent=abcdefgh&amount=30&why=%E5%85%B6%E4%BB%96&note=x");
    let page = first.get(&step).await.body;
    assert!(page.contains("另一位管理员同意") && page.contains("还没有第二位管理员"), "{page}");
    let second = second_admin(&shop).await;
    assert!(!first.get(&step).await.body.contains("还没有第二位管理员"));
    let asked = refund(&first, &home, "abcdefgh", "30").await.json();
    assert_eq!(asked["state"], "waiting");
    let of = |refund: &serde_json::Value, act: &str| {
        format!("/admin/refunds/{}/{act}", refund["out_refund_no"].as_str().unwrap())
    };
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 2000, "held meanwhile");
    // The first one has no buttons, and pressing them anyway is refused.
    assert!(!first.get(&home).await.body.contains("/approve"));
    assert!(second.get(&home).await.body.contains("/approve"));
    let own = press(&first, &of(&asked, "approve"), &[("note", "x")]).await;
    assert!(own.status == 409 && own.body.contains("你自己申请的"), "{}", own.body);
    assert_eq!(press(&second, &of(&asked, "query"), &[]).await.status, 409, "nothing to ask yet");
    assert_eq!(press(&second, &of(&asked, "reject"), &[("note", " ")]).await.status, 422);
    assert_eq!((all(&shop).await[0].state.as_str(), refund_calls(&shop)), ("waiting", 0));
    let no = press(&second, &of(&asked, "reject"), &[("note", "不该退")]).await;
    assert_eq!(no.status, 303, "{}", no.body);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 5000, "given back");
    assert!(user.get(&format!("/orders/{number}")).await.body.contains("退款未成功，金额已恢复"));
    let late = press(&second, &of(&asked, "approve"), &[("note", "x")]).await;
    assert_eq!(late.status, 409, "decided once");
    assert!(late.body.contains("已经有人决定过"), "{}", late.body);
    let again = refund(&first, &home, "second-try", "30").await.json();
    assert_eq!(press(&second, &of(&again, "approve"), &[]).await.status, 422, "without a word");
    let yes = press(&second, &of(&again, "approve"), &[("note", "核对过")]).await;
    assert_eq!(yes.status, 303);
    let shown = first.get(yes.header("location")).await.body;
    assert!(shown.contains("second 拒绝：不该退") && shown.contains("second 同意：核对过"), "{shown}");
    let after = all(&shop).await.pop().unwrap();
    assert!(after.state.as_str() != "waiting" && after.decided_by.as_deref() == Some("second"), "{after:?}");
    assert_eq!(refund_calls(&shop), 1);
    // Who asked may take it back, and nobody else has decided then.
    let mistake = refund(&first, &home, "third-try", "1").await.json();
    assert_eq!(mistake["state"], "waiting", "by the sum of all refunds");
    assert!(first.get(&home).await.body.contains("撤回"));
    let back = press(&first, &of(&mistake, "reject"), &[("note", "点错了")]).await;
    assert_eq!(back.status, 303);
    let shown = first.get(back.header("location")).await.body;
    assert!(shown.contains("已撤回这笔退款") && shown.contains("boss 撤回：点错了"), "{shown}");
    let after = all(&shop).await.pop().unwrap();
    assert_eq!((after.state.as_str(), after.decided_by), ("rejected", None));
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 2000, "given back");
    let acts: Vec<_> = rows(&shop, "audit_log").await;
    for (action, actor) in
        [("refund_rejected", "second"), ("refund_approved", "second"), ("refund_withdrawn", "boss")]
    {
        assert!(acts.iter().any(|row| row["action"] == action && row["actor"] == actor), "{action}");
    }
}

/// A payment that credited nobody, as item `id` of these facts.
async fn uncredited(shop: &Shop, id: i64, transaction_id: &str, mch_id: &str) -> String {
    let appid = &shop.app.config.wechat_v2.as_ref().unwrap().appids.web;
    let item = format!(
        "INSERT INTO work_items (id, kind, out_trade_no, transaction_id, notice_id, opened_at, provider, account, \
         environment, amount_fen) VALUES ({id}, 'unknown_order', 'of-nobody', '{transaction_id}', '', {}, 'wechat', \
         '{mch_id}:{appid}', 'simulator', 5000)",
        shop.clock.now().0
    );
    shop.app.store.write(sql(&item)).await.unwrap();
    format!("/admin/work-items/{id}")
}

#[actix_web::test]
async fn every_reason_not_to_refund_is_409_with_its_sentence_and_writes_nothing() {
    let (shop, mut admin, user, number) = paid().await;
    let often = user.top_up("1").await;
    shop.simulator.pay(&often).unwrap();
    shop.deliver().await;
    shop.simulator.set_scenario(&often, Scenario::RefundClosed);
    for _ in 0..50 {
        shop.refund(&often, "0.01").await.unwrap();
        shop.wait_for_refunds(2, 60).await;
    }
    let (home, mch_id) =
        (format!("/admin/orders/{number}"), shop.app.config.wechat_v2.as_ref().unwrap().mch_id.clone());
    let credited = shop.order(&number).await.transaction_id.unwrap().as_str().to_owned();
    let unpaid = user.top_up("9").await;
    let closed = uncredited(&shop, 903, "4200000000000000000000000903", &mch_id).await;
    shop.app
        .store
        .write(sql("UPDATE work_items SET closed_at = 1, closed_by = 'x', note = 'x' WHERE id = 903"))
        .await
        .unwrap();
    let cases = [
        (format!("/admin/orders/{unpaid}"), "没有收到过付款"),
        (format!("/admin/orders/{often}"), "申请过 50 次退款"),
        (uncredited(&shop, 901, &credited, &mch_id).await, "已经给用户入过账"),
        (uncredited(&shop, 902, "4200000000000000000000000902", "1000000001").await, "属于另一个商户号"),
        (closed, "不能再从这里退款"),
        (home, "付款已经超过一年"),
    ];
    let written =
        async || (rows(&shop, "refunds").await, rows(&shop, "ledger").await, shop.simulator.calls());
    for (home, sentence) in cases {
        if sentence.contains("一年") {
            shop.clock.advance_ms(365 * 24 * 3_600_000);
            admin = shop.browser();
            assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
        }
        let before = written().await;
        let answer = refund(&admin, &home, "abcdefgh", "0.01").await;
        assert_eq!(answer.status, 409, "{sentence}: {}", answer.body);
        assert!(answer.body.contains(sentence), "{sentence}: {}", answer.body);
        let form = admin.get(&format!("{home}/refund")).await;
        assert!(form.status == 200 && form.body.contains(sentence), "{sentence}: {}", form.body);
        assert!(!form.body.contains("name=\"amount\""), "no form: {}", form.body);
        assert_eq!(written().await, before, "{sentence}");
    }
}

#[actix_web::test]
async fn without_a_certificate_the_page_says_so_and_writes_nothing() {
    // The second origin is the real one's kind, where a certificate must be shown.
    let (shop, admin, _, number) =
        paid_with(|config| config.origins.wechat_api.push("https://127.0.0.1:1".to_owned())).await;
    let home = format!("/admin/orders/{number}");
    let answer = refund(&admin, &home, "abcdefgh", "1").await;
    assert!(answer.status == 409 && answer.body.contains("WECHAT_CERT_PEM"), "{}", answer.body);
    assert!(admin.get(&format!("{home}/refund")).await.body.contains("WECHAT_CERT_PEM"));
    assert_eq!(all(&shop).await.len(), 0);
}

#[actix_web::test]
async fn the_reason_is_measured_alike_on_both_pages() {
    let (shop, admin, _, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    let token = admin.form_token("/top-up").await;
    let (long, just) = ("退".repeat(27), "退".repeat(26));
    for (note, said) in [
        ("", Some("请写明原因，用户会看到。")),
        (long.as_str(), Some("原因和说明太长：最多 26 个汉字（80 字节）。")),
        ("退款🎉", Some("原因里不能有表情符号、换行或生僻字。")),
        (just.as_str(), None),
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("intent", "abcdefgh"), ("amount", "20"), ("why", "其他"), ("note", note)])
            .finish();
        let first = admin.get(&format!("{home}/refund?{query}")).await;
        let fields = [
            ("token", token.as_str()),
            ("intent", "abcdefgh"),
            ("amount", "20"),
            ("typed", "20"),
            ("reason", note),
        ];
        let second = admin.post(&format!("{home}/refund"), &fields).await;
        match said {
            Some(said) => {
                for answer in [&first, &second] {
                    assert_eq!(answer.status, 422, "{note}");
                    assert!(
                        answer.body.contains("note-error") && answer.body.contains(said),
                        "{}",
                        answer.body
                    );
                }
            }
            None => assert_eq!((first.status, second.status), (200, 303), "{note}"),
        }
    }
    assert_eq!(all(&shop).await.len(), 1);
}

#[actix_web::test]
async fn going_back_from_the_second_page_finds_the_fields_as_they_were() {
    let (_shop, admin, _, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    let step = format!(
        "{home}/refund?intent=abcdefgh&amount=20&why=%E5%85%85%E9%94%99%E8%B4%A6%E5%8F%B7&note=%E5%B8%AE"
    );
    let second = admin.get(&step).await.body;
    let (_, link) = second.split_once("<a class=\"btn second\" href=\"").unwrap();
    let back = link.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&");
    let first = admin.get(&back).await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(!first.body.contains("name=\"typed\""), "the first page, not the second: {}", first.body);
    assert_eq!((first.hidden("amount"), first.hidden("note")), ("20.00".to_owned(), "帮".to_owned()));
    assert!(first.body.contains("<option value=\"充错账号\" selected>"), "{}", first.body);
    let intent = first.hidden("intent");
    assert!(intent.len() >= 8 && intent != "abcdefgh", "a form of its own: {intent}");
}

#[actix_web::test]
async fn a_refund_that_hangs_is_given_up_from_its_page_with_a_reason() {
    let (shop, admin, user, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    shop.simulator.set_scenario(&number, Scenario::RefundNotEnough);
    let asked = refund(&admin, &home, "abcdefgh", "20").await.json();
    let act = format!("/admin/refunds/{}/give-up", asked["out_refund_no"].as_str().unwrap());
    assert!(!admin.get(&home).await.body.contains(&act), "too soon for a button");
    let early = press(&admin, &act, &[("note", "不退了")]).await;
    assert!(early.status == 409 && early.body.contains("25 分钟"), "{}", early.body);
    shop.clock.advance_ms(25 * 60_000);
    assert!(admin.get(&home).await.body.contains(&act));
    assert_eq!(press(&admin, &act, &[("note", " ")]).await.status, 422);
    let token = admin.form_token("/top-up").await;
    let done = admin.post_json(&act, &[("token", &token), ("note", "商户不再充值")]).await;
    assert_eq!((done.status, &done.json()["state"]), (200, &"failed".into()), "{}", done.body);
    let shown = admin.get(&home).await.body;
    assert!(shown.contains("已放弃") && shown.contains("boss 放弃：商户不再充值"), "{shown}");
    assert!(shown.contains("管理员已放弃"), "the order's story tells it: {shown}");
    assert!(user.get(&format!("/orders/{number}")).await.body.contains("退款未成功，金额已恢复"));
    assert_eq!(press(&admin, &act, &[("note", "x")]).await.status, 409);
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 5000);
}

#[actix_web::test]
async fn the_list_shows_what_is_under_way_and_the_newest_that_ended_page_by_page() {
    let (shop, admin, _, number) = paid().await;
    let home = format!("/admin/orders/{number}");
    assert!(!admin.get("/admin/refunds").await.body.contains("class=\"count\""));
    for n in 0..2 {
        refund(&admin, &home, &format!("refund-{n}"), "1").await;
        shop.clock.advance_ms(70_000);
        jobs::refunds::run_once(shop.app.clone()).await.unwrap();
        shop.clock.advance_ms(70_000);
        jobs::refunds::run_once(shop.app.clone()).await.unwrap();
    }
    shop.simulator.set_scenario(&number, Scenario::RefundProcessing);
    refund(&admin, &home, "refund-slow", "2").await;
    let list = admin.get_json("/admin/refunds").await.json();
    let amounts = |part: &str| -> Vec<_> {
        list[part].as_array().unwrap().iter().map(|one| one["amount_fen"].as_i64().unwrap()).collect()
    };
    assert_eq!((amounts("open"), amounts("ended")), (vec![200], vec![100, 100]), "{list}");
    assert!(list["before"].is_null());
    let page = admin.get("/admin/refunds").await.body;
    assert!(page.contains("支付平台处理中") && page.contains("已退款"), "{page}");
    assert!(page.contains("<span class=\"count\">1</span>"), "the navigation counts it");
    let newest = all(&shop).await[1].id;
    let older = admin.get_json(&format!("/admin/refunds?before={newest}")).await.json();
    assert_eq!((older["open"].as_array().unwrap().len(), older["ended"].as_array().unwrap().len()), (0, 1));
    // Asking now: written down, and nothing breaks.
    let number = all(&shop).await[2].out_refund_no.clone();
    let asked = press(&admin, &format!("/admin/refunds/{number}/query"), &[]).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    assert!(rows(&shop, "audit_log").await.iter().any(|row| row["action"] == "refund_queried"));
}

#[actix_web::test]
async fn a_query_that_says_refund_of_an_order_we_refunded_ourselves_opens_no_work_item() {
    let (shop, admin, user, number) = paid().await;
    refund(&admin, &format!("/admin/orders/{number}"), "abcdefgh", "20").await;
    let asked = press(&admin, &format!("/admin/orders/{number}/query"), &[]).await;
    assert!(asked.header("location").ends_with("asked=refunded"), "{}", asked.header("location"));
    assert_eq!(shop.work_items().await.len(), 0);
    // Somebody else's refund still is one.
    let other = user.top_up("10").await;
    shop.simulator.pay(&other).unwrap();
    shop.deliver().await;
    shop.simulator.refund(&other).unwrap();
    press(&admin, &format!("/admin/orders/{other}/query"), &[]).await;
    assert_eq!(shop.work_items().await[0].kind, "refunded_elsewhere");
}

#[actix_web::test]
async fn refunds_and_exceptions_are_for_administrators_and_for_forms_of_our_own_pages() {
    let (shop, admin, owner, number) = paid().await;
    let other = shop.user("bob").await;
    shop.notify(shop.simulator.signed_notify("ZZZ", &[])).await;
    let asked = refund(&admin, &format!("/admin/orders/{number}"), "abcdefgh", "20").await.json();
    let notice = shop.all_notices().await[0].id.clone();
    let routes = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/routes.rs"));
    let mut seen = 0;
    for route in routes.split("web::resource(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let new = ["refund", "/admin/work-items/{id}", "/admin/notices/{notice}"];
        if !path.starts_with("/admin/") || !new.iter().any(|part| path.contains(part)) {
            continue;
        }
        let path = path
            .replace("{out_trade_no}", &number)
            .replace("{id}", "1")
            .replace("{notice}", &notice)
            .replace("{out_refund_no}", asked["out_refund_no"].as_str().unwrap());
        for (method, served) in
            [(Method::GET, rest.contains("get()")), (Method::POST, rest.contains("post()"))]
        {
            if !served {
                continue;
            }
            seen += 1;
            let before =
                (shop.books(&number).await, rows(&shop, "refunds").await, rows(&shop, "audit_log").await);
            for (who, browser) in [("bob", &other), ("the owner", &owner)] {
                let token = browser.form_token("/top-up").await;
                let answer = browser.send(method.clone(), &path, &[], Some(&[("token", &token)])).await;
                assert_eq!(answer.status, 404, "{who}: {method} {path}");
            }
            let (nobody, json) = (shop.browser(), [("accept", "application/json")]);
            let form = Some([("note", "x")].as_slice()).filter(|_| method == Method::POST);
            assert_eq!(nobody.send(method.clone(), &path, &[], form).await.status, 303, "{path}");
            assert_eq!(nobody.send(method.clone(), &path, &json, form).await.status, 401, "{path}");
            if method == Method::GET {
                assert_eq!(admin.get(&path).await.status, 200, "{path}");
            } else {
                let token = admin.form_token("/top-up").await;
                let fields = [("token", token.as_str()), ("note", "x"), ("reason", "x")];
                let evil = [("origin", "https://evil.example")];
                for answer in [
                    admin.send(Method::POST, &path, &evil, Some(&fields)).await,
                    admin.post(&path, &fields[1..]).await,
                ] {
                    assert_eq!(answer.status, 403, "{path}: {}", answer.body);
                }
            }
            let after =
                (shop.books(&number).await, rows(&shop, "refunds").await, rows(&shop, "audit_log").await);
            assert_eq!(after, before, "{method} {path} changed something");
        }
    }
    assert!(seen >= 14, "{seen} routes");
}
