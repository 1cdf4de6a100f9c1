//! The recharge records: filters in the address, totals of exactly that filter, one box for every kind of number.

use super::{
    duration_zh, frame,
    order_filter::{Choice, OrderFilter},
    via_zh,
};
use crate::{
    domain::{
        money::yuan_text,
        order::{Attempt, Order},
        time::UnixMs,
    },
    store::{
        order_lists::{self, Filter as Wanted, Page, Totals},
        search::{self, Hit},
        work_items,
    },
    web::{
        Web,
        error::WebError,
        layout::{Layout, OrderState, page},
        orders::as_json,
        providers,
        session::{Admin, see_other},
        ways::name_zh,
    },
};
use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Query},
};
use askama::Template;
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "admin/orders.html")]
struct OrdersPage {
    layout: Layout,
    filter: OrderFilter,
    from_input: &'static str,
    to_input: &'static str,
    /// `None` where that many orders are only summed when somebody asks.
    totals: Option<ShownTotals>,
    /// Where one asks.
    sum_url: String,
    rows: Vec<AdminRow>,
    newest: Option<String>,
    next: Option<String>,
    /// Nothing older than this was looked at.
    stopped_at: Option<String>,
    presets: Vec<Choice>,
    states: Vec<Choice>,
    channels: Vec<Choice>,
    accounts: Vec<Choice>,
    vias: Vec<Choice>,
    csv: String,
    xlsx: String,
    /// What the search found besides orders, as links.
    besides: Vec<Choice>,
    open_work: i64,
}

/// Sums of exactly the filter.
struct ShownTotals {
    orders: String,
    paid: String,
    taken: String,
    refunded: String,
    net: String,
}

/// One order on an administrator's page.
pub struct AdminRow {
    pub url: String,
    pub out_trade_no: String,
    /// The number it was tried or paid by, where that is not the order's own.
    pub attempt_no: Option<String>,
    pub transaction_id: String,
    pub wallet: &'static str,
    pub channel: &'static str,
    pub user: String,
    pub user_url: String,
    pub amount: String,
    pub refunded: Option<String>,
    pub state: OrderState,
    pub via: String,
    pub delay: String,
    pub created: String,
    pub paid: String,
}

/// GET /admin/orders
///
/// # Errors
/// 422 for a filter that cannot be read; the books.
pub async fn list(
    web: Data<Arc<Web>>,
    admin: Admin,
    query: Query<OrderFilter>,
) -> Result<HttpResponse, WebError> {
    let filter = query.into_inner();
    let now = web.app.clock.now();
    let (wanted, hits) = resolve(&web, &filter, now).await?;
    if let ([hit], false, None) = (hits.as_slice(), admin.json, filter.before) {
        return Ok(see_other(&home_of(hit), None));
    }
    let before = filter.before;
    let sums = if filter.totals.is_empty() {
        let wanted = wanted.clone();
        web.app.store.read(move |db| order_lists::totals_of_few(db, &wanted)).await?
    } else {
        Some(summed(&web, wanted.clone()).await?)
    };
    let (listed, attempts, open_work) = web
        .app
        .store
        .read(move |db| {
            let listed = order_lists::page(db, &wanted, before, PAGE)?;
            let attempts = order_lists::attempts_of(db, &listed.found)?;
            Ok((listed, attempts, work_items::count_open(db)?))
        })
        .await?;
    let Page { found, next, stopped_at } = listed;
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "orders": found.iter().map(|found| with_user(found, &attempts)).collect::<Vec<_>>(),
            "totals": sums.map(|totals| json!({
                "orders": totals.orders,
                "paid": totals.paid,
                "paid_fen": totals.paid_fen,
                "refund_fen": totals.refund_fen,
            })),
            "before": next,
        })));
    }
    // Sums are asked for once, not again with every page.
    let filter = OrderFilter { totals: String::new(), ..filter };
    let template = OrdersPage {
        layout: frame(&web, &admin).await?,
        from_input: OrderFilter::date_input(&filter.from),
        to_input: OrderFilter::date_input(&filter.to),
        totals: sums.as_ref().map(shown),
        sum_url: OrderFilter { totals: "1".to_owned(), ..filter.clone() }.href(),
        rows: rows(&found, &attempts, now),
        newest: filter.before.map(|_| OrderFilter { before: None, ..filter.clone() }.href()),
        stopped_at: stopped_at.map(|at| at.beijing_text()),
        next: next.map(|id| OrderFilter { before: Some(id), ..filter.clone() }.href()),
        presets: filter.presets(now),
        states: filter.state_choices(),
        channels: filter.channel_choices(&web.app),
        accounts: filter.account_choices(&web.app),
        vias: filter.via_choices(),
        csv: OrderFilter { before: None, ..filter.clone() }.under("/admin/orders.csv"),
        xlsx: OrderFilter { before: None, ..filter.clone() }.under("/admin/orders.xlsx"),
        besides: hits.iter().filter_map(besides).collect(),
        open_work,
        filter,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// The sums, however many orders that takes. A part at a time, so that others read in between.
///
/// # Errors
/// The books.
pub async fn summed(web: &Web, wanted: Wanted) -> Result<Totals, WebError> {
    let mut sums = Totals::default();
    for part in web.app.store.read(move |db| order_lists::parts(db, &wanted)).await? {
        sums = sums.with(web.app.store.read(move |db| order_lists::totals(db, &part)).await?);
    }
    Ok(sums)
}

/// The filter with what its search box stands for; and everything of that number or name.
///
/// # Errors
/// 422 for a filter that cannot be read; the books.
pub async fn resolve(web: &Web, filter: &OrderFilter, now: UnixMs) -> Result<(Wanted, Vec<Hit>), WebError> {
    let mut wanted = filter.read(now)?;
    let Some(text) = filter.search() else { return Ok((wanted, Vec::new())) };
    let hits = web.app.store.read(move |db| search::find(db, &text)).await?;
    let ids: Vec<i64> = hits
        .iter()
        .filter_map(|hit| match hit {
            Hit::Order { id, .. } => Some(*id),
            Hit::WorkItem(_) | Hit::User(_) => None,
        })
        .collect();
    let user = hits.iter().find_map(|hit| match hit {
        Hit::User(id) => Some(*id),
        Hit::Order { .. } | Hit::WorkItem(_) => None,
    });
    match user {
        // A name that is no number of an order: the orders of that user.
        Some(id) if ids.is_empty() => wanted.user_id = Some(id),
        _ => wanted.ids = Some(ids),
    }
    Ok((wanted, hits))
}

fn home_of(hit: &Hit) -> String {
    match hit {
        Hit::Order { out_trade_no, .. } => format!("/admin/orders/{out_trade_no}"),
        Hit::WorkItem(id) => format!("/admin/work-items/{id}"),
        Hit::User(id) => format!("/admin/users/{id}"),
    }
}

fn besides(hit: &Hit) -> Option<Choice> {
    let text = match hit {
        Hit::Order { .. } => return None,
        Hit::WorkItem(id) => format!("待处理 #{id}"),
        Hit::User(id) => format!("用户 #{id}"),
    };
    Some(Choice { value: home_of(hit), text, current: false })
}

fn with_user((order, user): &(Order, String), attempts: &HashMap<i64, Attempt>) -> Value {
    let mut row = as_json(order);
    if let Some(fields) = row.as_object_mut() {
        fields.insert("username".to_owned(), json!(user));
        let channel = attempts.get(&order.id).map(|attempt| attempt.channel.as_str());
        fields.insert("channel".to_owned(), json!(channel));
    }
    row
}

fn shown(totals: &Totals) -> ShownTotals {
    ShownTotals {
        orders: totals.orders.to_string(),
        paid: totals.paid.to_string(),
        taken: yuan_text(totals.paid_fen),
        refunded: yuan_text(totals.refund_fen),
        net: yuan_text(totals.paid_fen.saturating_sub(totals.refund_fen)),
    }
}

/// Orders with the attempts they were paid or tried by.
pub fn rows(found: &[(Order, String)], attempts: &HashMap<i64, Attempt>, now: UnixMs) -> Vec<AdminRow> {
    found.iter().map(|(order, user)| row(order, user, attempts.get(&order.id), now)).collect()
}

fn row(order: &Order, user: &str, attempt: Option<&Attempt>, now: UnixMs) -> AdminRow {
    let number = attempt.map(|attempt| &attempt.out_trade_no).filter(|number| **number != order.out_trade_no);
    AdminRow {
        url: format!("/admin/orders/{}", order.out_trade_no),
        out_trade_no: order.out_trade_no.as_str().to_owned(),
        attempt_no: number.map(|number| number.as_str().to_owned()),
        transaction_id: order.transaction_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        wallet: attempt.map_or("渠道", |attempt| providers::name_zh(attempt.channel.provider())),
        channel: attempt.map_or("", |attempt| name_zh(attempt.channel)),
        user: user.to_owned(),
        user_url: format!("/admin/users/{}", order.user_id),
        amount: order.amount.yuan(),
        refunded: (order.reserved.get() > 0).then(|| order.reserved.yuan()),
        state: OrderState::of(order, now),
        via: order.settled_by.map(via_zh).unwrap_or_default().to_owned(),
        delay: order
            .paid_at
            .map(|at| match order.told_paid_at {
                Some(told) => format!("付款后 {}", duration_zh(at.since(told))),
                None => format!("下单后 {}", duration_zh(at.since(order.created_at))),
            })
            .unwrap_or_default(),
        created: order.created_at.beijing_text(),
        paid: order.paid_at.map(|at| at.beijing_text()).unwrap_or_default(),
    }
}
