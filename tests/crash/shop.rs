//! Books with many orders that are paid at WeChat and not yet known to be paid here, made once through
//! the real server; and the callbacks that say so.

use crate::{
    books,
    child::{PUBLIC_URL, SECRETS, Server, Wish},
    http::Phone,
    place::{Place, Template},
};
use shouyin::{
    clock::Clock,
    config::Origins,
    domain::order::Environment,
    gateway::{
        wechat::Appids,
        wechat_v2::{Account, ApiKey, sign::SignType},
    },
    http::Http,
    simulator::{self, Options, Simulator},
};
use std::{
    net::{Ipv4Addr, TcpListener},
    sync::LazyLock,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The shop of all tests on a file. To make its orders is the slow part.
pub static SHOP: LazyLock<Shop> = LazyLock::new(|| Shop::open(&Place::file("template"), ORDERS));
/// The same on a server, if there is one.
static ON_SERVER: LazyLock<Option<Shop>> =
    LazyLock::new(|| Some(Shop::open(&Place::on_server("template")?, ORDERS)));

const ORDERS: usize = 500;

/// Orders of one user: below the limits on open orders and on top-ups in a row.
const EACH: usize = 50;
/// Users who make their orders at the same time.
const AT_ONCE: usize = 4;

/// The shop whose books are in PostgreSQL; without a server the rest of the test is skipped.
pub fn on_server() -> Option<&'static Shop> {
    if ON_SERVER.is_none() {
        println!("SKIPPED on PostgreSQL: SHOUYIN_TEST_POSTGRES names no server");
    }
    ON_SERVER.as_ref()
}

/// The shop on a file, and the one on a server.
#[cfg(feature = "failpoints")]
pub fn everywhere() -> impl Iterator<Item = &'static Shop> {
    std::iter::once(&*SHOP).chain(on_server())
}

/// A WeChat that keeps its promises, a shop's books, and what WeChat has to tell.
pub struct Shop {
    pub simulator: Simulator,
    pub simulator_origin: String,
    /// The books, as they were before any callback.
    template: Template,
    pub payments: Vec<Payment>,
    pub phones: Vec<Phone>,
}

/// A payment at WeChat.
#[derive(Clone, Debug)]
pub struct Payment {
    pub number: String,
    /// The body of its true callback.
    pub callback: String,
    pub transaction_id: String,
    /// Index of its payer in `Shop::phones`.
    pub payer: usize,
}

impl Shop {
    /// Opens on empty books and makes so many orders, each of them paid.
    pub fn open(place: &Place, orders: usize) -> Shop {
        let (simulator, simulator_origin) = simulate();
        let mut server = Server::start(place, &simulator_origin, &Wish::default());
        let users = orders.div_ceil(EACH);
        let mut made: Vec<(usize, Phone, Vec<String>)> = thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE)
                .map(|worker| {
                    let origin = &server.origin;
                    scope.spawn(move || {
                        (worker..users).step_by(AT_ONCE).map(|user| buy(origin, user)).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        server.kill();
        // What the sweep heard before the payments is forgotten: every order is due to be asked about.
        books::edit(&place.database, "UPDATE pending_queries SET next_at = 0, asked_at = NULL, asked = 0");
        made.sort_by_key(|(user, ..)| *user);
        let template = Template::of(place);
        let mut shop = Shop { simulator, simulator_origin, template, payments: vec![], phones: vec![] };
        for (payer, phone, numbers) in made {
            shop.phones.push(phone);
            for number in numbers {
                let payment = shop.pay(&number, payer);
                shop.payments.push(payment);
            }
        }
        shop.payments.truncate(orders);
        shop
    }

    /// Somebody pays at WeChat; only we will tell the shop.
    pub fn pay(&self, number: &str, payer: usize) -> Payment {
        let transaction_id = self.simulator.pay(number).unwrap();
        let callback = self.simulator.signed_notify(number, &[]);
        Payment { number: number.to_owned(), callback, transaction_id, payer }
    }

    /// A copy of the books as they were before any callback.
    pub fn books(&self, name: &str) -> Place {
        self.template.copy(name)
    }

    /// Such a copy whose sweep has nothing to do for an hour, so that only what a test sends is written;
    /// and whose sessions were last seen long ago, so that a page would like to write as well.
    pub fn quiet_books(&self, name: &str) -> Place {
        let place = self.books(name);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let later = (now + Duration::from_secs(3600)).as_millis();
        books::edit(
            &place.database,
            &format!(
                "UPDATE pending_queries SET next_at = {later};
                 UPDATE sessions SET seen_at = seen_at - 86400000"
            ),
        );
        place
    }

    pub fn serve(&self, place: &Place, wish: &Wish) -> Server {
        Server::start(place, &self.simulator_origin, wish)
    }
}

fn buy(origin: &str, user: usize) -> (usize, Phone, Vec<String>) {
    let phone = Phone::register(origin, &format!("user{user}"));
    let numbers = (0..EACH).map(|n| ordered(&phone, origin, &format!("template-{n}"))).collect();
    (user, phone, numbers)
}

/// An order of one yuan that WeChat has prepared; gives its number.
pub fn ordered(phone: &Phone, origin: &str, intent: &str) -> String {
    let answer = phone.top_up(origin, intent).unwrap();
    number_of(&answer.body).unwrap_or_else(|| panic!("{}: {}", answer.status, answer.body))
}

/// The order's number in an answer that hands out a prepared payment.
pub fn number_of(body: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    answer["pay"]["params"]["package"].as_str()?;
    Some(answer["out_trade_no"].as_str()?.to_owned())
}

fn simulate() -> (Simulator, String) {
    let secret = |name: &str| SECRETS.iter().find(|(known, _)| *known == name).unwrap().1.to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let account = Account {
        appids: Appids { web: secret("WECHAT_APPID"), mini: None, app: None },
        mch_id: secret("WECHAT_MCH_ID"),
        key: ApiKey::new(&secret("WECHAT_API_KEY")).unwrap(),
        sign_type: SignType::HmacSha256,
        accept: SignType::ALL.to_vec(),
        public_url: PUBLIC_URL.to_owned(),
        environment: Environment::Live,
    };
    let options = Options::new(account, secret("WECHAT_APP_SECRET").into(), PUBLIC_URL.to_owned());
    let http = Http::new(Origins::default()).unwrap();
    let simulator = Simulator::new(options, Clock::system(), http);
    let serving = simulator.clone();
    // Ends with the test process: a crash of the shop does not touch WeChat.
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async { simulator::serve(serving, listener).unwrap().await })
    });
    (simulator, origin)
}
