//! The bad-input catalogue, run from its file. Every case of `tests/attacks.json` has one handler that
//! brings about the attack; what must be true afterwards is read from the file and checked here.
//! A case without a handler, a handler without a case, or an effect nobody looked at is a failure.

mod accounts;
mod admin;
mod alipay;
mod alipay_more;
mod bills;
mod business;
pub mod child;
mod config;
mod effects;
mod gateway;
mod http;
mod notify_http;
mod orders;
mod races;
mod raw;
mod refunds;
mod script;
mod signature;
mod v3;
mod v3_more;
mod world;
mod xml;

use effects::check;
use futures_util::FutureExt;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
};
use world::World;

pub use world::rows;

/// One case as the file has it.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub id: String,
    group: String,
    pub title: String,
    pub expected: Expected,
}

#[derive(Clone, Deserialize)]
pub struct Expected {
    pub body: String,
    pub effect: Vec<String>,
}

#[derive(Deserialize)]
struct Catalogue {
    cases: Vec<Case>,
}

/// A case this program or this machine cannot stage, with the reason.
pub struct NotHere(pub &'static str);

pub type Outcome = Result<(), NotHere>;
pub type Handler = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;
pub type Table = &'static [(&'static str, Handler)];

/// `id => handler` lines as a table.
macro_rules! table {
    ($($id:literal => $handler:path),* $(,)?) => { &[$(($id, |world| Box::pin($handler(world)))),*] };
}
use table;

/// Group by group, so that they run side by side.
const GROUPS: &[(&str, Table)] = &[
    ("WX2-SIG", signature::CASES),
    ("WX2-XML", xml::CASES),
    ("WX2-BIZ", business::CASES),
    ("NOTIFY-HTTP", notify_http::CASES),
    ("ORDER", orders::CASES),
    ("AUTH", accounts::AUTH),
    ("OAUTH", accounts::OAUTH),
    ("RACE", races::CASES),
    ("RATE", races::RATE),
    ("HTTP", http::CASES),
    ("CONFIG", config::CASES),
    ("GATEWAY", gateway::CASES),
    ("ADMIN", admin::CASES),
    ("REFUND", refunds::CASES),
    ("BILL", bills::CASES),
    ("WX3", v3::CASES),
    ("WX3-MORE", v3_more::CASES),
    ("ALI", alipay::CASES),
    ("ALI-MORE", alipay_more::CASES),
];

macro_rules! groups {
    ($($test:ident => $group:literal),* $(,)?) => {
        $(#[actix_web::test]
        async fn $test() { run($group).await; })*
        const TESTED: &[&str] = &[$($group),*];
    };
}

groups! {
    signatures => "WX2-SIG",
    xml_documents => "WX2-XML",
    payments_that_do_not_fit => "WX2-BIZ",
    callbacks_over_http => "NOTIFY-HTTP",
    orders_of_users => "ORDER",
    accounts_and_passwords => "AUTH",
    trips_to_wechat => "OAUTH",
    races_for_one_credit => "RACE",
    floods => "RATE",
    requests_of_strangers => "HTTP",
    configurations => "CONFIG",
    answers_of_the_gateway => "GATEWAY",
    pages_of_administrators => "ADMIN",
    refunds_of_payments => "REFUND",
    bills_of_days => "BILL",
    callbacks_of_v3 => "WX3",
    more_callbacks_of_v3 => "WX3-MORE",
    callbacks_of_alipay => "ALI",
    more_callbacks_of_alipay => "ALI-MORE",
}

fn catalogue() -> Vec<Case> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attacks.json"));
    serde_json::from_str::<Catalogue>(text).unwrap().cases
}

#[test]
fn every_case_has_one_handler_and_every_group_is_run() {
    let cases = catalogue();
    let listed: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let handled: Vec<&str> = GROUPS.iter().flat_map(|(_, table)| table.iter().map(|(id, _)| *id)).collect();
    let (in_file, in_code): (BTreeSet<_>, BTreeSet<_>) =
        (listed.iter().copied().collect(), handled.iter().copied().collect());
    assert_eq!((in_file.len(), in_code.len()), (listed.len(), handled.len()), "an id twice");
    assert_eq!(in_file, in_code);
    let groups: BTreeSet<&str> = cases.iter().map(|case| case.group.as_str()).collect();
    assert_eq!(groups, GROUPS.iter().map(|(name, _)| *name).collect());
    assert_eq!(groups, TESTED.iter().copied().collect());
}

/// Faults of one case that are told in full.
const MOST_SHOWN: usize = 6;

/// Runs every case of one group and fails at the end with everything that was wrong.
async fn run(group: &str) {
    let table = GROUPS.iter().find(|(name, _)| *name == group).expect("a known group").1;
    let cases: Vec<Case> = catalogue().into_iter().filter(|case| case.group == group).collect();
    let (mut ran, mut failures) = (0, Vec::new());
    for case in &cases {
        let Some((_, handler)) = table.iter().find(|(id, _)| *id == case.id) else {
            failures.push(format!("{}: no handler", case.id));
            continue;
        };
        let mut world = World::new(case.clone());
        let staged = AssertUnwindSafe(async {
            let outcome = handler(&mut world).await;
            if outcome.is_ok() {
                check(&mut world).await;
            }
            outcome
        });
        let mut faults = match staged.catch_unwind().await {
            Ok(Ok(())) => {
                ran += 1;
                std::mem::take(&mut world.faults)
            }
            Ok(Err(NotHere(reason))) => {
                println!("{} not here: {reason}", case.id);
                Vec::new()
            }
            Err(panic) => [world.faults.clone(), vec![format!("stopped: {}", said(&*panic))]].concat(),
        };
        for note in &world.notes {
            println!("{} in part: {note}", case.id);
        }
        // Closing a shop proves its books.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(world))) {
            faults.push(format!("afterwards: {}", said(&*panic)));
        }
        if faults.len() > MOST_SHOWN {
            let more = faults.len() - MOST_SHOWN;
            faults.truncate(MOST_SHOWN);
            faults.push(format!("and {more} more"));
        }
        failures.extend(faults.into_iter().map(|fault| format!("{} ({}): {fault}", case.id, case.title)));
    }
    println!("{group}: {ran} of {} cases", cases.len());
    assert!(failures.is_empty(), "{group}: {} faults\n{}", failures.len(), failures.join("\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}
