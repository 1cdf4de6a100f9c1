//! The recharge records: filters in the address, totals of exactly that filter.

use super::{frame, via_zh};
use crate::{
    domain::{money::yuan_text, order::Order, time::UnixMs},
    store::{
        orders::{self, Filter as Filtered, StateFilter},
        work_items,
    },
    web::{
        Web,
        error::WebError,
        layout::{Layout, OrderState, page},
        orders::as_json,
        session::{Admin, see_other},
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
const DAY_MS: i64 = 24 * 3600 * 1000;

#[derive(Template)]
#[template(path = "admin/orders.html")]
struct OrdersPage {
    layout: Layout,
    filter: Filter,
    total_count: String,
    total_paid: String,
    total_paid_count: String,
    rows: Vec<AdminRow>,
    next: Option<String>,
    presets: Vec<Link>,
    open_work: i64,
}

/// The filter as the address has it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    before: Option<i64>,
}

struct AdminRow {
    url: String,
    out_trade_no: String,
    transaction_id: String,
    user: String,
    amount: String,
    state: OrderState,
    via: String,
    delay: String,
    created: String,
    paid: String,
}

struct Link {
    text: String,
    href: String,
    current: bool,
}

/// GET /admin
pub async fn home(_: Admin) -> HttpResponse {
    see_other("/admin/orders", None)
}

/// GET /admin/orders
///
/// # Errors
/// 422 for a date or state that is none; the books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Filter>) -> Result<HttpResponse, WebError> {
    let filter = query.into_inner();
    let (wanted, before) = (filter.read()?, filter.before);
    let (mut found, totals, open_work) = web
        .app
        .store
        .read(move |db| {
            Ok((
                orders::list(db, &wanted, before, PAGE.saturating_add(1))?,
                orders::totals(db, &wanted)?,
                work_items::count_open(db)?,
            ))
        })
        .await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|(order, _)| order.id);
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "orders": found.iter().map(|(order, user)| with_user(order, user)).collect::<Vec<_>>(),
            "totals": { "orders": totals.orders, "paid": totals.paid, "paid_fen": totals.paid_fen },
            "before": next,
        })));
    }
    let now = web.app.clock.now();
    let template = OrdersPage {
        layout: frame(&web, &admin).await?,
        total_count: totals.orders.to_string(),
        total_paid: yuan_text(totals.paid_fen),
        total_paid_count: totals.paid.to_string(),
        rows: found.iter().map(|(order, user)| row(order, user, now)).collect(),
        next: next.map(|id| filter.href(Some(id))),
        presets: presets(&filter, now),
        open_work,
        filter,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn with_user(order: &Order, user: &str) -> Value {
    let mut row = as_json(order);
    if let Some(fields) = row.as_object_mut() {
        fields.insert("username".to_owned(), json!(user));
    }
    row
}

impl Filter {
    fn read(&self) -> Result<Filtered, WebError> {
        let day = |text: &str, after_ms: i64| match text {
            "" => Ok(None),
            text => UnixMs::parse_beijing_day(text)
                .map(|at| Some(at.plus_ms(after_ms)))
                .ok_or_else(|| WebError::Unprocessable("日期应写作 2026-11-20。".to_owned())),
        };
        let search = self.q.trim();
        Ok(Filtered {
            search: (!search.is_empty()).then(|| search.chars().filter(|c| *c != '\0').take(64).collect()),
            state: match self.state.as_str() {
                "" | "all" => None,
                "paid" => Some(StateFilter::Paid),
                "unpaid" => Some(StateFilter::Unpaid),
                "closed" => Some(StateFilter::Closed),
                "late" => Some(StateFilter::Late),
                _ => return Err(WebError::Unprocessable("没有这种状态。".to_owned())),
            },
            from: day(&self.from, 0)?,
            until: day(&self.to, DAY_MS)?,
        })
    }

    fn href(&self, before: Option<i64>) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("q", &self.q), ("state", &self.state), ("from", &self.from), ("to", &self.to)]
        {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if let Some(id) = before {
            query.append_pair("before", &id.to_string());
        }
        format!("/admin/orders?{}", query.finish())
    }
}

fn row(order: &Order, user: &str, now: UnixMs) -> AdminRow {
    AdminRow {
        url: format!("/admin/orders/{}", order.out_trade_no),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        user: user.to_owned(),
        amount: order.amount.yuan(),
        state: OrderState::of(order, now),
        via: order.settled_by.map(via_zh).unwrap_or_default().to_owned(),
        delay: order
            .paid_at
            .map(|at| format!("下单后 {}", duration_zh(at.since(order.created_at))))
            .unwrap_or_default(),
        created: order.created_at.beijing_text(),
        paid: order.paid_at.map(|at| at.beijing_text()).unwrap_or_default(),
    }
}

/// The largest unit that has at least two of itself.
fn duration_zh(ms: i64) -> String {
    match ms.max(0) / 1000 {
        secs @ 0..120 => format!("{secs} 秒"),
        secs @ 120..7_200 => format!("{} 分钟", secs / 60),
        secs @ 7_200..172_800 => format!("{} 小时", secs / 3_600),
        secs => format!("{} 天", secs / 86_400),
    }
}

/// Today, yesterday, seven days, all: Beijing days.
fn presets(filter: &Filter, now: UnixMs) -> Vec<Link> {
    let day = |back: i64| now.plus_ms(back.saturating_mul(DAY_MS).saturating_neg()).beijing_day();
    let ranges = [
        ("今天", day(0), day(0)),
        ("昨天", day(1), day(1)),
        ("近 7 天", day(6), day(0)),
        ("全部", String::new(), String::new()),
    ];
    ranges
        .into_iter()
        .map(|(text, from, to)| {
            let current = filter.from == from && filter.to == to;
            let link = Filter { from, to, before: None, ..filter.clone() };
            Link { text: text.to_owned(), href: link.href(None), current }
        })
        .collect()
}
