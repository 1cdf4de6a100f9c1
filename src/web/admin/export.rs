//! Exports of exactly the filter, a thousand rows at a time: the next ones are read when the browser has taken these.

use super::{
    csv::Csv,
    order_filter::{OrderFilter, written},
    orders::{resolve, summed},
    via_zh,
    xlsx::Xlsx,
};
use crate::{
    domain::{
        order::{Attempt, Environment, Order},
        time::UnixMs,
    },
    flow::export,
    store::{
        Store, StoreError,
        order_lists::{self, Filter as Wanted},
    },
    web::{
        Web,
        error::WebError,
        layout::OrderState,
        rights::{self, May},
        session::Admin,
        ways::name_zh,
        words::Lang,
    },
};
use actix_web::{
    HttpResponse,
    web::{Bytes, Data, Query},
};
use futures_util::stream;
use std::{io, sync::Arc};

/// Rows read at once.
const BATCH: i64 = 1_000;
/// A worksheet has no more rows, its head and a few to spare.
const MOST_OF_SHEET: i64 = 1_048_000;

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Nothing,
    Text(String),
    /// A number that names something: digits to be kept, never to be counted with.
    Number(String),
    Fen(i64),
    At(UnixMs),
}

/// A file that is written from its beginning to its end and taken away in between.
pub trait Sheet {
    /// # Errors
    /// What the format cannot hold.
    fn head(&mut self, titles: &[&str]) -> io::Result<()>;

    /// # Errors
    /// Likewise.
    fn row(&mut self, cells: &[Cell]) -> io::Result<()>;

    /// Nothing comes after. `sums` are for formats that have a place for them.
    ///
    /// # Errors
    /// Likewise.
    fn end(&mut self, sums: &[(&str, Cell)]) -> io::Result<()>;

    /// What is ready to be sent. It is gone from here.
    fn take(&mut self) -> Vec<u8>;
}

/// GET /admin/orders.csv
///
/// # Errors
/// 422 for a filter that cannot be read; the books.
pub async fn csv(
    web: Data<Arc<Web>>,
    admin: May<rights::Export>,
    query: Query<OrderFilter>,
) -> Result<HttpResponse, WebError> {
    start(&web, &admin, query.into_inner(), Csv::default(), "csv", "text/csv; charset=utf-8").await
}

/// GET /admin/orders.xlsx
///
/// # Errors
/// As `csv`, and 422 for more rows than a worksheet has.
pub async fn xlsx(
    web: Data<Arc<Web>>,
    admin: May<rights::Export>,
    query: Query<OrderFilter>,
) -> Result<HttpResponse, WebError> {
    let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    start(&web, &admin, query.into_inner(), Xlsx::default(), "xlsx", kind).await
}

/// Counts, writes down who takes what away, and begins.
async fn start(
    web: &Web,
    admin: &Admin,
    filter: OrderFilter,
    sheet: impl Sheet + Send + 'static,
    ending: &'static str,
    content_type: &'static str,
) -> Result<HttpResponse, WebError> {
    let now = web.app.clock.now();
    let filter = OrderFilter { before: None, ..filter };
    let (wanted, _) = resolve(web, &filter, now).await?;
    let counted = wanted.clone();
    // The first row of a CSV does not wait until all of them are counted; a worksheet has only so many.
    let totals = match ending {
        "xlsx" => Some(summed(web, counted).await?),
        _ => web.app.store.read(move |db| order_lists::totals_of_few(db, &counted)).await?,
    };
    if ending == "xlsx" && totals.is_some_and(|totals| totals.orders > MOST_OF_SHEET) {
        return Err(WebError::Unprocessable(
            "超过一百万行，一张工作表放不下。没有导出；请缩小日期范围，或改用 CSV。".to_owned(),
        ));
    }
    let filter = OrderFilter { totals: String::new(), ..filter };
    let rows = totals.map(|totals| totals.orders);
    export::record(&web.app, &admin.user, ending, &filter.described(), rows).await?;
    let export = Export {
        store: web.app.store.clone(),
        filter: wanted,
        sheet,
        described: filter.described(),
        by: admin.user.username.clone(),
        now,
        before: None,
        sums: Sums::default(),
        stage: Stage::Head,
    };
    let pieces = stream::unfold(Some(export), |export| async {
        let mut export = export?;
        match export.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(export))),
            Ok(None) => None,
            // The connection is broken off, so that nobody takes a part for the whole.
            Err(error) => {
                tracing::error!("an export was broken off: {error}");
                Some((Err(error), None))
            }
        }
    });
    let name = format!("orders-{}.{ending}", written(now).replace([':', '-', 'T'], ""));
    Ok(HttpResponse::Ok()
        .insert_header(("content-type", content_type))
        .insert_header(("content-disposition", format!("attachment; filename=\"{name}\"")))
        .streaming(Box::pin(pieces)))
}

const TITLES: [&str; 17] = [
    "订单号",
    "支付单号",
    "渠道交易号",
    "用户",
    "用户编号",
    "商品",
    "支付方式",
    "收款账户",
    "金额（元）",
    "退款（元，含处理中）",
    "状态",
    "到账途径",
    "下单时间",
    "渠道付款时间",
    "入账时间",
    "关闭时间",
    "环境",
];

/// An export under way: it holds one batch at most.
pub struct Export<S> {
    store: Store,
    filter: Wanted,
    sheet: S,
    described: String,
    by: String,
    now: UnixMs,
    before: Option<i64>,
    sums: Sums,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Rows,
    Over,
}

#[derive(Default)]
struct Sums {
    orders: i64,
    paid: i64,
    taken: i64,
    refunded: i64,
}

/// What ends an export before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Format(#[from] io::Error),
}

impl<S: Sheet> Export<S> {
    /// The next piece of the file; `None` after the last.
    ///
    /// # Errors
    /// The books, or what the format cannot hold.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ExportError> {
        match self.stage {
            Stage::Over => return Ok(None),
            Stage::Head => {
                self.sheet.head(&TITLES)?;
                self.stage = Stage::Rows;
            }
            Stage::Rows => {
                let (filter, before) = (self.filter.clone(), self.before);
                let read = self.store.read(move |db| {
                    let page = order_lists::page(db, &filter, before, BATCH)?;
                    let attempts = order_lists::attempts_of(db, &page.found)?;
                    Ok((page, attempts))
                });
                let (page, attempts) = read.await?;
                for (order, user) in &page.found {
                    self.sums.add(order);
                    self.sheet.row(&cells(order, user, attempts.get(&order.id), self.now))?;
                }
                self.before = page.next;
                if page.next.is_none() {
                    let (by, described) = (self.by.clone(), self.described.clone());
                    self.sheet.end(&self.sums.told(by, described, self.now))?;
                    self.stage = Stage::Over;
                }
            }
        }
        Ok(Some(self.sheet.take()))
    }
}

impl Sums {
    fn add(&mut self, order: &Order) {
        self.orders = self.orders.saturating_add(1);
        self.refunded = self.refunded.saturating_add(order.reserved.get());
        if order.is_paid() {
            self.paid = self.paid.saturating_add(1);
            self.taken = self.taken.saturating_add(order.amount.get());
        }
    }

    fn told(&self, by: String, described: String, now: UnixMs) -> [(&'static str, Cell); 8] {
        [
            ("订单（笔）", Cell::Text(self.orders.to_string())),
            ("已入账（笔）", Cell::Text(self.paid.to_string())),
            ("实收（元）", Cell::Fen(self.taken)),
            ("退款（元，含处理中）", Cell::Fen(self.refunded)),
            ("净额（元）", Cell::Fen(self.taken.saturating_sub(self.refunded))),
            ("筛选条件", Cell::Text(described)),
            ("导出时间", Cell::At(now)),
            ("导出人", Cell::Text(by)),
        ]
    }
}

fn cells(order: &Order, user: &str, attempt: Option<&Attempt>, now: UnixMs) -> [Cell; 17] {
    let at = |at: Option<UnixMs>| at.map_or(Cell::Nothing, Cell::At);
    let text = |text: &str| Cell::Text(text.to_owned());
    [
        Cell::Number(order.out_trade_no.as_str().to_owned()),
        Cell::Number(attempt.map(|attempt| attempt.out_trade_no.as_str().to_owned()).unwrap_or_default()),
        Cell::Number(order.transaction_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default()),
        text(user),
        Cell::Number(order.user_id.to_string()),
        text(&order.goods_name),
        text(attempt.map_or("", |attempt| name_zh(attempt.channel))),
        Cell::Number(attempt.map(|attempt| attempt.account.clone()).unwrap_or_default()),
        Cell::Fen(order.amount.get()),
        Cell::Fen(order.reserved.get()),
        text(OrderState::of(order, now).word(Lang::Zh)),
        text(order.settled_by.map(via_zh).unwrap_or_default()),
        Cell::At(order.created_at),
        at(order.told_paid_at),
        at(order.paid_at),
        at(order.closed_at),
        text(match order.environment {
            Environment::Live => "正式",
            Environment::Simulator => "模拟",
        }),
    ]
}
