//! What WeChat and the payers do to a shop while it is killed, and what they know afterwards.

use crate::{
    books::Books,
    chance::Chance,
    child::Server,
    http::{Answer, Line},
    place::Place,
    shop::{Payment, Shop, number_of},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections that bring callbacks.
pub const LINES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// The world of one test as WeChat and the payers know it.
pub struct World<'a> {
    pub shop: &'a Shop,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Every payment so far, by its number.
    paid: BTreeMap<String, Payment>,
    acknowledged: BTreeSet<String>,
    /// Those of them that were found in the books. Only these are repeated: another callback would mend a loss
    /// before anybody has seen it.
    found: Vec<String>,
    /// Their callbacks never come: only the sweep can find these.
    silent: BTreeSet<String>,
    /// To be brought next.
    waiting: VecDeque<Payment>,
    /// Complete answers that are not SUCCESS.
    refused: Vec<Answer>,
}

/// Ends the load however its test ends: threads that go on for ever would hide a failure.
pub struct EndsLoad<'a>(pub &'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What a look at the books found wrong.
#[derive(Debug, Default)]
pub struct Harm {
    pub lost: BTreeSet<String>,
    pub doubled: usize,
}

impl<'a> World<'a> {
    /// With payments whose callbacks are all lost.
    pub fn new(shop: &'a Shop, silent: &[Payment]) -> World<'a> {
        let known = Known {
            paid: silent.iter().map(|payment| (payment.number.clone(), payment.clone())).collect(),
            silent: silent.iter().map(|payment| payment.number.clone()).collect(),
            ..Known::default()
        };
        World { shop, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    pub fn acknowledged(&self) -> usize {
        self.known().acknowledged.len()
    }

    pub fn refused(&self) -> Vec<Answer> {
        self.known().refused.clone()
    }

    /// Payments WeChat keeps telling of.
    fn unheard(&self) -> Vec<Payment> {
        let known = self.known();
        let told = |number: &String| known.acknowledged.contains(number) || known.silent.contains(number);
        known.paid.values().filter(|payment| !told(&payment.number)).cloned().collect()
    }

    /// What is brought from now on: everything nobody acknowledged, and these.
    pub fn queue(&self, fresh: Vec<Payment>, chance: &mut Chance) {
        let mut waiting = self.unheard();
        let mut known = self.known();
        for payment in fresh {
            known.paid.insert(payment.number.clone(), payment.clone());
            waiting.push(payment);
        }
        chance.shuffle(&mut waiting);
        known.waiting = waiting.into();
    }

    /// What waits, and now and then something that was found in the books. `None` as long as there is neither.
    pub fn next(&self, chance: &mut Chance) -> Option<Payment> {
        let mut known = self.known();
        let again = chance.percent(20);
        let fresh = if again { None } else { known.waiting.pop_front() };
        if fresh.is_none() && known.found.is_empty() {
            drop(known);
            thread::sleep(Duration::from_millis(1));
            return None;
        }
        fresh.or_else(|| {
            let number = &known.found[chance.below(known.found.len())];
            Some(known.paid[number].clone())
        })
    }

    /// Notes a complete answer to a callback; what is refused comes again.
    pub fn heard(&self, payment: Payment, answer: &Answer) {
        let mut known = self.known();
        if answer.is_success() {
            known.acknowledged.insert(payment.number);
        } else {
            known.refused.push(answer.clone());
            if !known.acknowledged.contains(&payment.number) {
                known.waiting.push_back(payment);
            }
        }
    }

    /// Orders are made, prepared and paid all the time; pages ask whether theirs is paid, and the shop asks
    /// WeChat. Ends with the process, or when it is told to.
    pub fn buy_and_ask(&self, origin: &str, intent: &str, mut chance: Chance, over: &AtomicBool) {
        let shop = self.shop;
        for n in 0_usize.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let payer = chance.below(shop.phones.len());
            let Ok(answer) = shop.phones[payer].top_up(origin, &format!("{intent}-{n}")) else { return };
            let payment = {
                let mut known = self.known();
                if let Some(number) = number_of(&answer.body) {
                    let payment = shop.pay(&number, payer);
                    known.paid.insert(number, payment.clone());
                    known.waiting.push_back(payment);
                }
                known.paid.values().nth(chance.below(known.paid.len())).unwrap().clone()
            };
            if shop.phones[payment.payer].status(origin, &payment.number).is_err() {
                return;
            }
        }
    }

    /// Compares books, served or not, with what WeChat was told.
    pub fn harm(&self, books: &Books) -> Harm {
        let acknowledged = self.known().acknowledged.clone();
        self.harm_to(&acknowledged, books)
    }

    fn harm_to(&self, acknowledged: &BTreeSet<String>, books: &Books) -> Harm {
        assert_eq!(books.faults, Vec::<String>::new());
        let mut known = self.known();
        let kept = |number: &String| {
            let paid_by = books.attempts.get(number).and_then(|credit| credit.transaction_id.as_ref());
            books.credited_once(number) && paid_by == Some(&known.paid[number].transaction_id)
        };
        let (found, lost): (Vec<_>, Vec<_>) = acknowledged.iter().cloned().partition(kept);
        known.found = found;
        Harm { lost: lost.into_iter().collect(), doubled: books.doubled() }
    }

    /// The books are as they have to be.
    pub fn is_whole(&self, place: &Place) {
        let harm = self.harm(&Books::read(&place.database).unwrap());
        assert!(harm.lost.is_empty() && harm.doubled == 0, "{harm:?}");
    }

    /// The same while others are being acknowledged: of what was before the books were read.
    pub fn is_whole_so_far(&self, place: &Place) {
        let acknowledged = self.known().acknowledged.clone();
        let harm = self.harm_to(&acknowledged, &Books::read(&place.database).unwrap());
        assert!(harm.lost.is_empty() && harm.doubled == 0, "{harm:?}");
    }

    /// WeChat repeats what was not acknowledged, the sweep finds the rest. Then everything comes once more and
    /// changes nothing. Says how many payments were not credited at first, and when all were.
    pub fn come_to_rest(&self, server: &Server, place: &Place) -> (Instant, usize) {
        let started = Instant::now();
        let all: Vec<Payment> = self.known().paid.values().cloned().collect();
        let before = Books::read(&place.database).unwrap();
        let behind = all.iter().filter(|paid| !before.credited_once(&paid.number)).count();
        deliver(server, &self.unheard());
        let credited = |books: &Books| all.iter().all(|paid| books.credited_once(&paid.number));
        while !credited(&Books::read(&place.database).unwrap()) {
            assert!(started.elapsed() < PATIENCE, "not all payments are credited");
            thread::sleep(Duration::from_millis(10));
        }
        let done = Instant::now();
        // The sweep may be finding others meanwhile.
        let theirs = || {
            let books = Books::read(&place.database).unwrap();
            all.iter().map(|paid| books.attempts[&paid.number].clone()).collect::<Vec<_>>()
        };
        let before = theirs();
        deliver(server, &all);
        assert_eq!(theirs(), before, "repeated callbacks changed the books");
        (done, behind)
    }
}

fn deliver(server: &Server, payments: &[Payment]) {
    thread::scope(|scope| {
        for line in 0..LINES {
            scope.spawn(move || {
                let mut wechat = Line::open(&server.origin).unwrap();
                for payment in payments.iter().skip(line).step_by(LINES) {
                    let answer = wechat.notify(&payment.callback).unwrap();
                    assert!(answer.is_success(), "{answer:?}");
                }
            });
        }
    });
}
