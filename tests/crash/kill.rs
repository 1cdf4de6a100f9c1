//! `kill -9` of the real server under load, over and over on the same books.

use crate::{
    books::{self, Books},
    chance::{self, Chance},
    child::{Server, Wish},
    http::Line,
    shop::{Folder, Payment, SHOP, number_of},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// Cycles on the same books.
const SERIES: usize = 20;
/// Callbacks that are new in a cycle; those nobody answered come on top.
const FRESH: usize = 25;
/// Connections that bring callbacks.
const LINES: usize = 3;
/// The process lives at most this long under load.
const LONGEST_LIFE_MS: usize = 300;
/// Payments whose callbacks are all lost: only the sweep can find them.
const LOST_CALLBACKS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The world of one series as WeChat and the payers know it.
#[derive(Default)]
struct Known {
    /// Every payment so far, by its number.
    paid: BTreeMap<String, Payment>,
    acknowledged: BTreeSet<String>,
    /// Their callbacks never come: only the sweep can find these.
    silent: BTreeSet<String>,
    /// To be brought in this cycle.
    waiting: VecDeque<Payment>,
    /// Complete answers that are not SUCCESS.
    refused: Vec<String>,
}

impl Known {
    /// Payments WeChat keeps telling of.
    fn unheard(&self) -> Vec<Payment> {
        let told = |number: &String| self.acknowledged.contains(number) || self.silent.contains(number);
        self.paid.values().filter(|payment| !told(&payment.number)).cloned().collect()
    }

    /// Fills `waiting` for the next cycle.
    fn queue(&mut self, fresh: Vec<Payment>, chance: &mut Chance) {
        let mut waiting = self.unheard();
        for payment in fresh {
            self.paid.insert(payment.number.clone(), payment.clone());
            waiting.push(payment);
        }
        chance.shuffle(&mut waiting);
        self.waiting = waiting.into();
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let (cycles, seed) = (chance::wanted("SHOUYIN_KILL_CYCLES", 40), chance::seed());
    println!("kill -9: {cycles} cycles, SHOUYIN_CRASH_SEED={seed}");
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
                        .map(|(first, cycles)| run_series(seed.wrapping_add(first as u64), cycles))
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
        "kill -9: {} cycles, {} acknowledged credits, {lost} lost, {doubled} doubled; {} ms a cycle, two at a time, {} s in all; \
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

fn run_series(seed: u64, cycles: usize) -> Tally {
    let mut chance = Chance::new(seed);
    let folder = SHOP.books("kill");
    let (silent, loud) = SHOP.payments.split_at(LOST_CALLBACKS);
    // The sweep of each process asks about others first, so that these are left for the last one.
    for payment in silent {
        let number = &payment.number;
        books::edit(
            &folder.0,
            &format!("UPDATE pending_queries SET next_at = 1 WHERE out_trade_no = '{number}'"),
        );
    }
    let known = Mutex::new(Known {
        paid: silent.iter().map(|payment| (payment.number.clone(), payment.clone())).collect(),
        silent: silent.iter().map(|payment| payment.number.clone()).collect(),
        ..Known::default()
    });
    let mut fresh = loud.to_vec();
    chance.shuffle(&mut fresh);
    let mut tally = Tally::default();
    let started = Instant::now();
    for cycle in 0..cycles {
        let more = fresh.drain(..FRESH.min(fresh.len())).collect();
        known.lock().unwrap().queue(more, &mut chance);
        let starting = Instant::now();
        let mut server = SHOP.serve(&folder.0, &Wish::default());
        tally.starts.push(starting.elapsed());
        check(&folder, &known, &mut tally, seed);
        let life = Duration::from_millis(chance.below(LONGEST_LIFE_MS + 1) as u64);
        let seeds: Vec<u64> = (0..=LINES).map(|_| chance.next()).collect();
        let (origin, known) = (server.origin.clone(), &known);
        thread::scope(|scope| {
            let (origin, intent) = (&origin, format!("{seed}-{cycle}"));
            for seed in &seeds[..LINES] {
                scope.spawn(move || bring_callbacks(origin, known, Chance::new(*seed)));
            }
            let chance = Chance::new(seeds[LINES]);
            scope.spawn(move || buy_and_ask(origin, known, &intent, chance));
            thread::sleep(life);
            server.kill();
        });
        tally.cycles += 1;
    }
    tally.took = started.elapsed();
    tally.recoveries.push(recover(&folder, &known));
    check(&folder, &known, &mut tally, seed);
    tally.acknowledged = known.lock().unwrap().acknowledged.len();
    tally
}

/// Compares the books with what WeChat was told. Somebody serves them again by now.
fn check(folder: &Folder, known: &Mutex<Known>, tally: &mut Tally, seed: u64) {
    let books = Books::read(&folder.0).unwrap();
    let known = known.lock().unwrap();
    assert_eq!(books.faults, Vec::<String>::new(), "series {seed}");
    assert_eq!(known.refused, Vec::<String>::new(), "series {seed}");
    let kept = |number: &&String| {
        let paid_by = books.attempts.get(*number).and_then(|credit| credit.transaction_id.as_ref());
        books.credited_once(number) && paid_by == Some(&known.paid[*number].transaction_id)
    };
    for number in known.acknowledged.iter().filter(|number| !kept(number)) {
        if tally.lost.insert(number.clone()) {
            println!("series {seed}: {number} was acknowledged and is lost");
        }
    }
    tally.doubled = tally.doubled.max(books.doubled());
}

/// Brings what waits, and now and then something that was acknowledged before.
fn bring_callbacks(origin: &str, known: &Mutex<Known>, mut chance: Chance) {
    let Ok(mut line) = Line::open(origin) else { return };
    loop {
        let payment = {
            let mut known = known.lock().unwrap();
            let again = chance.percent(20);
            let fresh = if again { None } else { known.waiting.pop_front() };
            let old = known.acknowledged.len();
            match fresh {
                Some(payment) => payment,
                None if old > 0 => {
                    let number = known.acknowledged.iter().nth(chance.below(old)).unwrap();
                    known.paid[number].clone()
                }
                None => continue,
            }
        };
        let Ok(answer) = line.notify(&payment.callback) else { return };
        let mut known = known.lock().unwrap();
        if answer.is_success() {
            known.acknowledged.insert(payment.number);
        } else {
            known.refused.push(format!("{}: {}", answer.status, answer.body));
        }
    }
}

/// Orders are made, prepared and paid all the time; pages ask whether theirs is paid, and the shop asks WeChat.
fn buy_and_ask(origin: &str, known: &Mutex<Known>, intent: &str, mut chance: Chance) {
    for n in 0_usize.. {
        let payer = chance.below(SHOP.phones.len());
        let Ok(answer) = SHOP.phones[payer].top_up(origin, &format!("{intent}-{n}")) else { return };
        let payment = {
            let mut known = known.lock().unwrap();
            if let Some(number) = number_of(&answer.body) {
                let payment = SHOP.pay(&number, payer);
                known.paid.insert(number, payment.clone());
                known.waiting.push_back(payment);
            }
            known.paid.values().nth(chance.below(known.paid.len())).unwrap().clone()
        };
        if SHOP.phones[payment.payer].status(origin, &payment.number).is_err() {
            return;
        }
    }
}

/// The last process: WeChat repeats what was not acknowledged, the sweep finds the rest. Then everything
/// comes once more and changes nothing.
fn recover(folder: &Folder, known: &Mutex<Known>) -> (Duration, usize) {
    let started = Instant::now();
    let server = SHOP.serve(&folder.0, &Wish::default());
    let (all, unheard): (Vec<Payment>, _) = {
        let known = known.lock().unwrap();
        (known.paid.values().cloned().collect(), known.unheard())
    };
    let before = Books::read(&folder.0).unwrap();
    let behind = all.iter().filter(|paid| !before.credited_once(&paid.number)).count();
    deliver(&server, &unheard);
    let credited = |books: &Books| all.iter().all(|paid| books.credited_once(&paid.number));
    while !credited(&Books::read(&folder.0).unwrap()) {
        assert!(started.elapsed() < PATIENCE, "not all payments are credited");
        thread::sleep(Duration::from_millis(10));
    }
    let took = started.elapsed();
    let before = Books::read(&folder.0).unwrap().attempts;
    deliver(&server, &all);
    assert_eq!(Books::read(&folder.0).unwrap().attempts, before, "repeated callbacks changed the books");
    (took, behind)
}

fn deliver(server: &Server, payments: &[Payment]) {
    thread::scope(|scope| {
        for line in 0..LINES {
            scope.spawn(move || {
                let mut wechat = Line::open(&server.origin).unwrap();
                for payment in payments.iter().skip(line).step_by(LINES) {
                    let answer = wechat.notify(&payment.callback).unwrap();
                    assert!(answer.is_success(), "{}: {}", answer.status, answer.body);
                }
            });
        }
    });
}
