//! Every known bill in `tests/vectors` through the public readers. No I/O, no clock, no database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use shouyin::{
    domain::bill::{BillDay, BillKind},
    gateway::{
        alipay::bill as alipay,
        wechat_v2::bill::{self as wechat, Downloaded, Table},
    },
};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! vectors {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/", $file, ".json"))
    };
}

#[derive(Deserialize)]
struct Set<I, E> {
    count: usize,
    cases: Vec<Case<I, E>>,
}

#[derive(Deserialize)]
struct Case<I, E> {
    id: String,
    input: I,
    expect: E,
}

type Row = BTreeMap<String, String>;

fn cases<I: DeserializeOwned, E: DeserializeOwned>(text: &str, count: usize) -> Vec<Case<I, E>> {
    let set: Set<I, E> = serde_json::from_str(text).unwrap();
    assert_eq!((set.count, set.cases.len()), (count, count));
    let ids: BTreeSet<&str> = set.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), count);
    set.cases
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn named(header: &[String], cells: &[String]) -> Row {
    assert_eq!(header.len(), cells.len());
    header.iter().cloned().zip(cells.iter().cloned()).collect()
}

#[derive(Deserialize)]
struct Body {
    body_b64: String,
}

#[derive(Deserialize)]
struct WechatExpect {
    decision: String,
    reason: String,
    #[serde(default)]
    header: Vec<String>,
    #[serde(default)]
    row_count: usize,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    summary: Row,
}

#[test]
fn every_published_bill_of_wechats_reads_cell_by_cell_or_says_why_there_is_none() {
    let mut decisions = BTreeMap::<String, usize>::new();
    for Case { id, input, expect } in &cases::<Body, WechatExpect>(vectors!("wechat_v2_bill"), 11) {
        *decisions.entry(expect.decision.clone()).or_default() += 1;
        match wechat::read(&bytes(&input.body_b64)) {
            Ok(Downloaded::Table(Table { header, rows, summary })) => {
                assert_eq!(expect.decision, "parsed", "{id}");
                assert_eq!(
                    (&header, &summary, rows.len()),
                    (&expect.header, &expect.summary, expect.row_count)
                );
                let rows: Vec<Row> = rows.iter().map(|row| named(&header, row)).collect();
                assert_eq!(rows, expect.rows, "{id}");
            }
            Ok(Downloaded::Refused { message, code }) => {
                assert_eq!(expect.decision, "error_xml", "{id}");
                assert_eq!(expect.reason, format!("error_xml:{message}:{code}"), "{id}");
            }
            Err(fault) => assert_eq!(expect.decision, "reject", "{id}: {fault}"),
        }
    }
    assert_eq!(decisions, BTreeMap::from([("error_xml".to_owned(), 2), ("parsed".to_owned(), 9)]));
}

/// Bills published whole, with a merchant and a day of their own, read as payments and refunds; samples whose sums are of
/// a longer file are refused.
#[test]
fn a_bill_is_used_when_its_lines_come_to_its_sums() {
    let mut used = Vec::new();
    for Case { id, input, .. } in &cases::<Body, WechatExpect>(vectors!("wechat_v2_bill"), 11) {
        let Ok(Downloaded::Table(table)) = wechat::read(&bytes(&input.body_b64)) else { continue };
        let of = |name: &str| {
            let at = table.header.iter().position(|named| named == name).unwrap();
            table.rows[0][at].clone()
        };
        let day = BillDay::parse(&of("交易时间")[..10]).unwrap();
        match wechat::rows(&table, &of("商户号"), day) {
            Ok(rows) => used.push((
                id.rsplit('-').next().unwrap().to_owned(),
                rows.iter().map(|row| (row.kind, row.amount.get())).collect::<Vec<_>>(),
            )),
            Err(fault) => {
                assert!(["001", "002", "004", "005"].iter().any(|n| id.ends_with(n)), "{id}: {fault}")
            }
        }
    }
    let (paid, back) = (|fen| (BillKind::Payment, fen), |fen| (BillKind::Refund, fen));
    let wanted = [
        ("003", vec![paid(1), paid(1)]),
        ("006", vec![paid(20)]),
        ("007", vec![paid(20), back(7)]),
        ("008", vec![paid(20), back(7)]),
        ("009", vec![paid(20)]),
    ];
    assert_eq!(used, wanted.map(|(id, rows)| (id.to_owned(), rows)));
}

#[derive(Deserialize)]
struct Zipped {
    csv_b64: String,
    zip_b64: String,
}

#[derive(Deserialize)]
struct AlipayExpect {
    row_count: usize,
    rows: Vec<Row>,
}

#[test]
fn every_published_bill_of_alipays_reads_cell_by_cell_out_of_its_zip() {
    for Case { id, input, expect } in &cases::<Zipped, AlipayExpect>(vectors!("alipay_bill"), 2) {
        let text = alipay::details(&bytes(&input.zip_b64)).unwrap();
        let csv = bytes(&input.csv_b64);
        let (csv, _, broken) = encoding_rs::GB18030.decode(&csv);
        assert!(!broken && text == csv, "{id}");
        let table = alipay::table(&text).unwrap();
        let rows: Vec<Row> = table.lines.iter().map(|(_, cells)| named(&table.header, cells)).collect();
        assert_eq!((rows.len(), &rows), (expect.row_count, &expect.rows), "{id}");
    }
}
