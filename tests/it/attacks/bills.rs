//! Bills that lie, are not whole, or are not there.

use super::{Outcome, Table, table, world::World};
use crate::{
    harness::Shop,
    reconcile::{alerts, bill, by_hand, day, differences, hearing, job, morning, work},
};
use shouyin::{
    domain::bill::Bucket, flow::reconcile::Outcome as Run, gateway::Response, simulator::faults::Scenario,
    store::bills::BillState,
};

pub const CASES: Table = table! {
    "BILL-01" => paid_there_unpaid_here,
    "BILL-03" => another_amount,
    "BILL-05" => not_whole,
    "BILL-07" => not_there,
};

/// What becomes of a file on its way.
type Alter = fn(Vec<u8>) -> Vec<u8>;

/// Ten past ten on the day after: bills are there and looked at.
const READY: i64 = 10 * 60 + 10;

async fn paid_there_unpaid_here(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    shop.simulator.set_scenario(&world.subject, Scenario::NotifyLost);
    shop.simulator.pay(&world.subject).unwrap();
    morning(&shop, READY);
    // The bill says paid, and the question about it gets no answer.
    let deaf = hearing(&shop, |path, answer| match path {
        "/pay/orderquery" => Response::new(500, Vec::new()),
        _ => answer,
    });
    by_hand(&deaf, day()).await;
    let by_bill_alone = shop.order(&world.subject).await.is_paid();
    shop.clock.advance_ms(60_000);
    by_hand(&shop.app, day()).await;
    world.holds(
        "orderquery decides, then CREDIT_ONCE; never credited from the bill alone",
        !by_bill_alone,
        "credited",
    );
    let after = super::world::Snapshot::of(&shop).await;
    let credited =
        super::effects::credited(world.before.as_ref().unwrap(), &after, &world.subject, Some(100));
    world.expect(credited.is_ok(), format!("{credited:?}"));
    Ok(())
}

async fn another_amount(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    shop.simulator.set_scenario(&world.subject, Scenario::BillAmount);
    shop.simulator.pay(&world.subject).unwrap();
    shop.deliver().await;
    morning(&shop, READY);
    job(&shop).await;
    let found = differences(&shop).await;
    let told = matches!(found.as_slice(), [(Bucket::Amount, number, _, _, true)] if *number == world.subject);
    world.holds("difference ticket", told && work(&shop).await == ["bill_amount"], format!("{found:?}"));
    Ok(())
}

async fn not_whole(world: &mut World) -> Outcome {
    let shop = std::rc::Rc::new(Shop::open_v3().await);
    world.shop = Some(shop.clone());
    world.subject = shop.paid("ann", "1").await;
    world.mark().await;
    morning(&shop, READY);
    let bodies: [(&str, Alter); 4] = [
        ("another hash", |mut body| {
            body.push(b' ');
            body
        }),
        ("truncated", |mut body| {
            body.truncate(body.len() / 2);
            body
        }),
        ("a bomb", |_| bomb()),
        ("a page", |_| b"<html><body>502 Bad Gateway</body></html>".to_vec()),
    ];
    let mut applied = Vec::new();
    for (what, alter) in bodies {
        let app = hearing(&shop, move |path, answer| match path.starts_with("/v3/billdownload") {
            true => Response { body: alter(answer.body), ..answer },
            false => answer,
        });
        let outcomes = by_hand(&app, day()).await;
        if !matches!(outcomes.first(), Some(Run::Unheard(_))) || bill(&shop).await.state != BillState::Waiting
        {
            applied.push(format!("{what}: {outcomes:?}"));
        }
        shop.clock.advance_ms(60_000);
    }
    let quiet = applied.is_empty() && work(&shop).await.is_empty();
    world.holds("nothing applied", quiet, format!("{applied:?}"));
    // Somebody is woken once the day's bill is still missing at noon.
    let broken = hearing(&shop, |path, answer| match path.starts_with("/v3/billdownload") {
        true => Response { body: bomb(), ..answer },
        false => answer,
    });
    morning(&shop, 12 * 60 + 10);
    shouyin::jobs::reconcile::run_once(broken.clone()).await.unwrap();
    let told = broken.metrics.alerts.with_label_values(&["bill_overdue"]).get();
    world.holds("alarm while it is missing at noon", told == 1, format!("{told} alerts"));
    Ok(())
}

/// A kilobyte of gzip that would be a megabyte.
fn bomb() -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b'0'; 1 << 20]).unwrap();
    gzip.finish().unwrap()
}

async fn not_there(world: &mut World) -> Outcome {
    let shop = world.open().await;
    world.subject = shop.paid("ann", "1").await;
    world.mark().await;
    let creating = hearing(&shop, |path, answer| match path {
        "/pay/downloadbill" => {
            let text = "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[statement creating]]></return_msg>\
                <error_code><![CDATA[20002]]></error_code></xml>";
            Response { body: text.as_bytes().to_vec(), ..answer }
        }
        _ => answer,
    });
    let overdue = || creating.metrics.alerts.with_label_values(&["bill_overdue"]).get();
    morning(&shop, READY);
    shouyin::jobs::reconcile::run_once(creating.clone()).await.unwrap();
    let early = overdue();
    morning(&shop, 12 * 60 + 10);
    shouyin::jobs::reconcile::run_once(creating.clone()).await.unwrap();
    world.holds(
        "no false alarm; alarm if still missing at 12:00",
        (early, overdue()) == (0, 1),
        format!("{early} {}", overdue()),
    );
    // A day without a trade has no bill, and that is no alarm either.
    let empty = Shop::open().await;
    morning(&empty, READY);
    job(&empty).await;
    morning(&empty, 12 * 60 + 10);
    job(&empty).await;
    world.expect(work(&empty).await.is_empty() && alerts(&empty, "bill_overdue") == 0, "an empty day");
    Ok(())
}
