//! Bills held against the books: what agrees, what the bill brings to light, and each difference once however often it is
//! found.

use crate::{
    attacks::rows,
    books::sql,
    channels::{COMPUTER, order, user_of},
    exceptions::{like_the_order, pay_at_wechat},
    harness::{PASSWORD, START, Shop},
    refund_pages::press,
};
use futures_util::FutureExt;
use serde_json::Value;
use shouyin::{
    app::App,
    config::Origins,
    domain::{
        bill::{BillDay, Bucket, Totals},
        order::Source,
        refund::RefundState,
    },
    flow::reconcile::{self, Outcome},
    gateway::{Headers, Response},
    http::{Http, HttpError},
    jobs,
    simulator::{Asked, faults::Scenario},
    store::{
        bill_differences,
        bills::{self, BillOfDay, BillState, Turn},
    },
};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Arc, Mutex},
    task::Poll,
};

const MINUTE_MS: i64 = 60_000;

/// The day every shop of the tests opens on.
pub fn day() -> BillDay {
    BillDay::of(START)
}

/// It is this time of the day after, in minutes from midnight.
pub fn morning(shop: &Shop, minutes: i64) {
    let at = day().end().plus_ms(minutes * MINUTE_MS);
    shop.clock.advance_ms(at.since(shop.clock.now()));
}

pub async fn job(shop: &Shop) -> usize {
    jobs::reconcile::run_once(shop.app.clone()).await.unwrap()
}

async fn bills(shop: &Shop) -> Vec<BillOfDay> {
    shop.app.store.read(|db| bills::list(db, None, 1_000)).await.unwrap()
}

/// WeChat's bill of that day.
pub async fn bill(shop: &Shop) -> BillOfDay {
    let account = shop.app.config.wechat_v2.as_ref().unwrap().mch_id.clone();
    bills(shop).await.into_iter().find(|bill| bill.biller.account == account && bill.day == day()).unwrap()
}

pub async fn by_hand(app: &App, day: BillDay) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (gateway, biller) in reconcile::billers(app) {
        outcomes.push(reconcile::run(app, gateway, &biller, day, Turn::Now).await.unwrap());
    }
    outcomes
}

/// Bucket, numbers and work item of every difference, and which items are open.
pub async fn differences(shop: &Shop) -> Vec<(Bucket, String, String, i64, bool)> {
    let mut found = Vec::new();
    for bill in bills(shop).await {
        let shown =
            shop.app.store.read(move |db| bill_differences::of_bill(db, bill.id, 1_000)).await.unwrap();
        found.extend(shown.into_iter().map(|shown| {
            let one = shown.difference;
            (one.bucket, one.out_trade_no, one.out_refund_no, shown.work_item, shown.open)
        }));
    }
    found.sort();
    found
}

pub async fn work(shop: &Shop) -> Vec<String> {
    let mut kinds: Vec<String> = shop.work_items().await.into_iter().map(|item| item.kind).collect();
    kinds.sort();
    kinds
}

pub fn alerts(shop: &Shop, name: &str) -> u64 {
    shop.app.metrics.alerts.with_label_values(&[name]).get()
}

/// Everything a second comparison could add to.
async fn everything(shop: &Shop) -> Vec<usize> {
    let mut counts = vec![shop.all_notices().await.len()];
    for table in ["bill_rows", "bill_differences", "work_items", "ledger", "refunds"] {
        counts.push(rows(shop, table).await.len());
    }
    counts
}

#[actix_web::test]
async fn a_day_of_payments_and_refunds_agrees_with_both_gateways_bills() {
    let shop = Shop::open().await;
    let first = shop.paid("ann", "50").await;
    shop.paid("bob", "9.90").await;
    let alipay = user_of(&shop, "cid", COMPUTER).await;
    let (number, _) = order(&alipay, "alipay_qr").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let refunds = [shop.refund(&first, "20").await.unwrap(), shop.refund(&number, "1").await.unwrap()];
    shop.wait_for_refunds(3, 20).await;
    for refund in &refunds {
        assert_eq!(shop.same_refund(refund).await.state, RefundState::Success);
    }
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 2);
    let seen = bills(&shop).await;
    let wechat = Totals { payments: 2, payments_fen: 5990, refunds: 1, refunds_fen: 2000 };
    let alipay = Totals { payments: 1, payments_fen: 5000, refunds: 1, refunds_fen: 100 };
    for (bill, totals) in seen.iter().zip([wechat, alipay]) {
        assert_eq!((bill.state, bill.theirs, bill.ours), (BillState::Balanced, totals, totals), "{bill:?}");
        assert_eq!((bill.day, bill.credited, bill.sha256.len()), (day(), 0, 64));
    }
    assert_eq!((work(&shop).await, differences(&shop).await), (Vec::new(), Vec::new()));
    // Done is done.
    assert_eq!(job(&shop).await, 0);
}

#[actix_web::test]
async fn the_job_waits_until_ten_past_ten_and_takes_up_again_what_was_not_there() {
    let mut shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    morning(&shop, 10 * 60 + 9);
    assert_eq!((job(&shop).await, bills(&shop).await), (0, Vec::new()));
    morning(&shop, 10 * 60 + 10);
    shop.cut_off().await;
    assert_eq!(job(&shop).await, 0);
    let waiting = bill(&shop).await;
    assert_eq!(
        (waiting.state, waiting.compared_at, waiting.theirs),
        (BillState::Waiting, None, Totals::default())
    );
    assert!(!waiting.said.is_empty());
    assert_eq!(work(&shop).await, Vec::<String>::new(), "no answer is no difference");
    shop.reconnect();
    // Not every minute.
    shop.clock.advance_ms(9 * MINUTE_MS);
    assert_eq!(job(&shop).await, 0);
    shop.clock.advance_ms(MINUTE_MS);
    assert_eq!(job(&shop).await, 1, "nobody has ordered with Alipay");
    assert_eq!(bill(&shop).await.state, BillState::Balanced);
    assert!(shop.order(&number).await.is_paid());
    assert_eq!(alerts(&shop, "bill_overdue"), 0);
}

#[actix_web::test]
async fn a_bill_that_is_not_there_at_noon_is_an_alarm() {
    let mut shop = Shop::open().await;
    shop.paid("ann", "50").await;
    shop.cut_off().await;
    morning(&shop, 11 * 60 + 59);
    job(&shop).await;
    assert_eq!(alerts(&shop, "bill_overdue"), 0);
    shop.clock.advance_ms(10 * MINUTE_MS);
    job(&shop).await;
    assert_eq!(alerts(&shop, "bill_overdue"), 1);
}

#[actix_web::test]
async fn before_ten_the_gateway_has_no_bill_and_a_day_that_is_not_over_is_not_looked_at() {
    for shop in [Shop::open().await, Shop::open_v3().await] {
        shop.paid("ann", "50").await;
        morning(&shop, 9 * 60);
        let outcomes = by_hand(&shop.app, day()).await;
        assert!(matches!(outcomes.first(), Some(Outcome::NotYet(_))), "{outcomes:?}");
        assert_eq!((bill(&shop).await.state, work(&shop).await), (BillState::Waiting, Vec::new()));
    }
}

#[actix_web::test]
async fn days_that_were_missed_are_made_up_for_oldest_first() {
    let shop = Shop::open().await;
    shop.paid("ann", "50").await;
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    shop.paid("bob", "50").await;
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    assert_eq!(job(&shop).await, 2, "nobody has ordered with Alipay");
    let days: Vec<String> = bills(&shop).await.iter().map(|bill| bill.day.to_string()).collect();
    assert_eq!(days, ["2026-11-21", "2026-11-20"]);
    assert_eq!(work(&shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_program_that_stood_still_for_two_weeks_compares_every_day_of_them() {
    let shop = Shop::open().await;
    shop.paid("ann", "50").await;
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    assert_eq!(job(&shop).await, 1);
    shop.paid("bob", "50").await;
    shop.clock.advance_ms(14 * 24 * 60 * MINUTE_MS);
    assert_eq!(job(&shop).await, 14);
    let days: Vec<String> = bills(&shop).await.iter().map(|bill| bill.day.to_string()).collect();
    assert_eq!((days.len(), days[0].as_str(), days[14].as_str()), (15, "2026-12-04", "2026-11-20"));
    assert_eq!(job(&shop).await, 0);
}

#[actix_web::test]
async fn a_day_that_cannot_be_kept_holds_up_no_other() {
    let shop = Shop::open().await;
    shop.paid("ann", "50").await;
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    shop.paid("bob", "50").await;
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    let spoil = match crate::database::server() {
        Some(_) => {
            "CREATE TRIGGER spoil BEFORE INSERT ON bill_rows FOR EACH ROW WHEN (NEW.bill_id = 1)
             EXECUTE FUNCTION refuse('spoiled')"
        }
        None => {
            "CREATE TRIGGER spoil BEFORE INSERT ON bill_rows WHEN NEW.bill_id = 1
             BEGIN SELECT RAISE(ABORT, 'spoiled'); END"
        }
    };
    shop.app.store.write(sql(spoil)).await.unwrap();
    assert!(jobs::reconcile::run_once(shop.app.clone()).await.is_err());
    let compared: Vec<String> = bills(&shop)
        .await
        .iter()
        .filter(|bill| bill.state != BillState::Waiting)
        .map(|bill| bill.day.to_string())
        .collect();
    assert_eq!(compared, ["2026-11-21"]);
}

/// A payment that no callback and no query brought: credited at the latest by the bill run.
async fn credited_by_the_bill(shop: &Shop, number: &str) {
    shop.simulator.set_scenario(number, Scenario::NotifyLost);
    shop.simulator.pay(number).unwrap();
    assert_eq!(shop.deliver().await, 0);
    morning(shop, 10 * 60 + 10);
    jobs::gateway_keys::run_once(shop.app.clone()).await.unwrap();
    assert!(!shop.order(number).await.is_paid());
    assert!(job(shop).await >= 1);
    let books = shop.books(number).await;
    assert_eq!((books.balance, books.order.settled_by), (5000, Some(Source::Bill)));
    assert_eq!((books.work, differences(shop).await), (Vec::new(), Vec::new()));
    let found = bills(shop).await.into_iter().find(|bill| bill.theirs.payments == 1).unwrap();
    assert_eq!((found.state, found.credited, found.ours), (BillState::Balanced, 1, found.theirs));
    assert_eq!(alerts(shop, "credited_by_bill"), 1);
    let settled = shop.app.metrics.settled.with_label_values(&["bill", "ok"]).get();
    assert_eq!(settled, 1);
    // Once.
    by_hand(&shop.app, day()).await;
    assert_eq!(shop.books(number).await.balance, 5000);
}

#[actix_web::test]
async fn a_payment_nobody_told_us_about_is_credited_by_the_bill_run() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    credited_by_the_bill(&shop, &number).await;
}

#[actix_web::test]
async fn so_is_one_made_by_v3() {
    let shop = Shop::open_v3().await;
    let number = shop.user("ann").await.top_up("50").await;
    credited_by_the_bill(&shop, &number).await;
}

#[actix_web::test]
async fn so_is_one_made_at_alipay() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "alipay_page").await;
    // The browser goes to Alipay, which makes the trade.
    let (_, rest) = page.body.split_once("<a class=\"btn").unwrap();
    let link = rest.split_once("href=\"").unwrap().1.split_once('"').unwrap().0.replace("&#38;", "&");
    assert_eq!(user.get(&link).await.status, 302);
    credited_by_the_bill(&shop, &number).await;
}

/// A shop whose day has one payment of every kind of difference, and one that agrees. Gives the numbers: lacking in our
/// books, lacking in the bill, of another amount.
pub async fn unequal() -> (Shop, [String; 3]) {
    let shop = Shop::open().await;
    let agreed = shop.paid("ann", "50").await;
    let extra = like_the_order(&shop, &agreed, "extra0000001", 700).await;
    shop.simulator.set_scenario(extra.out_trade_no.as_str(), Scenario::NotifyLost);
    pay_at_wechat(&shop, &extra);
    let user = shop.user("bob").await;
    let mut lying = Vec::new();
    for scenario in [Scenario::BillMissing, Scenario::BillAmount] {
        let number = user.top_up("30").await;
        shop.simulator.set_scenario(&number, scenario);
        shop.simulator.pay(&number).unwrap();
        shop.deliver().await;
        lying.push(number);
    }
    let [missing, amount] = <[String; 2]>::try_from(lying).unwrap();
    (shop, ["extra0000001".to_owned(), missing, amount])
}

#[actix_web::test]
async fn every_difference_is_one_work_item_and_comparing_again_adds_nothing() {
    let (shop, [extra, missing, amount]) = unequal().await;
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    let found = differences(&shop).await;
    let told: Vec<_> = found.iter().map(|(bucket, number, ..)| (*bucket, number.as_str())).collect();
    assert_eq!(
        told,
        [
            (Bucket::Extra, extra.as_str()),
            (Bucket::Missing, missing.as_str()),
            (Bucket::Amount, amount.as_str())
        ]
    );
    // The payment of no order has the gateway's own word, so it can be refunded or credited by hand.
    assert_eq!(work(&shop).await, ["bill_amount", "bill_missing", "unknown_order"]);
    let items: BTreeSet<i64> = found.iter().map(|(_, _, _, item, open)| (*item, assert!(open)).0).collect();
    assert_eq!(items.len(), 3);
    let bill = bill(&shop).await;
    assert_eq!(bill.state, BillState::Unbalanced);
    let theirs = Totals { payments: 3, payments_fen: 5000 + 700 + 2999, ..Totals::default() };
    let ours = Totals { payments: 3, payments_fen: 5000 + 3000 + 3000, ..Totals::default() };
    assert_eq!((bill.theirs, bill.ours), (theirs, ours));
    assert_eq!(alerts(&shop, "bill_difference"), 2);
    let before = everything(&shop).await;
    for _ in 0..3 {
        shop.clock.advance_ms(MINUTE_MS);
        by_hand(&shop.app, day()).await;
    }
    assert_eq!((everything(&shop).await, differences(&shop).await), (before, found));
    assert_eq!(alerts(&shop, "bill_difference"), 2);
    // A day later nobody is reminded of it again.
    shop.clock.advance_ms(24 * 60 * MINUTE_MS);
    job(&shop).await;
    assert_eq!(work(&shop).await.len(), 3);
}

#[actix_web::test]
async fn what_the_books_and_the_bill_agree_on_later_closes_its_work_item() {
    let (shop, [_, missing, _]) = unequal().await;
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    // WeChat makes the bill anew, and now it is whole.
    shop.simulator.set_scenario(&missing, Scenario::Ok);
    by_hand(&shop.app, day()).await;
    let item = shop.work_items().await.into_iter().find(|item| item.kind == "bill_missing").unwrap();
    assert_eq!(item.closed_by.as_deref(), Some("shouyin"));
    let left: Vec<Bucket> = differences(&shop).await.into_iter().map(|(bucket, ..)| bucket).collect();
    assert_eq!(left, [Bucket::Extra, Bucket::Amount]);
    assert_eq!(bill(&shop).await.theirs.payments, 4);
}

#[actix_web::test]
async fn a_payment_of_midnight_may_stand_in_either_days_bill() {
    let shop = Shop::open().await;
    morning(&shop, -1);
    let user = shop.user("ann").await;
    let (early, late) = (user.top_up("50").await, user.top_up("30").await);
    // Paid a second before midnight and credited after it; and credited before it by a clock that is behind.
    shop.clock.advance_ms(day().end().plus_ms(-1_000).since(shop.clock.now()));
    shop.simulator.pay(&early).unwrap();
    shop.clock.advance_ms(2_000);
    shop.deliver().await;
    shop.simulator.pay(&late).unwrap();
    shop.clock.advance_ms(-3_000);
    assert_eq!(shop.notify(shop.simulator.signed_notify(&late, &[])).await.status, 200);
    assert!(shop.order(&late).await.paid_at.unwrap() < day().end());
    for minutes in [10 * 60 + 10, 34 * 60 + 10] {
        morning(&shop, minutes);
        assert_eq!(job(&shop).await, 1);
    }
    let seen = bills(&shop).await;
    let told: Vec<_> = seen.iter().map(|bill| (bill.state, bill.theirs.payments_fen)).collect();
    assert_eq!(told, [(BillState::Balanced, 3000), (BillState::Balanced, 5000)]);
    assert_eq!(work(&shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_run_cut_off_anywhere_and_done_again_ends_as_if_it_had_not_been() {
    let (shop, _) = unequal().await;
    let lost = shop.user("cid").await.top_up("50").await;
    shop.simulator.set_scenario(&lost, Scenario::NotifyLost);
    shop.simulator.pay(&lost).unwrap();
    morning(&shop, 10 * 60 + 10);
    let mut cuts = 0;
    loop {
        // Dropped after so many steps, as when the process ends; what was being written may still be written.
        let mut left = cuts;
        let mut running = Box::pin(by_hand(&shop.app, day()));
        let cut = std::future::poll_fn(|context| match running.as_mut().poll(context) {
            Poll::Ready(outcomes) => Poll::Ready(Some(outcomes)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        });
        let outcomes = cut.await;
        drop(running);
        shop.clock.advance_ms(4 * MINUTE_MS);
        if let Some(outcomes) = outcomes {
            assert!(matches!(outcomes[0], Outcome::Compared(_)), "{outcomes:?}");
            break;
        }
        cuts += 1;
    }
    // How often it waits is a matter of how soon threads answer, and each run begins where the last one was cut off.
    assert!(cuts > 5, "{cuts} steps only");
    assert_eq!(work(&shop).await, ["bill_amount", "bill_missing", "unknown_order"]);
    assert_eq!(differences(&shop).await.len(), 3);
    assert_eq!(shop.books(&lost).await.balance, 5000);
    let bill = bill(&shop).await;
    assert_eq!((bill.state, bill.theirs.payments), (BillState::Unbalanced, 4));
    assert_eq!(rows(&shop, "bill_rows").await.len(), 4);
}

#[actix_web::test]
async fn two_instances_compare_a_day_once() {
    let (shop, _) = unequal().await;
    let beside = shop.server_beside();
    let other = beside.as_ref().map_or_else(|| shop.second_instance(), |beside| beside.app.clone());
    morning(&shop, 10 * 60 + 10);
    let (a, b) =
        tokio::join!(jobs::reconcile::run_once(shop.app.clone()), jobs::reconcile::run_once(other.clone()));
    assert_eq!(a.unwrap() + b.unwrap(), 1);
    assert_eq!(work(&shop).await, ["bill_amount", "bill_missing", "unknown_order"]);
    let fetched = shop.simulator.calls().iter().filter(|call| call.starts_with("downloadbill")).count();
    assert_eq!(fetched, 1);
}

#[actix_web::test]
async fn a_refund_nobody_here_asked_for_is_a_difference_and_one_not_heard_of_yet_is_followed() {
    let shop = Shop::open().await;
    let (ours, elsewhere) = (shop.paid("ann", "50").await, shop.paid("bob", "30").await);
    let refund = shop.refund(&ours, "20").await.unwrap();
    assert_eq!(refund.state, RefundState::Processing);
    shop.simulator.refund(&elsewhere).unwrap();
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    let found = differences(&shop).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (bucket, number, out_refund_no, ..) = &found[0];
    assert_eq!((*bucket, number), (Bucket::Extra, &elsewhere));
    assert!(!out_refund_no.is_empty());
    assert_eq!(work(&shop).await.len(), 1);
    let before = everything(&shop).await;
    by_hand(&shop.app, day()).await;
    assert_eq!(everything(&shop).await, before);
}

/// The shop with another way to WeChat: the bodies of what the simulator answers, altered.
pub fn through(shop: &Shop, alter: impl Fn(&str, String) -> String + Send + Sync + 'static) -> Arc<App> {
    hearing(shop, move |path, answer| {
        let body = String::from_utf8(answer.body).unwrap();
        Response { body: alter(path, body).into_bytes(), ..answer }
    })
}

/// The same with whole answers altered.
pub fn hearing(shop: &Shop, alter: impl Fn(&str, Response) -> Response + Send + Sync + 'static) -> Arc<App> {
    let (simulator, alter) = (shop.simulator.clone(), Arc::new(alter));
    let line = Arc::new(move |letter: shouyin::http::Letter| {
        let path = letter.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
        let asked = Asked {
            method: if letter.post { "POST" } else { "GET" },
            target: &path,
            headers: Headers(&letter.headers),
            body: &letter.body,
        };
        let answer = simulator.answer(&asked).unwrap().ok_or(HttpError::Timeout);
        let answer = answer.map(|answer| alter(&path, answer));
        async move { answer }.boxed()
    });
    let origins = Origins { ..shop.app.config.origins.clone() };
    let http = Http::in_process(origins, line);
    App::with_http(shop.app.config.clone(), shop.app.store.clone(), shop.clock.clone(), http).unwrap()
}

#[actix_web::test]
async fn a_bill_of_somebody_else_or_not_whole_changes_nothing() {
    for v3 in [false, true] {
        let shop = if v3 { Shop::open_v3().await } else { Shop::open().await };
        shop.paid("ann", "50").await;
        shop.paid("bob", "30").await;
        let mch_id = shop.app.config.wechat_v2.as_ref().unwrap().mch_id.clone();
        morning(&shop, 10 * 60 + 10);
        let alterations: [fn(&str, &str) -> String; 3] = [
            |text, mch_id| text.replace(&format!("`{mch_id},"), "`1900000001,"),
            // One line less than it counts.
            |text, _| {
                let (head, rest) = text.split_once("\r\n`").unwrap();
                let (_, rest) = rest.split_once("\r\n`").unwrap();
                format!("{head}\r\n`{rest}")
            },
            |text, _| text.chars().take(text.chars().count() / 2).collect(),
        ];
        for alter in alterations {
            let mch_id = mch_id.clone();
            let app = through(&shop, move |path, body| {
                let is_bill = path == "/pay/downloadbill" || path.starts_with("/v3/billdownload");
                if is_bill { alter(&body, &mch_id) } else { body }
            });
            let outcomes = by_hand(&app, day()).await;
            assert!(matches!(outcomes[0], Outcome::Unheard(_)), "{outcomes:?}");
            assert_eq!(app.metrics.alerts.with_label_values(&["bill_failed"]).get(), 1);
            assert_eq!((work(&shop).await, rows(&shop, "bill_rows").await.len()), (Vec::new(), 0));
            assert_eq!(bill(&shop).await.state, BillState::Waiting);
        }
    }
}

#[actix_web::test]
async fn while_a_payment_of_the_bill_cannot_be_asked_about_the_day_is_not_done() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    morning(&shop, 10 * 60 + 10);
    let asked = Arc::new(Mutex::new(0));
    let counter = asked.clone();
    let deaf = through(&shop, move |path, body| {
        if path != "/pay/orderquery" {
            return body;
        }
        *counter.lock().unwrap() += 1;
        "<html>502</html>".to_owned()
    });
    assert_eq!(jobs::reconcile::run_once(deaf).await.unwrap(), 0);
    assert_eq!(*asked.lock().unwrap(), 1);
    assert_eq!(
        (bill(&shop).await.state, work(&shop).await),
        (BillState::Waiting, vec!["bill_extra".to_owned()])
    );
    assert_eq!(shop.books(&number).await.balance, 0, "unknown is not paid");
    // Ten minutes later it answers: credited, and the item closes itself.
    shop.clock.advance_ms(10 * MINUTE_MS);
    assert_eq!(job(&shop).await, 1);
    assert_eq!((bill(&shop).await.state, shop.books(&number).await.balance), (BillState::Balanced, 5000));
    assert!(shop.work_items().await[0].closed_at.is_some());
}

#[actix_web::test]
async fn the_console_shows_every_day_and_each_difference_with_its_work_item() {
    let (shop, [extra, missing, amount]) = unequal().await;
    let admin = shop.admin().await;
    assert!(admin.get("/admin/bills").await.body.contains("还没有账单"));
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let list = admin.get("/admin/bills").await.body;
    for part in ["2026-11-20", "不平 3", "对账", "86.99", "110.00", "-23.01"] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let id = bill(&shop).await.id;
    let page = format!("/admin/bills/{id}");
    let shown = admin.get(&page).await.body;
    for part in
        ["长款", "短款", "金额不符", &extra, &missing, &amount, "29.99", "重新对账", "/admin/work-items/1"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let told: Value = admin.get_json(&page).await.json();
    assert_eq!((&told["state"], &told["open_count"]), (&"unbalanced".into(), &3.into()));
    assert_eq!(told["differences"].as_array().unwrap().len(), 3);
    for item in shop.work_items().await {
        let page = format!("/admin/work-items/{}", item.id);
        assert_eq!(admin.get(&page).await.status, 200);
        let closed = press(&admin, &format!("{page}/close"), &[("note", "在商户平台核对过")]).await;
        assert_eq!(closed.status, 303, "{}", closed.body);
    }
    assert!(admin.get("/admin/bills").await.body.contains("不平，已全部处理"));
    assert_eq!(admin.get("/admin/bills/999").await.status, 404);
}

#[actix_web::test]
async fn an_administrator_compares_again_with_their_name_in_the_audit_log() {
    let (shop, _) = unequal().await;
    let admin = shop.admin().await;
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let id = bill(&shop).await.id;
    let path = format!("/admin/bills/{id}/reconcile");
    assert_eq!(admin.post(&path, &[]).await.status, 403, "no form token");
    let before = everything(&shop).await;
    let done = press(&admin, &path, &[]).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, format!("/admin/bills/{id}?did=compared").as_str())
    );
    assert_eq!(everything(&shop).await, before);
    let acts = rows(&shop, "audit_log").await;
    let acts: Vec<_> = acts.iter().filter(|act| act["action"] == "bill_reconciled").collect();
    assert_eq!(acts.len(), 1);
    assert_eq!((&acts[0]["actor"], &acts[0]["was"]), (&"boss".into(), &"unbalanced".into()));
    // Nobody but an administrator.
    let user = shop.user("eve").await;
    assert_eq!(user.get("/admin/bills").await.status, 404);
    assert_eq!(press(&user, &path, &[]).await.status, 404);
}
