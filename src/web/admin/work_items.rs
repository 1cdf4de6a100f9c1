//! What somebody must look at, open until a person says what was done.

use super::{frame, refunds::home, storable, verdict_zh, work_item::closed_zh};
use crate::{
    domain::time::UnixMs,
    flow::work::{self, Unknown},
    store::work_items::{self, Filter, WorkItem},
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
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
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};
use url::form_urlencoded::Serializer;

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "admin/work_items.html")]
struct WorkItemsPage {
    layout: Layout,
    rows: Vec<WorkRow>,
    next: Option<String>,
    states: Vec<Link>,
    /// Open items by kind.
    kinds: Vec<Link>,
    unknown: Vec<UnknownRow>,
    /// Those that are not named.
    more_unknown: i64,
}

struct Link {
    text: String,
    href: String,
    current: bool,
}

/// Something sent out long ago that nobody has answered.
struct UnknownRow {
    what: &'static str,
    number: String,
    amount: String,
    since: String,
    url: String,
}

pub struct WorkRow {
    id: i64,
    pub url: String,
    at: String,
    pub kind_zh: String,
    pub amount: Option<String>,
    out_trade_no: String,
    order_url: Option<String>,
    transaction_id: String,
    detail: String,
    pub closed: Option<String>,
    action: String,
}

/// The filter as the address has it.
#[derive(Clone, Default, Deserialize)]
pub struct Shown {
    #[serde(default)]
    state: String,
    #[serde(default)]
    kind: String,
    before: Option<i64>,
}

impl Shown {
    fn read(&self) -> Result<Filter, WebError> {
        let open = match self.state.as_str() {
            "" | "all" => None,
            "open" => Some(true),
            "closed" => Some(false),
            _ => return Err(WebError::Unprocessable("没有这种状态。".to_owned())),
        };
        let kind = (!self.kind.is_empty()).then(|| storable(&self.kind, 64));
        Ok(Filter { open, kind })
    }

    fn href(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("state", &self.state), ("kind", &self.kind)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if let Some(id) = self.before {
            query.append_pair("before", &id.to_string());
        }
        format!("/admin/work-items?{}", query.finish()).trim_end_matches('?').to_owned()
    }
}

/// GET /admin/work-items
///
/// # Errors
/// 422 for a state that is none; the books.
pub async fn list(web: Data<Arc<Web>>, admin: Admin, query: Query<Shown>) -> Result<HttpResponse, WebError> {
    let shown = query.into_inner();
    let (filter, before) = (shown.read()?, shown.before);
    let (mut found, by_kind) = web
        .app
        .store
        .read(move |db| {
            let found = work_items::filtered(db, &filter, before, PAGE.saturating_add(1))?;
            Ok((found, work_items::open_by_kind(db)?))
        })
        .await?;
    let size = usize::try_from(PAGE).unwrap_or_default();
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|item| item.id);
    let unknown = work::unknown(&web.app).await?;
    if admin.json {
        return Ok(HttpResponse::Ok().json(json!({
            "work_items": found.iter().map(as_json).collect::<Vec<_>>(),
            "open_by_kind": by_kind.into_iter().collect::<BTreeMap<_, _>>(),
            "unknown_prepays": unknown.prepay_count,
            "unknown_refunds": unknown.refund_count,
            "before": next,
        })));
    }
    let rows = unknown_rows(&unknown);
    let template = WorkItemsPage {
        layout: frame(&web, &admin).await?,
        rows: found.into_iter().map(row).collect(),
        next: next.map(|id| Shown { before: Some(id), ..shown.clone() }.href()),
        states: states(&shown),
        kinds: by_kind.iter().map(|(kind, open)| of_kind(&shown, kind, *open)).collect(),
        more_unknown: unknown
            .prepay_count
            .saturating_add(unknown.refund_count)
            .saturating_sub(i64::try_from(rows.len()).unwrap_or_default()),
        unknown: rows,
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

fn states(shown: &Shown) -> Vec<Link> {
    [("全部", ""), ("待处理", "open"), ("已处理", "closed")]
        .map(|(text, state)| {
            let to = Shown { state: state.to_owned(), before: None, ..shown.clone() };
            let current = shown.state.trim_end_matches("all") == state;
            Link { text: text.to_owned(), href: to.href(), current }
        })
        .into()
}

fn of_kind(shown: &Shown, kind: &str, open: i64) -> Link {
    let to = Shown { state: "open".to_owned(), kind: kind.to_owned(), before: None };
    Link { text: format!("{} {open}", verdict_zh(kind).0), href: to.href(), current: shown.kind == kind }
}

fn unknown_rows(unknown: &Unknown) -> Vec<UnknownRow> {
    let prepays = unknown.prepays.iter().map(|attempt| UnknownRow {
        what: "预下单没有回答",
        number: attempt.out_trade_no.as_str().to_owned(),
        amount: attempt.amount.yuan(),
        since: attempt.created_at.beijing_text(),
        url: format!("/admin/orders/{}", attempt.out_trade_no),
    });
    let refunds = unknown.refunds.iter().map(|refund| UnknownRow {
        what: "退款没有结果",
        number: refund.out_refund_no.as_str().to_owned(),
        amount: refund.amount.yuan(),
        since: refund.requested_at.beijing_text(),
        url: home(refund),
    });
    prepays.chain(refunds).collect()
}

pub fn row(item: WorkItem) -> WorkRow {
    let known =
        !["unknown_order", "bill_extra"].contains(&item.kind.as_str()) && !item.out_trade_no.is_empty();
    WorkRow {
        id: item.id,
        url: format!("/admin/work-items/{}", item.id),
        at: UnixMs(item.opened_at).beijing_text(),
        amount: item.payment().map(|paid| paid.amount.yuan()),
        closed: closed_zh(&item),
        kind_zh: verdict_zh(&item.kind).0.to_owned(),
        order_url: known.then(|| format!("/admin/orders/{}", item.out_trade_no)),
        out_trade_no: item.out_trade_no,
        transaction_id: item.transaction_id,
        detail: advice(&item.kind).to_owned(),
        action: format!("/admin/work-items/{}/close", item.id),
    }
}

/// What is known, what is safe, what to do about an item of this kind.
pub fn advice(kind: &str) -> &'static str {
    match kind {
        "second_payment" => {
            "用户真实付了两次，只入账一次。通常把这一笔原路退款；用户愿意留作余额时，可人工入账。"
        }
        "late_payment" => "订单关闭后钱才到，已正常入账。请确认用户知情，不需要时到订单页退款。",
        "unknown_order" => {
            "支付平台签名正确，但我方没有这个订单号（可能来自旧备份或另一套系统）。没有入账。请在商户平台核对，再退款或入账给用户。"
        }
        "amount_mismatch" => {
            "支付平台签名正确，但金额与订单不同。没有入账。请在商户平台核对实付金额，再退款或按实付金额入账。"
        }
        "refund_not_enough" => {
            "商户账户可用余额不够退这一笔。用户余额已冻结，没有损失。请在商户平台充值，系统会用同一个退款单号再申请。"
        }
        "refund_abnormal" => {
            "支付平台说用户的账户收不了这笔退款（例如卡已注销）。钱还在商户账户。请在商户平台对这笔退款做异常处理，系统会继续查询结果。"
        }
        "refund_failed" => {
            "这笔退款没有退成，用户余额里冻结的金额已恢复。请看最后的答复，需要时到订单页重新申请。"
        }
        "refund_contradicted" => {
            "支付平台的通知或答复说，这笔没有退成的退款已经付给用户，而用户余额已经恢复。请在商户平台按退款单号核对；若真的已退，请与用户处理余额。不要再退一次。"
        }
        "credited_after_refund" => {
            "这笔付款在别处退款之后又入了账：用户的钱和余额可能都在。请在商户平台核对后处理。"
        }
        "account_mismatch" => {
            "支付平台签名正确，但付款属于另一个商户号或 appid（可能刚更换过设置）。没有入账。请核对。"
        }
        "transaction_reused" => {
            "同一个支付单号已经给别的订单入过账，或已由人工入账、退款。没有再次入账。请搜索这个单号，核对它用在了哪里。"
        }
        "foreign_account" => {
            "订单属于另一个商户号或 appid（设置更换过），没有向支付平台查询，也没有关闭。换回旧设置后会继续查询；已付的请在旧商户平台核对。"
        }
        "refunded_elsewhere" => {
            "支付平台的答复或通知说这笔付款有一笔退款不是经我方退的。请在商户平台核对退了多少；若我方已入账，余额需要相应处理。"
        }
        "bill_extra" => {
            "支付平台的账单里有这一笔，我方没有。已向平台查过，平台没有确认它是一笔付给我方订单的款。没有入账。请在商户平台按单号核对：可能是别的系统收的款，或在平台上直接做的退款。"
        }
        "bill_missing" => {
            "我方有这一笔（入账时有支付平台的签名答复），当天和之前的账单里都没有。用户余额没有动。请在商户平台按单号核对，再到对账页重新对账。"
        }
        "bill_overdue" => {
            "这一天的账单一周都没有取到，以后不再自动取（商户单号处是日期）。没有改动任何余额。请到对账页打开这一天，重新对账；仍然没有时，请在商户平台下载账单核对。"
        }
        "bill_amount" => "账单里的金额与我方不同。没有改动任何余额。请以商户平台的实付金额为准核对两边。",
        _ => "收到签名正确但与订单不符的消息。没有入账。请在商户平台核对。",
    }
}

/// An item for programs.
pub fn as_json(item: &WorkItem) -> serde_json::Value {
    json!({
        "id": item.id,
        "kind": item.kind,
        "out_trade_no": item.out_trade_no,
        "transaction_id": item.transaction_id,
        "out_refund_no": item.out_refund_no,
        "notice_id": item.notice_id,
        "amount_fen": item.amount_fen,
        "refund_fen": item.refund_fen,
        "opened_at_ms": item.opened_at,
        "closed_at_ms": item.closed_at,
        "closed_by": item.closed_by,
        "note": item.note,
    })
}
