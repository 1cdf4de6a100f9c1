//! Users at the desk: what each has, freezing one, and putting a balance right with a reason and, above the limit, a
//! second person.

use crate::{
    books::sql,
    harness::{Answer, Browser, Shop},
    refund_pages::{press, second_admin},
};
use shouyin::{
    domain::{ledger::Account, money::Fen},
    flow::request_refund::RefundError,
    store::{books, users},
};

async fn json(admin: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = admin.form_token("/top-up").await;
    let fields: Vec<_> = [("token", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
    admin.post_json(path, &fields).await
}

async fn adjust(admin: &Browser, id: i64, intent: &str, direction: &str, yuan: &str) -> Answer {
    let fields = [("intent", intent), ("direction", direction), ("amount", yuan), ("reason", "充错了账号")];
    json(admin, &format!("/admin/users/{id}/adjust"), &fields).await
}

async fn acts(admin: &Browser, action: &str) -> Vec<serde_json::Value> {
    let acts = admin.get_json(&format!("/admin/audit-log?action={action}")).await.json();
    acts["acts"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn the_list_of_users_knows_every_balance_and_finds_a_name_by_how_it_begins() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    shop.paid("anna", "50").await;
    shop.user("an_b").await;
    shop.user("bob").await;
    let all = admin.get_json("/admin/users").await.json();
    let named = |list: &serde_json::Value| -> Vec<(String, i64)> {
        let users = list["users"].as_array().unwrap().iter();
        users
            .map(|user| {
                (user["username"].as_str().unwrap().to_owned(), user["balance_fen"].as_i64().unwrap())
            })
            .collect()
    };
    let found = |pairs: &[(&str, i64)]| {
        pairs.iter().map(|(name, fen)| ((*name).to_owned(), *fen)).collect::<Vec<_>>()
    };
    assert_eq!(named(&all), found(&[("bob", 0), ("an_b", 0), ("anna", 5_000), ("boss", 0)]));
    for (q, right) in [
        ("an", vec![("an_b", 0), ("anna", 5_000)]),
        ("AN_", vec![("an_b", 0)]),
        ("%", vec![]),
        ("nn", vec![]),
    ] {
        let text = url::form_urlencoded::byte_serialize(q.as_bytes()).collect::<String>();
        assert_eq!(
            named(&admin.get_json(&format!("/admin/users?q={text}")).await.json()),
            found(&right),
            "{q}"
        );
    }
    let page = admin.get("/admin/users").await.body;
    assert!(page.contains("anna") && page.contains("50.00"), "{page}");
}

#[actix_web::test]
async fn a_users_page_has_the_balance_its_entries_and_phones_that_are_not_given_away() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.paid("ann", "50").await;
    let id = shop.order(&number).await.user_id;
    let openid = shop.attempts(&number).await[0].payer.clone().unwrap();
    let page = admin.get(&format!("/admin/users/{id}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let masked = shouyin::domain::ids::masked(openid.as_str());
    assert!(page.body.contains(&masked) && !page.body.contains(openid.as_str()));
    assert!(page.body.contains(&number) && page.body.contains("+50.00") && page.body.contains("充值入账"));
    let told = admin.get_json(&format!("/admin/users/{id}")).await.json();
    let entries = told["entries"].as_array().unwrap();
    let sum: i64 = entries.iter().map(|entry| entry["amount_fen"].as_i64().unwrap()).sum();
    assert_eq!((told["balance_fen"].as_i64().unwrap(), sum), (5_000, 5_000));
    assert_eq!(admin.get("/admin/users/9999").await.status, 404);
}

#[actix_web::test]
async fn a_frozen_user_cannot_begin_a_payment_and_one_that_arrives_is_credited() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let ann = shop.user("ann").await;
    let before = ann.top_up("50").await;
    let id = shop.order(&before).await.user_id;
    let home = format!("/admin/users/{id}");
    assert_eq!(json(&admin, &format!("{home}/freeze"), &[("reason", " ")]).await.status, 422);
    assert_eq!(json(&admin, "/admin/users/9999/freeze", &[("reason", "x")]).await.status, 404);
    let frozen = press(&admin, &format!("{home}/freeze"), &[("reason", "盗卡嫌疑")]).await;
    assert_eq!((frozen.status, frozen.header("location")), (303, &*format!("{home}?did=frozen")));
    assert_eq!(json(&admin, &format!("{home}/freeze"), &[("reason", "again")]).await.status, 409);

    let refused = ann.try_top_up("20").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("账户暂停充值") && refused.body.contains("已经付出的款项仍会正常入账"));
    let page = ann.get(&format!("/orders/{before}/pay")).await;
    assert!(page.body.contains("你的账户暂停充值") && !page.body.contains("paySign"), "{}", page.body);
    assert!(admin.get(&home).await.body.contains("盗卡嫌疑"));
    assert!(admin.get("/admin/users").await.body.contains("已冻结"));

    // The sheet was open before: money beats the freeze.
    shop.simulator.pay(&before).unwrap();
    shop.deliver().await;
    assert_eq!((shop.order(&before).await.is_paid(), shop.balance(id).await), (true, 5_000));

    let free = json(&admin, &format!("{home}/unfreeze"), &[("reason", "核实过了")]).await;
    assert_eq!(free.status, 200, "{}", free.body);
    assert_eq!(json(&admin, &format!("{home}/unfreeze"), &[("reason", "x")]).await.status, 409);
    assert_eq!(ann.try_top_up("20").await.status, 201);
    for (action, reason, was, became) in
        [("user_frozen", "盗卡嫌疑", "free", "frozen"), ("user_unfrozen", "核实过了", "frozen", "free")]
    {
        let acts = acts(&admin, action).await;
        assert_eq!(acts.len(), 1, "{action}");
        let act = &acts[0];
        assert_eq!((&act["actor"], &act["target"]), (&"boss".into(), &id.to_string().into()));
        assert_eq!(
            (&act["detail"], &act["was"], &act["became"]),
            (&reason.into(), &was.into(), &became.into())
        );
    }
}

#[actix_web::test]
async fn a_balance_is_put_right_in_both_directions_and_never_below_zero() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.paid("ann", "50").await;
    let id = shop.order(&number).await.user_id;
    let done = adjust(&admin, id, "adjust-001", "take", "20.50").await;
    assert_eq!((done.status, &done.json()["state"]), (200, &"made".into()), "{}", done.body);
    assert_eq!(shop.balance(id).await, 2_950);
    // The same form once more, by a double click.
    assert_eq!(adjust(&admin, id, "adjust-001", "take", "20.50").await.json()["id"], done.json()["id"]);
    assert_eq!(adjust(&admin, id, "adjust-001", "take", "1").await.status, 409);
    let below = adjust(&admin, id, "adjust-002", "take", "29.51").await;
    assert_eq!(below.status, 422);
    assert!(below.body.contains("29.50"), "{}", below.body);
    assert_eq!(adjust(&admin, id, "adjust-003", "add", "5").await.status, 200);
    assert_eq!((shop.balance(id).await, shop.stands_at(Account::Adjustments).await), (3_450, 1_550));
    for (direction, yuan, status) in
        [("add", "0", 422), ("add", "-1", 422), ("add", "x", 422), ("add", "0.001", 422), ("give", "1", 422)]
    {
        assert_eq!(
            adjust(&admin, id, "adjust-004", direction, yuan).await.status,
            status,
            "{direction} {yuan}"
        );
    }
    assert_eq!(adjust(&admin, 9_999, "adjust-005", "add", "1").await.status, 404);
    assert_eq!(adjust(&admin, id, "x", "add", "1").await.status, 400);
    let no_reason = [("intent", "adjust-006"), ("direction", "add"), ("amount", "1"), ("reason", " ")];
    assert_eq!(json(&admin, &format!("/admin/users/{id}/adjust"), &no_reason).await.status, 422);
    assert_eq!(shop.balance(id).await, 3_450);
    let acts = acts(&admin, "balance_adjusted").await;
    assert_eq!(acts.len(), 2);
    assert_eq!((&acts[1]["was"], &acts[1]["became"]), (&"balance 5000".into(), &"balance 2950".into()));
    assert!(acts[1]["detail"].as_str().unwrap().contains("充错了账号"));
    // What was written stays.
    for change in [
        "UPDATE adjustments SET amount_fen = 1",
        "UPDATE adjustments SET state = 'waiting', finished_at = NULL",
        "DELETE FROM adjustments",
        "DELETE FROM ledger WHERE kind = 'adjustment'",
    ] {
        assert!(shop.app.store.write(sql(change)).await.is_err(), "{change}");
    }
    assert_eq!(shop.app.store.read(books::breaches).await.unwrap(), Vec::<String>::new());
}

#[actix_web::test]
async fn above_the_limit_a_second_person_agrees_and_nobody_splits_it_into_small_ones() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(10_000).unwrap()).await;
    let admin = shop.admin().await;
    let colleague = second_admin(&shop).await;
    let number = shop.paid("ann", "50").await;
    let id = shop.order(&number).await.user_id;
    assert_eq!(adjust(&admin, id, "second-001", "add", "60").await.status, 200);
    let waiting = adjust(&admin, id, "second-002", "add", "60").await;
    assert_eq!((waiting.status, &waiting.json()["state"]), (202, &"waiting".into()), "{}", waiting.body);
    assert_eq!(shop.balance(id).await, 11_000, "nothing moves while it waits");
    let action = format!("/admin/adjustments/{}", waiting.json()["id"]);
    let note = [("note", "核对过")];
    assert_eq!(json(&admin, &format!("{action}/approve"), &note).await.status, 409);
    assert_eq!(json(&colleague, &format!("{action}/approve"), &[("note", "")]).await.status, 422);
    assert!(admin.get("/admin").await.body.contains("等同意"));
    assert!(colleague.get(&format!("/admin/users/{id}")).await.body.contains("同意的原因"));
    let made = json(&colleague, &format!("{action}/approve"), &note).await;
    assert_eq!(made.json()["state"], "made", "{}", made.body);
    assert_eq!(shop.balance(id).await, 17_000);
    assert_eq!(json(&colleague, &format!("{action}/approve"), &note).await.status, 409);
    assert_eq!(json(&admin, &format!("{action}/reject"), &note).await.status, 409);

    let refused = adjust(&admin, id, "second-003", "take", "150").await.json();
    let action = format!("/admin/adjustments/{}", refused["id"]);
    assert_eq!(json(&colleague, &format!("{action}/reject"), &note).await.json()["state"], "rejected");
    let taken_back = adjust(&admin, id, "second-004", "take", "150").await.json();
    let action = format!("/admin/adjustments/{}", taken_back["id"]);
    assert_eq!(json(&admin, &format!("{action}/reject"), &note).await.json()["state"], "withdrawn");

    // What was there when it was asked for is gone when somebody agrees.
    let late = adjust(&admin, id, "second-005", "take", "150").await.json();
    crate::refund_pages::refund(&admin, &format!("/admin/orders/{number}"), "second-refund", "50").await;
    let late = json(&colleague, &format!("/admin/adjustments/{}/approve", late["id"]), &note).await;
    assert_eq!(late.status, 422, "{}", late.body);
    assert_eq!(shop.balance(id).await, 12_000);
    assert_eq!(acts(&admin, "balance_adjusted").await[0]["actor"], "second");
    assert_eq!(json(&colleague, "/admin/adjustments/999/approve", &note).await.status, 404);
}

#[actix_web::test]
async fn nobody_splits_an_adjustment_over_many_balances_or_has_a_hand_in_their_own() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(10_000).unwrap()).await;
    let admin = shop.admin().await;
    let colleague = second_admin(&shop).await;
    let mut ids = Vec::new();
    for name in ["ann", "bob"] {
        let number = shop.user(name).await.top_up("1").await;
        ids.push(shop.order(&number).await.user_id);
    }
    let state = |answer: Answer| answer.json()["state"].as_str().map(str::to_owned);
    assert_eq!(state(adjust(&admin, ids[0], "split-001", "add", "60").await).as_deref(), Some("made"));
    assert_eq!(state(adjust(&admin, ids[1], "split-002", "add", "60").await).as_deref(), Some("waiting"));
    assert_eq!(shop.balance(ids[1]).await, 0);
    // Another administrator has a sum of their own.
    assert_eq!(state(adjust(&colleague, ids[1], "split-003", "add", "30").await).as_deref(), Some("made"));

    let all = shop.app.store.read(users::admins).await.unwrap();
    let me = all.iter().find(|account| account.user.username == "boss").unwrap().user.id;
    let own = adjust(&admin, me, "own-00001", "add", "1").await;
    assert_eq!(own.status, 409, "{}", own.body);
    assert!(own.body.contains("自己的余额"), "{}", own.body);
    let asked = adjust(&colleague, me, "own-00002", "add", "150").await.json();
    let note = [("note", "核对过")];
    let agreed = json(&admin, &format!("/admin/adjustments/{}/approve", asked["id"]), &note).await;
    assert_eq!((agreed.status, shop.balance(me).await), (409, 0), "{}", agreed.body);
}

#[actix_web::test]
async fn what_a_user_no_longer_has_is_not_refunded() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.paid("ann", "50").await;
    let id = shop.order(&number).await.user_id;
    assert_eq!(adjust(&admin, id, "spent-001", "take", "40").await.status, 200);
    let refused = shop.refund(&number, "10.01").await;
    assert!(matches!(refused, Err(RefundError::Spent)), "{refused:?}");
    assert!(shop.refund(&number, "10").await.is_ok(), "what is left can go back");
}
