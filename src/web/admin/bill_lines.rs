//! The lines of one day's bill as they were written down when it came, to be taken away.

use super::{
    csv::Csv,
    export::{Cell, ExportError, Sheet},
};
use crate::{
    domain::bill::{BillKind, BillRow},
    flow::export,
    store::{
        Store,
        bills::{self, BillOfDay},
    },
    web::{
        Web,
        error::WebError,
        rights::{self, May},
    },
};
use actix_web::{
    HttpResponse,
    web::{Bytes, Data, Path},
};
use futures_util::stream;
use std::{io, sync::Arc};

/// Lines read at once.
const BATCH: i64 = 1_000;
const TITLES: [&str; 7] =
    ["账单行", "种类", "商户单号", "平台单号", "退款单号", "金额（元）", "时间（北京）"];

/// GET /admin/bills/{id}/lines.csv
///
/// # Errors
/// 404; 409 while there are none; the books.
pub async fn csv(
    web: Data<Arc<Web>>,
    admin: May<rights::Export>,
    id: Path<i64>,
) -> Result<HttpResponse, WebError> {
    let id = id.into_inner();
    let bill = web.app.store.read(move |db| bills::by_id(db, id)).await?.ok_or(WebError::NotFound)?;
    if bill.fetched_at.is_none() {
        return Err(WebError::Conflict("这一天的账单还没有取到，没有明细可以下载。稍后会自动再取。"));
    }
    export::record_bill(&web.app, &admin.user, &bill).await?;
    let name = format!("bill-{}-{}.csv", bill.biller.provider.as_str(), bill.day);
    let lines =
        Lines { store: web.app.store.clone(), bill, sheet: Csv::default(), after: 0, is_begun: false };
    let pieces = stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok((piece, is_last)) => Some((Ok(Bytes::from(piece)), (!is_last).then_some(lines))),
            // The connection is broken off, so that nobody takes a part for the whole.
            Err(error) => {
                tracing::error!("a download of a bill was broken off: {error}");
                Some((Err(error), None))
            }
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header(("content-type", "text/csv; charset=utf-8"))
        .insert_header(("content-disposition", format!("attachment; filename=\"{name}\"")))
        .streaming(Box::pin(pieces)))
}

/// A download under way: it holds one batch at most.
struct Lines {
    store: Store,
    bill: BillOfDay,
    sheet: Csv,
    after: i32,
    is_begun: bool,
}

impl Lines {
    /// The next piece, and whether it is the last.
    async fn next(&mut self) -> Result<(Vec<u8>, bool), ExportError> {
        if !self.is_begun {
            self.sheet.head(&TITLES)?;
            self.is_begun = true;
        }
        let (id, after) = (self.bill.id, self.after);
        let read =
            self.store.read(move |db| Ok((bills::rows_after(db, id, after, BATCH)?, bills::by_id(db, id)?)));
        // In this order: rows that were taken away between the two have already changed the bill.
        let (rows, now) = read.await?;
        // The gateway has made it anew meanwhile: half of one and half of another is no bill.
        if now.is_none_or(|now| now.sha256 != self.bill.sha256 || now.fetched_at != self.bill.fetched_at) {
            return Err(io::Error::other("the bill was fetched anew").into());
        }
        for row in &rows {
            self.sheet.row(&cells(row))?;
        }
        self.after = rows.last().map_or(self.after, |row| row.line);
        let is_last = i64::try_from(rows.len()).unwrap_or_default() < BATCH;
        Ok((self.sheet.take(), is_last))
    }
}

fn cells(row: &BillRow) -> [Cell; 7] {
    let number = |text: &str| Cell::Number(text.to_owned());
    [
        Cell::Text(row.line.to_string()),
        Cell::Text(if row.kind == BillKind::Payment { "收款" } else { "退款" }.to_owned()),
        number(&row.out_trade_no),
        number(&row.transaction_id),
        number(&row.out_refund_no),
        Cell::Fen(row.amount.get()),
        Cell::At(row.at),
    ]
}
