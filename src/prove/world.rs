//! One world: instances of the shop over one set of books, a simulated WeChat as its truth, and the
//! memory of what people did. Everything in it follows from the seed.

use super::{
    certificates::Trust,
    faults::{Dice, FaultyDisk, Swarm, Weather},
    keys::Keys,
    machine::{Machine, Owner, locked},
    network,
    oracle::Oracle,
};
use crate::{
    app::{App, AppError},
    clock::{Clock, NoEntropy},
    config::{Config, Database, PostgresUrl, RsaKeys, SimulatorKeys},
    domain::{
        ids::Username,
        order::Channel,
        time::UnixMs,
        user::{Role, User},
    },
    gateway::{
        Response,
        wechat_v2::{Account, sign::SignType},
    },
    http::Http,
    simulator::{Options, Scenario, Simulator},
    store::{Store, StoreError, books, books::Pulse, users},
};
use futures_util::FutureExt;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, Weak, atomic::Ordering},
    time::Duration,
};
use tokio::sync::oneshot;

/// 2026-11-20 20:00:00 in Beijing.
pub const START: UnixMs = UnixMs(1_795_176_000_000);
/// Where the simulated WeChat answers, and where it is answered when its main name cannot be connected to.
pub const GATEWAY: &str = "http://gateway.test";
pub const BACKUP: &str = "http://backup.gateway.test";
/// A browser gives up on an answer after this.
const BROWSER_PATIENCE: Duration = Duration::from_secs(60);

/// Everything there is in one simulated world.
pub struct World {
    pub clock: Clock,
    pub dice: Dice,
    pub swarm: Arc<Swarm>,
    pub weather: Arc<Weather>,
    pub machine: Machine,
    pub store: Store,
    pub config: Config,
    /// Ours at WeChat.
    pub account: Account,
    /// In a world whose gateways sign with RSA.
    pub keys: Option<Keys>,
    pub trust: Trust,
    pub simulator: Simulator,
    pub oracle: Oracle,
    pub users: Vec<Person>,
    /// Two administrators, in worlds that have any.
    pub clerks: Vec<User>,
    pub trace: Mutex<Trace>,
    /// By the number of writes: the pulse of the books after them.
    pulse: Mutex<Option<(u64, Pulse)>>,
    instances: Mutex<Vec<Option<Arc<App>>>>,
    pub memory: Mutex<Memory>,
    me: Weak<World>,
}

/// Somebody with an account, and the phones it is used from.
#[derive(Clone)]
pub struct Person {
    pub user_id: i64,
    pub number: u64,
}

/// What happened outside of the books.
#[derive(Default)]
pub struct Memory {
    /// Numbers of attempts that were ever offered for payment.
    pub numbers: Vec<String>,
    /// Every payment anybody made.
    pub paid: Vec<Payment>,
    /// Orders whose page came back from the pay sheet, and when that was heard.
    pub returned: Vec<(i64, UnixMs)>,
    /// True replies to queries, to be delivered to the wrong question.
    pub replies: Vec<Response>,
    /// Numbers of which a message with the gateway's own signature said that money went back, and none did.
    pub told_refunded: Vec<String>,
}

/// One payment, as the payer remembers it.
#[derive(Clone, Debug)]
pub struct Payment {
    pub number: String,
    pub at: UnixMs,
    /// WeChat took it although the trade was closed.
    pub after_close: bool,
}

/// The story of a world, and a hash that two runs of one seed share.
#[derive(Default)]
pub struct Trace {
    pub hash: u64,
    pub steps: u64,
    pub lines: Vec<String>,
}

impl Trace {
    /// FNV-1a over everything that happened.
    pub fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Why a world cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum NoWorld {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("the configuration of the proof is broken")]
    Config,
}

impl World {
    /// # Errors
    /// The books cannot be made: a defect, not a finding.
    pub fn begin(seed: u64, server: Option<&PostgresUrl>) -> Result<Arc<World>, NoWorld> {
        let clock = Clock::simulated(START, seed);
        let dice = Dice(clock.clone());
        // An odd seed has no clerks: the worlds of before refunds existed stay what they were.
        let mut swarm = Swarm::draw(&dice, seed.is_multiple_of(2), seed.is_multiple_of(5));
        // Half of those that have clerks: the others stay what they were.
        swarm.exceptions = seed.is_multiple_of(4);
        swarm.hangs = seed.is_multiple_of(16);
        let trust = Trust::draw(&dice, &swarm);
        let swarm = Arc::new(swarm);
        let weather = Arc::new(Weather::default());
        let disk = FaultyDisk { dice: dice.clone(), swarm: swarm.clone(), weather: weather.clone() };
        let store = match server {
            None => Store::in_memory(Arc::new(disk))?,
            Some(url) => Store::in_schema(url, &format!("prove_{seed}"), Arc::new(disk))?,
        };
        let keys = SimulatorKeys {
            rsa: RSA.clone().filter(|_| swarm.needs_rsa()),
            ..SimulatorKeys::marked([clock.nonce()?, clock.nonce()?, clock.nonce()?])
        };
        let config = config(&keys, &swarm, trust)?;
        let account = config.wechat_v2.clone().ok_or(NoWorld::Config)?;
        let users = people(&store, swarm.users)?;
        let clerks = if swarm.clerks { clerks(&store)? } else { Vec::new() };
        let world = Arc::new_cyclic(|me: &Weak<World>| World {
            simulator: simulator(&config, &keys, &account, &clock, me),
            dice,
            weather,
            machine: Machine::default(),
            store,
            config,
            account,
            keys: Keys::of(&keys, trust.mode),
            trust,
            oracle: Oracle::default(),
            users,
            clerks,
            trace: Mutex::default(),
            pulse: Mutex::default(),
            instances: Mutex::new(vec![None; swarm.instances]),
            swarm,
            memory: Mutex::default(),
            me: me.clone(),
            clock,
        });
        for number in 0..world.swarm.instances {
            world.start(number)?;
        }
        Ok(world)
    }

    /// A task of the world's own.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.machine.spawn(Owner::World, future.boxed());
    }

    /// Starts an instance on the books as they are.
    pub fn start(&self, number: usize) -> Result<(), AppError> {
        let http = Http::in_process(self.config.origins.clone(), network::line(&self.me));
        let clock = self.clock.of_another_machine();
        let app = App::with_http(self.config.clone(), self.store.clone(), clock, http)?;
        if let Some(place) = locked(&self.instances).get_mut(number) {
            *place = Some(app);
        }
        Ok(())
    }

    /// The process dies: every task of it is gone where it stands. It comes back after a while.
    pub fn crash(&self, number: usize) {
        self.note(|| format!("instance {number} crashes"));
        if let Some(place) = locked(&self.instances).get_mut(number) {
            *place = None;
        }
        self.machine.kill(Owner::Instance(number));
        let (me, down) = (self.me.clone(), self.dice.ms(500, 300_000));
        let clock = self.clock.clone();
        self.spawn(async move {
            clock.sleep(down).await;
            let Some(world) = me.upgrade() else { return };
            if world.app(number).is_none() && world.start(number).is_ok() {
                world.note(|| format!("instance {number} is back"));
            }
        });
    }

    pub fn app(&self, number: usize) -> Option<Arc<App>> {
        locked(&self.instances).get(number).cloned().flatten()
    }

    /// Some instance that runs.
    pub fn any_instance(&self) -> Option<(usize, Arc<App>)> {
        let running: Vec<(usize, Arc<App>)> = self.running();
        running.get(self.dice.index(running.len())).cloned()
    }

    pub fn running(&self) -> Vec<(usize, Arc<App>)> {
        let instances = locked(&self.instances);
        let all = instances.iter().enumerate();
        all.filter_map(|(number, app)| app.clone().map(|app| (number, app))).collect()
    }

    /// Has an instance do something for a browser. `None` when no answer comes: there is no instance,
    /// it crashes, or it takes too long. Then nobody knows what was done.
    pub async fn ask<T, F, W>(&self, work: W) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        W: FnOnce(Arc<App>) -> F,
    {
        // Often so near to each other that two requests meet in the middle of a flow.
        let way = if self.dice.permille(500) { self.dice.ms(0, 4) } else { self.dice.ms(1, 200) };
        self.clock.sleep(way).await;
        let (number, app) = self.any_instance()?;
        let (sender, answer) = oneshot::channel();
        let future = work(app);
        let task = async move {
            // The browser may be gone.
            let _ = sender.send(future.await);
        };
        self.machine.spawn(Owner::Instance(number), task.boxed());
        let answer = self.clock.within(BROWSER_PATIENCE, answer).await?.ok();
        self.clock.sleep(self.dice.ms(1, 200)).await;
        answer
    }

    /// The pulse of the books as they are. `None` when they cannot be read: that is a breach.
    pub fn pulse(&self) -> Option<Pulse> {
        let writes = self.weather.writes.load(Ordering::Relaxed);
        let mut known = locked(&self.pulse);
        if known.as_ref().is_none_or(|(after, _)| *after != writes) {
            *known = self.store.look(books::pulse).and_then(Result::ok).map(|pulse| (writes, pulse));
        }
        known.as_ref().map(|(_, pulse)| pulse.clone())
    }

    pub fn healed(&self) -> bool {
        self.weather.healed.load(Ordering::Relaxed)
    }

    /// True so often in a thousand while the faults last.
    pub fn mischief(&self, often: u64) -> bool {
        !self.healed() && self.dice.permille(often)
    }

    /// The faults end: every instance runs, and every clock is right.
    pub fn heal(&self) {
        self.weather.healed.store(true, Ordering::Relaxed);
        self.note(|| "the faults end".to_owned());
        for (_, app) in self.running() {
            app.clock.advance_ms(self.clock.now().since(app.clock.now()));
        }
        for number in 0..self.swarm.instances {
            if self.app(number).is_none() && self.start(number).is_ok() {
                self.note(|| format!("instance {number} is back"));
            }
        }
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        let line = format!("{:>11} {}", self.clock.now().since(START), what());
        let mut trace = locked(&self.trace);
        trace.mix(line.as_bytes());
        trace.lines.push(line);
    }

    /// How the next order is paid.
    pub fn way(&self) -> Channel {
        match self.swarm.ways.as_slice() {
            [only] => *only,
            ways => ways.get(self.dice.index(ways.len())).copied().unwrap_or(Channel::WechatJsapi),
        }
    }

    /// What a new trade will be like.
    pub fn draw_scenario(&self) {
        let few = self.swarm.scenarios.len();
        let scenario = if self.mischief(600) {
            self.swarm.scenarios.get(self.dice.index(few)).copied().unwrap_or_default()
        } else {
            Scenario::Ok
        };
        self.simulator.set_default_scenario(scenario);
    }
}

/// Keys take a second to make and are the same for all worlds of a process. Which they are changes nothing: no draw
/// depends on what is signed.
static RSA: LazyLock<Option<RsaKeys>> = LazyLock::new(RsaKeys::generate);

fn config(keys: &SimulatorKeys, swarm: &Swarm, trust: Trust) -> Result<Config, NoWorld> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let nowhere = Database::Sqlite(PathBuf::from(":memory:"));
    let mut config = Config::for_simulator(keys, nowhere, listen, GATEWAY).ok_or(NoWorld::Config)?;
    if swarm.backup_origin {
        config.origins.wechat_api.push(BACKUP.to_owned());
    }
    if swarm.v3 {
        let account = config.wechat_v2.as_ref().and_then(|v2| keys.wechat_v3(v2));
        config.wechat_v3 = account.and_then(|account| trust.account(keys, account, START));
    }
    config.top_up.expire_minutes = swarm.expire_minutes;
    config.refund_second_admin_above = swarm.second_admin_above;
    Ok(config)
}

fn simulator(
    config: &Config,
    keys: &SimulatorKeys,
    account: &Account,
    clock: &Clock,
    me: &Weak<World>,
) -> Simulator {
    let account = Account { accept: SignType::ALL.to_vec(), ..account.clone() };
    let options = Options::of(keys, account, String::new());
    let http = Http::in_process(config.origins.clone(), network::line(me));
    Simulator::new(options, clock.clone(), http)
}

fn clerks(store: &Store) -> Result<Vec<User>, NoWorld> {
    ["boss", "partner"]
        .map(|username| {
            let name = Username::parse(username).ok_or(NoWorld::Config)?;
            let made = store.look(|db| users::insert(db, &name, "nobody signs in", Role::Owner, START));
            let id = made.transpose()?.flatten().ok_or(NoWorld::Config)?;
            Ok(User { id, username: username.to_owned(), role: Role::Owner })
        })
        .into_iter()
        .collect()
}

fn people(store: &Store, many: usize) -> Result<Vec<Person>, NoWorld> {
    let insert = |name: String| {
        let name = Username::parse(&name).ok_or(NoWorld::Config)?;
        let made = store.look(|db| users::insert(db, &name, "nobody signs in", Role::User, START));
        made.transpose()?.flatten().ok_or(NoWorld::Config)
    };
    (0u64..)
        .take(many)
        .map(|number| Ok(Person { user_id: insert(format!("user{number}"))?, number }))
        .collect()
}
