//! Signed messages that do not fit the order, and odd ones that do.

use super::{Outcome, Table, table, world::World, world::rows, world::text};
use shouyin::simulator::Scenario;

pub const CASES: Table = table! {
    "WX2-BIZ-01" => amount_too_low,
    "WX2-BIZ-03" => amount_is_none,
    "WX2-BIZ-06" => other_currency,
    "WX2-BIZ-08" => coupon,
    "WX2-BIZ-10" => other_appid,
    "WX2-BIZ-13" => attach_names_another,
    "WX2-BIZ-14" => unknown_order,
    "WX2-BIZ-16" => unsigned_failure,
    "WX2-BIZ-17" => signed_failure,
    "WX2-BIZ-20" => no_transaction,
    "WX2-BIZ-21" => transaction_of_another,
    "WX2-BIZ-23" => late,
    "WX2-BIZ-26" => other_trade_type,
    "WX2-BIZ-28" => before_the_reply,
};

async fn amount_too_low(world: &mut World) -> Outcome {
    world.o1().await;
    world.notify(world.changed(&[("total_fee", "1")])).await;
    Ok(())
}

async fn amount_is_none(world: &mut World) -> Outcome {
    world.o1().await;
    for amount in ["0", "-100", "", "abc", "1e2", "100.0", "0x64", " 100", "１００", "+100", "0100", "100 "]
    {
        world.notify(world.changed(&[("total_fee", amount)])).await;
    }
    Ok(())
}

async fn other_currency(world: &mut World) -> Outcome {
    world.o1().await;
    for currency in ["USD", "JPY", "cny"] {
        world.notify(world.changed(&[("fee_type", currency)])).await;
    }
    Ok(())
}

async fn coupon(world: &mut World) -> Outcome {
    world.o1().await;
    let coupon = [("cash_fee", "70"), ("coupon_fee", "30"), ("coupon_count", "1"), ("total_fee", "100")];
    world.notify(world.changed(&coupon)).await;
    Ok(())
}

async fn other_appid(world: &mut World) -> Outcome {
    world.o1().await;
    world.notify(world.changed(&[("appid", "wx9999999999999999")])).await;
    Ok(())
}

async fn attach_names_another(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    shop.user("bob").await;
    world.notify(world.changed(&[("attach", "uid=2"), ("openid", &shop.simulator.openid_of(77))])).await;
    let owner = shop.order(&world.subject).await.user_id;
    let (hers, his) = (shop.balance(owner).await, shop.balance(owner + 1).await);
    world.holds("attach never used", (hers, his) == (100, 0), format!("{hers} and {his}"));
    Ok(())
}

async fn unknown_order(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    world.notify(shop.simulator.signed_notify("ZZZ", &[])).await;
    let page = shop.admin().await.get("/admin/work-items").await;
    world.holds("listed on the admin", page.status == 200 && page.body.contains("ZZZ"), page.body);
    Ok(())
}

async fn unsigned_failure(world: &mut World) -> Outcome {
    world.o1().await;
    world.notify("<xml><return_code>FAIL</return_code><return_msg>x</return_msg></xml>").await;
    Ok(())
}

async fn signed_failure(world: &mut World) -> Outcome {
    let (_, user) = world.o1().await;
    world.notify(world.changed(&[("result_code", "FAIL"), ("err_code", "NOTENOUGH")])).await;
    let page = user.get(&format!("/orders/{}/pay", world.subject)).await;
    world.holds("order stays payable", page.body.contains("paySign"), page.body);
    Ok(())
}

async fn no_transaction(world: &mut World) -> Outcome {
    world.o1().await;
    let mut fields = world.genuine();
    fields.remove("transaction_id");
    world.notify(world.signed(fields)).await;
    Ok(())
}

async fn transaction_of_another(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let paid = user.top_up("1").await;
    let transaction = shop.simulator.pay(&paid).unwrap();
    shop.deliver().await;
    world.expect(shop.order(&paid).await.is_paid(), "the fixture is not paid");
    world.mark().await;
    world.notify(world.changed(&[("transaction_id", &transaction)])).await;
    Ok(())
}

async fn late(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    shop.clock.advance_ms(121 * 60_000);
    shop.close_expired().await;
    world.expect(shop.order(&world.subject).await.closed_at.is_some(), "the fixture is not closed");
    world.mark().await;
    world.notify(world.changed(&[])).await;
    let order = shop.order(&world.subject).await;
    let shown = shop.work_items().await.iter().any(|item| item.kind == "late_payment");
    world.expect(order.late && shown, "a late payment in silence");
    Ok(())
}

/// The choice: WeChat's word for the way of paying is kept with the credit and decides nothing.
async fn other_trade_type(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    world.notify(world.changed(&[("trade_type", "MICROPAY")])).await;
    let events = rows(&shop, "order_events").await;
    let noted = events.iter().any(|event| text(event, "detail").contains("MICROPAY"));
    world.holds("difference recorded", noted, format!("{events:?}"));
    Ok(())
}

/// WeChat takes the order, says nothing for longer than we wait, and the payer is quick.
async fn before_the_reply(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let user = shop.user("ann").await;
    shop.simulator.set_default_scenario(Scenario::TimeoutAfterAccept);
    let asking = user.try_top_up("1");
    let paying = async {
        let number = loop {
            let call = shop.simulator.calls().into_iter().find_map(|call| {
                let number = call.strip_prefix("unifiedorder ")?.to_owned();
                shop.simulator.trade(&number).map(|_| number)
            });
            match call {
                Some(number) => break number,
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        world.subject = number;
        world.mark().await;
        let attempts = rows(&shop, "attempts").await;
        world.expect(attempts[0]["prepay_id"].is_null(), "the reply is there already");
        world.notify(world.changed(&[])).await;
    };
    let (answer, ()) = tokio::join!(asking, paying);
    world.expect(!answer.body.contains("paySign"), "the payer is asked to pay again");
    Ok(())
}
