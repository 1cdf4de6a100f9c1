//! Settlements in one batch, of which one cannot be made: the others are, and in time.

use crate::{
    callbacks::hold_the_books,
    database::{somebody, sql},
    harness::Shop,
};
use diesel::connection::SimpleConnection;
use futures_util::{FutureExt, future::join_all};
use shouyin::{
    config::Database,
    domain::order::{Settled, Source},
    flow::{
        FlowError,
        settle::{self, Evidence},
    },
    gateway::{Gateway, Notified, Notify, VerifiedPayment, wechat_v2::WechatV2},
};

const ORDERS: usize = 20;

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

/// Settles all at once: all have queued before the writer goes on.
async fn settle_at_once(shop: &Shop, paid: &[(String, String)]) -> Vec<Result<Settled, FlowError>> {
    let one = |callback: String| async move {
        let evidence = Evidence { body: callback.clone().into_bytes(), ..Evidence::default() };
        settle::settle(&shop.app, verified(shop, &callback), Source::Notify, evidence).await
    };
    let mut settling = Box::pin(join_all(paid.iter().map(|(_, callback)| one(callback.clone()))));
    if let Some(mut somebody) = somebody(&shop.app.config.database) {
        let lock = "SELECT pg_advisory_lock(current_schema()::regnamespace::bigint)";
        somebody.batch_execute(lock).unwrap();
        assert!((&mut settling).now_or_never().is_none());
        somebody.batch_execute(&lock.replace("_lock", "_unlock")).unwrap();
    } else {
        let (release, _) = hold_the_books(shop).await;
        assert!((&mut settling).now_or_never().is_none());
        drop(release);
    }
    settling.await
}

fn credited(settled: &[Result<Settled, FlowError>]) -> Vec<bool> {
    settled.iter().map(|settled| matches!(settled, Ok(Settled::Now))).collect()
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
    assert_eq!(credited(&settle_at_once(&shop, &paid).await), all_but_one());
    shop.app.store.write(sql(forgive)).await.unwrap();
    and_it_is_made_when_it_can_be(&shop, &paid[6]).await;
}

#[actix_web::test]
async fn an_order_whose_row_somebody_holds_is_the_only_one_of_its_batch_that_waits() {
    let shop = Shop::open().await;
    let Some(mut somebody) = somebody(&shop.app.config.database) else {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    };
    let paid = paid(&shop).await;
    let hold = format!("BEGIN; SELECT 1 FROM orders WHERE out_trade_no = '{}' FOR UPDATE", paid[6].0);
    somebody.batch_execute(&hold).unwrap();
    assert_eq!(credited(&settle_at_once(&shop, &paid).await), all_but_one());
    drop(somebody);
    and_it_is_made_when_it_can_be(&shop, &paid[6]).await;
}

#[actix_web::test]
async fn when_somebody_holds_many_rows_the_last_of_them_are_refused_untried_and_all_in_time() {
    let shop = Shop::open().await;
    let Some(mut somebody) = somebody(&shop.app.config.database) else {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    };
    let paid = paid(&shop).await;
    somebody.batch_execute("BEGIN; SELECT 1 FROM orders FOR UPDATE").unwrap();
    let settled = settle_at_once(&shop, &paid).await;
    let told: Vec<String> = settled.iter().map(|settled| settled.as_ref().unwrap_err().to_string()).collect();
    let untried = told.iter().filter(|told| told.contains("took too long")).count();
    // Ten waits: two orders with five tries each, perhaps one more of the batch that came first.
    assert!(untried > ORDERS / 2, "{told:?}");
    assert!(told.iter().any(|told| told.contains("lock timeout")), "{told:?}");
    drop(somebody);
    assert_eq!(credited(&settle_at_once(&shop, &paid).await), vec![true; ORDERS]);
}
