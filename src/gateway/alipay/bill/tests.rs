use super::*;
use crate::{
    domain::order::Environment,
    gateway::rsa::{PrivateKey, PublicKey},
};
use std::{io::Write, sync::LazyLock};
use zip::{ZipWriter, write::SimpleFileOptions};

const SELLER: &str = "2088102146225135";
const HEAD: &str = "#支付宝业务明细查询\r\n#账号：[20881021462251350156]\r\n#起始日期：[2024年02月29日 00:00:00]   终止日期：[2024年03月01日 00:00:00]\r\n#----业务明细列表----\r\n支付宝交易号,商户订单号,业务类型,商品名称,完成时间,订单金额（元）,退款批次号/请求号\r\n";
const TAIL: &str = "#----业务明细列表结束----\r\n#导出时间：[2024年03月01日 10:00:00]\r\n";
const PAID: &str = "20190001\t,P1\t,交易,\"茶,\"\"壶\"\"\",2024-02-29 23:59:53,88.80,\r\n";
const BACK: &str = "20190001\t,P1\t,退款,茶,2024-02-29 23:59:53,-0.07,RQ-1\r\n";

static ACCOUNT: LazyLock<Account> = LazyLock::new(|| {
    let key = PrivateKey::generate().unwrap();
    let public = PublicKey::parse(&key.public_base64().unwrap()).unwrap();
    Account {
        app_id: "2021".to_owned(),
        seller_id: SELLER.to_owned(),
        key,
        public_key: public,
        certificates: None,
        gateway_url: "https://openapi.alipay.com/gateway.do".to_owned(),
        public_url: "https://pay.example.com".to_owned(),
        environment: Environment::Live,
    }
});

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn file() -> BillFile {
    BillFile { day: BillDay::parse("2024-02-29").unwrap(), place: String::new(), sha1: None }
}

fn read_text(text: &str) -> Result<Bill, Untrusted> {
    let (csv, _, _) = GBK.encode(text);
    read_file(&ACCOUNT, &Response::new(200, zipped(&[("a.csv", &csv)])), &file())
}

#[test]
fn a_line_is_a_payment_or_a_refund_with_its_request_number() {
    let bill = read_text(&format!("{HEAD}{PAID}{BACK}{TAIL}")).unwrap();
    let told: Vec<_> = bill
        .rows
        .iter()
        .map(|row| {
            (row.kind, row.transaction_id.as_str(), row.out_refund_no.as_str(), row.amount.get(), row.line)
        })
        .collect();
    assert_eq!(
        told,
        [(BillKind::Payment, "20190001", "", 8880, 6), (BillKind::Refund, "20190001", "RQ-1", 7, 7)]
    );
    assert_eq!(read_text(&format!("{HEAD}{TAIL}")).unwrap().rows, []);
}

#[test]
fn a_bill_that_does_not_hold_together_is_refused_as_a_whole() {
    for text in [
        format!("{HEAD}{PAID}"),
        format!("{PAID}{TAIL}"),
        format!("{HEAD}{PAID}{TAIL}{PAID}"),
        format!("{HEAD}{}{TAIL}", PAID.replace(",88.80", ",88.80,")),
        format!("{HEAD}{}{TAIL}", PAID.replace("88.80", "88,80")),
        format!("{HEAD}{}{TAIL}", PAID.replace("88.80", "-88.80")),
        format!("{HEAD}{}{TAIL}", BACK.replace("-0.07", "0.07")),
        format!("{HEAD}{}{TAIL}", PAID.replace("交易", "转账")),
        format!("{HEAD}{}{TAIL}", PAID.replace("23:59:53", "24:59:53")),
        format!("{HEAD}{}{TAIL}", PAID.replace("\"\"\"", "\"\"")),
    ] {
        assert!(read_text(&text).is_err(), "{text}");
    }
    let (csv, _, _) = GBK.encode(HEAD);
    let read = |zip: Vec<u8>| details(&zip);
    assert!(read(zipped(&[("a.csv", &csv), ("汇总.txt", b"x")])).is_ok());
    assert!(read(zipped(&[("a.csv", &csv), ("b.csv", &csv)])).is_err());
    // The sums beside the details, with a name in UTF-8 and in GBK without the flag.
    let both = zipped(&[("a.csv", &csv), ("a_汇总.csv", b"x")]);
    assert!(read(both).is_ok());
    let (name, _, _) = GBK.encode("汇总");
    let mut both = zipped(&[("a.csv", &csv), ("a_####.csv", b"x")]);
    while let Some(at) = both.windows(4).position(|four| four == b"####") {
        both[at..at + 4].copy_from_slice(&name);
    }
    assert!(read(both).is_ok());
    assert!(read(zipped(&[("a.txt", &csv)])).is_err());
    assert!(read(zipped(&[("a.csv", b"\xff\xff")])).is_err());
    assert!(read(b"PK".to_vec()).is_err());
    let whole = zipped(&[("a.csv", &csv)]);
    assert!(read(whole[..whole.len() - 10].to_vec()).is_err());
    let name = |at: usize| format!("{at}.txt");
    let names: Vec<String> = (0..17).map(name).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert_eq!(read(zipped(&many)), Err(malformed("the zip holds too many files")));
}

#[test]
fn a_zip_that_swells_is_refused() {
    let bomb = zipped(&[("a.csv", &vec![b'a'; bill::LARGEST + 1])]);
    assert!(bomb.len() < 1024 * 1024);
    assert_eq!(details(&bomb), Err(malformed("it is larger than 64 MiB unpacked")));
}

#[test]
fn another_accounts_bill_and_another_days_are_refused() {
    let text = format!("{HEAD}{PAID}{TAIL}");
    assert_eq!(read_text(&text.replace("账号：[2088", "账号：[2089")), Err(Untrusted::Identity("账号")));
    assert_eq!(read_text(&text.replace("#账号", "#帐号")), Err(Untrusted::Identity("账号")));
    assert_eq!(
        read_text(&text.replace("[2024年02月29", "[2024年02月28")),
        Err(Untrusted::Identity("起始日期"))
    );
}

#[test]
fn a_file_is_fetched_from_alipay_over_tls_and_from_nowhere_else() {
    let of = |address: &str| place(&ACCOUNT, address);
    let good = "https://dwbillcenter.alipay.com/downloadBillFile.resource?bizType=trade&userId=2088";
    assert_eq!(of(good).as_deref(), Some(good));
    assert_eq!(of(&good.replace("https", "http")).as_deref(), Some(good));
    for address in [
        "https://alipay.com.evil.example/x",
        "https://evilalipay.com/x",
        "https://127.0.0.1/x",
        "https://dwbillcenter.alipay.com:8443/x",
        "https://me@dwbillcenter.alipay.com/x",
        "http://127.0.0.1:8090/x",
        "file:///etc/passwd",
        "",
    ] {
        assert_eq!(of(address), None, "{address}");
    }
    let here = Account { gateway_url: "http://127.0.0.1:8090/gateway.do".to_owned(), ..ACCOUNT.clone() };
    assert!(place(&here, "http://127.0.0.1:8090/bill?x=1").is_some());
    assert!(place(&here, "http://127.0.0.1:8091/bill?x=1").is_none());
}

#[test]
fn a_bill_of_more_lines_than_there_are_payments_in_a_day_is_refused() {
    let of = |lines: usize| format!("支付宝交易号\n{}#end\n", "1\n".repeat(lines));
    assert!(table(&of(bill::MOST_LINES)).is_ok());
    assert_eq!(table(&of(bill::MOST_LINES + 1)), Err(malformed("it has more than 300000 lines")));
}
