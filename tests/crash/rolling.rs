//! Instances on one database in PostgreSQL, restarted one after the other behind a load balancer. It does what any does:
//! asks each whether it is ready, keeps connections open, and tries nothing twice.

use crate::{
    chance::{self, Chance},
    child::{Server, Wish},
    http::Line,
    load::{EndsLoad, World},
    place::Place,
    shop::on_server,
};
use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections of the gateway to the balancer.
const CALLERS: usize = 4;
/// Payments that are new while one instance is restarted; found ones are told of again all the time.
const FRESH: usize = 40;
/// How often the balancer asks.
const PROBE: Duration = Duration::from_millis(100);
/// Callbacks that must have been answered between two steps.
const BETWEEN: usize = 200;

/// Who is ready, as far as the balancer knows.
#[derive(Default)]
struct Balancer {
    origins: Mutex<Vec<String>>,
    ready: Mutex<Vec<String>>,
    turn: AtomicUsize,
}

impl Balancer {
    fn knows(&self, servers: &[Server]) {
        *self.origins.lock().unwrap() = servers.iter().map(|server| server.origin.clone()).collect();
    }

    fn probe(&self) {
        let origins = self.origins.lock().unwrap().clone();
        let is_ready = |origin: &String| {
            let answer = Line::open(origin).and_then(|mut line| line.ask("GET", "/readyz", &[], ""));
            answer.is_ok_and(|answer| answer.status == 200)
        };
        *self.ready.lock().unwrap() = origins.into_iter().filter(is_ready).collect();
    }

    /// The next that is ready.
    fn choose(&self) -> String {
        let ready = self.ready.lock().unwrap();
        assert!(!ready.is_empty(), "nobody is ready");
        ready[self.turn.fetch_add(1, Ordering::Relaxed) % ready.len()].clone()
    }
}

#[test]
fn instances_restarted_one_after_the_other_fail_no_callback() {
    let Some(shop) = on_server() else { return };
    let (restarts, seed) = (chance::wanted("SHOUYIN_RESTARTS", 2), chance::seed());
    println!("rolling restart: {restarts} restarts, SHOUYIN_CRASH_SEED={seed}");
    let (place, world) = (shop.books("rolling"), World::new(shop, &[]));
    let (balancer, over, answered) = (Balancer::default(), AtomicBool::new(false), AtomicUsize::new(0));
    let mut chance = Chance::new(seed);
    let mut servers = [0, 1].map(|_| shop.serve(&place, &Wish::default()));
    balancer.knows(&servers);
    balancer.probe();
    let mut fresh = shop.payments.clone();
    thread::scope(|scope| {
        let (world, balancer, over, answered) = (&world, &balancer, &over, &answered);
        let _end = EndsLoad(over);
        for _ in 0..CALLERS {
            let chance = Chance::new(chance.next());
            scope.spawn(move || call(world, balancer, over, answered, chance));
        }
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                balancer.probe();
                thread::sleep(PROBE);
            }
        });
        for restart in 0..restarts {
            world.queue(fresh.drain(..FRESH.min(fresh.len())).collect(), &mut chance);
            more(world, &place, answered, over);
            let which = restart % 2;
            servers[which].stop();
            assert!(servers[which].ended().success(), "{}", servers[which].said());
            more(world, &place, answered, over);
            servers[which] = shop.serve(&place, &Wish::default());
            balancer.knows(&servers);
        }
        more(world, &place, answered, over);
    });
    let answered = answered.into_inner();
    world.is_whole(&place);
    world.come_to_rest(&servers[0], &place);
    assert!(world.refused().is_empty(), "{:?}", world.refused());
    println!(
        "rolling restart: {restarts} restarts, {answered} callbacks answered, 0 failed; {} acknowledged",
        world.acknowledged()
    );
}

/// Waits until so many more callbacks have been answered, and looks at the books meanwhile: what is found there is told of
/// again.
fn more(world: &World<'_>, place: &Place, answered: &AtomicUsize, over: &AtomicBool) {
    let (from, started) = (answered.load(Ordering::SeqCst), Instant::now());
    while answered.load(Ordering::SeqCst) < from + BETWEEN {
        assert!(!over.load(Ordering::SeqCst), "a callback failed");
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is answered any more");
        world.is_whole_so_far(place);
        thread::sleep(Duration::from_millis(20));
    }
}

fn call(
    world: &World<'_>,
    balancer: &Balancer,
    over: &AtomicBool,
    answered: &AtomicUsize,
    mut chance: Chance,
) {
    let _end = EndsLoad(over);
    let mut lines: HashMap<String, Line> = HashMap::new();
    while !over.load(Ordering::SeqCst) {
        let origin = balancer.choose();
        // Of who is no longer ready no connection is kept.
        lines.retain(|known, _| balancer.ready.lock().unwrap().contains(known));
        let Some(payment) = world.next(&mut chance) else { continue };
        let line = lines.entry(origin.clone()).or_insert_with(|| Line::open(&origin).unwrap());
        let answer = line.notify(&payment.callback);
        let answer = answer.unwrap_or_else(|error| panic!("{origin} did not answer: {error}"));
        assert!(answer.is_success(), "{answer:?}");
        world.heard(payment, &answer);
        answered.fetch_add(1, Ordering::SeqCst);
    }
}
