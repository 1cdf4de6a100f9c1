//! The gateways' bills: every day as it stands, and one day with its differences.

use super::{
    bill_calendar::{self, Calendar},
    frame,
};
use crate::{
    domain::{
        bill::{BillDay, BillKind, Bucket, Totals},
        money::{Fen, yuan_text},
    },
    flow::{
        FlowError,
        reconcile::{self, Outcome},
    },
    store::{
        StoreError,
        bill_differences::{self, Shown},
        bills::{self, BillOfDay, BillState},
    },
    web::{
        Web, csrf,
        error::WebError,
        grouped,
        layout::{Layout, page},
        log_in::TokenForm,
        providers,
        rights::{May, Money},
        session::{Admin, see_other},
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const PAGE: i64 = 60;
/// A browser is answered after this time; comparing goes on.
const PATIENCE: Duration = Duration::from_secs(20);
/// More differences of one day than this are not shown at once.
const MOST: i64 = 500;

#[derive(Template)]
#[template(path = "admin/bills.html")]
struct BillsPage {
    layout: Layout,
    /// None on the pages after the first.
    calendars: Vec<Calendar>,
    rows: Vec<BillLine>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/bill.html")]
struct BillPage {
    layout: Layout,
    bill: BillLine,
    flash: Option<&'static str>,
    /// Of each side: payments, refunds, what is left.
    sides: Vec<Side>,
    buckets: Vec<BucketRows>,
    more: bool,
    said: String,
    next: Option<String>,
    fetched: Option<String>,
    compared: Option<String>,
    sha256: String,
    credited: i64,
    /// Where its lines can be taken away, once they are here.
    lines: Option<String>,
}

/// One day in a line.
struct BillLine {
    url: String,
    day: String,
    who: &'static str,
    account: String,
    state: String,
    tone: &'static str,
    theirs: String,
    ours: String,
    apart: String,
    counts: String,
}

struct Side {
    name: String,
    payments: i64,
    payments_yuan: String,
    refunds: i64,
    refunds_yuan: String,
    net: String,
}

struct BucketRows {
    title: &'static str,
    hint: &'static str,
    rows: Vec<DifferenceRow>,
}

struct DifferenceRow {
    kind: &'static str,
    theirs: Option<String>,
    ours: Option<String>,
    at: String,
    transaction_id: String,
    out_trade_no: String,
    out_refund_no: String,
    order_url: Option<String>,
    work_url: String,
    open: bool,
}

#[derive(Deserialize)]
pub struct Before {
    before: Option<String>,
}

#[derive(Deserialize)]
pub struct Flash {
    #[serde(default)]
    did: String,
}

/// GET /admin/bills
///
/// # Errors
/// The books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Before>) -> Result<HttpResponse, WebError> {
    let before = query.into_inner().before.filter(|day| BillDay::parse(day).is_some());
    let is_first = before.is_none();
    let (found, counts, next) = web
        .app
        .store
        .read(move |db| {
            let mut found = bills::list(db, before.as_deref(), PAGE)?;
            let next = whole_days(&mut found);
            let ids: Vec<i64> = found.iter().map(|bill| bill.id).collect();
            Ok((found, bill_differences::counts(db, &ids)?, next))
        })
        .await?;
    let with_counts = found.iter().zip(counts.iter().map(|(_, all, open)| (*all, *open)));
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "bills": with_counts.map(|(bill, counts)| as_json(bill, counts)).collect::<Vec<_>>(),
            "before": next,
        })));
    }
    let calendars = if is_first { bill_calendar::all(&web).await? } else { Vec::new() };
    let template = BillsPage {
        calendars,
        rows: with_counts.map(|(bill, counts)| line(bill, counts)).collect(),
        layout: frame(&web, &admin).await?,
        next: next.map(|day| format!("/admin/bills?before={day}")),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// Takes a day that may go on out of a full page; gives the day the next page begins before, if there is one.
fn whole_days(found: &mut Vec<BillOfDay>) -> Option<String> {
    let last = found.last().filter(|_| i64::try_from(found.len()).is_ok_and(|count| count >= PAGE))?.day;
    found.retain(|bill| bill.day > last);
    found.last().map(|bill| bill.day.to_string())
}

/// GET /admin/bills/{id}
///
/// # Errors
/// 404; the books.
pub async fn show(
    web: Data<Arc<Web>>,
    admin: Admin,
    id: Path<i64>,
    flash: Query<Flash>,
) -> Result<HttpResponse, WebError> {
    let id = id.into_inner();
    let found = web.app.store.read(move |db| {
        let Some(bill) = bills::by_id(db, id)? else { return Ok(None) };
        let counts = bill_differences::counts(db, &[id])?;
        Ok(Some((bill, counts, bill_differences::of_bill(db, id, MOST)?)))
    });
    let (bill, counts, shown) = found.await?.ok_or(WebError::NotFound)?;
    let (all, open) = counts.first().map_or((0, 0), |(_, all, open)| (*all, *open));
    if admin.json {
        let mut told = as_json(&bill, (all, open));
        if let Value::Object(members) = &mut told {
            members.insert("differences".to_owned(), shown.iter().map(difference_json).collect());
        }
        return Ok(HttpResponse::Ok().json(told));
    }
    let theirs = format!("{}账单", providers::name_zh(bill.biller.provider));
    let template = BillPage {
        layout: frame(&web, &admin).await?,
        flash: did_zh(&flash.did),
        sides: vec![side(theirs, bill.theirs), side("我方账本".to_owned(), bill.ours)],
        more: i64::try_from(shown.len()).is_ok_and(|count| count < all),
        buckets: Bucket::ALL.map(|bucket| rows_of(bucket, &shown)).into(),
        said: bill.said.clone(),
        next: bill.next_at.map(|at| at.beijing_text()),
        fetched: bill.fetched_at.map(|at| at.beijing_text()),
        compared: bill.compared_at.map(|at| at.beijing_text()),
        sha256: bill.sha256.clone(),
        credited: bill.credited,
        lines: bill.fetched_at.map(|_| format!("/admin/bills/{id}/lines.csv")),
        bill: line(&bill, (all, open)),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// POST /admin/bills/{id}/reconcile: fetches and compares once more.
///
/// # Errors
/// 404; 409 while somebody is at it, or when the merchant is not ours any more; the books.
pub async fn again(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    admin: May<Money>,
    id: Path<i64>,
    form: Form<TokenForm>,
) -> Result<HttpResponse, WebError> {
    csrf::check(&request, &web.app, &admin, &form.token)?;
    let id = id.into_inner();
    let found = web.app.store.read(move |db| bills::by_id(db, id)).await?;
    let bill = found.ok_or(WebError::NotFound)?;
    let was = bill.state;
    let task = reconcile::again(web.app.clone(), admin.user.clone(), bill);
    let Ok(done) = tokio::time::timeout(PATIENCE, task).await else {
        return Ok(see_other(&format!("/admin/bills/{id}?did=running"), None));
    };
    let did = match done.unwrap_or(Err(FlowError::Store(StoreError::Busy)))? {
        None => {
            return Err(WebError::Conflict(
                "这份账单属于另一个商户号，现在的设置里没有它。没有任何改动；换回旧设置后可以重新对账。",
            ));
        }
        Some(Outcome::Busy) => {
            return Err(WebError::Conflict("正在对账，还没有结束。没有任何改动，请三分钟后再试。"));
        }
        Some(Outcome::Compared(_)) => "compared",
        Some(Outcome::NotYet(_)) if was != BillState::Waiting => "kept",
        Some(Outcome::NotYet(_)) => "not_yet",
        Some(Outcome::Unheard(_)) if was != BillState::Waiting => "kept",
        Some(Outcome::Unheard(_)) => "unheard",
    };
    Ok(see_other(&format!("/admin/bills/{id}?did={did}"), None))
}

fn line(bill: &BillOfDay, (all, open): (i64, i64)) -> BillLine {
    let apart = bill.theirs.net_fen().saturating_sub(bill.ours.net_fen());
    let (state, tone) = match bill.state {
        BillState::Waiting if all == 0 => ("未对账".to_owned(), "mute"),
        BillState::Waiting => (format!("没有对完，已发现 {all} 笔不符"), "warn"),
        BillState::Balanced => ("平".to_owned(), "ok"),
        BillState::Unbalanced if open == 0 => ("不平，已全部处理".to_owned(), "info"),
        BillState::Unbalanced => (format!("不平 {open}"), "bad"),
    };
    BillLine {
        url: format!("/admin/bills/{}", bill.id),
        day: bill.day.to_string(),
        who: providers::name_zh(bill.biller.provider),
        account: bill.biller.account.clone(),
        state,
        tone,
        theirs: yuan_text(bill.theirs.net_fen()),
        ours: yuan_text(bill.ours.net_fen()),
        apart: if apart == 0 { String::new() } else { yuan_text(apart) },
        counts: format!("{} 笔收款，{} 笔退款", grouped(bill.theirs.payments), grouped(bill.theirs.refunds)),
    }
}

fn side(name: String, totals: Totals) -> Side {
    Side {
        name,
        payments: totals.payments,
        payments_yuan: yuan_text(totals.payments_fen),
        refunds: totals.refunds,
        refunds_yuan: yuan_text(totals.refunds_fen),
        net: yuan_text(totals.net_fen()),
    }
}

fn rows_of(bucket: Bucket, shown: &[Shown]) -> BucketRows {
    let (title, hint) = match bucket {
        Bucket::Extra => {
            ("长款：账单有，我方没有", "已经向支付平台查过。没有自动入账的，到待处理里核对、退款或入账。")
        }
        Bucket::Missing => {
            ("短款：我方有，账单没有", "我方入账时有支付平台的签名答复。请在商户平台按单号核对。")
        }
        Bucket::Amount => ("金额不符", "两边都有这一笔，金额不同。请以商户平台的实付金额为准核对。"),
    };
    let ours = shown.iter().filter(|shown| shown.difference.bucket == bucket);
    BucketRows { title, hint, rows: ours.map(difference_row).collect() }
}

fn difference_row(shown: &Shown) -> DifferenceRow {
    let one = &shown.difference;
    DifferenceRow {
        kind: if one.kind == BillKind::Payment { "收款" } else { "退款" },
        theirs: one.theirs.map(Fen::yuan),
        ours: one.ours.map(Fen::yuan),
        at: one.at.beijing_text(),
        transaction_id: one.transaction_id.clone(),
        // What the books know nothing of has no page.
        order_url: one.ours.map(|_| format!("/admin/orders/{}", one.out_trade_no)),
        out_trade_no: one.out_trade_no.clone(),
        out_refund_no: one.out_refund_no.clone(),
        work_url: format!("/admin/work-items/{}", shown.work_item),
        open: shown.open,
    }
}

fn did_zh(word: &str) -> Option<&'static str> {
    match word {
        "compared" => Some("已重新对账，下面是最新的结果。"),
        "not_yet" => {
            Some("支付平台还没有出这一天的账单。七天之内的账单会自动再取；更早的不会，请过些时候再点一次。")
        }
        "running" => Some("这一天很大，还在对账。不需要等：结束后刷新这一页就能看到结果。"),
        "kept" => Some("支付平台现在没有给出这一天的账单。上次取到的账单和对账结果都保留着，没有任何改动。"),
        "unheard" => Some(
            "没有得到可用的答复，已发现的差异都保留着，钱和账都没有受影响。七天之内的账单会自动再试；更早的请过些时候再点一次。",
        ),
        _ => None,
    }
}

fn as_json(bill: &BillOfDay, (all, open): (i64, i64)) -> Value {
    let side = |totals: Totals| {
        json!({
            "payments": totals.payments,
            "payments_fen": totals.payments_fen,
            "refunds": totals.refunds,
            "refunds_fen": totals.refunds_fen,
        })
    };
    json!({
        "id": bill.id,
        "day": bill.day.to_string(),
        "provider": bill.biller.provider.as_str(),
        "account": bill.biller.account,
        "environment": bill.biller.environment.as_str(),
        "state": bill.state.as_str(),
        "said": bill.said,
        "sha256": bill.sha256,
        "fetched_at_ms": bill.fetched_at.map(|at| at.0),
        "compared_at_ms": bill.compared_at.map(|at| at.0),
        "bill": side(bill.theirs),
        "books": side(bill.ours),
        "credited": bill.credited,
        "difference_count": all,
        "open_count": open,
    })
}

fn difference_json(shown: &Shown) -> Value {
    let one = &shown.difference;
    json!({
        "bucket": one.bucket.as_str(),
        "kind": one.kind.as_str(),
        "transaction_id": one.transaction_id,
        "out_trade_no": one.out_trade_no,
        "out_refund_no": one.out_refund_no,
        "bill_fen": one.theirs.map(Fen::get),
        "books_fen": one.ours.map(Fen::get),
        "at_ms": one.at.0,
        "work_item": shown.work_item,
        "open": shown.open,
    })
}
