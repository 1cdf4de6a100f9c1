//! What an administrator does and what the audit log says of it are one transaction: without the row there is no act.

use crate::{
    attacks::rows,
    books::sql,
    exceptions::{like_the_order, pay_at_wechat},
    harness::{Browser, Shop},
    refund_pages::{press, refund, second_admin},
};
use serde_json::Value;
use shouyin::domain::money::Fen;

/// Who presses which button with what.
type Press<'a> = (&'a Browser, String, &'a [(&'a str, &'a str)]);

/// Everything an act could have changed.
const TABLES: [&str; 9] = [
    "orders",
    "refunds",
    "ledger",
    "work_items",
    "corrections",
    "adjustments",
    "freezes",
    "order_events",
    "audit_log",
];

async fn books(shop: &Shop) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(rows(shop, table).await);
    }
    all
}

/// From here on the audit log takes no row.
async fn fill_up_the_audit_log(shop: &Shop) {
    let statements: &[&str] = match shop.app.config.database.file() {
        Some(_) => {
            &["CREATE TRIGGER full_up BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END"]
        }
        None => &[
            "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''full''; END'",
            "CREATE TRIGGER full_up BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION full_up()",
        ],
    };
    for statement in statements {
        shop.app.store.write(sql(statement)).await.unwrap();
    }
}

#[actix_web::test]
async fn an_act_that_cannot_be_written_down_is_not_done() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(3000).unwrap()).await;
    let (boss, second) = (shop.admin().await, second_admin(&shop).await);
    let number = shop.paid("ann", "50").await;
    let user = shop.order(&number).await.user_id;
    pay_at_wechat(&shop, &like_the_order(&shop, &number, "of-an-old-backup", 2000).await);
    shop.deliver().await;
    let order = format!("/admin/orders/{number}");
    let item = format!("/admin/work-items/{}", shop.work_items().await[0].id);
    let adjust = format!("/admin/users/{user}/adjust");
    // Above the limit, so both wait for the second person.
    assert!(refund(&boss, &order, "intent-waiting-1", "40").await.status < 300);
    let waiting = rows(&shop, "refunds").await[0]["out_refund_no"].as_str().unwrap().to_owned();
    let much = [("intent", "intent-waiting-2"), ("direction", "add"), ("amount", "40"), ("reason", "x")];
    assert!(press(&boss, &adjust, &much).await.status < 400);
    fill_up_the_audit_log(&shop).await;
    let before = books(&shop).await;

    let little = [("intent", "intent-little-1"), ("direction", "add"), ("amount", "1"), ("reason", "x")];
    let whom = [("reason", "x"), ("username", "ann")];
    let acts: [Press; 11] = [
        (&second, format!("/admin/refunds/{waiting}/approve"), &[("note", "x")]),
        (&second, format!("/admin/refunds/{waiting}/reject"), &[("note", "x")]),
        (&second, "/admin/adjustments/1/approve".to_owned(), &[("note", "x")]),
        (&second, "/admin/adjustments/1/reject".to_owned(), &[("note", "x")]),
        (&boss, adjust, &little),
        (&boss, format!("{item}/credit"), &whom),
        (&boss, format!("{item}/note"), &[("note", "x")]),
        (&boss, format!("{item}/close"), &[("note", "x")]),
        (&boss, format!("/admin/users/{user}/freeze"), &[("reason", "x")]),
        (&boss, format!("{order}/query"), &[]),
        (&boss, format!("/admin/notices/{}/replay", shop.all_notices().await[0].id), &[]),
    ];
    for (by, path, fields) in acts {
        let answer = press(by, &path, fields).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert_eq!(books(&shop).await, before, "{path}");
    }
    for (home, yuan) in [(&order, "5"), (&item, "20")] {
        let answer = refund(&boss, home, &format!("intent-of-{yuan}-yuan"), yuan).await;
        assert_eq!(answer.status, 503, "{home} {yuan}: {}", answer.body);
        assert_eq!(books(&shop).await, before, "{home} {yuan}");
    }
}
