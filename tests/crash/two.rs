//! Two instances on one database in PostgreSQL, each killed in turn while the other goes on.

use crate::{
    chance::{self, Chance},
    child::{Server, Wish},
    http::{Answer, Line},
    load::{EndsLoad, LINES, World},
    shop::on_server,
};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Payments that are new in a cycle.
const FRESH: usize = 25;
/// Both live at most so long; then one is killed, and the other is alone for as long at most.
const LONGEST_MS: usize = 150;

/// What the connections of one cycle share.
struct Cycle<'a> {
    world: &'a World<'a>,
    origins: [&'a str; 2],
    over: AtomicBool,
    killed: AtomicBool,
    /// Acknowledged by the survivor after the other was gone.
    alone: AtomicUsize,
}

#[test]
fn two_instances_on_one_database_lose_and_double_nothing_when_either_is_killed() {
    let Some(shop) = on_server() else { return };
    let (cycles, seed) = (chance::wanted("SHOUYIN_KILL_CYCLES", 40), chance::seed());
    println!("two instances: {cycles} cycles, SHOUYIN_CRASH_SEED={seed}");
    let (started, mut chance) = (Instant::now(), Chance::new(seed));
    let (mut acknowledged, mut alone) = (0, 0);
    for first in (0..cycles).step_by(shop.payments.len() / FRESH) {
        let cycles = (cycles - first).min(shop.payments.len() / FRESH);
        let (place, world) = (shop.books("two"), World::new(shop, &[]));
        let mut fresh = shop.payments.clone();
        chance.shuffle(&mut fresh);
        let mut servers = [0, 1].map(|_| shop.serve(&place, &Wish::default()));
        for cycle in 0..cycles {
            world.queue(fresh.drain(..FRESH).collect(), &mut chance);
            alone += live(&world, &mut servers, cycle % 2, &format!("two-{first}-{cycle}"), &mut chance);
            servers[cycle % 2] = shop.serve(&place, &Wish::default());
            world.is_whole(&place);
        }
        world.come_to_rest(&servers[0], &place);
        world.come_to_rest(&servers[1], &place);
        world.is_whole(&place);
        assert!(world.refused().is_empty(), "{:?}", world.refused());
        acknowledged += world.acknowledged();
    }
    println!(
        "two instances: {cycles} times one of them was killed, {acknowledged} acknowledged credits, 0 lost, 0 doubled; \
         {alone} answers of the other one alone; {} s in all",
        started.elapsed().as_secs()
    );
    assert!(alone >= cycles, "the other one did not go on");
}

/// Both work, then `victim` is killed, then the other one works alone. Says how much it acknowledged.
fn live(
    world: &World<'_>,
    servers: &mut [Server; 2],
    victim: usize,
    intent: &str,
    chance: &mut Chance,
) -> usize {
    let origins = [servers[0].origin.clone(), servers[1].origin.clone()];
    let cycle = Cycle {
        world,
        origins: [&origins[0], &origins[1]],
        over: AtomicBool::new(false),
        killed: AtomicBool::new(false),
        alone: AtomicUsize::new(0),
    };
    let [together, after] = [(); 2].map(|()| Duration::from_millis(chance.below(LONGEST_MS + 1) as u64));
    let seeds: Vec<u64> = (0..LINES + 2).map(|_| chance.next()).collect();
    thread::scope(|scope| {
        let (cycle, _end) = (&cycle, EndsLoad(&cycle.over));
        for seed in &seeds[..LINES] {
            scope.spawn(move || bring_to_both(cycle, victim, Chance::new(*seed)));
        }
        for (which, seed) in [0, 1].into_iter().zip(&seeds[LINES..]) {
            let (intent, chance) = (format!("{intent}-{which}"), Chance::new(*seed));
            scope.spawn(move || cycle.world.buy_and_ask(cycle.origins[which], &intent, chance, &cycle.over));
        }
        thread::sleep(together);
        servers[victim].kill();
        cycle.killed.store(true, Ordering::SeqCst);
        let killed = Instant::now();
        // The survivor has work to do before it is judged.
        while killed.elapsed() < after || cycle.alone.load(Ordering::SeqCst) == 0 {
            assert!(killed.elapsed() < Duration::from_secs(20), "the other one does not go on");
            thread::sleep(Duration::from_millis(5));
        }
    });
    cycle.alone.into_inner()
}

/// Each callback to both instances, at the same time or one after the other; or to one only, so that what that one
/// acknowledged is not saved by the other.
fn bring_to_both(cycle: &Cycle<'_>, victim: usize, mut chance: Chance) {
    let mut lines = cycle.origins.map(|origin| Line::open(origin).ok());
    while !cycle.over.load(Ordering::SeqCst) {
        let Some(payment) = cycle.world.next(&mut chance) else { continue };
        let after = cycle.killed.load(Ordering::SeqCst);
        let [one, two] = &mut lines;
        let (mut one, mut two) = (|| tell(one, &payment.callback), || tell(two, &payment.callback));
        let answers: [Option<Answer>; 2] = match chance.below(4) {
            0 => [one(), None],
            1 => [None, two()],
            2 => [one(), two()],
            _ => thread::scope(|scope| {
                let one = scope.spawn(one);
                let two = two();
                [one.join().unwrap(), two]
            }),
        };
        if after && answers[1 - victim].as_ref().is_some_and(Answer::is_success) {
            cycle.alone.fetch_add(1, Ordering::SeqCst);
        }
        for answer in answers.iter().flatten() {
            cycle.world.heard(payment.clone(), answer);
        }
    }
}

/// `None` once nobody is there.
fn tell(line: &mut Option<Line>, callback: &str) -> Option<Answer> {
    let answer = line.as_mut()?.notify(callback).ok();
    if answer.is_none() {
        *line = None;
    }
    answer
}
