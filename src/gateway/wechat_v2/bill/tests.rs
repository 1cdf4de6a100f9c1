use super::*;

const DAY: &str = "2019-04-15";
const HEADER: &str = "交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,货币种类,商户退款单号,退款金额,退款状态,商品名称,订单金额,申请退款金额";
const SUMS: &str = "总交易单数,订单总金额,申请退款总金额";
const PAID: &str = "`2019-04-15 20:30:40,`wx1,`100,`42000,`P1,`SUCCESS,`CNY,`0,`0.00,`,`茶,`0.20,`0.00";
const BACK: &str =
    "`2019-04-15 21:00:00,`wx1,`100,`42000,`P1,`REFUND,`CNY,`RF1,`0.05,`SUCCESS,`茶,`0.00,`0.07";

fn day() -> BillDay {
    BillDay::parse(DAY).unwrap()
}

fn table(lines: &[&str], sums: &str) -> Vec<u8> {
    format!("\u{feff}{HEADER}\r\n{}\r\n{SUMS}\r\n{sums}\r\n", lines.join("\r\n")).into_bytes()
}

fn typed(body: &[u8]) -> Result<Vec<BillRow>, Untrusted> {
    match read(body)? {
        Downloaded::Table(table) => rows(&table, "100", day()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_a_payment_of_what_was_ordered_or_a_refund_of_what_was_asked_for() {
    let rows = typed(&table(&[PAID, BACK], "`2.0,`0.20,`0.07")).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (row.kind, row.out_trade_no.as_str(), row.out_refund_no.as_str(), row.amount.get(), row.line)
        })
        .collect();
    assert_eq!(told, [(BillKind::Payment, "P1", "", 20, 2), (BillKind::Refund, "P1", "RF1", 7, 3)]);
    assert_eq!(rows[0].at.beijing_text(), "2019-04-15 20:30:40");
}

#[test]
fn a_refund_that_came_to_nothing_is_no_line() {
    for state in NOT_REFUNDED {
        let back = BACK.replace("`SUCCESS,`茶", &format!("`{state},`茶"));
        assert_eq!(typed(&table(&[PAID, &back], "`2,`0.20,`0.07")).unwrap().len(), 1, "{state}");
    }
    let back = BACK.replace("`SUCCESS,`茶", "`PROCESSING,`茶");
    assert_eq!(typed(&table(&[PAID, &back], "`2,`0.20,`0.07")).unwrap().len(), 2);
}

#[test]
fn a_bill_that_does_not_hold_together_is_refused_as_a_whole() {
    let whole = table(&[PAID, BACK], "`2,`0.20,`0.07");
    assert!(typed(&whole).is_ok());
    for cut in 1..whole.len() - 2 {
        assert!(read(&whole[..cut]).and_then(|_| typed(&whole[..cut])).is_err(), "cut at {cut}");
    }
    for (lines, sums) in [
        (&[PAID][..], "`2,`0.20,`0.07"),
        (&[PAID, BACK], "`3,`0.20,`0.07"),
        (&[PAID, BACK], "`2,`0.21,`0.07"),
        (&[PAID, BACK], "`2,`0.20,`0.08"),
        (&[PAID, BACK], "`2,`0.20"),
        (&[PAID, BACK], "2,0.20,0.07"),
        (&[&PAID.replace("`茶", "`茶,`壶"), BACK], "`2,`0.20,`0.07"),
        (&[&PAID.replace("`0.20", "`0.2x"), BACK], "`2,`0.20,`0.07"),
        (&[&PAID.replace("CNY", "USD"), BACK], "`2,`0.20,`0.07"),
        (&[&PAID.replace("`SUCCESS", "`SOMETHING"), BACK], "`2,`0.20,`0.07"),
        (&[&PAID.replace("2019-04-15", "2019-04-31"), BACK], "`2,`0.20,`0.07"),
    ] {
        assert!(typed(&table(lines, sums)).is_err(), "{lines:?} {sums}");
    }
    let mut more = whole.clone();
    more.extend_from_slice(PAID.as_bytes());
    assert!(typed(&more).is_err());
}

#[test]
fn another_merchants_bill_and_another_days_are_refused() {
    let strange = PAID.replace("`100,", "`101,");
    assert_eq!(typed(&table(&[&strange], "`1,`0.20,`0.00")), Err(Untrusted::Identity("商户号")));
    let late = PAID.replace("2019-04-15 20:30:40", "2019-04-16 00:00:00");
    assert_eq!(typed(&table(&[&late], "`1,`0.20,`0.00")), Err(Untrusted::Identity("day")));
}

#[test]
fn a_bill_of_more_lines_than_there_are_payments_in_a_day_is_refused() {
    let body = format!("a\n{}b\n`1\n", "`1\n".repeat(bill::MOST_LINES));
    assert!(read(body.as_bytes()).is_ok());
    let body = format!("a\n{}b\n`1\n", "`1\n".repeat(bill::MOST_LINES + 1));
    assert_eq!(read(body.as_bytes()), Err(malformed("it has more than 300000 lines")));
}
