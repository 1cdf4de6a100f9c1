//! alipay.data.dataservice.bill.downloadurl.query and the zip it leads to.
//!
//! Source: the page of the method; the file's names in GBK and without the flag of UTF-8, as published samples have them.

use super::{Asked, Verdict};
use crate::{
    domain::{bill::BillDay, order::Provider},
    simulator::{Simulator, bills},
};
use actix_web::{HttpResponse, web};
use encoding_rs::GBK;
use serde::Deserialize;
use std::io::{Cursor, Write};
use zip::{ZipWriter, result::ZipError, write::SimpleFileOptions};

pub(super) const FILE_PATH: &str = "/downloadBillFile.resource";

/// The address of the zip.
pub(super) fn place(simulator: &Simulator, asked: &Asked<'_>, origin: &str) -> Verdict {
    let nothing = || Verdict::business("isp.bill_not_exist", "账单不存在");
    let Some(day) = BillDay::parse(asked.get("bill_date")) else { return nothing() };
    if !bills::is_ready(day, simulator.now()) || bills::lines(simulator, Provider::Alipay, day).is_empty() {
        return nothing();
    }
    let url = format!("{origin}{FILE_PATH}?bizType=trade&bizDates={day}");
    Verdict::Done(vec![("bill_download_url", url.into())])
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(rename = "bizDates")]
    day: String,
}

pub(super) async fn download(simulator: web::Data<Simulator>, wanted: web::Query<Wanted>) -> HttpResponse {
    let packed = BillDay::parse(&wanted.day).and_then(|day| zipped(&simulator, day).ok());
    match packed {
        Some(packed) => HttpResponse::Ok().content_type("application/zip").body(packed),
        None => HttpResponse::NotFound().finish(),
    }
}

fn zipped(simulator: &Simulator, day: BillDay) -> Result<Vec<u8>, ZipError> {
    let seller_id = simulator.alipay().map_or("", |app| app.seller_id.as_str());
    let lines = bills::lines(simulator, Provider::Alipay, day);
    let details = bills::alipay_text(seller_id, day, &lines, simulator.now());
    let sums = format!("#支付宝业务汇总查询\r\n#共 {} 笔\r\n", lines.len());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let compact = day.compact();
    for (name, text) in [("details", details), ("汇总", sums)] {
        let (bytes, _, _) = GBK.encode(&text);
        zip.start_file(format!("{seller_id}_{compact}_{name}.csv"), SimpleFileOptions::default())?;
        zip.write_all(&bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}
