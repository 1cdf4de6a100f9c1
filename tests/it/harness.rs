//! A shop with its own books, its own WeChat and its own time. When it closes, the books must hold.

use crate::database;
use reqwest::{Client, Method, redirect::Policy};
use serde_json::Value;
use shouyin::{
    app::App,
    clock::Clock,
    config::{Config, Origins, RsaKeys, SimulatorKeys},
    domain::{
        ids::OutTradeNo,
        money::Fen,
        order::{Attempt, Order, Provider},
        refund::Refund,
        time::UnixMs,
        user::{Role, User},
    },
    flow::{
        request_refund::{self, Payment, RefundError, Wish},
        set_up,
    },
    gateway::{
        Headers,
        wechat_v2::{Account, sign::SignType},
    },
    http::Http,
    jobs,
    simulator::{self, AlipayApp, Asked, Options, Simulator},
    store::{
        Store, attempts, audit_chain, audit_chain::Looked, books, notices, notices::Notice, orders, refunds,
        work_items, work_items::WorkItem,
    },
    web::{Web, server},
};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// 2026-11-20 20:00:00 in Beijing.
pub const START: UnixMs = UnixMs(1_795_176_000_000);
pub const PASSWORD: &str = "correct horse battery";
/// A WeChat browser on a phone.
pub const WECHAT: &str = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Mobile MicroMessenger/8.0.47";

/// How V2's callbacks come.
const XML: [(&str, &str); 1] = [("content-type", "text/xml")];

/// The wrong version that sings in this process, by the name it has in `canary`.
#[cfg(feature = "canaries")]
pub const CANARY: &str = "SHOUYIN_TEST_CANARY";

/// Keys that take a second to make, for all shops of this process.
static RSA: LazyLock<Option<RsaKeys>> = LazyLock::new(RsaKeys::generate);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What the simulated WeChat answers to a call of V2.
pub fn answered(simulator: &Simulator, path: &str, body: &[u8]) -> Option<String> {
    let asked = Asked { method: "POST", target: path, headers: Headers(""), body };
    let answer = simulator.answer(&asked).unwrap()?;
    Some(String::from_utf8(answer.body).unwrap())
}

/// A running shop on port 0. Background jobs do not run by themselves: tests call them.
pub struct Shop {
    pub app: Arc<App>,
    pub web: Arc<Web>,
    pub simulator: Simulator,
    pub url: String,
    pub simulator_url: String,
    pub clock: Clock,
    folder: PathBuf,
    handles: Vec<actix_web::dev::ServerHandle>,
}

impl Shop {
    pub async fn open() -> Shop {
        Shop::open_with(|_| {}).await
    }

    /// `change` may alter the configuration before anything starts.
    pub async fn open_with(change: impl FnOnce(&mut Config)) -> Shop {
        Shop::open_with_keys(|config, _| change(config)).await
    }

    /// Pays at WeChat by V3.
    pub async fn open_v3() -> Shop {
        Shop::open_with_keys(|config, keys| {
            config.wechat_v3 = keys.wechat_v3(config.wechat_v2.as_ref().unwrap());
        })
        .await
    }

    /// A merchant who was opened this year: V3, and nothing else.
    pub async fn open_v3_alone() -> Shop {
        Shop::open_with_keys(|config, keys| {
            config.wechat_v3 = config.wechat_v2.take().and_then(|v2| keys.wechat_v3(&v2));
            config.alipay = None;
            config.channels.retain(|channel| channel.provider() == Provider::Wechat);
        })
        .await
    }

    /// `change` also sees the keys that shop and simulator share.
    pub async fn open_with_keys(change: impl FnOnce(&mut Config, &SimulatorKeys)) -> Shop {
        #[cfg(feature = "canaries")]
        if let Ok(name) = std::env::var(CANARY) {
            assert!(shouyin::canary::sing_everywhere(&name), "no canary {name}");
        }
        let clock = Clock::manual(START);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("shouyin-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (listener, address) = listen();
        let (simulator_listener, simulator_address) = listen();
        let simulator_url = format!("http://{simulator_address}");
        let random = || clock.nonce().unwrap();
        let keys =
            SimulatorKeys { rsa: RSA.clone(), ..SimulatorKeys::marked([random(), random(), random()]) };
        let database = database::fresh(&folder);
        let fresh = database.clone();
        let mut config = Config::for_simulator(&keys, database, address, &simulator_url).unwrap();
        // The simulator speaks everything, whatever the shop has.
        let stock = config.wechat_v2.clone();
        change(&mut config, &keys);
        if config.database.file().is_some() {
            database::forget(&fresh);
        }
        let account =
            Account { accept: SignType::ALL.to_vec(), ..config.wechat_v2.clone().or(stock).unwrap() };
        let mut options = Options::of(&keys, account, format!("http://{address}"));
        if config.alipay.as_ref().is_some_and(|account| account.certificates.is_some()) {
            options.alipay = AlipayApp::certified(&keys, START);
        }
        let simulator = Simulator::new(options, clock.clone(), Http::new(Origins::default()).unwrap());
        let simulating = simulator::serve(simulator.clone(), simulator_listener).unwrap();
        let store = Store::open(&config.database).unwrap();
        let app = App::new(config, store, clock.clone()).unwrap();
        let web = Web::new(app.clone(), None, Box::new(|| true));
        let serving = server::serve(web.clone(), listener, 1).unwrap();
        let handles = vec![simulating.handle(), serving.handle()];
        tokio::spawn(simulating);
        tokio::spawn(serving);
        Shop { app, web, simulator, url: format!("http://{address}"), simulator_url, clock, folder, handles }
    }

    /// A second instance of the program with connections of its own on the same books, behind the same address as far as its users know.
    /// `None` where the books are a file, which one process has for itself.
    pub fn server_beside(&self) -> Option<Instance> {
        let config = self.app.config.clone();
        if config.database.file().is_some() {
            eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server for a second instance");
            return None;
        }
        let (listener, address) = listen();
        let store = Store::open(&config.database).unwrap();
        let app = App::new(config, store, self.clock.clone()).unwrap();
        let serving = server::serve(Web::new(app.clone(), None, Box::new(|| true)), listener, 1).unwrap();
        let handle = serving.handle();
        tokio::spawn(serving);
        Some(Instance { app, url: format!("http://{address}"), handle })
    }

    /// A browser nobody is signed in with.
    pub fn browser(&self) -> Browser {
        Browser::new(self.url.clone(), "Mozilla/5.0 (X11; Linux x86_64)")
    }

    /// A registered user in the WeChat browser, with an openid.
    pub async fn user(&self, name: &str) -> Browser {
        let browser = Browser::new(self.url.clone(), WECHAT);
        browser.register(name).await;
        browser.go_to_wechat_and_back().await;
        browser
    }

    /// A signed-in administrator, made through the one-time link.
    pub async fn admin(&self) -> Browser {
        let browser = self.browser();
        let link = set_up::link_if_needed(&self.app).await.unwrap().expect("no administrator yet");
        let path = link.strip_prefix(&self.url).unwrap().to_owned();
        let token = browser.form_token(&path).await;
        let made =
            browser.post(&path, &[("token", &token), ("username", "boss"), ("password", PASSWORD)]).await;
        assert_eq!(made.status, 303, "{}", made.body);
        browser
    }

    /// A signed-in administrator of this role, made at the machine and named like it.
    pub async fn admin_as(&self, role: Role) -> Browser {
        let (name, password) = (role.as_str(), PASSWORD.to_owned());
        set_up::admin_by_command(&self.app, name, password, role).await.unwrap();
        let browser = self.browser();
        assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
        browser
    }

    /// The simulator sends every callback that is due now.
    pub async fn deliver(&self) -> usize {
        self.simulator.deliver_due().await
    }

    /// One round of the sweep, until nothing is due.
    pub async fn sweep(&self) -> usize {
        jobs::query_pending::run_once(self.app.clone()).await.unwrap()
    }

    /// Another instance on the same books, at the same WeChat.
    pub fn second_instance(&self) -> Arc<App> {
        App::new(self.app.config.clone(), self.app.store.clone(), self.clock.clone()).unwrap()
    }

    /// One round of closing.
    pub async fn close_expired(&self) -> usize {
        jobs::close_expired::run_once(self.app.clone()).await.unwrap()
    }

    pub async fn order(&self, number: &str) -> Order {
        let number = OutTradeNo::parse(number).unwrap();
        self.app.store.read(move |db| orders::by_number(db, &number)).await.unwrap().expect("an order")
    }

    pub async fn all_notices(&self) -> Vec<Notice> {
        self.app.store.read(|db| notices::list(db, false, None, 10_000)).await.unwrap()
    }

    pub async fn verdicts(&self) -> Vec<String> {
        self.all_notices().await.into_iter().rev().map(|notice| notice.verdict).collect()
    }

    pub async fn work_items(&self) -> Vec<WorkItem> {
        self.app.store.read(|db| work_items::list(db, None, 10_000)).await.unwrap()
    }

    /// What the books say about an order, to be compared before and after a message.
    pub async fn books(&self, number: &str) -> Books {
        let order = self.order(number).await;
        let work = self.work_items().await.into_iter().rev();
        Books {
            balance: self.balance(order.user_id).await,
            verdicts: self.verdicts().await,
            work: work.map(|item| (item.kind, item.out_trade_no, item.transaction_id)).collect(),
            order,
        }
    }

    /// Attempts of an order, oldest first: the first carries the order's number, whatever the clock says.
    pub async fn attempts(&self, number: &str) -> Vec<Attempt> {
        let id = self.order(number).await.id;
        let mut all = self.app.store.read(move |db| attempts::of_order(db, id)).await.unwrap();
        all.sort_by_key(|attempt| attempt.out_trade_no.as_str() != number);
        all
    }

    /// Names of the API calls about this number, oldest first.
    pub fn calls(&self, number: &str) -> Vec<String> {
        let about = |call: String| call.strip_suffix(number).map(|name| name.trim_end().to_owned());
        self.simulator.calls().into_iter().filter_map(about).collect()
    }

    /// Balance of a user, in fen.
    pub async fn balance(&self, user_id: i64) -> i64 {
        use shouyin::domain::ledger::Account as Books;
        self.stands_at(Books::User(user_id)).await
    }

    /// What stands on an account of the ledger, in fen.
    pub async fn stands_at(&self, account: shouyin::domain::ledger::Account) -> i64 {
        use shouyin::store::ledger;
        self.app.store.read(move |db| ledger::balance(db, &account)).await.unwrap()
    }

    /// A user called `name` who has paid and been credited for one order; gives its number.
    pub async fn paid(&self, name: &str, yuan: &str) -> String {
        let number = self.user(name).await.top_up(yuan).await;
        self.simulator.pay(&number).unwrap();
        self.deliver().await;
        assert!(self.order(&number).await.is_paid());
        number
    }

    /// An administrator asks for a refund of an order, below the web.
    pub async fn refund(&self, number: &str, yuan: &str) -> Result<Refund, RefundError> {
        let payment = Payment::OfOrder(OutTradeNo::parse(number).unwrap());
        self.ask_refund("boss", payment, yuan, &self.clock.nonce().unwrap()).await
    }

    pub async fn ask_refund(
        &self,
        admin: &str,
        payment: Payment,
        yuan: &str,
        intent: &str,
    ) -> Result<Refund, RefundError> {
        let wish = Wish {
            payment,
            amount: Fen::parse_yuan(yuan).unwrap(),
            reason: "商品已售完".to_owned(),
            intent: intent.to_owned(),
        };
        request_refund::request(&self.app, &admin_called(admin), wish).await
    }

    /// Follows every refund that is due now. The limit on queries counts real time, so this may take some.
    pub async fn follow_refunds(&self) -> usize {
        let now = self.clock.now();
        let due = self.app.store.read(move |db| refunds::due(db, now, 1000)).await.unwrap().len();
        let mut looked_at = 0;
        while looked_at < due {
            looked_at += jobs::refunds::run_once(self.app.clone()).await.unwrap();
            tokio::task::yield_now().await;
        }
        looked_at
    }

    /// Time goes by in steps, with a round of following after each.
    pub async fn wait_for_refunds(&self, steps: usize, secs: i64) {
        for _ in 0..steps {
            self.clock.advance_ms(secs * 1000);
            self.follow_refunds().await;
        }
    }

    /// How a refund stands in the books now.
    pub async fn same_refund(&self, refund: &Refund) -> Refund {
        let id = refund.id;
        self.app.store.read(move |db| refunds::by_id(db, id)).await.unwrap().expect("a refund")
    }

    /// Stops everything and lets go of the books; gives the configuration it ran with.
    pub async fn close(mut self) -> Config {
        for handle in self.handles.drain(..) {
            handle.stop(false).await;
        }
        let (app, config) = (Arc::downgrade(&self.app), self.app.config.clone());
        drop(self);
        // The workers end on threads of their own.
        while app.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        config
    }

    /// WeChat cannot be reached any more; what it knows stays.
    pub async fn cut_off(&mut self) {
        self.handles.remove(0).stop(false).await;
    }

    /// WeChat is back at its address.
    pub fn reconnect(&mut self) {
        let listener = TcpListener::bind(self.simulator_url.strip_prefix("http://").unwrap()).unwrap();
        let simulating = simulator::serve(self.simulator.clone(), listener).unwrap();
        self.handles.insert(0, simulating.handle());
        tokio::spawn(simulating);
    }

    /// Sends a callback as WeChat would: no cookie, no Origin.
    pub async fn notify(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.call_back("/notify/wechat", &XML, body).await
    }

    /// Sends a callback about a refund likewise.
    pub async fn notify_refund(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.call_back("/notify/wechat/refund", &XML, body).await
    }

    /// Sends these bytes to a door of ours with these headers, each as often as it stands there.
    pub async fn call_back(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let request = client.post(format!("{}{path}", self.url)).header("user-agent", "Mozilla/4.0");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.body(body.into()).send().await.unwrap()).await
    }
}

/// Somebody who may refund; requests keep the name.
pub fn admin_called(name: &str) -> User {
    User { id: 0, username: name.to_owned(), role: Role::Owner }
}

/// See `Shop::server_beside`.
pub struct Instance {
    pub app: Arc<App>,
    pub url: String,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for handle in &self.handles {
            drop(handle.stop(false));
        }
        let (store, folder, books) =
            (self.app.store.clone(), self.folder.clone(), self.app.config.database.clone());
        let checked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut breaches = runtime.block_on(store.read_at_length(books::breaches)).unwrap();
            if let Looked::Broken(row) =
                runtime.block_on(store.read_at_length(audit_chain::look_at_all)).unwrap()
            {
                breaches.push(row.to_string());
            }
            database::forget(&books);
            breaches
        })
        .join();
        std::fs::remove_dir_all(folder).ok();
        if !std::thread::panicking() {
            assert_eq!(checked.unwrap(), Vec::<String>::new(), "the books do not hold");
        }
    }
}

/// See `Shop::books`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    pub order: Order,
    /// Of the order's owner, in fen.
    pub balance: i64,
    /// Of every notice, oldest first.
    pub verdicts: Vec<String>,
    /// Kind, out_trade_no and transaction_id of every work item, oldest first.
    pub work: Vec<(String, String, String)>,
}

/// An origin where nobody listens.
pub fn nowhere() -> String {
    format!("http://{}", listen().1)
}

/// Where a listener of a test listens: any free port of loopback.
fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A browser: keeps its cookie, follows nothing by itself.
#[derive(Clone)]
pub struct Browser {
    client: Client,
    pub origin: String,
    cookies: Arc<Mutex<std::collections::BTreeMap<String, String>>>,
    user_agent: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap_or_default() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a hidden input.
    pub fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&mark).unwrap_or_else(|| panic!("no {name} in {}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

impl Browser {
    pub fn new(origin: String, user_agent: &str) -> Browser {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Browser { client, origin, cookies: Arc::default(), user_agent: user_agent.to_owned() }
    }

    pub fn cookie(&self) -> Option<String> {
        self.cookies.lock().unwrap().get("shouyin").cloned()
    }

    pub fn set_cookie(&self, value: &str) {
        self.cookies.lock().unwrap().insert("shouyin".to_owned(), value.to_owned());
    }

    /// Any request; cookies go to the shop only.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        form: Option<&[(&str, &str)]>,
    ) -> Answer {
        let ours = url.starts_with('/');
        let address = if ours { format!("{}{url}", self.origin) } else { url.to_owned() };
        let mut request = self.client.request(method, address).header("user-agent", &self.user_agent);
        if ours {
            let cookies = self.cookies.lock().unwrap();
            let line: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", line.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(fields) = form {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        if ours {
            for line in answer.headers.get_all("set-cookie") {
                let pair = line.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn get_json(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", "application/json")], None).await
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, &[], Some(form)).await
    }

    pub async fn post_json(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, &[("accept", "application/json")], Some(form)).await
    }

    /// Loads a page with a form and takes its token.
    pub async fn form_token(&self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        page.hidden("token")
    }

    pub async fn register(&self, name: &str) {
        let token = self.form_token("/register").await;
        let answer =
            self.post("/register", &[("token", &token), ("username", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Answer {
        let token = self.form_token("/login").await;
        self.post("/login", &[("token", &token), ("username", name), ("password", password)]).await
    }

    /// The silent trip that teaches the shop this phone's openid.
    pub async fn go_to_wechat_and_back(&self) {
        let out = self.get("/wechat/login?next=%2Ftop-up").await;
        assert_eq!(out.status, 302, "{}", out.body);
        let at_wechat = self.get(out.header("location")).await;
        assert_eq!(at_wechat.status, 302, "{}", at_wechat.body);
        let back = at_wechat.header("location").strip_prefix(&self.origin).unwrap().to_owned();
        let done = self.get(&back).await;
        assert_eq!(done.status, 303, "{}", done.body);
    }

    /// Tops up through the form as a program would; gives the whole answer.
    pub async fn try_top_up(&self, yuan: &str) -> Answer {
        let [token, intent] = self.top_up_form().await;
        self.send_top_up(&token, &intent, yuan).await
    }

    /// Opens the form; gives what is hidden in it, its token and its intent.
    pub async fn top_up_form(&self) -> [String; 2] {
        let form = self.get("/top-up").await;
        assert_eq!(form.status, 200, "{}", form.body);
        [form.hidden("token"), form.hidden("intent")]
    }

    pub async fn send_top_up(&self, token: &str, intent: &str, yuan: &str) -> Answer {
        self.post_json("/top-up", &[("token", token), ("intent", intent), ("amount", yuan)]).await
    }

    /// Makes an order that WeChat has prepared; gives its number.
    pub async fn top_up(&self, yuan: &str) -> String {
        let answer = self.try_top_up(yuan).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.json()["pay"]["kind"], "jsapi", "{}", answer.body);
        answer.json()["out_trade_no"].as_str().unwrap().to_owned()
    }

    /// The server's truth about an order.
    pub async fn status(&self, number: &str) -> Value {
        self.get_json(&format!("/orders/{number}/status")).await.json()
    }
}
