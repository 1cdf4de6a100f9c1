//! The primary of three PostgreSQL servers dies under load and another one takes over; `serve` goes on.

use crate::{
    books::Books,
    chance::{self, Chance},
    child::{Server, Wish},
    cluster::{Cluster, Commits},
    http::{Answer, Line},
    load::{EndsLoad, LINES, World},
    place::Place,
    shop::Shop,
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Payments that are new in a round, enough to be in the making when the primary dies: a quick machine takes some 70
/// before. Every round makes more.
const FRESH: usize = 150;
/// The load lasts at most so long before the primary dies.
const BEFORE_MS: usize = 150;
/// And so long after the shop has acknowledged again.
const AFTER: Duration = Duration::from_millis(500);
/// Callbacks are acknowledged again within this after a standby was promoted.
const RECOVERY: Duration = Duration::from_secs(20);
/// Of a primary that hangs it is known only after ten seconds that it is no use waiting, of a second connection that
/// settles after twenty. Busy machines take longer.
const RECOVERY_OF_SILENCE: Duration = Duration::from_secs(120);

/// What becomes of the primary, what is done about it once callbacks are refused, and how soon after that they must be
/// acknowledged again.
struct Loss<'a> {
    of: fn(&mut Cluster),
    then: &'a dyn Fn(&mut Cluster),
    recovery: Duration,
}

/// The answers of one round and when they came.
#[derive(Default)]
struct Round {
    over: AtomicBool,
    answers: Mutex<Vec<(Instant, bool)>>,
}

impl Round {
    /// The first answer of this kind that came after this moment.
    fn first(&self, success: bool, after: Instant) -> Option<Instant> {
        let answers = self.answers.lock().unwrap();
        answers.iter().find(|(at, was)| *was == success && *at > after).map(|(at, _)| *at)
    }
}

#[test]
fn a_failover_under_load_loses_and_doubles_nothing_and_needs_no_restart() {
    let Some(mut cluster) = Cluster::start(Commits::WaitForAStandby) else { return };
    let (rounds, seed) = (chance::wanted("SHOUYIN_FAILOVERS", 1), chance::seed());
    println!("failover: {rounds} rounds, SHOUYIN_CRASH_SEED={seed}");
    let place = Place::in_database("failover", &cluster.url());
    let shop = Shop::open(&place, FRESH * rounds);
    let mut server = shop.serve(&place, &Wish::default());
    let (world, mut chance) = (World::new(&shop, &[]), Chance::new(seed));
    let mut fresh = shop.payments.clone();
    let mut gaps = vec![];
    for round in 0..rounds {
        world.queue(fresh.drain(..FRESH).collect(), &mut chance);
        let loss = Loss { of: Cluster::kill_primary, then: &Cluster::promote, recovery: RECOVERY };
        let (gap, server_gap) =
            fail_over(&world, &mut cluster, &server, &format!("failover-{round}"), &loss, &mut chance);
        println!(
            "failover {round}: first refused to first acknowledged {} ms, from the promotion {} ms",
            gap.as_millis(),
            server_gap.as_millis()
        );
        gaps.push(gap);
        assert!(server.is_running(), "{}", server.said());
        assert_eq!(Line::open(&server.origin).unwrap().ask("GET", "/readyz", &[], "").unwrap().status, 200);
        // Connections of the old primary that nobody has used since do not come up as errors.
        for payment in shop.payments.iter().take(8) {
            let page = shop.phones[payment.payer].get(&server.origin, "/orders").unwrap();
            assert_eq!(page.status, 200, "{}", page.body);
        }
        world.is_whole(&place);
        world.come_to_rest(&server, &place);
        world.is_whole(&place);
        cluster.replace_lost();
    }
    let refused = world.refused();
    assert!(refused.iter().all(Answer::is_failure), "{refused:?}");
    gaps.sort_unstable();
    println!(
        "failover: {rounds} times, {} acknowledged credits, 0 lost, 0 doubled, {} refused and credited later; \
         first refused to first acknowledged: median {} ms, longest {} ms",
        world.acknowledged(),
        refused.len(),
        gaps[gaps.len() / 2].as_millis(),
        gaps[gaps.len() - 1].as_millis()
    );
}

#[test]
fn a_primary_that_hangs_is_left_for_the_promoted_one_without_a_restart() {
    let Some(mut cluster) = Cluster::start(Commits::WaitForAStandby) else { return };
    let place = Place::in_database("frozen", &cluster.url());
    let shop = Shop::open(&place, FRESH);
    let mut server = shop.serve(&place, &Wish::default());
    let (world, mut chance) = (World::new(&shop, &[]), Chance::new(chance::seed()));
    world.queue(shop.payments.clone(), &mut chance);
    let frozen = cluster.primary();
    let loss =
        Loss { of: Cluster::freeze_primary, then: &Cluster::replace_frozen, recovery: RECOVERY_OF_SILENCE };
    let (gap, _) = fail_over(&world, &mut cluster, &server, "frozen", &loss, &mut chance);
    println!("frozen: first refused to first acknowledged {} ms", gap.as_millis());
    // Pages come back as well, while the old server still holds the connections they were read by.
    let back = Instant::now();
    for payment in shop.payments.iter().take(8) {
        let page = || shop.phones[payment.payer].get(&server.origin, "/orders").unwrap().status;
        while page() != 200 {
            assert!(back.elapsed() < RECOVERY_OF_SILENCE, "no pages: {}", server.said());
        }
    }
    println!("frozen: pages {} ms later", back.elapsed().as_millis());
    assert!(server.is_running(), "{}", server.said());
    // Ready is who has written a row just now, by a connection of its own.
    let ready = || Line::open(&server.origin).unwrap().ask("GET", "/readyz", &[], "").unwrap().status;
    while ready() != 200 {
        assert!(back.elapsed() < RECOVERY_OF_SILENCE, "not ready: {}", server.said());
    }
    cluster.bury_frozen(frozen);
    world.is_whole(&place);
    world.come_to_rest(&server, &place);
    world.is_whole(&place);
    assert!(world.refused().iter().all(Answer::is_failure));
}

#[test]
fn a_server_that_hangs_until_it_is_left_and_then_goes_on_credits_nothing_twice() {
    let Some(mut cluster) = Cluster::start(Commits::WaitForAStandby) else { return };
    let place = Place::in_database("thawed", &cluster.url());
    let shop = Shop::open(&place, FRESH);
    let server = shop.serve(&place, &Wish::default());
    let (world, mut chance) = (World::new(&shop, &[]), Chance::new(chance::seed()));
    world.queue(shop.payments.clone(), &mut chance);
    // What was being committed is committed now, and is being brought again as well.
    let thaw = |cluster: &mut Cluster| {
        let frozen = Instant::now();
        while !server.said().contains("settlements go on by another connection") {
            assert!(frozen.elapsed() < RECOVERY_OF_SILENCE, "nobody was left: {}", server.said());
            thread::sleep(Duration::from_millis(50));
        }
        cluster.thaw_primary();
    };
    let loss = Loss { of: Cluster::freeze_primary, then: &thaw, recovery: RECOVERY_OF_SILENCE };
    fail_over(&world, &mut cluster, &server, "thawed", &loss, &mut chance);
    world.is_whole(&place);
    world.come_to_rest(&server, &place);
    world.is_whole(&place);
    assert!(world.refused().iter().all(Answer::is_failure));
}

/// Load, the primary's end, a new primary, more load. From the first callback that was refused, and from the order
/// to promote, to the first one acknowledged after it.
fn fail_over(
    world: &World<'_>,
    cluster: &mut Cluster,
    server: &Server,
    name: &str,
    loss: &Loss<'_>,
    chance: &mut Chance,
) -> (Duration, Duration) {
    let before = Duration::from_millis(chance.below(BEFORE_MS + 1) as u64);
    let seeds: Vec<u64> = (0..=LINES).map(|_| chance.next()).collect();
    let log = Round::default();
    thread::scope(|scope| {
        let (log, origin, _end) = (&log, &server.origin, EndsLoad(&log.over));
        for seed in &seeds[..LINES] {
            scope.spawn(move || bring_callbacks(origin, world, log, Chance::new(*seed)));
        }
        let chance = Chance::new(seeds[LINES]);
        scope.spawn(move || world.buy_and_ask(origin, name, chance, &log.over));
        thread::sleep(before);
        (loss.of)(cluster);
        let killed = Instant::now();
        while log.first(false, killed).is_none() {
            assert!(killed.elapsed() < RECOVERY, "nothing is refused without a primary");
            thread::sleep(Duration::from_millis(5));
        }
        let promoting = Instant::now();
        (loss.then)(cluster);
        while log.first(true, promoting).is_none() {
            assert!(promoting.elapsed() < loss.recovery, "not acknowledged again: {}", server.said());
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(AFTER);
        let acknowledged = log.first(true, promoting).unwrap();
        (acknowledged - log.first(false, killed).unwrap(), acknowledged - promoting)
    })
}

fn bring_callbacks(origin: &str, world: &World<'_>, log: &Round, mut chance: Chance) {
    let mut line = Line::open(origin).unwrap();
    while !log.over.load(Ordering::Relaxed) {
        let Some(payment) = world.next(&mut chance) else { continue };
        let answer = line.notify(&payment.callback).unwrap();
        log.answers.lock().unwrap().push((Instant::now(), answer.is_success()));
        world.heard(payment, &answer);
    }
}

/// Nothing waits for the standbys here, so the checks above must find something.
#[test]
fn where_commits_wait_for_no_standby_a_failover_loses_and_the_check_says_so() {
    let Some(mut cluster) = Cluster::start(Commits::WaitForNobody) else { return };
    let (shop, place, mut server) = small_shop(&cluster);
    let world = World::new(&shop, &[]);
    cluster.cut_off_standbys();
    let payment = &shop.payments[0];
    world.queue(vec![payment.clone()], &mut Chance::new(0));
    let answer = Line::open(&server.origin).unwrap().notify(&payment.callback).unwrap();
    assert!(answer.is_success(), "{answer:?}");
    world.heard(payment.clone(), &answer);
    server.kill();
    cluster.kill_primary();
    cluster.promote();
    let harm = world.harm(&Books::read(&place.database).unwrap());
    assert!(harm.lost.contains(&payment.number), "nothing is lost without a standby?");
}

#[test]
fn where_commits_wait_for_a_standby_and_none_is_there_nothing_is_acknowledged() {
    let Some(cluster) = Cluster::start(Commits::WaitForAStandby) else { return };
    let (shop, _place, server) = small_shop(&cluster);
    cluster.cut_off_standbys();
    let answer = Line::open(&server.origin).unwrap().notify(&shop.payments[0].callback).unwrap();
    assert!(answer.is_failure(), "{answer:?}");
}

fn small_shop(cluster: &Cluster) -> (Shop, Place, Server) {
    let place = Place::in_database("cut-off", &cluster.url());
    let shop = Shop::open(&place, 1);
    let server = shop.serve(&place, &Wish::default());
    (shop, place, server)
}
