//! Settlements in one batch, of which one cannot be made: the others are, and in time.

use crate::harness::Shop;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use futures_util::future::join_all;
use shouyin::{
    config::Database,
    domain::order::{Settled, Source},
    flow::settle::{self, Evidence},
    gateway::{Gateway, Notified, Notify, VerifiedPayment, wechat_v2::WechatV2},
    store::{Db, StoreError},
};

const ORDERS: usize = 20;

fn sql(text: &str) -> impl Fn(&mut Db) -> Result<(), StoreError> + Send + use<> {
    let text = text.to_owned();
    move |db| Ok(db.batch_execute(&text)?)
}

/// A user's orders that are paid at WeChat, and what WeChat says of each.
async fn paid(shop: &Shop) -> Vec<(String, String)> {
    let ann = shop.user("ann").await;
    let mut paid = vec![];
    for _ in 0..ORDERS {
        let number = ann.top_up("50").await;
        shop.simulator.pay(&number).unwrap();
        let callback = shop.simulator.signed_notify(&number, &[]);
        paid.push((number, callback));
    }
    paid
}

fn verified(shop: &Shop, callback: &str) -> VerifiedPayment {
    let wechat = WechatV2 { account: shop.app.config.wechat_v2.clone().unwrap() };
    let notify = Notify { body: callback.as_bytes(), ..Notify::default() };
    let Notified::Paid(payment) = wechat.notified(notify) else { panic!("a genuine callback") };
    payment
}

/// Settles all at once; gives which were credited. All have queued before the first is answered.
async fn settle_at_once(shop: &Shop, paid: &[(String, String)]) -> Vec<bool> {
    let one = |callback: String| async move {
        let evidence = Evidence { body: callback.clone().into_bytes(), ..Evidence::default() };
        settle::settle(&shop.app, verified(shop, &callback), Source::Notify, evidence).await
    };
    let settled = join_all(paid.iter().map(|(_, callback)| one(callback.clone()))).await;
    settled.into_iter().map(|settled| matches!(settled, Ok(Settled::Now))).collect()
}

/// Everybody but the seventh.
fn all_but_one() -> Vec<bool> {
    (0..ORDERS).map(|nth| nth != 6).collect()
}

async fn and_it_is_made_when_it_can_be(shop: &Shop, (number, callback): &(String, String)) {
    assert!(!shop.order(number).await.is_paid());
    let balance = 5000 * i64::try_from(ORDERS).unwrap();
    assert_eq!(shop.books(number).await.balance, balance - 5000);
    assert!(shop.notify(callback.clone()).await.body.contains("SUCCESS"));
    assert_eq!(shop.books(number).await.balance, balance);
}

#[actix_web::test]
async fn a_payment_that_the_books_refuse_by_an_error_is_the_only_one_of_its_batch_that_waits() {
    let shop = Shop::open().await;
    let paid = paid(&shop).await;
    let order = shop.order(&paid[6].0).await.id;
    let (refuse, forgive) = match shop.app.config.database {
        Database::Sqlite(_) => (
            format!(
                "CREATE TRIGGER poison BEFORE INSERT ON ledger WHEN NEW.order_id = {order}
                    BEGIN SELECT RAISE(ABORT, 'poison'); END"
            ),
            "DROP TRIGGER poison",
        ),
        Database::Postgres(_) => (
            format!(
                "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
                 CREATE TRIGGER poison BEFORE INSERT ON ledger FOR EACH ROW WHEN (NEW.order_id = {order})
                    EXECUTE FUNCTION poison()"
            ),
            "DROP FUNCTION poison CASCADE",
        ),
    };
    shop.app.store.write(sql(&refuse)).await.unwrap();
    assert_eq!(settle_at_once(&shop, &paid).await, all_but_one());
    shop.app.store.write(sql(forgive)).await.unwrap();
    and_it_is_made_when_it_can_be(&shop, &paid[6]).await;
}

#[actix_web::test]
async fn an_order_whose_row_somebody_holds_is_the_only_one_of_its_batch_that_waits() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let paid = paid(&shop).await;
    let Database::Postgres(url) = &shop.app.config.database else { unreachable!("there is a server") };
    let mut somebody = PgConnection::establish(&url.with(&[])).unwrap();
    let hold = format!("BEGIN; SELECT 1 FROM orders WHERE out_trade_no = '{}' FOR UPDATE", paid[6].0);
    somebody.batch_execute(&hold).unwrap();
    assert_eq!(settle_at_once(&shop, &paid).await, all_but_one());
    drop(somebody);
    and_it_is_made_when_it_can_be(&shop, &paid[6]).await;
}

#[actix_web::test]
async fn when_somebody_holds_the_whole_table_every_caller_is_told_in_time_and_credited_later() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let paid = paid(&shop).await;
    let Database::Postgres(url) = &shop.app.config.database else { unreachable!("there is a server") };
    let mut somebody = PgConnection::establish(&url.with(&[])).unwrap();
    somebody.batch_execute("BEGIN; LOCK TABLE ledger IN SHARE MODE").unwrap();
    let answers = join_all(paid.iter().map(|(_, callback)| shop.notify(callback.clone()))).await;
    for answer in &answers {
        assert_eq!(answer.status, 503, "{}", answer.body);
    }
    drop(somebody);
    assert_eq!(settle_at_once(&shop, &paid).await, vec![true; ORDERS]);
}
