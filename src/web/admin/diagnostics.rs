//! How the program itself is doing, in facts that can be copied into a question to somebody else: no secret, no key, no
//! number of a user or an order is among them.

use super::{
    dashboard::{REMIND_MS, certificates, last_at_doors},
    duration_zh, frame,
    order_filter::DAY_MS,
};
use crate::{
    config::Database,
    domain::{order::Environment, time::UnixMs},
    gateway::SIGN_PROBE,
    store::{
        diagnosis::{self, Diagnosis},
        figures::{self, Delays},
        pending,
    },
    web::{
        Web,
        error::WebError,
        grouped,
        layout::{Layout, page},
        rights::{Diagnostics, May},
        session::Admin,
    },
};
use actix_web::{HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// With less than this share of the disk free somebody should look, in percent.
const LITTLE_ROOM: u64 = 10;
const JUST_NOW: &str = "支付渠道刚才的答复";
const MIB: i64 = 1024 * 1024;

#[derive(Template)]
#[template(path = "admin/diagnostics.html")]
struct DiagnosticsPage {
    layout: Layout,
    is_tested: bool,
    parts: Vec<Part>,
    /// The same as plain text.
    text: String,
}

/// One heading with its facts.
struct Part {
    title: &'static str,
    facts: Vec<Fact>,
}

pub struct Fact {
    name: String,
    value: String,
    /// `ok`, `warn` or `bad`; `mute` for what is only told.
    tone: &'static str,
}

pub fn fact(name: impl Into<String>, value: impl Into<String>, tone: &'static str) -> Fact {
    Fact { name: name.into(), value: value.into(), tone }
}

/// GET /admin/diagnostics
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, admin: May<Diagnostics>) -> Result<HttpResponse, WebError> {
    answer(&web, &admin, Vec::new()).await
}

/// The page, with what the gateways were just heard to say, if they were asked.
///
/// # Errors
/// The books.
pub async fn answer(web: &Web, admin: &Admin, tested: Vec<Fact>) -> Result<HttpResponse, WebError> {
    let now = web.app.clock.now();
    let doors = last_at_doors(web).await?;
    let read = web.app.store.read(move |db| {
        let delays = figures::delays(db, now.plus_ms(DAY_MS.saturating_neg()))?;
        Ok((diagnosis::of(db)?, pending::backlog(db)?.0, delays))
    });
    let (books, asked_about, delays) = read.await?;
    let is_tested = !tested.is_empty();
    let mut parts = vec![
        Part { title: "程序", facts: program(web, now) },
        Part { title: "账本", facts: of_books(web, &books, asked_about) },
        Part { title: "后台任务", facts: jobs(web, now) },
        Part { title: "支付渠道", facts: gateways(web) },
        Part {
            title: "最近一条验签通过的回调",
            facts: doors.into_iter().map(|door| of_door(door, now)).collect(),
        },
        Part { title: "时钟", facts: vec![clock(delays)] },
        Part { title: "证书", facts: of_certificates(web, now) },
    ];
    if is_tested {
        parts.insert(0, Part { title: JUST_NOW, facts: tested });
    }
    if admin.json {
        return Ok(HttpResponse::Ok().json(as_json(&parts)));
    }
    let text = as_text(&parts, now);
    let template = DiagnosticsPage { layout: frame(web, admin).await?, is_tested, parts, text };
    Ok(page(web, admin, StatusCode::OK, &template))
}

fn program(web: &Web, now: UnixMs) -> Vec<Fact> {
    let config = &web.app.config;
    let up = i64::try_from(web.app.clock.monotonic().as_millis()).unwrap_or_default();
    let environment = match config.environment {
        Environment::Live => "正式",
        Environment::Simulator => "模拟",
    };
    let https = if config.public_url.is_https() { "ok" } else { "warn" };
    vec![
        fact("版本", env!("CARGO_PKG_VERSION"), "mute"),
        fact("环境", environment, "mute"),
        fact("已运行", duration_zh(up), "mute"),
        fact("服务器时间（北京）", now.beijing_text(), "mute"),
        fact("地址", config.public_url.to_string(), https),
        fact("受信任的代理", format!("{} 段", config.trusted_proxies.len()), "mute"),
    ]
}

fn of_books(web: &Web, books: &Diagnosis, asked_about: i64) -> Vec<Fact> {
    let queue = web.app.store.queue_percent();
    let clean = web.app.metrics.books_clean.get() == 1;
    let mut facts = vec![
        fact("数据库", &*books.engine, "mute"),
        fact("迁移", books.migrations.join(" "), "mute"),
        fact("大小", format!("{} MiB", books.bytes / MIB), "mute"),
        fact("写队列", format!("{queue} %"), if queue < 80 { "ok" } else { "bad" }),
        fact("等待查单", format!("{asked_about} 笔"), "mute"),
        match clean {
            true => fact("上次对账本的审计", "全部规则成立", "ok"),
            false => fact("上次对账本的审计", "还没有跑过，或有规则不成立；请运行 shouyin audit", "warn"),
        },
    ];
    facts.extend(disk(&web.app.config.database));
    facts
}

fn disk(database: &Database) -> Option<Fact> {
    let (free, whole) = diagnosis::disk(database)?;
    let share = free.saturating_mul(100).checked_div(whole)?;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let tone = if share < LITTLE_ROOM { "bad" } else { "ok" };
    Some(fact("磁盘剩余", format!("{} MiB，{share} %", mib(free)), tone))
}

fn jobs(web: &Web, now: UnixMs) -> Vec<Fact> {
    let alive = match (web.jobs_alive)() {
        true => fact("全部", "按时在跑", "ok"),
        false => fact("全部", "有任务很久没有跑完一轮", "bad"),
    };
    let round = |(name, round): (&str, crate::app::Round)| match round.fault {
        None => fact(name, format!("{}前", duration_zh(now.since(round.at))), "ok"),
        Some(fault) => fact(name, format!("{}前出错：{fault}", duration_zh(now.since(round.at))), "bad"),
    };
    std::iter::once(alive).chain(web.app.rounds.all().into_iter().map(round)).collect()
}

fn gateways(web: &Web) -> Vec<Fact> {
    let mut facts: Vec<Fact> = web
        .app
        .gateways()
        .map(|gateway| {
            let protocol = gateway.protocol();
            let channels = web.app.channels();
            let first = channels.iter().filter(|channel| {
                web.app.gateway_for(**channel).is_some_and(|(chosen, _)| chosen.protocol() == protocol)
            });
            let names: Vec<&str> = first.map(|channel| crate::web::ways::name_zh(*channel)).collect();
            let used = if names.is_empty() { "只用于旧订单".to_owned() } else { names.join("、") };
            fact(protocol.as_str(), used, "mute")
        })
        .collect();
    // What became of every call since the start: the plainest test of a gateway is its answers.
    let mut calls: BTreeMap<(String, bool), u64> = BTreeMap::new();
    for (call, outcome, count) in web.app.metrics.gateway_calls() {
        // Whatever a gateway says under its signature is an answer, also that it knows of no such order.
        let is_usable = !matches!(outcome.as_str(), "no_answer" | "untrusted" | SIGN_PROBE);
        let sum = calls.entry((call, is_usable)).or_default();
        *sum = sum.saturating_add(count);
    }
    facts.extend(calls.into_iter().map(|((call, is_usable), count)| {
        let (text, tone) =
            if is_usable { ("有可用的回答", "ok") } else { ("没有可用的回答", "warn") };
        fact(call, format!("{text} {} 次（本次启动以来）", grouped(count)), tone)
    }));
    facts
}

fn of_door((name, at): (&'static str, Option<UnixMs>), now: UnixMs) -> Fact {
    match at {
        Some(at) => fact(name, format!("{}前（{}）", duration_zh(now.since(at)), at.beijing_text()), "ok"),
        None => fact(name, "还没有收到过", "mute"),
    }
}

/// The gateway's word for when a payment was made is never later than its callback, unless a clock is wrong.
fn clock(delays: Option<Delays>) -> Fact {
    const NAME: &str = "入账时间减渠道付款时间，24 小时内最小";
    match delays {
        None => fact(NAME, "24 小时内没有回调，无从比较", "mute"),
        Some(delays) if delays.least_ms < -1_000 => {
            fact(NAME, format!("{} 毫秒：本机时钟慢了，请校时", delays.least_ms), "bad")
        }
        Some(delays) if delays.least_ms > 60_000 => {
            fact(NAME, format!("{}：本机时钟快了，或回调来得很晚", duration_zh(delays.least_ms)), "warn")
        }
        Some(delays) => fact(NAME, format!("{} 毫秒", delays.least_ms), "ok"),
    }
}

fn of_certificates(web: &Web, now: UnixMs) -> Vec<Fact> {
    let one = |(name, ends): (String, UnixMs)| {
        let (left, day) = (ends.since(now), ends.beijing_day());
        match left {
            left if left < 0 => fact(name, format!("已经过期（{day}）"), "bad"),
            left if left < REMIND_MS => {
                fact(name, format!("还有 {} 天（{day}），请更换", left / DAY_MS), "warn")
            }
            left => fact(name, format!("还有 {} 天（{day}）", left / DAY_MS), "ok"),
        }
    };
    let facts: Vec<Fact> = certificates(web).into_iter().map(one).collect();
    if facts.is_empty() { vec![fact("证书", "没有配置会到期的证书", "mute")] } else { facts }
}

fn as_text(parts: &[Part], now: UnixMs) -> String {
    let mut text = format!("shouyin diagnostics {}\n", now.beijing_text());
    for part in parts {
        text.push_str(&format!("\n[{}]\n", part.title));
        for fact in &part.facts {
            text.push_str(&format!("{}: {}\n", fact.name, fact.value));
        }
    }
    text
}

fn as_json(parts: &[Part]) -> Value {
    let facts = |part: &Part| {
        let facts = part.facts.iter();
        facts
            .map(|fact| json!({ "name": fact.name, "value": fact.value, "tone": fact.tone }))
            .collect::<Vec<_>>()
    };
    parts.iter().map(|part| json!({ "title": part.title, "facts": facts(part) })).collect()
}
