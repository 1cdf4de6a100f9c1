//! The first page of the day: money, health, what is to be done. Every number is a link to the list that explains it.

use super::{
    duration_zh, first_run, frame,
    order_filter::{Choice, DAY_MS, LONG_OPEN_MS, OrderFilter, written},
    orders::{AdminRow, rows},
    verdict_zh, via_zh,
};
use crate::{
    domain::{money::yuan_text, order::Source, time::UnixMs},
    gateway::Protocol,
    store::{
        Db, StoreError,
        adjustments::{self, Adjustment},
        figures::{self, Delays, Takings},
        order_lists::{self, Filter as Wanted},
        refunds, work_items,
    },
    web::{
        Web,
        error::WebError,
        grouped,
        layout::{Layout, OrderState, page},
        providers,
        session::Admin,
    },
};
use actix_web::{HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use serde_json::json;
use std::sync::Arc;

const DAYS: i64 = 30;
/// The newest orders at the foot of the page.
const NEWEST: i64 = 8;
/// Of the adjustments that wait, so many are named.
const MOST_WAITING: i64 = 20;
/// The chart in its own units; the page scales it.
const CHART_HEIGHT: i64 = 120;
const BAR_STEP: i64 = 20;
const BAR_WIDTH: i64 = 14;
/// A certificate with less than this left is mentioned, in ms.
pub const REMIND_MS: i64 = 30 * DAY_MS;

#[derive(Template)]
#[template(path = "admin/dashboard.html")]
struct DashboardPage {
    layout: Layout,
    today: Shown,
    yesterday: Shown,
    change: Option<String>,
    success: Option<Rate>,
    delays: Option<Shares>,
    ways: Vec<Part>,
    pending: Figure,
    bars: Vec<Bar>,
    chart_width: i64,
    month: Shown,
    doors: Vec<Door>,
    work: Vec<Choice>,
    refunds: i64,
    /// Those that wait for a second administrator.
    adjustments: Vec<Choice>,
    certificates: Vec<String>,
    /// Of the first run.
    open_steps: usize,
    rows: Vec<AdminRow>,
}

/// A sum, its count, and the list that explains both.
struct Shown {
    yuan: String,
    orders: i64,
    href: String,
}

struct Figure {
    count: i64,
    href: String,
}

struct Rate {
    text: String,
    paid: i64,
    made: i64,
    href: String,
}

struct Shares {
    p50: String,
    p95: String,
    href: String,
}

/// One way the news of payments came, with its share.
struct Part {
    text: &'static str,
    count: i64,
    share: String,
    href: String,
}

/// One day: where its bar stands, and its row of the table below.
struct Bar {
    x: i64,
    y: i64,
    height: i64,
    width: i64,
    day: String,
    yuan: String,
    orders: i64,
    is_today: bool,
    href: String,
}

/// One address that gateways call.
struct Door {
    name: &'static str,
    ago: Option<String>,
    at: String,
}

/// Everything that is read, in one look at the books.
struct Read {
    today: Takings,
    yesterday: Takings,
    days: Vec<Takings>,
    made: (i64, i64),
    delays: Option<Delays>,
    sources: Vec<(Source, i64)>,
    pending: i64,
    doors: Vec<(&'static str, Option<UnixMs>)>,
    work: Vec<(String, i64)>,
    refunds: i64,
    adjustments: Vec<Adjustment>,
    rows: Vec<AdminRow>,
}

/// GET /admin
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, admin: Admin) -> Result<HttpResponse, WebError> {
    let now = web.app.clock.now();
    let doors = doors(&web);
    let read = web.app.store.read(move |db| look(db, now, doors)).await?;
    if admin.json {
        return Ok(HttpResponse::Ok().json(as_json(&read)));
    }
    let open_steps = first_run::count_open(&web, &admin).await?;
    let layout = frame(&web, &admin).await?;
    let template = DashboardPage { layout, open_steps, ..drawn(&web, read, now) };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// The addresses that gateways of ours call, as the books name them.
fn doors(web: &Web) -> Vec<(&'static str, Protocol, &'static str)> {
    let mut doors = Vec::new();
    for gateway in web.app.gateways() {
        let protocol = gateway.protocol();
        let (payments, refunds) = providers::doors_zh(protocol);
        doors.push((payments, protocol, "notify"));
        if protocol.refund_notify_path().is_some() {
            doors.push((refunds, protocol, "refund_notify"));
        }
    }
    doors
}

/// When the newest authentic message came at each door of ours.
///
/// # Errors
/// The books.
pub async fn last_at_doors(web: &Web) -> Result<Vec<(&'static str, Option<UnixMs>)>, WebError> {
    let doors = doors(web);
    Ok(web.app.store.read(move |db| last(db, doors)).await?)
}

fn last(
    db: &mut Db,
    doors: Vec<(&'static str, Protocol, &'static str)>,
) -> Result<Vec<(&'static str, Option<UnixMs>)>, StoreError> {
    let at = |(name, protocol, source): (&'static str, Protocol, &'static str)| {
        Ok((name, figures::last_at_door(db, protocol.as_str(), source)?))
    };
    doors.into_iter().map(at).collect()
}

/// Midnight in Beijing before this moment.
fn midnight(now: UnixMs) -> UnixMs {
    UnixMs::parse_beijing_day(&now.beijing_day()).unwrap_or(now)
}

fn ago(now: UnixMs, ms: i64) -> UnixMs {
    now.plus_ms(ms.saturating_neg())
}

fn look(
    db: &mut Db,
    now: UnixMs,
    doors: Vec<(&'static str, Protocol, &'static str)>,
) -> Result<Read, StoreError> {
    let (today, day_ago) = (midnight(now), ago(now, DAY_MS));
    let found = order_lists::page(db, &Wanted::default(), None, NEWEST)?.found;
    let attempts = order_lists::attempts_of(db, &found)?;
    Ok(Read {
        // To the end of the day: what was credited by a clock that is a little ahead counts too.
        today: figures::takings(db, today, today.plus_ms(DAY_MS))?,
        yesterday: figures::takings(db, ago(today, DAY_MS), day_ago)?,
        days: figures::by_day(db, ago(today, (DAYS - 1) * DAY_MS), DAYS)?,
        made: figures::made_and_paid(db, day_ago)?,
        delays: figures::delays(db, day_ago)?,
        sources: figures::by_source(db, day_ago)?,
        pending: figures::open_since(db, ago(now, LONG_OPEN_MS))?,
        doors: last(db, doors)?,
        work: work_items::open_by_kind(db)?,
        refunds: refunds::count_open(db)?,
        adjustments: adjustments::waiting(db, MOST_WAITING)?,
        rows: rows(&found, &attempts, now),
    })
}

fn as_json(read: &Read) -> serde_json::Value {
    let sources: serde_json::Map<_, _> =
        read.sources.iter().map(|(source, count)| (source.as_str().to_owned(), json!(count))).collect();
    json!({
        "today": { "orders": read.today.orders, "fen": read.today.fen },
        "yesterday_until_now": { "orders": read.yesterday.orders, "fen": read.yesterday.fen },
        "days": read.days.iter().map(|day| json!({ "orders": day.orders, "fen": day.fen })).collect::<Vec<_>>(),
        "last_24h": {
            "made": read.made.0,
            "paid": read.made.1,
            "by_source": sources,
            "notify_p50_ms": read.delays.map(|delays| delays.p50_ms),
            "notify_p95_ms": read.delays.map(|delays| delays.p95_ms),
        },
        "pending_over_5_minutes": read.pending,
        "open_work_items": read.work.iter().map(|(kind, open)| json!({ "kind": kind, "open": open })).collect::<Vec<_>>(),
        "open_refunds": read.refunds,
        "waiting_adjustments": read.adjustments.len(),
        "last_notices": read.doors.iter()
            .map(|(door, at)| json!({ "door": door, "at_ms": at.map(|at| at.0) })).collect::<Vec<_>>(),
    })
}

fn drawn(web: &Web, read: Read, now: UnixMs) -> DashboardPage {
    let (today, day_ago) = (midnight(now), ago(now, DAY_MS));
    let paid_since =
        |from: String, to: String| OrderFilter { by: "paid".to_owned(), from, to, ..OrderFilter::default() };
    let lately = OrderFilter { from: written(day_ago), ..OrderFilter::default() };
    let paid_lately = OrderFilter { by: "paid".to_owned(), ..lately.clone() };
    let whole: i64 = read.sources.iter().map(|(_, count)| *count).sum();
    let part = |(source, count): &(Source, i64)| Part {
        text: via_zh(*source),
        count: *count,
        share: percent(*count, whole),
        href: OrderFilter { via: source.as_str().to_owned(), ..paid_lately.clone() }.href(),
    };
    let from = ago(today, (DAYS - 1) * DAY_MS);
    let month = read.days.iter().fold(Takings::default(), |sum, day| Takings {
        orders: sum.orders.saturating_add(day.orders),
        fen: sum.fen.saturating_add(day.fen),
    });
    let day = |at: UnixMs| at.beijing_day();
    DashboardPage {
        layout: Layout::default(),
        change: change(read.today.fen, read.yesterday.fen),
        today: shown(read.today, paid_since(day(today), day(today))),
        yesterday: shown(read.yesterday, paid_since(day(ago(today, DAY_MS)), written(day_ago))),
        success: (read.made.0 > 0).then(|| Rate {
            text: percent(read.made.1, read.made.0),
            paid: read.made.1,
            made: read.made.0,
            href: lately.href(),
        }),
        delays: read.delays.map(|delays| Shares {
            p50: duration_zh(delays.p50_ms),
            p95: duration_zh(delays.p95_ms),
            href: OrderFilter { via: "notify".to_owned(), ..paid_lately.clone() }.href(),
        }),
        ways: read.sources.iter().map(part).collect(),
        pending: Figure {
            count: read.pending,
            href: OrderFilter { state: "pending".to_owned(), ..OrderFilter::default() }.href(),
        },
        chart_width: DAYS * BAR_STEP,
        month: shown(month, paid_since(day(from), day(today))),
        bars: bars(&read.days, from),
        doors: read.doors.into_iter().map(|(name, at)| door(name, at, now)).collect(),
        work: read.work.iter().map(|(kind, open)| of_kind(kind, *open)).collect(),
        refunds: read.refunds,
        adjustments: read.adjustments.iter().map(waiting).collect(),
        certificates: ending(web, now),
        open_steps: 0,
        rows: read.rows,
    }
}

fn shown(takings: Takings, filter: OrderFilter) -> Shown {
    Shown { yuan: yuan_text(takings.fen), orders: takings.orders, href: filter.href() }
}

fn of_kind(kind: &str, open: i64) -> Choice {
    Choice {
        value: format!("/admin/work-items?state=open&kind={kind}"),
        text: format!("{} {}", verdict_zh(kind).0, grouped(open)),
        current: false,
    }
}

fn waiting(one: &Adjustment) -> Choice {
    Choice {
        value: format!("/admin/users/{}", one.user_id),
        text: format!("用户 #{} 调整 {} 元", one.user_id, grouped(yuan_text(one.fen))),
        current: false,
    }
}

fn door(name: &'static str, at: Option<UnixMs>, now: UnixMs) -> Door {
    Door {
        name,
        ago: at.map(|at| format!("{}前", duration_zh(now.since(at)))),
        at: at.map(|at| at.beijing_text()).unwrap_or_default(),
    }
}

/// In tenths of a percent, rounded down: 100 is all of them and nothing less.
fn percent(part: i64, whole: i64) -> String {
    let tenths = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Against the same time yesterday, in whole percent; nothing to say when there was nothing.
fn change(today: i64, yesterday: i64) -> Option<String> {
    let change = today.saturating_sub(yesterday).saturating_mul(100).checked_div(yesterday)?;
    Some(match change {
        0 => "与昨天此时持平".to_owned(),
        change if change > 0 => format!("比昨天此时多 {change} %"),
        change => format!("比昨天此时少 {} %", change.saturating_neg()),
    })
}

fn bars(days: &[Takings], from: UnixMs) -> Vec<Bar> {
    let most = days.iter().map(|day| day.fen).max().unwrap_or_default().max(1);
    let mut bars = Vec::new();
    for (nth, day) in (0_i64..).zip(days) {
        let at = from.plus_ms(nth.saturating_mul(DAY_MS)).beijing_day();
        // A day with money is never without a bar.
        let height = (day.fen.saturating_mul(CHART_HEIGHT) / most).max(i64::from(day.fen > 0));
        let filter =
            OrderFilter { by: "paid".to_owned(), from: at.clone(), to: at.clone(), ..OrderFilter::default() };
        bars.push(Bar {
            x: nth.saturating_mul(BAR_STEP).saturating_add((BAR_STEP - BAR_WIDTH) / 2),
            y: CHART_HEIGHT.saturating_sub(height),
            height,
            width: BAR_WIDTH,
            day: at,
            yuan: yuan_text(day.fen),
            orders: day.orders,
            is_today: nth == DAYS - 1,
            href: filter.href(),
        });
    }
    bars
}

/// Every certificate in use with its last moment.
pub fn certificates(web: &Web) -> Vec<(String, UnixMs)> {
    let own = web.app.config.wechat_certificate.as_ref();
    let own = own.map(|certificate| ("商户 API 证书 WECHAT_CERT_PEM".to_owned(), certificate.expires_at));
    own.into_iter().chain(web.app.gateways().flat_map(|gateway| gateway.certificates())).collect()
}

/// Those that end soon, in words.
fn ending(web: &Web, now: UnixMs) -> Vec<String> {
    let soon = certificates(web).into_iter().filter(|(_, ends)| ends.since(now) < REMIND_MS);
    soon.map(|(name, ends)| match ends.since(now) {
        left if left < 0 => format!("{name} 已经过期（{}）", ends.beijing_day()),
        left => format!("{name} 还有 {} 天到期（{}）", left / DAY_MS, ends.beijing_day()),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_up_to_all_and_a_change_needs_something_to_compare_with() {
        assert_eq!(percent(999_999, 1_000_000), "99.9 %");
        assert_eq!(
            (percent(1, 3), percent(0, 0), percent(5, 5)),
            ("33.3 %".into(), "0.0 %".into(), "100.0 %".into())
        );
        assert_eq!(change(500, 0), None);
        assert_eq!(change(0, 400).unwrap(), "比昨天此时少 100 %");
        assert_eq!(change(500, 400).unwrap(), "比昨天此时多 25 %");
    }

    #[test]
    fn the_largest_day_fills_the_chart_and_a_fen_is_still_seen() {
        let day = |fen| Takings { orders: 1, fen };
        let bars = bars(&[day(0), day(1), day(1_000_000)], UnixMs(0));
        assert_eq!(bars.iter().map(|bar| bar.height).collect::<Vec<_>>(), [0, 1, CHART_HEIGHT]);
        assert!(bars.iter().all(|bar| bar.y + bar.height == CHART_HEIGHT));
    }
}
