//! Exports: exactly the filter, row for row, in pieces that do not grow with it, and never without a trace.

use crate::harness::{Browser, Shop};
use diesel::{RunQueryDsl, sql_query};
use std::io::{Cursor, Read};

/// The rows of a CSV by its own rules, the mark of UTF-8 taken off.
pub fn rows_of_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut chars = text.strip_prefix('\u{feff}').expect("the mark of UTF-8").chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let row = rows.last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                row.last_mut().unwrap().push(chars.next().unwrap())
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\r' if !quoted => {}
            '\n' if !quoted => rows.push(vec![String::new()]),
            c => row.last_mut().unwrap().push(c),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last line ends");
    rows
}

/// The texts and values of each row of a worksheet.
fn rows_of_sheet(workbook: &[u8], name: &str) -> Vec<Vec<String>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(workbook)).unwrap();
    let mut text = String::new();
    zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let rows =
        document.descendants().filter(|node| node.has_tag_name("row") || node.tag_name().name() == "row");
    rows.map(|row| {
        let cells = row.children().filter(|node| node.tag_name().name() == "c");
        cells
            .map(|cell| {
                let texts = cell.descendants().filter(|node| node.is_text());
                texts.filter_map(|node| node.text()).collect::<String>()
            })
            .collect()
    })
    .collect()
}

async fn bytes(browser: &Browser, path: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}{path}", browser.origin));
    let answer =
        request.header("cookie", format!("shouyin={}", browser.cookie().unwrap())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    (answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
}

#[actix_web::test]
async fn an_export_is_the_list_row_for_row_and_leaves_its_trace() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let paid = shop.paid("ann", "50").await;
    let minus = shop.user("-1-a").await;
    let open = minus.top_up("9.90").await;
    let order = shop.order(&paid).await;
    let transaction = order.transaction_id.as_ref().unwrap().as_str().to_owned();

    let (headers, body) = bytes(&admin, "/admin/orders.csv").await;
    assert_eq!(headers["content-type"], "text/csv; charset=utf-8");
    let named = headers["content-disposition"].to_str().unwrap();
    assert_eq!(named, "attachment; filename=\"orders-20261120200000.csv\"");
    let text = String::from_utf8(body).unwrap();
    let rows = rows_of_csv(&text);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0][..3], ["订单号", "支付单号", "渠道交易号"]);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let (newest, oldest) = (&rows[1], &rows[2]);
    // Digits that Excel would count with have a tab behind them; a name it would compute has an apostrophe before it.
    assert_eq!((&newest[0], &*newest[3], &*newest[8]), (&format!("{open}\t"), "'-1-a", "9.90"));
    assert_eq!((&oldest[0], &oldest[2]), (&format!("{paid}\t"), &format!("{transaction}\t")));
    assert_eq!((&*oldest[8], &*oldest[10], &*oldest[11]), ("50.00", "已入账", "通知"));
    assert_eq!(oldest[12], order.created_at.beijing_text());
    assert_eq!(oldest[14], order.paid_at.unwrap().beijing_text());

    let only_paid =
        rows_of_csv(&String::from_utf8(bytes(&admin, "/admin/orders.csv?state=paid").await.1).unwrap());
    assert_eq!(only_paid[1..], rows[2..]);
    assert_eq!(admin.get_json("/admin/orders.csv?state=x").await.status, 422);

    let (headers, workbook) = bytes(&admin, "/admin/orders.xlsx?state=paid").await;
    assert!(headers["content-type"].to_str().unwrap().contains("spreadsheetml"));
    let sheet = rows_of_sheet(&workbook, "xl/worksheets/sheet1.xml");
    assert_eq!(sheet.len(), 2);
    assert_eq!(sheet[0], rows[0]);
    assert_eq!((&sheet[1][0], &sheet[1][2], &*sheet[1][8]), (&paid, &transaction, "50.00"));
    let sums = rows_of_sheet(&workbook, "xl/worksheets/sheet2.xml");
    assert_eq!(sums[2], ["实收（元）", "50.00"]);
    assert_eq!(sums[5], ["筛选条件", "state=paid"]);

    let acts = admin.get_json("/admin/audit-log?action=orders_exported").await.json();
    let acts: Vec<(&str, &str, &str)> = acts["acts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| {
            (
                act["target"].as_str().unwrap(),
                act["detail"].as_str().unwrap(),
                act["became"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        acts,
        [("xlsx", "state=paid", "1 rows"), ("csv", "state=paid", "1 rows"), ("csv", "all", "2 rows")]
    );
}

#[actix_web::test]
async fn thousands_of_rows_leave_in_batches_with_none_twice_and_none_missing() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    shop.user("ann").await;
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        INSERT INTO orders (out_trade_no, user_id, intent, goods_name, amount_fen, environment, created_at, expires_at, close_after)
        SELECT 'o' || i, 2, 'i' || i, 'g', i, 'simulator', 1000 * (i / 7), 9000000000000, 9000000000000 FROM n";
    let filled = shop.app.store.write(move |db| Ok(sql_query(fill).execute(db)?)).await.unwrap();
    assert_eq!(filled, 2500);
    let text = String::from_utf8(bytes(&admin, "/admin/orders.csv").await.1).unwrap();
    let rows = rows_of_csv(&text);
    let mut numbers: Vec<&str> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(numbers.len(), 2500);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 2500);
    let (_, workbook) = bytes(&admin, "/admin/orders.xlsx?min=10&max=19.99").await;
    assert_eq!(rows_of_sheet(&workbook, "xl/worksheets/sheet1.xml").len(), 1 + 1000);
    let sums = rows_of_sheet(&workbook, "xl/worksheets/sheet2.xml");
    assert_eq!(sums[0], ["订单（笔）", "1000"]);
}
