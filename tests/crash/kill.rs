//! `kill -9` of the real server under load, over and over on the same books.

use crate::{
    books::{self, Books},
    chance::{self, Chance},
    child::Wish,
    http::Line,
    load::{EndsLoad, Harm, LINES, World},
    place::Place,
    shop::{SHOP, Shop, on_server},
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Cycles on the same books.
const SERIES: usize = 20;
/// Callbacks that are new in a cycle; those nobody answered come on top.
const FRESH: usize = 25;
/// The process lives at most this long under load.
const LONGEST_LIFE_MS: usize = 300;
/// Payments whose callbacks are all lost: only the sweep can find them.
const LOST_CALLBACKS: usize = 5;

/// What came of some cycles.
#[derive(Debug, Default)]
struct Tally {
    cycles: usize,
    /// Payments answered SUCCESS before a kill.
    acknowledged: usize,
    lost: BTreeSet<String>,
    doubled: usize,
    /// From the start of the first cycle to the end of the last.
    took: Duration,
    /// From each start to the line that says ready.
    starts: Vec<Duration>,
    /// From a start after a kill to every payment credited, and how many were not before it.
    recoveries: Vec<(Duration, usize)>,
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    run("kill -9", &SHOP);
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9_on_postgresql() {
    if let Some(shop) = on_server() {
        run("kill -9 on PostgreSQL", shop);
    }
}

fn run(name: &str, shop: &Shop) {
    let (cycles, seed) = (chance::wanted("SHOUYIN_KILL_CYCLES", 40), chance::seed());
    println!("{name}: {cycles} cycles, SHOUYIN_CRASH_SEED={seed}");
    let series: Vec<(usize, usize)> =
        (0..cycles).step_by(SERIES).map(|first| (first, SERIES.min(cycles - first))).collect();
    let started = Instant::now();
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let halves = [0, 1].map(|half| series.iter().skip(half).step_by(2).copied().collect::<Vec<_>>());
        let workers: Vec<_> = halves
            .into_iter()
            .map(|half| {
                scope.spawn(move || {
                    half.into_iter()
                        .map(|(first, cycles)| run_series(shop, seed.wrapping_add(first as u64), cycles))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (lost, doubled) = (sum(|tally| tally.lost.len()), sum(|tally| tally.doubled));
    let busy: Duration = tallies.iter().map(|tally| tally.took).sum();
    let mut recoveries: Vec<_> = tallies.iter().flat_map(|tally| tally.recoveries.clone()).collect();
    recoveries.sort_unstable();
    let mut starts: Vec<_> = tallies.iter().flat_map(|tally| tally.starts.clone()).collect();
    starts.sort_unstable();
    let (median, longest) = (recoveries[recoveries.len() / 2], recoveries[recoveries.len() - 1]);
    println!(
        "{name}: {} cycles, {} acknowledged credits, {lost} lost, {doubled} doubled; {} ms a cycle, two at a time, {} s in all; \
         start to ready: median {} ms; restart to all credited: median {} ms for {} payments, longest {} ms for {}",
        sum(|tally| tally.cycles),
        sum(|tally| tally.acknowledged),
        busy.as_millis() / cycles as u128,
        started.elapsed().as_secs(),
        starts[starts.len() / 2].as_millis(),
        median.0.as_millis(),
        median.1,
        longest.0.as_millis(),
        longest.1,
    );
    assert_eq!((sum(|tally| tally.cycles), lost, doubled), (cycles, 0, 0));
    assert!(sum(|tally| tally.acknowledged) >= cycles, "hardly anything was acknowledged: no load");
}

fn run_series(shop: &Shop, seed: u64, cycles: usize) -> Tally {
    let mut chance = Chance::new(seed);
    let place = shop.books("kill");
    let (silent, loud) = shop.payments.split_at(LOST_CALLBACKS);
    // The sweep of each process asks about others first, so that these are left for the last one.
    for payment in silent {
        let number = &payment.number;
        books::edit(
            &place.database,
            &format!("UPDATE pending_queries SET next_at = 1 WHERE out_trade_no = '{number}'"),
        );
    }
    let world = World::new(shop, silent);
    let mut fresh = loud.to_vec();
    chance.shuffle(&mut fresh);
    let mut tally = Tally::default();
    let started = Instant::now();
    for cycle in 0..cycles {
        world.queue(fresh.drain(..FRESH.min(fresh.len())).collect(), &mut chance);
        let starting = Instant::now();
        let mut server = shop.serve(&place, &Wish::default());
        tally.starts.push(starting.elapsed());
        check(&place, &world, &mut tally, seed);
        let life = Duration::from_millis(chance.below(LONGEST_LIFE_MS + 1) as u64);
        let seeds: Vec<u64> = (0..=LINES).map(|_| chance.next()).collect();
        let (origin, world, over) = (server.origin.clone(), &world, AtomicBool::new(false));
        thread::scope(|scope| {
            let (origin, over, _end) = (&origin, &over, EndsLoad(&over));
            let intent = format!("{seed}-{cycle}");
            for seed in &seeds[..LINES] {
                scope.spawn(move || bring_callbacks(origin, world, over, Chance::new(*seed)));
            }
            let chance = Chance::new(seeds[LINES]);
            scope.spawn(move || world.buy_and_ask(origin, &intent, chance, over));
            thread::sleep(life);
            server.kill();
        });
        tally.cycles += 1;
    }
    tally.took = started.elapsed();
    let starting = Instant::now();
    let server = shop.serve(&place, &Wish::default());
    check(&place, &world, &mut tally, seed);
    let (done, behind) = world.come_to_rest(&server, &place);
    tally.recoveries.push((done - starting, behind));
    check(&place, &world, &mut tally, seed);
    tally.acknowledged = world.acknowledged();
    tally
}

/// Compares the books with what WeChat was told. Somebody serves them again by now.
fn check(place: &Place, world: &World<'_>, tally: &mut Tally, seed: u64) {
    let Harm { lost, doubled } = world.harm(&Books::read(&place.database).unwrap());
    let refused = world.refused();
    assert!(refused.is_empty(), "series {seed}: {refused:?}");
    for number in lost {
        println!("series {seed}: {number} was acknowledged and is lost");
        tally.lost.insert(number);
    }
    tally.doubled = tally.doubled.max(doubled);
}

/// Until the process is gone.
fn bring_callbacks(origin: &str, world: &World<'_>, over: &AtomicBool, mut chance: Chance) {
    let Ok(mut line) = Line::open(origin) else { return };
    while !over.load(Ordering::Relaxed) {
        let Some(payment) = world.next(&mut chance) else { continue };
        let Ok(answer) = line.notify(&payment.callback) else { return };
        world.heard(payment, &answer);
    }
}
