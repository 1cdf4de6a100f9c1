//! Who lives in a world: users with browsers and two phones, and somebody who moves clocks.

use super::{
    machine::locked,
    world::{Payment, Person, World},
};
use crate::{
    app::App,
    domain::{
        ids::{Openid, OutTradeNo},
        money::Fen,
        order::{Channel, Order},
    },
    flow::{
        FlowError,
        confirm::{self, PageResult},
        top_up::{self, Pay, TopUpError, Wish},
    },
    gateway::{Checkout, Headers},
    simulator::{Asked, TradeState},
    store::{StoreError, orders},
};
use futures_util::future::join;
use std::{sync::Arc, time::Duration};

/// One person tops up so many times while the faults last.
pub async fn person(world: Arc<World>, me: Person) {
    let gap = millis(world.swarm.chaos_ms).checked_div(world.swarm.orders_each).unwrap_or_default();
    for _ in 0..world.swarm.orders_each {
        world.clock.sleep(world.dice.ms(0, gap)).await;
        if world.healed() {
            return;
        }
        top_up_once(&world, &me).await;
    }
}

async fn top_up_once(world: &Arc<World>, me: &Person) {
    let Some(wish) = wish(world, me) else { return };
    let first_phone = phone(me, 1);
    world.draw_scenario();
    let opened = if world.dice.permille(300) {
        double_click(world, &wish, first_phone).await
    } else {
        open(world, &wish, first_phone).await
    };
    // Whoever sees no pay sheet tries again some times, like anybody.
    let mut offer = opened.and_then(|(order, pay)| Some((order, offered(world, &pay)?)));
    for _ in 0..3 {
        if offer.is_some() || world.healed() {
            break;
        }
        world.clock.sleep(world.dice.ms(1_000, 60_000)).await;
        let again = open(world, &wish, first_phone).await;
        offer = again.and_then(|(order, pay)| Some((order, offered(world, &pay)?)));
    }
    let Some((order, number)) = offer else { return };
    match world.dice.below(9) {
        0 => {}
        1 | 5 => {
            // The sheet stays open for long, perhaps past the order's time.
            let life = wish_life(world);
            let pause = match world.dice.below(2) {
                0 => world.dice.ms(60_000, life),
                _ => world.dice.ms(life, life.saturating_add(900_000)),
            };
            world.clock.sleep(pause).await;
            pay(world, &number);
        }
        2 => {
            come_back(world, &order, PageResult::Cancel).await;
            world.clock.sleep(world.dice.ms(1_000, 900_000)).await;
            let again = open(world, &wish, first_phone).await;
            let number = again.and_then(|(_, pay)| offered(world, &pay)).unwrap_or(number);
            pay(world, &number);
            come_back(world, &order, PageResult::Ok).await;
        }
        3 | 4 => two_phones(world, me, &wish, &order, number).await,
        _ => {
            let longest = if world.dice.permille(500) { 30_000 } else { 1_200_000 };
            world.clock.sleep(world.dice.ms(500, longest)).await;
            pay(world, &number);
            if world.dice.permille(700) {
                let results = [PageResult::Ok, PageResult::Ok, PageResult::Cancel, PageResult::Fail];
                let result = results.get(world.dice.index(4)).copied().unwrap_or(PageResult::Ok);
                come_back(world, &order, result).await;
            }
        }
    }
}

/// The same order on a second phone; then one of the two sheets is paid, or both.
async fn two_phones(world: &Arc<World>, me: &Person, wish: &Wish, order: &Order, first: String) {
    world.clock.sleep(world.dice.ms(0, 120_000)).await;
    world.draw_scenario();
    let second_phone = phone(me, 2);
    let wish = &Wish { channel: world.way(), ..wish.clone() };
    let second = if world.dice.permille(500) {
        // Both phones at the same moment, reloading and reloading: each closes what the other opened.
        let first_phone = phone(me, 1);
        join(reload(world, wish, second_phone), reload(world, wish, first_phone)).await.0
    } else {
        open(world, wish, second_phone).await
    };
    let second = second.and_then(|(_, pay)| offered(world, &pay));
    world.clock.sleep(world.dice.ms(0, 60_000)).await;
    let pays_first = world.dice.permille(600);
    if pays_first {
        pay(world, &first);
    }
    world.clock.sleep(world.dice.ms(0, 60_000)).await;
    if let Some(second) = second.filter(|_| !pays_first || world.dice.permille(700)) {
        pay(world, &second);
    }
    come_back(world, order, PageResult::Ok).await;
}

fn wish(world: &World, me: &Person) -> Option<Wish> {
    let fen = i64::try_from(world.dice.between(1, 50_000)).ok()?;
    Some(Wish {
        user_id: me.user_id,
        amount: Fen::new(fen)?,
        channel: world.way(),
        intent: world.clock.nonce().ok()?,
    })
}

fn wish_life(world: &World) -> u64 {
    millis(world.swarm.expire_minutes).saturating_mul(60_000)
}

/// A phone of this person's has a number of its own.
fn phone(me: &Person, phone: u64) -> u64 {
    me.number.saturating_mul(10).saturating_add(phone)
}

/// Who pays at this phone: somebody else for the mini program than for the service account.
fn openid(world: &World, channel: Channel, phone: u64) -> Option<Openid> {
    let openid = match channel {
        Channel::WechatMini => world.simulator.mini_openid_of(phone)?,
        _ => world.simulator.openid_of(phone),
    };
    Openid::parse(&openid)
}

/// The form and then the payment page. `None` when no answer came.
async fn open(world: &Arc<World>, wish: &Wish, phone: u64) -> Option<(Order, Pay)> {
    let (wish, payer) = (wish.clone(), openid(world, wish.channel, phone));
    let opened = world.ask(move |app| checkout(app, wish, payer)).await?;
    match opened {
        Ok((order, pay)) => {
            let number = order.out_trade_no.clone();
            world.note(|| format!("order {number}: {}", told(&pay)));
            Some((order, pay))
        }
        Err(error) => {
            world.note(|| format!("no order: {error}"));
            None
        }
    }
}

/// Opens the page some times over; what the last one showed.
async fn reload(world: &Arc<World>, wish: &Wish, phone: u64) -> Option<(Order, Pay)> {
    let mut shown = None;
    for _ in 0..world.dice.between(1, 6) {
        shown = open(world, wish, phone).await;
    }
    shown
}

async fn checkout(app: Arc<App>, wish: Wish, phone: Option<Openid>) -> Result<(Order, Pay), TopUpError> {
    let order = top_up::create(&app, wish.clone()).await?;
    let pay = top_up::checkout(&app, order.id, wish.channel, phone.as_ref(), "127.0.0.1").await?;
    Ok((order, pay))
}

async fn double_click(world: &Arc<World>, wish: &Wish, phone: u64) -> Option<(Order, Pay)> {
    match join(open(world, wish, phone), open(world, wish, phone)).await {
        (Some((a, pay)), Some((b, _))) => {
            if a.out_trade_no != b.out_trade_no {
                world.oracle.report("one intent made two orders");
            }
            Some((a, pay))
        }
        (a, b) => a.or(b),
    }
}

const fn told(pay: &Pay) -> &'static str {
    match pay {
        Pay::Ready(_) => "may be paid",
        Pay::Paid => "is paid",
        Pay::Closed => "is closed",
        Pay::NeedOpenid => "needs an openid",
        Pay::NotOffered => "cannot be paid this way",
        Pay::Busy => "is to be tried again",
        Pay::Refused => "is refused by the gateway",
        Pay::UsedUp => "was tried too often",
        Pay::Frozen => "is of a frozen user",
    }
}

/// The number a pay sheet stands for.
fn offered(world: &World, pay: &Pay) -> Option<String> {
    let Pay::Ready(checkout) = pay else { return None };
    let number = match checkout {
        Checkout::Jsapi { params } => world.simulator.number_of(params.package.strip_prefix("prepay_id=")?),
        Checkout::App { params } => world.simulator.number_of(&params.prepayid),
        Checkout::Qr { code_url } => world.simulator.number_of(code_url),
        Checkout::Redirect { url } => world.simulator.number_of(url).or_else(|| at_alipay(world, url)),
    }?;
    let mut memory = locked(&world.memory);
    if !memory.numbers.contains(&number) {
        memory.numbers.push(number.clone());
    }
    Some(number)
}

/// The browser goes to Alipay's page, which makes the trade.
fn at_alipay(world: &World, url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let target = format!("{}?{}", url.path(), url.query()?);
    let asked = Asked { method: "GET", target: &target, headers: Headers::default(), body: b"" };
    world.simulator.answer(&asked).ok()??;
    let biz_content = url.query_pairs().find(|(name, _)| name == "biz_content")?.1;
    let biz: serde_json::Value = serde_json::from_str(&biz_content).ok()?;
    Some(biz.get("out_trade_no")?.as_str()?.to_owned())
}

/// The payer confirms on the sheet; WeChat may refuse.
fn pay(world: &World, number: &str) {
    if world.healed() {
        return;
    }
    let before = world.simulator.trade(number).map(|trade| trade.state);
    let paid = world.simulator.pay(number);
    world.note(|| match &paid {
        Ok(transaction_id) => format!("{number} is paid as {transaction_id}"),
        Err(error) => error.to_string(),
    });
    if paid.is_err() {
        return;
    }
    let after_close = before == Some(TradeState::Closed);
    let payment = Payment { number: number.to_owned(), at: world.clock.now(), after_close };
    locked(&world.memory).paid.push(payment);
    if world.mischief(world.swarm.refunds) && world.simulator.refund(number).is_ok() {
        world.note(|| format!("{number} is refunded elsewhere"));
    }
}

/// What the page reports, then its questions until it has an answer or the user leaves.
async fn come_back(world: &Arc<World>, order: &Order, result: PageResult) {
    let reported = order.clone();
    let heard = world.ask(move |app| async move { confirm::returned(&app, &reported, result).await }).await;
    if let Some(Ok(())) = heard {
        locked(&world.memory).returned.push((order.id, world.clock.now()));
    }
    for _ in 0..world.dice.between(1, 3) {
        let number = order.out_trade_no.clone();
        let wait = world.dice.below(26);
        match world.ask(move |app| status(app, number, wait)).await {
            Some(Ok(order)) if order.is_paid() || order.closed_at.is_some() => return,
            _ => world.clock.sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn status(app: Arc<App>, number: OutTradeNo, wait: u64) -> Result<Order, FlowError> {
    let found = app.store.read(move |db| orders::by_number(db, &number)).await?;
    confirm::status(&app, found.ok_or(StoreError::Unreadable("order"))?, wait).await
}

/// Sets the clock of some machine up to ten minutes wrong, time and again.
pub async fn clock_mover(world: Arc<World>) {
    let longest = millis(world.swarm.chaos_ms).checked_div(6).unwrap_or_default();
    loop {
        world.clock.sleep(world.dice.ms(60_000, longest)).await;
        if world.healed() {
            return;
        }
        let Some((number, app)) = world.any_instance() else { continue };
        let off = i64::try_from(world.dice.below(1_200_000)).unwrap_or_default().saturating_sub(600_000);
        let was = app.clock.now().since(world.clock.now());
        app.clock.advance_ms(off.saturating_sub(was));
        world.note(|| format!("the clock of instance {number} is {off} ms off"));
    }
}

pub(super) fn millis(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or_default()
}
