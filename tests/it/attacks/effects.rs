//! What the file says must be true afterwards, effect by effect.

use super::world::{SECOND, Snapshot, World, rows, text};
use crate::harness::{Answer, Shop};
use shouyin::gateway::wechat_v2::xml::Fields;

/// Checks the class of every answer and every effect. An effect that is not known here must have been
/// looked at by the handler, through `World::holds`.
pub async fn check(world: &mut World) {
    for answer in world.answers.clone() {
        if let Some(fault) = wrong_class(&world.case.expected.body, &answer) {
            world.faults.push(fault);
        }
    }
    let (before, after) = match (&world.before, &world.shop) {
        (Some(before), Some(shop)) => (Some(before.clone()), Some(Snapshot::of(shop).await)),
        _ => (None, None),
    };
    let stage = before.zip(after);
    for effect in world.case.expected.effect.clone() {
        let by_hand = world.held.iter().any(|held| effect.starts_with(held.as_str()));
        let found = match &stage {
            Some((before, after)) => known(world, &effect, before, after).await,
            None => without_books(world, &effect),
        };
        match found {
            Some(Ok(())) => {}
            Some(Err(seen)) => world.faults.push(format!("{effect}: {seen}")),
            None if by_hand => {}
            None => world.faults.push(format!("{effect}: nobody looked")),
        }
    }
}

/// ACK and NACK are the gateway's own words; a redirect or an unplanned 500 never is an answer.
fn wrong_class(wanted: &str, answer: &Answer) -> Option<String> {
    let right = if wanted.contains("ACK_V3") {
        is_v3(wanted, answer)
    } else if wanted.contains("ACK_ALI") {
        is_alipay(wanted, answer)
    } else {
        is_v2(wanted, answer)
    };
    (!right).then(|| format!("{wanted} expected, came {} {}", answer.status, answer.body))
}

/// The words our refusals are made of: they name the class of fault and reveal nothing.
const REFUSALS: &[&str] = &[
    "MESSAGE NOT UNDERSTOOD",
    "SIGNATURE NOT ACCEPTED",
    "MESSAGE TOO OLD",
    "RECIPIENT NOT ACCEPTED",
    "MESSAGE INCOMPLETE",
    "MESSAGE NOT ACCEPTED",
    "ORDER NOT ACCEPTED",
    "MESSAGE TOO LARGE OR BROKEN",
];

fn is_v3(wanted: &str, answer: &Answer) -> bool {
    let json = answer.header("content-type") == "application/json";
    let refusal = |text: &&str| answer.body == format!("{{\"code\":\"FAIL\",\"message\":\"{text}\"}}");
    let acknowledged = answer.status == 200 && json && answer.body == r#"{"code":"SUCCESS","message":"OK"}"#;
    let refused = matches!(answer.status, 400..=499) && json && REFUSALS.iter().any(refusal);
    if wanted.starts_with("ACK_V3 or NACK_V3") {
        acknowledged || refused
    } else if wanted.starts_with("NACK_V3") {
        refused
    } else {
        acknowledged
    }
}

/// Where a case has answers of both kinds, its handler tells which is for what.
fn is_alipay(wanted: &str, answer: &Answer) -> bool {
    let text = answer.header("content-type").starts_with("text/plain");
    let acknowledged = answer.status == 200 && text && answer.body == "success";
    let refused = matches!(answer.status, 200 | 400..=499) && text && answer.body == "fail";
    match wanted {
        "ACK_ALI" => acknowledged,
        mixed if mixed.starts_with("ACK_ALI ") || mixed.contains("unless") => acknowledged || refused,
        _ => refused,
    }
}

fn is_v2(wanted: &str, answer: &Answer) -> bool {
    let fields = Fields::parse(answer.body.as_bytes()).ok();
    let code = fields.as_ref().and_then(|fields| fields.get("return_code"));
    let xml = answer.header("content-type").starts_with("text/xml");
    let acknowledged = answer.status == 200 && xml && code == Some("SUCCESS");
    let refused = matches!(answer.status, 200 | 400..=499 | 503) && xml && code == Some("FAIL");
    match wanted {
        either if either.contains("ACK_V2 or NACK_V2") || either.contains("NACK_V2 or ACK_V2") => {
            acknowledged || refused
        }
        nack if nack.starts_with("NACK_V2") => refused,
        ack if ack.starts_with("ACK_V2") => acknowledged,
        none if none.starts_with("no ACK") => !acknowledged && !matches!(answer.status, 300..=399),
        _ => true,
    }
}

/// The catalogue's words, in ours.
fn ours(word: &str) -> &str {
    match word {
        "merchant_mismatch" => "mch_id_mismatch",
        other => other,
    }
}

type Verdict = Option<Result<(), String>>;

fn verdict(holds: bool, seen: impl FnOnce() -> String) -> Verdict {
    Some(if holds { Ok(()) } else { Err(seen()) })
}

fn without_books(world: &World, effect: &str) -> Verdict {
    match effect {
        "n/a" => Some(Ok(())),
        _ if effect.starts_with("RSS_BOUNDED:") => grown(world, effect),
        _ => None,
    }
}

async fn known(world: &mut World, effect: &str, before: &Snapshot, after: &Snapshot) -> Verdict {
    let (name, argument) = effect.split_once(':').unwrap_or((effect, ""));
    let argument = ours(argument);
    match name {
        "NO_CREDIT" => verdict(before.ledger == after.ledger, || format!("{:?}", after.ledger)),
        "NO_CREDIT_FROM_NOTIFY" => no_credit_from_notify(before, after),
        "ORDER_UNCHANGED" => changed_orders(before, after),
        "no order" => verdict(before.orders.len() == after.orders.len(), || "an order was made".to_owned()),
        "NOTIFY_RECORDED" => recorded(world, argument, before, after),
        "QUARANTINE" => {
            let fresh = after.work.iter().filter(|(id, _)| !before.work.contains_key(id));
            let kinds: Vec<_> = fresh.map(|(_, (kind, _))| kind.as_str()).collect();
            verdict(kinds == [argument], || format!("work items {kinds:?}"))
        }
        "ALERT" => verdict(after.alerts.get(argument) > before.alerts.get(argument), || {
            format!("alerts {:?}", after.alerts)
        }),
        "NO_GATEWAY_CALL" | "no gateway call" => {
            verdict(before.calls == after.calls, || format!("{:?}", after.calls.get(before.calls.len()..)))
        }
        "NO_OUTBOUND" => verdict(before.calls == after.calls && untouched(world), || "a call".to_owned()),
        "NO_5XX" if effect == name => {
            let failed: Vec<u16> = world.answers.iter().map(|a| a.status).filter(|s| *s >= 500).collect();
            verdict(failed.is_empty(), || format!("{failed:?}"))
        }
        "RSS_BOUNDED" => grown(world, effect),
        "SESSION_ROTATED; old id dead" => rotated(world).await,
        "n/a" => Some(Ok(())),
        _ if name == "CREDIT_ONCE"
            || effect == "CREDIT_ONCE to U1"
            || effect.starts_with("CREDIT_ONCE (") =>
        {
            let expected = argument.parse().ok();
            Some(credited(before, after, &world.subject, expected))
        }
        "at most CREDIT_ONCE" if before.ledger == after.ledger => Some(Ok(())),
        "at most CREDIT_ONCE" => Some(credited(before, after, &world.subject, None)),
        _ => None,
    }
}

/// One top-up entry of the order's total, status 1, the balance up by it, and no other order touched.
pub fn credited(before: &Snapshot, after: &Snapshot, number: &str, fen: Option<i64>) -> Result<(), String> {
    let (Some(was), Some(is)) = (before.orders.get(number), after.orders.get(number)) else {
        return Err(format!("no order {number}"));
    };
    let amount = is["amount_fen"].as_i64().unwrap();
    let user = is["user_id"].as_i64().unwrap();
    let legs = after.ledger.iter().filter(|leg| leg["order_id"] == is["id"]).count();
    let gained = after.balance(user) - before.balance(user);
    let seen = format!("status {} to {}, {legs} legs, balance up by {gained}", was["status"], is["status"]);
    let entries = after.ledger.len() - before.ledger.len();
    let once = was["status"] == 0 && is["status"] == 1 && legs == 2 && entries == 2;
    if once && gained == amount && fen.is_none_or(|fen| fen == amount) { Ok(()) } else { Err(seen) }
}

fn no_credit_from_notify(before: &Snapshot, after: &Snapshot) -> Verdict {
    let fresh = after.ledger.get(before.ledger.len()..).unwrap_or_default();
    let by_notify = |notice: &String| after.notices.get(notice).is_none_or(|(_, source)| source == "notify");
    let bad: Vec<_> = fresh.iter().filter(|leg| by_notify(&text(leg, "notice_id"))).collect();
    verdict(bad.is_empty(), || format!("{bad:?}"))
}

fn changed_orders(before: &Snapshot, after: &Snapshot) -> Verdict {
    let changed: Vec<_> =
        before.orders.iter().filter(|(number, row)| after.orders.get(*number) != Some(*row)).collect();
    verdict(changed.is_empty() && before.orders.len() == after.orders.len(), || {
        format!("{changed:?} became {:?}", after.orders)
    })
}

/// One new row for each callback, all with this verdict; a query's answer leaves one.
fn recorded(world: &World, wanted: &str, before: &Snapshot, after: &Snapshot) -> Verdict {
    let fresh = after.notices.iter().filter(|(id, _)| !before.notices.contains_key(*id));
    let by_callback = fresh.filter(|(_, (_, source))| (source == "notify") == (world.callbacks > 0));
    let verdicts: Vec<_> = by_callback.map(|(_, (verdict, _))| verdict.as_str()).collect();
    let right = verdicts.len() == world.callbacks.max(1) && verdicts.iter().all(|v| *v == wanted);
    verdict(right, || format!("{} sent, recorded {verdicts:?}", world.callbacks))
}

/// The sweep will ask about the order of the case within a minute.
pub async fn scheduled(world: &mut World) {
    let shop = world.shop.clone().expect("a shop");
    let soon = shop.clock.now().plus_secs(60).0;
    let pending = rows(&shop, "pending_queries").await;
    let due = pending
        .iter()
        .any(|row| row["out_trade_no"] == world.subject.as_str() && row["next_at"].as_i64() <= Some(soon));
    world.expect(due, format!("no query is scheduled: {pending:?}"));
}

/// A callback that was not believed has made the sweep ask about the order of the case now.
pub async fn hurried(world: &mut World, effect: &str) {
    let shop = world.shop.clone().expect("a shop");
    let pending = rows(&shop, "pending_queries").await;
    let due = pending.iter().any(|row| {
        row["out_trade_no"] == world.subject.as_str()
            && row["next_at"].as_i64().is_some_and(|at| at <= shop.clock.now().0)
    });
    world.holds(effect, due, format!("{pending:?}"));
}

fn untouched(world: &World) -> bool {
    world.lure.as_ref().is_some_and(|lure| lure.accept().is_err())
}

/// `+8MiB` against what a process of its own grew by.
fn grown(world: &World, effect: &str) -> Verdict {
    let mebibytes: u64 = effect.split_once('+')?.1.strip_suffix("MiB")?.parse().ok()?;
    match world.growth {
        Some(growth) => verdict(growth <= mebibytes * 1024 * 1024, || format!("grew by {growth} bytes")),
        None => Some(Err("nobody measured".to_owned())),
    }
}

/// The old session opens nothing any more, the new one does.
async fn rotated(world: &World) -> Verdict {
    let shop = world.shop.clone().expect("a shop");
    let Some((old, new)) = world.rotated.clone() else {
        return Some(Err("nobody signed in".to_owned()));
    };
    let (dead, alive) = (opens(&shop, &old).await, opens(&shop, &new).await);
    verdict(old != new && !dead && alive, || format!("same {}, old {dead}, new {alive}", old == new))
}

/// Whether somebody is signed in with this cookie.
pub async fn opens(shop: &Shop, cookie: &str) -> bool {
    let browser = shop.browser();
    browser.set_cookie(cookie);
    browser.get_json("/orders").await.status == 200
}

/// Ends with a fault when the work takes longer than the catalogue's second.
pub async fn in_time<T>(world: &mut World, work: impl Future<Output = T>) -> T {
    let started = std::time::Instant::now();
    let done = work.await;
    let took = started.elapsed();
    world.expect(took < SECOND, format!("took {took:?}"));
    done
}
