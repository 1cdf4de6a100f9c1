//! What one case works with: a shop, what was sent and answered, and the books before and after.

use super::Case;
use crate::harness::{Answer, Browser, Shop};
use diesel::{RunQueryDsl, sql_query, sql_types::Text};
use serde_json::Value;
use shouyin::{
    config::Config,
    gateway::wechat_v2::{
        sign::{self, SignType},
        xml::Fields,
    },
    store::{Db, StoreError},
};
use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{Ipv4Addr, TcpListener},
    rc::Rc,
    time::Duration,
};

/// A catalogue second: debug builds on two busy cores get five.
pub const SECOND: Duration = Duration::from_secs(5);

/// The stage of one case.
pub struct World {
    pub case: Case,
    pub shop: Option<Rc<Shop>>,
    /// The number of the order the case is about.
    pub subject: String,
    /// What came back to the messages of the attack.
    pub answers: Vec<Answer>,
    /// Callbacks sent since `mark`.
    pub callbacks: usize,
    pub before: Option<Snapshot>,
    /// Effects of the file that the handler looked at itself.
    pub held: Vec<String>,
    pub faults: Vec<String>,
    /// What a case leaves unproved here.
    pub notes: Vec<&'static str>,
    /// How much a process of its own grew, in bytes.
    pub growth: Option<u64>,
    /// A session from before signing in, and the one after.
    pub rotated: Option<(String, String)>,
    /// Nobody may call here.
    pub lure: Option<TcpListener>,
}

impl World {
    pub fn new(case: Case) -> World {
        World {
            case,
            shop: None,
            subject: String::new(),
            answers: Vec::new(),
            callbacks: 0,
            before: None,
            held: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            growth: None,
            rotated: None,
            lure: None,
        }
    }

    /// A shop that signs with MD5, as most orders of the catalogue do.
    pub async fn open(&mut self) -> Rc<Shop> {
        self.open_with(|config| {
            config.wechat_v2.as_mut().unwrap().sign_type = SignType::Md5;
            config.wechat_v2.as_mut().unwrap().accept = vec![SignType::Md5];
        })
        .await
    }

    pub async fn open_with(&mut self, change: impl FnOnce(&mut Config)) -> Rc<Shop> {
        let shop = Rc::new(Shop::open_with(change).await);
        self.shop = Some(shop.clone());
        shop
    }

    /// O1 of the catalogue: ann's unpaid order of 100 fen. What happens from here on is the attack.
    pub async fn o1(&mut self) -> (Rc<Shop>, Browser) {
        let shop = self.open().await;
        let user = self.ordered(&shop).await;
        (shop, user)
    }

    /// An unpaid order of 100 fen in this shop.
    pub async fn ordered(&mut self, shop: &Shop) -> Browser {
        let user = shop.user("ann").await;
        self.subject = user.top_up("1").await;
        self.mark().await;
        user
    }

    /// The books as they are now are those before the attack.
    pub async fn mark(&mut self) {
        let shop = self.shop.clone().expect("a shop");
        self.before = Some(Snapshot::of(&shop).await);
        self.callbacks = 0;
    }

    /// A callback of the attack.
    pub async fn notify(&mut self, body: impl Into<Vec<u8>>) -> Answer {
        let shop = self.shop.clone().expect("a shop");
        let answer = shop.notify(body).await;
        self.callbacks += 1;
        self.record(&answer);
        answer
    }

    /// The same at another door, with these headers.
    pub async fn call_back(
        &mut self,
        door: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let shop = self.shop.clone().expect("a shop");
        let answer = shop.call_back(door, headers, body).await;
        self.callbacks += 1;
        self.record(&answer);
        answer
    }

    pub fn record(&mut self, answer: &Answer) {
        self.answers.push(answer.clone());
    }

    /// The fields of the genuine callback for the order of the case, not signed yet.
    pub fn genuine(&self) -> Fields {
        genuine(self.shop.as_ref().expect("a shop"), &self.subject)
    }

    /// Signed with the merchant's own key by MD5.
    pub fn signed(&self, fields: Fields) -> String {
        signed(self.shop.as_ref().expect("a shop"), fields, SignType::Md5)
    }

    /// The genuine callback with some fields changed before signing.
    pub fn changed(&self, changes: &[(&str, &str)]) -> String {
        let mut fields = self.genuine();
        for (name, value) in changes {
            fields.set(name, value);
        }
        self.signed(fields)
    }

    pub fn expect(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.faults.push(what.to_string());
        }
    }

    /// Answers for an effect of the file that begins like this.
    pub fn holds(&mut self, effect: &str, holds: bool, seen: impl Display) {
        self.held.push(effect.to_owned());
        if !holds {
            self.faults.push(format!("{effect}: {seen}"));
        }
    }

    /// A listener nobody may call; gives its origin.
    pub fn lay_lure(&mut self) -> String {
        let lure = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        lure.set_nonblocking(true).unwrap();
        let origin = format!("http://{}", lure.local_addr().unwrap());
        self.lure = Some(lure);
        origin
    }
}

pub fn genuine(shop: &Shop, number: &str) -> Fields {
    let mut fields = Fields::parse(shop.simulator.signed_notify(number, &[]).as_bytes()).unwrap();
    fields.remove("sign");
    fields
}

pub fn signed(shop: &Shop, mut fields: Fields, sign_type: SignType) -> String {
    let signature = sign::sign(&fields, &shop.app.config.wechat_v2.as_ref().unwrap().key, sign_type);
    fields.set("sign", &signature);
    fields.to_xml()
}

/// The books, the notices, the alarms and the gateway's log at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// Every column of every order, by number.
    pub orders: BTreeMap<String, Value>,
    pub ledger: Vec<Value>,
    /// Verdict and source by id.
    pub notices: BTreeMap<String, (String, String)>,
    /// Open work items: kind and order number by id.
    pub work: BTreeMap<i64, (String, String)>,
    pub alerts: BTreeMap<String, f64>,
    pub calls: Vec<String>,
}

impl Snapshot {
    pub async fn of(shop: &Shop) -> Snapshot {
        let orders = rows(shop, "orders").await;
        let notices = shop.all_notices().await;
        let work = shop.work_items().await;
        Snapshot {
            orders: orders.into_iter().map(|row| (text(&row, "out_trade_no"), row)).collect(),
            ledger: rows(shop, "ledger").await,
            notices: notices.into_iter().map(|n| (n.id, (n.verdict, n.source))).collect(),
            work: work
                .into_iter()
                .filter(|item| item.closed_at.is_none())
                .map(|item| (item.id, (item.kind, item.out_trade_no)))
                .collect(),
            alerts: alerts(&shop.app.metrics.render()),
            calls: shop.simulator.calls(),
        }
    }

    /// What the ledger says this account holds.
    pub fn balance(&self, user_id: i64) -> i64 {
        let account = format!("user:{user_id}");
        let legs = self.ledger.iter().filter(|leg| leg["account"] == account.as_str());
        legs.map(|leg| leg["amount_fen"].as_i64().unwrap()).sum()
    }
}

pub fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row}")).to_owned()
}

fn alerts(metrics: &str) -> BTreeMap<String, f64> {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix("alerts_total{name=\"")?.split_once("\"} "))
        .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
        .collect()
}

#[derive(diesel::QueryableByName)]
struct OneText {
    #[diesel(sql_type = Text)]
    text: String,
}

/// Every column of every row of a table, as the database has it.
pub async fn rows(shop: &Shop, table: &'static str) -> Vec<Value> {
    let found = shop.app.store.read(move |db| all(db, table)).await.unwrap();
    found.iter().map(|row| serde_json::from_str(&row.text).unwrap()).collect()
}

fn all(db: &mut Db, table: &str) -> Result<Vec<OneText>, StoreError> {
    if let Db::Postgres(_) = db {
        return Ok(sql_query(format!(
            "SELECT to_json(t)::text AS text FROM {table} t ORDER BY to_jsonb(t)->'id', to_jsonb(t)->'created_at', ctid"
        ))
        .load(db)?);
    }
    let columns = format!("SELECT name AS text FROM pragma_table_info('{table}')");
    let columns: Vec<OneText> = sql_query(columns).load(db)?;
    let pairs: Vec<String> = columns.iter().map(|c| format!("'{0}', {0}", c.text)).collect();
    let query = format!("SELECT json_object({}) AS text FROM {table} ORDER BY rowid", pairs.join(", "));
    Ok(sql_query(query).load(db)?)
}
