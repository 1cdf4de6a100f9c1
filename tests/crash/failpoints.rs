//! The process ends at a named place, in the middle of each story; a new one brings the story to its end.

use crate::{
    books::Books,
    child::{Server, Wish},
    http::{Line, Phone},
    place::Place,
    shop::{Payment, Shop, everywhere, ordered},
};
use shouyin::failpoint::Failpoint;
use std::{collections::BTreeSet, os::unix::process::ExitStatusExt, sync::Mutex, thread};

const SIGABRT: i32 = 6;
const LINES: usize = 3;

/// The quiet books of one story.
struct Story {
    shop: &'static Shop,
    /// Where its books are.
    at: Place,
    place: Failpoint,
}

impl Story {
    fn new(shop: &'static Shop, place: Failpoint) -> Story {
        Story { shop, at: shop.quiet_books("failpoint"), place }
    }

    fn armed(&self, nth: usize) -> Server {
        let armed = format!("{}:{nth}", self.place.name());
        let arguments = vec!["--failpoint".to_owned(), armed];
        self.shop.serve(&self.at, &Wish { arguments, ..Wish::default() })
    }

    /// The next process, which nothing stops.
    fn goes_on(&self, mut armed: Server) -> Server {
        let status = armed.ended();
        assert_eq!(status.signal(), Some(SIGABRT), "{}: {status}, {}", self.place.name(), armed.said());
        self.shop.serve(&self.at, &Wish::default())
    }

    fn books(&self) -> Books {
        let books = Books::read(&self.at.database).unwrap();
        assert_eq!(books.faults, Vec::<String>::new(), "{}", self.place.name());
        assert_eq!(books.doubled(), 0, "{}", self.place.name());
        books
    }

    /// WeChat tells of a payment, twice; it is credited once.
    fn is_paid(&self, server: &Server, payment: &Payment) {
        let mut wechat = Line::open(&server.origin).unwrap();
        for _ in 0..2 {
            let answer = wechat.notify(&payment.callback).unwrap();
            assert!(answer.is_success(), "{}: {answer:?}", self.place.name());
            assert!(self.books().credited_once(&payment.number), "{}", self.place.name());
        }
    }
}

#[test]
fn a_callback_that_dies_anywhere_is_credited_once() {
    for shop in everywhere() {
        let mut acknowledged = 0;
        let places = [
            // A start commits as well, so the first passes are not of callbacks.
            (Failpoint::WriterBeforeCommit, [4, 9, 15]),
            (Failpoint::WriterAfterCommit, [4, 9, 15]),
            (Failpoint::NotifyBeforeReply, [1, 2, 20]),
        ];
        for (place, nth) in places.iter().flat_map(|(place, nths)| nths.map(|nth| (*place, nth))) {
            let story = Story::new(shop, place);
            let armed = story.armed(nth);
            let payments = &shop.payments[..60];
            let known = deliver(&armed.origin, payments);
            let server = story.goes_on(armed);
            let books = story.books();
            for number in &known {
                assert!(books.credited_once(number), "{} {nth}: {number} is lost", place.name());
            }
            acknowledged += known.len();
            let known = deliver(&server.origin, payments);
            assert_eq!(known.len(), payments.len());
            let books = story.books();
            assert!(known.iter().all(|number| books.credited_once(number)), "{} {nth}", place.name());
        }
        println!("failpoints: {acknowledged} acknowledged before the process died, 0 lost, 0 doubled");
    }
}

/// Numbers of the callbacks that were answered SUCCESS, as far as the process lived.
fn deliver(origin: &str, payments: &[Payment]) -> BTreeSet<String> {
    let known = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for line in 0..LINES {
            let known = &known;
            scope.spawn(move || {
                let Ok(mut wechat) = Line::open(origin) else { return };
                for payment in payments.iter().skip(line).step_by(LINES) {
                    let Ok(answer) = wechat.notify(&payment.callback) else { return };
                    assert!(answer.is_success(), "{answer:?}");
                    known.lock().unwrap().insert(payment.number.clone());
                }
            });
        }
    });
    known.into_inner().unwrap()
}

#[test]
fn a_top_up_that_dies_half_way_is_one_order_when_it_is_asked_for_again() {
    for shop in everywhere() {
        for place in [Failpoint::TopUpAfterOrderWritten, Failpoint::TopUpAfterPrepayAnswer] {
            let story = Story::new(shop, place);
            let armed = story.armed(1);
            let (phone, intent) = (&shop.phones[0], place.name().replace(['/', '_'], "-"));
            let before = story.books().attempts.len();
            assert!(phone.top_up(&armed.origin, &intent).is_err(), "{} did not fire", place.name());
            let server = story.goes_on(armed);
            let number = ordered(phone, &server.origin, &intent);
            assert_eq!(story.books().attempts.len(), before + 1, "{}", place.name());
            let asked = shop.simulator.calls().iter().filter(|call| call.ends_with(&number)).count();
            let wanted = if place == Failpoint::TopUpAfterPrepayAnswer { 2 } else { 1 };
            assert_eq!(asked, wanted, "{}: WeChat is asked again under the same number only", place.name());
            story.is_paid(&server, &shop.pay(&number, 0));
        }
    }
}

#[test]
fn a_query_that_dies_with_the_answer_in_its_hands_is_asked_again() {
    for shop in everywhere() {
        let story = Story::new(shop, Failpoint::QueryAfterAnswer);
        let armed = story.armed(1);
        let payment = &shop.payments[7];
        let phone = &shop.phones[payment.payer];
        assert!(phone.status(&armed.origin, &payment.number).is_err(), "it did not fire");
        let server = story.goes_on(armed);
        assert!(!story.books().credited_once(&payment.number));
        let path = format!("/orders/{}/status?wait=10", payment.number);
        let answer = phone.get(&server.origin, &path).unwrap();
        assert!(answer.body.contains("\"paid\":true"), "{}", answer.body);
        story.is_paid(&server, payment);
    }
}

#[test]
fn a_close_that_dies_before_it_is_confirmed_leaves_one_number_that_can_be_paid() {
    for shop in everywhere() {
        let story = Story::new(shop, Failpoint::CloseBetweenCloseAndQuery);
        let armed = story.armed(1);
        let first = ordered(&shop.phones[0], &armed.origin, "two-phones-and-a-crash");
        let other = Phone::log_in(&armed.origin, "user0");
        let page = format!("/orders/{first}/pay");
        assert!(other.get(&armed.origin, &page).is_err(), "it did not fire");
        let server = story.goes_on(armed);
        let ready = other.get(&server.origin, &page).unwrap();
        let (_, rest) = ready.body.split_once("prepay_id=").unwrap_or_else(|| panic!("{}", ready.body));
        let prepay_id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let second = shop.simulator.number_of(&prepay_id).unwrap();
        assert_ne!(first, second);
        assert!(shop.simulator.pay(&first).is_err(), "both numbers could be paid");
        story.is_paid(&server, &shop.pay(&second, 0));
    }
}

/// A place that no test arms would be decoration.
#[test]
fn every_failpoint_has_a_story() {
    let text = include_str!("failpoints.rs");
    for place in Failpoint::ALL {
        let used = text.matches(&format!("Failpoint::{place:?}")).count();
        assert!(used > 0, "{place:?}");
    }
}
