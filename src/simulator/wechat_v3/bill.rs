//! GET /v3/bill/tradebill and the file it leads to: V2's text, named by its SHA-1 and not signed itself.
//!
//! Source: the pages on applying for a trade bill and on downloading one.

use super::{Fault, Verdict};
use crate::{
    domain::{bill::BillDay, ids::hex, order::Provider},
    simulator::{Simulator, bills},
};
use aws_lc_rs::digest;
use serde_json::{Value, json};

pub(super) fn place(simulator: &Simulator, query: &str, origin: &str) -> Result<Verdict, Fault> {
    let asked = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(named, _)| named == name).map(|(_, value)| value.into_owned())
    };
    if asked("bill_type").is_some_and(|bill_type| bill_type != "ALL") {
        return Err(Fault::param("bill_type", "模拟器只有 ALL"));
    }
    let day = asked("bill_date").and_then(|day| BillDay::parse(&day));
    let day = day.ok_or_else(|| Fault::param("bill_date", "应为 yyyy-MM-dd"))?;
    let text = text(simulator, day)?;
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    Ok(Verdict::done(json!({
        "hash_type": "SHA1",
        "hash_value": hex(sha1.as_ref()),
        "download_url": format!("{origin}/v3/billdownload/file?token={day}"),
    })))
}

pub(super) fn file(simulator: &Simulator, query: &str) -> Result<Verdict, Fault> {
    let day = query.strip_prefix("token=").and_then(BillDay::parse);
    let day = day.ok_or_else(|| Fault::new(404, "RESOURCE_NOT_EXISTS", "token 无效"))?;
    Ok(Verdict::done(Value::String(text(simulator, day)?)))
}

fn text(simulator: &Simulator, day: BillDay) -> Result<String, Fault> {
    if !bills::is_ready(day, simulator.now()) {
        return Err(Fault::new(400, "STATEMENT_CREATING", "账单生成中"));
    }
    let lines = bills::lines(simulator, Provider::Wechat, day);
    if lines.is_empty() {
        return Err(Fault::new(400, "NO_STATEMENT_EXIST", "账单文件不存在"));
    }
    Ok(bills::wechat_text(&lines))
}
