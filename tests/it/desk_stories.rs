//! What administrators do in a day, clicked through in a real browser. `docs/desk.md` says which story is told where.

use crate::{
    attacks::rows,
    harness::{PASSWORD, Shop},
    reconcile::{job, morning, unequal},
    second_factor::code_of,
    webdriver::{self, Teller, Window, Wish, told},
};
use shouyin::{domain::user::Role, flow::set_up, simulator::faults::Scenario};

/// The key that sends a form off.
const ENTER: char = '\u{e007}';

async fn desk(teller: &Teller) -> Option<Window> {
    webdriver::open(teller, Wish { user_agent: None, size: Some((1280, 900)) }).await
}

/// Signs in by name and password, as a person would.
async fn sign_in(window: &Window, shop: &Shop, name: &str) {
    window.goto(&format!("{}/login?next=%2Fadmin", shop.url)).await;
    window.fill("#username", name).await;
    window.fill("#password", PASSWORD).await;
    window.click("form[action='/login'] [type=submit]").await;
}

/// A shop's administrator of this role, at the first page of the day.
async fn at_the_desk(window: &Window, shop: &Shop, role: Role) {
    set_up::admin_by_command(&shop.app, role.as_str(), PASSWORD.to_owned(), role).await.unwrap();
    sign_in(window, shop, role.as_str()).await;
    window.wait_until("location.pathname === '/admin'").await;
}

/// Pastes a number into the box at the top of every page.
async fn find(window: &Window, number: &str) {
    window.fill("#find", &format!("{number}{ENTER}")).await;
    window.wait_for_text("时间线").await;
}

/// That somebody is refused is a complaint of the browser's and none of ours.
async fn no_complaints(window: &Window) {
    let all = window.complaints().await;
    let real: Vec<_> =
        all.iter().filter(|text| !text.contains("the server responded with a status of 4")).collect();
    assert!(real.is_empty(), "{real:#?}");
}

#[actix_web::test]
async fn support_explains_a_payment_by_the_number_on_the_bill_asks_again_and_freezes_a_user() {
    told(async |teller| {
        let Some(window) = desk(teller).await else { return };
        let shop = Shop::open().await;
        let told = shop.paid("王小明", "50").await;
        let li = shop.user("li.hua").await;
        let untold = li.top_up("30").await;
        shop.simulator.set_scenario(&untold, Scenario::NotifyLost);
        shop.simulator.pay(&untold).unwrap();
        at_the_desk(&window, &shop, Role::Support).await;

        // "I paid": the number of the WeChat bill leads to the order, which says why and when.
        find(&window, shop.order(&told).await.transaction_id.unwrap().as_str()).await;
        assert_eq!(window.path().await, format!("/admin/orders/{told}"));
        let page = window.text("main").await;
        for words in ["已入账", "回调：已入账", "预下单成功", "王小明", "¥50.00"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        window.click(".timeline summary").await;
        window
            .wait_until(
                "document.querySelector('.timeline details[open] pre').innerText.includes('out_trade_no')",
            )
            .await;

        // "I paid and nothing came": asked again, the gateway says so and the money is there.
        find(&window, &untold).await;
        window.wait_for_text("待支付").await;
        window.click("form[action$='/query'] button").await;
        window.wait_for_text("支付平台：已支付。我方刚刚入账。").await;
        assert!(shop.order(&untold).await.is_paid());

        // Money is not this role's to move, nor who its colleagues are.
        assert_eq!(
            window.eval("document.querySelector(\"a[href$='/refund']\")").await,
            serde_json::Value::Null
        );
        window.goto(&format!("{}/admin/accounts", shop.url)).await;
        window.wait_for_text("这里需要“管理账号”的权限").await;
        window.wait_for_text("没有任何改动").await;

        window.goto(&format!("{}/admin/orders/{untold}", shop.url)).await;
        window.click(".facts a[href^='/admin/users/']").await;
        window.wait_for_text("冻结这个用户").await;
        window.fill("#reason", "盗卡嫌疑，等银行回复").await;
        window.click("form[action$='/freeze'] button").await;
        window.wait_until("document.querySelector(\"form[action$='/unfreeze']\")").await;
        assert!(window.text("main").await.contains("盗卡嫌疑，等银行回复"));
        assert_eq!(li.try_top_up("30").await.status, 409);
        window.fill("#reason", "银行说是本人").await;
        window.click("form[action$='/unfreeze'] button").await;
        window.wait_until("document.querySelector(\"form[action$='/freeze']\")").await;
        assert_eq!(li.try_top_up("30").await.status, 201);
        no_complaints(&window).await;
    })
    .await;
}

#[actix_web::test]
async fn finance_refunds_a_part_in_two_steps_and_takes_the_list_away() {
    told(async |teller| {
        let Some(window) = desk(teller).await else { return };
        let shop = Shop::open().await;
        let number = shop.paid("@wang.xiaoming", "50").await;
        at_the_desk(&window, &shop, Role::Finance).await;
        find(&window, &number).await;
        window.click("a[href$='/refund']").await;
        window.wait_for_text("下一步只是确认，还不会退款").await;
        assert_eq!(window.eval("document.querySelector('#amount').value").await, "50.00");
        window.refill("#amount", "20").await;
        window.fill("#note", "多付了").await;
        window.click("form.card [type=submit]").await;
        window.wait_for_text("将原路退回").await;
        window.wait_for_text("请输入金额 20.00 确认").await;
        window.fill("#typed", "2").await;
        window.click("form.card [type=submit]").await;
        window.wait_for_text("没有退款").await;
        window.refill("#typed", "20.00").await;
        window.click("form.card [type=submit]").await;
        window
            .wait_until(
                "location.pathname.startsWith('/admin/orders/') && location.search.includes('refund=')",
            )
            .await;
        window.wait_for_text("多付了").await;
        let id = shop.order(&number).await.user_id;
        assert_eq!(shop.balance(id).await, 3000, "held while nobody knows");
        shop.wait_for_refunds(3, 60).await;
        window.reload().await;
        window.wait_for_text("已退款").await;
        assert_eq!(shop.balance(id).await, 3000);

        window.goto(&format!("{}/admin/orders?state=refunded", shop.url)).await;
        assert!(window.text(".totals").await.contains("净额 ¥30.00"));
        let (name, csv) = window.download(".exports a[href^='/admin/orders.csv']").await;
        let csv = String::from_utf8(csv).unwrap();
        assert!(
            name.starts_with("orders-") && csv.starts_with('\u{feff}') && csv.contains(&number),
            "{name}: {csv}"
        );
        assert!(csv.contains("'@wang.xiaoming"), "no cell is a formula: {csv}");
        let (_, xlsx) = window.download(".exports a[href^='/admin/orders.xlsx']").await;
        assert!(xlsx.starts_with(b"PK"));
        no_complaints(&window).await;
    })
    .await;
}

#[actix_web::test]
async fn the_clerk_opens_a_day_that_differs_and_works_off_each_kind_of_difference() {
    told(async |teller| {
        let Some(window) = desk(teller).await else { return };
        let (shop, [extra, ..]) = unequal().await;
        morning(&shop, 10 * 60 + 10);
        assert_eq!(job(&shop).await, 1);
        at_the_desk(&window, &shop, Role::Finance).await;
        window.click("nav a[href='/admin/bills']").await;
        window.wait_for_text("不平 3").await;
        window.click("a.day.tone-bad").await;
        window.wait_for_text("短款：我方有，账单没有 (1)").await;
        let day = window.path().await;
        let (name, csv) = window.download("a[href$='/lines.csv']").await;
        assert_eq!(name, "bill-wechat-2026-11-20.csv");
        assert!(String::from_utf8(csv).unwrap().contains(&extra), "as the bill has it");

        // A payment of no order: to whom it belongs, on the gateway's own word. The others: looked into, and said so.
        for left in [3, 2, 1] {
            window.click("article.entry:has(.tone-warn) .more a").await;
            window.wait_until("location.pathname.startsWith('/admin/work-items/')").await;
            if window.eval("!!document.querySelector('#username')").await == true {
                window.fill("#username", "bob").await;
                window.fill("#reason", "旧系统的订单").await;
                window.click("form[action$='/credit'] button").await;
            } else {
                window.fill("#close", "在商户平台核对过，账单晚了一天").await;
                window.click("form[action$='/close'] button").await;
            }
            // A credit stays on its page, what was closed goes back to the list.
            let over =
                "location.pathname === '/admin/work-items' || document.querySelector('.order-head .tone-ok')";
            window.wait_until(over).await;
            window.goto(&format!("{}{day}", shop.url)).await;
            let open =
                format!("document.querySelectorAll('article.entry .tone-warn').length === {}", left - 1);
            window.wait_until(&open).await;
        }
        window.wait_for_text("不平，已全部处理").await;
        window.goto(&format!("{}/admin/bills", shop.url)).await;
        window.wait_until("document.querySelector('a.day.tone-info')?.innerText.includes('已处理')").await;
        let acts: Vec<_> =
            rows(&shop, "audit_log").await.into_iter().map(|act| act["action"].clone()).collect();
        for act in ["bill_exported", "payment_credited", "work_item_closed"] {
            assert!(acts.contains(&act.into()), "{act}: {acts:?}");
        }
        no_complaints(&window).await;
    })
    .await;
}

#[actix_web::test]
async fn the_set_up_link_leads_through_the_first_day_to_a_colleague_and_a_second_factor() {
    told(async |teller| {
        let Some(window) = desk(teller).await else { return };
        let shop = Shop::open().await;
        let link = set_up::link_if_needed(&shop.app).await.unwrap().unwrap();
        window.goto(&link).await;
        window.fill("#username", "boss").await;
        window.fill("#password", PASSWORD).await;
        window.click("form.card [type=submit]").await;
        window.wait_until("location.pathname === '/admin/first-run'").await;
        window.wait_for_text("下一步：支付平台认得我们的密钥").await;
        window.click(".first-run a[href='/admin/diagnostics']").await;
        window.click("form[action='/admin/diagnostics/gateways'] button").await;
        window.wait_for_text("有答复，签名正确").await;

        window.goto(&format!("{}/admin/first-run", shop.url)).await;
        window.click(".first-run a[href='/admin/accounts']").await;
        window.fill("#for_whom", "财务 王芳").await;
        window.click(".choice:has([value=finance])").await;
        window.click("form[action='/admin/accounts/invite'] [type=submit]").await;
        window.wait_until("document.querySelector('.whole')").await;
        let invitation = window.text(".whole").await;

        window.click(".me a[href='/admin/me']").await;
        window.fill("#factor-password", PASSWORD).await;
        window.click("form[action='/admin/me/second-factor/begin'] [type=submit]").await;
        window.wait_until("document.querySelector('.qr svg')").await;
        let code = code_of(&shop, &window.text(".whole").await);
        window.fill("#code", &code).await;
        window.click("form[action='/admin/me/second-factor'] [type=submit]").await;
        window.wait_until("document.querySelectorAll('.codes li').length === 10").await;
        let recovery = window.text(".codes li").await;

        // The phone is lost: the password, then one of the ten codes.
        window.click("form[action='/logout'] button").await;
        window.wait_until("location.pathname !== '/admin/me/second-factor'").await;
        sign_in(&window, &shop, "boss").await;
        window.wait_for_text("输入验证码").await;
        window.fill("#code", &recovery).await;
        window.click("form[action='/login/code'] [type=submit]").await;
        window.wait_until("location.pathname === '/admin'").await;
        window.click("a[href='/admin/first-run']").await;
        window.wait_for_text("密码之外都要手机上的验证码。").await;

        // The colleague opens the link in a browser of their own.
        window.delete_cookies().await;
        window.goto(&invitation).await;
        window.wait_for_text("邀请你成为“财务”").await;
        window.fill("#username", "wang.fang").await;
        window.fill("#password", PASSWORD).await;
        window.click("form.card [type=submit]").await;
        window
            .wait_until("document.querySelector('.me a[href=\"/admin/me\"]')?.innerText === 'wang.fang'")
            .await;
        assert_eq!(
            window.eval("document.querySelector('nav a[href=\"/admin/accounts\"]')").await,
            serde_json::Value::Null
        );
        no_complaints(&window).await;
    })
    .await;
}
