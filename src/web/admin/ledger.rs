//! The ledger as it stands: every leg of every entry, newest first.

use super::{
    frame,
    order_filter::{self, OrderFilter},
    storable,
};
use crate::{
    domain::{
        ledger::{Account, Kind},
        money::yuan_text,
        order::Provider,
        time::UnixMs,
    },
    store::ledger::{self, Filter, Posted, Sums},
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
        providers,
        session::Admin,
    },
};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use url::form_urlencoded::Serializer;

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "admin/ledger.html")]
struct LedgerPage {
    layout: Layout,
    account: String,
    /// Of the chosen account.
    balance: Option<String>,
    kinds: Vec<KindChoice>,
    from: String,
    to: String,
    from_input: &'static str,
    to_input: &'static str,
    /// Of exactly what the filter leaves; nothing to say of all of it, which is zero by its nature.
    sums: Option<ShownSums>,
    accounts: Vec<AccountLink>,
    rows: Vec<PostedRow>,
    next: Option<String>,
}

struct KindChoice {
    value: &'static str,
    text: &'static str,
    current: bool,
}

struct ShownSums {
    legs: i64,
    came: String,
    went: String,
    net: String,
}

/// An account that is not a user's, with what stands on it.
struct AccountLink {
    name: String,
    text: String,
    /// `None` where that many entries are only summed when somebody looks at the account.
    balance: Option<String>,
    href: String,
}

/// One leg on a page.
pub struct PostedRow {
    pub id: i64,
    pub at: String,
    pub kind: &'static str,
    pub account: String,
    pub account_url: String,
    pub amount: String,
    pub is_out: bool,
    /// What it is about, and where that is shown.
    pub about: String,
    pub about_url: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    account: String,
    kind: String,
    /// Beijing days or moments, as in the list of orders.
    from: String,
    to: String,
    before: Option<i64>,
}

impl Shown {
    fn read(&self) -> Result<Filter, WebError> {
        let kind = match self.kind.as_str() {
            "" => None,
            word => {
                Some(Kind::parse(word).ok_or_else(|| WebError::Unprocessable("没有这种流水。".to_owned()))?)
            }
        };
        Ok(Filter {
            account: (!self.account.is_empty()).then(|| self.account.clone()),
            kind,
            from: order_filter::from(&self.from)?,
            until: order_filter::until(&self.to)?,
        })
    }

    fn href(&self) -> String {
        let mut query = Serializer::new(String::new());
        let typed =
            [("account", &self.account), ("kind", &self.kind), ("from", &self.from), ("to", &self.to)];
        for (name, value) in typed.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        if let Some(id) = self.before {
            query.append_pair("before", &id.to_string());
        }
        format!("/admin/ledger?{}", query.finish())
    }
}

/// GET /admin/ledger
///
/// # Errors
/// 422 for a kind or a day that is none; the books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Shown>) -> Result<HttpResponse, WebError> {
    let shown = query.into_inner();
    let account = storable(shown.account.trim(), 64);
    let shown = Shown { account, ..shown };
    let filter = shown.read()?;
    let before = shown.before;
    let read = web.app.store.read(move |db| {
        let found = ledger::list(db, &filter, before, PAGE.saturating_add(1))?;
        let balances: Vec<Option<i64>> = house()
            .iter()
            .map(|(account, _)| ledger::balance_of_few(db, account))
            .collect::<Result<_, _>>()?;
        let sums = if filter.is_any() { ledger::sums_of_few(db, &filter)? } else { None };
        Ok((found, balances, sums))
    });
    let (mut found, balances, sums) = read.await?;
    let own = match account_called(&shown.account).filter(|_| !admin.json) {
        Some(account) => Some(summed(&web, account).await?),
        None => None,
    };
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|leg| leg.id);
    if admin.json {
        let sums =
            sums.map(|sums| json!({ "entries": sums.legs, "in_fen": sums.in_fen, "out_fen": sums.out_fen }));
        return Ok(HttpResponse::Ok().json(json!({
            "entries": found.iter().map(as_json).collect::<Vec<_>>(), "sums": sums, "before": next,
        })));
    }
    let link = |((account, text), fen): ((Account, String), Option<i64>)| AccountLink {
        name: account.name(),
        text,
        balance: fen.map(yuan_text),
        href: of_account(&account.name()),
    };
    let kinds = Kind::ALL.map(|kind| KindChoice {
        value: kind.as_str(),
        text: kind_zh(kind.as_str()),
        current: shown.kind == kind.as_str(),
    });
    let template = LedgerPage {
        layout: frame(&web, &admin).await?,
        balance: own.map(yuan_text),
        kinds: kinds.into(),
        accounts: house().into_iter().zip(balances).map(link).collect(),
        rows: rows(&found),
        sums: sums.map(shown_sums),
        from_input: OrderFilter::date_input(&shown.from),
        to_input: OrderFilter::date_input(&shown.to),
        next: next.map(|id| Shown { before: Some(id), ..shown.clone() }.href()),
        account: shown.account,
        from: shown.from,
        to: shown.to,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// What stands on an account, however many entries that takes. A part at a time, so that others read in between.
async fn summed(web: &Web, account: Account) -> Result<i64, WebError> {
    let few = account.clone();
    if let Some(fen) = web.app.store.read(move |db| ledger::balance_of_few(db, &few)).await? {
        return Ok(fen);
    }
    let (mut sum, mut after) = (0_i64, 0);
    loop {
        let whose = account.clone();
        let part = web.app.store.read(move |db| ledger::balance_part(db, &whose, after)).await?;
        let Some((fen, until)) = part else { return Ok(sum) };
        (sum, after) = (sum.saturating_add(fen), until);
    }
}

/// The accounts of the house, all but the users'.
fn house() -> Vec<(Account, String)> {
    let of_provider = |provider| {
        let name = providers::name_zh(provider);
        (Account::Gateway(provider), format!("{name}应付我方（负数是{name}欠我方的）"))
    };
    let others =
        [(Account::Refunds, "退款在途".to_owned()), (Account::Adjustments, "人工调整的对方科目".to_owned())];
    Provider::ALL.into_iter().map(of_provider).chain(others).collect()
}

fn account_called(name: &str) -> Option<Account> {
    let user = name.strip_prefix("user:").and_then(|id| id.parse().ok()).map(Account::User);
    user.or_else(|| house().into_iter().map(|(account, _)| account).find(|account| account.name() == name))
}

fn of_account(name: &str) -> String {
    Shown { account: name.to_owned(), ..Shown::default() }.href()
}

fn shown_sums(sums: Sums) -> ShownSums {
    ShownSums {
        legs: sums.legs,
        came: yuan_text(sums.in_fen),
        went: yuan_text(sums.out_fen),
        net: yuan_text(sums.in_fen.saturating_add(sums.out_fen)),
    }
}

fn kind_zh(kind: &str) -> &'static str {
    match Kind::parse(kind) {
        Some(Kind::TopUp) => "充值入账",
        Some(Kind::RefundHold) => "退款冻结",
        Some(Kind::Refund) => "退款付出",
        Some(Kind::RefundRelease) => "退款恢复",
        Some(Kind::Correction) => "人工入账",
        Some(Kind::Adjustment) => "人工调整",
        None => "其他",
    }
}

/// Legs as they are shown.
pub fn rows(found: &[Posted]) -> Vec<PostedRow> {
    found.iter().map(row).collect()
}

fn row(leg: &Posted) -> PostedRow {
    let user = leg.account.strip_prefix("user:");
    let (about, about_url) = match &leg.out_trade_no {
        Some(number) => (number.clone(), Some(format!("/admin/orders/{number}"))),
        None => (format!("#{}", leg.source_id), None),
    };
    PostedRow {
        id: leg.id,
        at: UnixMs(leg.created_at).beijing_text(),
        kind: kind_zh(&leg.kind),
        account_url: match user {
            Some(id) => format!("/admin/users/{id}"),
            None => of_account(&leg.account),
        },
        account: leg.account.clone(),
        amount: match leg.fen {
            fen if fen > 0 => format!("+{}", yuan_text(fen)),
            fen => yuan_text(fen),
        },
        is_out: leg.fen < 0,
        about,
        about_url,
    }
}

/// A leg for programs.
pub fn as_json(leg: &Posted) -> Value {
    json!({
        "id": leg.id,
        "kind": leg.kind,
        "source_id": leg.source_id,
        "out_trade_no": leg.out_trade_no,
        "account": leg.account,
        "amount_fen": leg.fen,
        "at_ms": leg.created_at,
    })
}
