use super::*;
use crate::gateway::alipay::tests::{account, alipay_signs, app_signs};
use std::collections::BTreeMap;
use url::form_urlencoded;

type Pairs = BTreeMap<&'static str, String>;

fn paid() -> Pairs {
    [
        ("notify_type", "trade_status_sync"),
        ("notify_id", "2024022900222235959012345678901234"),
        ("app_id", "2021000122600001"),
        ("seller_id", "2088102146225135"),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("subject", "充值 1+1"),
        ("out_trade_no", "a1"),
        ("trade_no", "2019041522001468450512500001"),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "9.90"),
        ("receipt_amount", "5.00"),
        ("gmt_payment", "2019-04-15 20:30:43"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect()
}

fn with(changes: &[(&'static str, &str)]) -> Pairs {
    let mut pairs = paid();
    pairs.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
    pairs
}

fn text(pairs: &Pairs) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The form as it is sent, whatever its signature is over.
fn form(pairs: &Pairs, sign: &str) -> String {
    let tail = [("sign_type", "RSA2"), ("sign", sign)];
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).extend_pairs(tail).finish()
}

fn signed(pairs: &Pairs) -> String {
    form(pairs, &alipay_signs(text(pairs).as_bytes()))
}

fn read_form(body: &str) -> Notified {
    read(&account(), body.as_bytes())
}

fn rejected(body: &str) -> Option<Rejection> {
    match read_form(body) {
        Notified::Rejected { rejection, .. } => Some(rejection),
        _ => None,
    }
}

#[test]
fn a_signed_payment_is_read_with_its_total_amount() {
    for status in ["TRADE_SUCCESS", "TRADE_FINISHED"] {
        let Notified::Paid(payment) = read_form(&signed(&with(&[("trade_status", status)]))) else {
            panic!("{status}");
        };
        let claim = payment.claim();
        assert_eq!((claim.amount.get(), claim.currency), (990, "CNY"));
        assert_eq!(claim.account, "2021000122600001:2088102146225135");
        assert_eq!(claim.transaction_id.as_str(), "2019041522001468450512500001");
        assert_eq!(payment.out_trade_no().as_str(), "a1");
        assert_eq!(payment.paid_at().map(|at| at.secs()), Some(1_555_331_443));
    }
}

#[test]
fn no_signature_an_empty_one_or_one_of_our_own_app_is_never_believed() {
    let right = alipay_signs(text(&paid()).as_bytes());
    let unsigned = form_urlencoded::Serializer::new(String::new()).extend_pairs(&paid()).finish();
    let broken = right.replace(['+', '/'], " ");
    let cut = right.get(..300).unwrap();
    for body in [
        unsigned,
        form(&paid(), ""),
        form(&paid(), &broken),
        form(&paid(), cut),
        form(&paid(), &format!("{right}\n")),
        form(&paid(), &app_signs(text(&paid()).as_bytes())),
        form(&with(&[("total_amount", "0.01")]), &right),
        form(&with(&[("body", "x")]), &right),
    ] {
        assert_eq!(rejected(&body), Some(Rejection::BadSign), "{body}");
    }
    assert!(matches!(read_form(&form(&paid(), &right)), Notified::Paid(_)));
}

#[test]
fn the_algorithm_is_ours_whatever_the_message_names() {
    let body = signed(&paid());
    assert!(matches!(read_form(&body), Notified::Paid(_)));
    for named in ["sign_type=RSA", "sign_type=MD5", "sign_type=NONE", "sign_type=", "sign_type=rsa2", "a=b"] {
        let changed = body.replace("sign_type=RSA2", named);
        assert_eq!(rejected(&changed), Some(Rejection::BadSign), "{named}");
    }
    // Signed with `sign_type` inside, as requests are: no notify about a trade is.
    let with_type = alipay_signs(text(&with(&[("sign_type", "RSA2")])).as_bytes());
    assert_eq!(rejected(&form(&paid(), &with_type)), Some(Rejection::BadSign));
}

#[test]
fn parameters_without_a_value_are_in_the_signature_or_left_out_of_it() {
    let pairs = with(&[("body", ""), ("passback_params", "")]);
    assert!(matches!(read_form(&signed(&pairs)), Notified::Paid(_)));
    let without = alipay_signs(text(&paid()).as_bytes());
    assert!(matches!(read_form(&form(&pairs, &without)), Notified::Paid(_)));
    assert_eq!(rejected(&form(&with(&[("body", " ")]), &without)), Some(Rejection::BadSign));
    // Left out, they are under no signature, and so there is an end to them.
    let names = ["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"].map(|name| (name, ""));
    assert!(matches!(read_form(&form(&with(&names[..8]), &without)), Notified::Paid(_)));
    assert_eq!(rejected(&form(&with(&names), &without)), Some(Rejection::BadSign));
    assert!(matches!(read_form(&signed(&with(&names))), Notified::Paid(_)), "each of them signed");
}

#[test]
fn a_form_that_signs_like_another_form_proves_nothing() {
    // A refund notify: its refund hidden in the value before it, the signed text is the same.
    let refund = with(&[("refund_fee", "0.07"), ("gmt_refund", "2019-04-15 20:30:48.123")]);
    let sign = alipay_signs(text(&refund).as_bytes());
    let hidden = with(&[
        ("receipt_amount", "5.00&refund_fee=0.07"),
        ("gmt_payment", "2019-04-15 20:30:43&gmt_refund=2019-04-15 20:30:48.123"),
    ]);
    assert_eq!(text(&hidden), text(&refund), "the signature would hold");
    assert_eq!(rejected(&form(&hidden, &sign)), Some(Rejection::BadSign));
    // An ampersand that begins no pair is only an ampersand.
    assert!(matches!(read_form(&signed(&with(&[("body", "Tom & Jerry &=")]))), Notified::Paid(_)));
}

#[test]
fn a_message_for_another_app_or_seller_is_refused_even_when_signed() {
    for (changes, right) in [
        (("app_id", "2021999988887777"), Rejection::AppidMismatch),
        (("app_id", ""), Rejection::AppidMismatch),
        (("seller_id", "2088000000000000"), Rejection::MchIdMismatch),
        (("seller_id", ""), Rejection::MchIdMismatch),
    ] {
        assert_eq!(rejected(&signed(&with(&[changes]))), Some(right), "{changes:?}");
    }
    let mut by_mail = with(&[("seller_email", "shop@pay.cn")]);
    by_mail.remove("seller_id");
    assert_eq!(rejected(&signed(&by_mail)), Some(Rejection::MchIdMismatch));
}

#[test]
fn the_way_back_of_a_browser_is_no_notify() {
    // What Alipay signs into return_url: the same key, the same rule, and no word about payment.
    let mut back = with(&[("method", "alipay.trade.page.pay.return"), ("auth_app_id", "2021000122600001")]);
    for name in ["notify_type", "notify_id", "trade_status"] {
        back.remove(name);
    }
    assert_eq!(rejected(&signed(&back)), Some(Rejection::Malformed));
    for missing in ["notify_type", "notify_id", "trade_status"] {
        let mut pairs = paid();
        pairs.remove(missing);
        assert_eq!(rejected(&signed(&pairs)), Some(Rejection::Malformed), "{missing}");
        assert_eq!(rejected(&signed(&with(&[(missing, "")]))), Some(Rejection::Malformed), "{missing}");
    }
    let other = signed(&with(&[("notify_type", "servicemarket_order_notify")]));
    assert_eq!(rejected(&other), Some(Rejection::Malformed));
}

#[test]
fn a_status_that_is_not_paid_is_recorded_and_an_unknown_one_refused() {
    for status in ["WAIT_BUYER_PAY", "TRADE_CLOSED"] {
        let right = Notified::NotPaid { out_trade_no: OutTradeNo::parse("a1") };
        assert_eq!(read_form(&signed(&with(&[("trade_status", status)]))), right);
    }
    for status in ["success", "trade_success", "TRADE_PENDING", "TRADE_SUCCESS "] {
        assert_eq!(
            rejected(&signed(&with(&[("trade_status", status)]))),
            Some(Rejection::Incomplete),
            "{status}"
        );
    }
}

#[test]
fn a_refund_never_pays_whatever_the_status_says() {
    let hint = RefundHint {
        out_refund_no: OutRefundNo::parse("RQ-1").unwrap(),
        out_trade_no: OutTradeNo::parse("a1").unwrap(),
        transaction_id: TransactionId::parse("2019041522001468450512500001").unwrap(),
        total: Fen::new(990).unwrap(),
        amount: None,
        status: "SUCCESS".to_owned(),
        signed: true,
    };
    let refund = [("out_biz_no", "RQ-1"), ("refund_fee", "5.00"), ("gmt_refund", "2019-04-15 20:30:48.123")];
    for status in ["TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED"] {
        let body = signed(&with(&[&refund[..], &[("trade_status", status)]].concat()));
        assert_eq!(read_form(&body), Notified::Refund(hint.clone()), "{status}");
    }
    assert_eq!(read_form(&signed(&with(&refund[..1]))), Notified::Refund(hint.clone()));
    // A refund without a number of its own has the trade's.
    let unnamed = RefundHint { out_refund_no: OutRefundNo::parse("a1").unwrap(), ..hint };
    for unnumbered in [&refund[1..2], &refund[1..]] {
        assert_eq!(read_form(&signed(&with(unnumbered))), Notified::Refund(unnamed.clone()));
    }
    for alone in [refund[2], ("out_biz_no", "R Q"), ("refund_fee", "-0.00"), ("refund_fee", "x")] {
        assert_eq!(rejected(&signed(&with(&[alone]))), Some(Rejection::Incomplete), "{alone:?}");
    }
    let with_zero = signed(&with(&[("refund_fee", "0.00"), refund[2]]));
    assert_eq!(rejected(&with_zero), Some(Rejection::Incomplete));
}

#[test]
fn a_refund_of_zero_is_no_refund() {
    for zero in ["0.00", "0.0", "0", ""] {
        for status in ["TRADE_SUCCESS", "TRADE_FINISHED"] {
            let read = read_form(&signed(&with(&[("refund_fee", zero), ("trade_status", status)])));
            assert!(matches!(read, Notified::Paid(payment) if payment.amount().get() == 990), "{zero}");
        }
        let closed = read_form(&signed(&with(&[("refund_fee", zero), ("trade_status", "TRADE_CLOSED")])));
        assert_eq!(closed, Notified::NotPaid { out_trade_no: OutTradeNo::parse("a1") }, "{zero}");
    }
}

#[test]
fn an_amount_is_an_exact_decimal_of_at_most_two_places() {
    for (amount, fen) in
        [("1", 100), ("1.0", 100), ("1.00", 100), ("0.01", 1), ("100", 10_000), ("88.8", 8_880)]
    {
        let Notified::Paid(payment) = read_form(&signed(&with(&[("total_amount", amount)]))) else {
            panic!("{amount}");
        };
        assert_eq!(payment.amount().get(), fen, "{amount}");
    }
    for amount in
        ["1.000", "01.00", "+1.00", "-1.00", "1e0", "1.00元", "", "0", "0.00", "1,00", " 1", "NaN", "１"]
    {
        assert_eq!(
            rejected(&signed(&with(&[("total_amount", amount)]))),
            Some(Rejection::Incomplete),
            "{amount}"
        );
    }
}

#[test]
fn what_is_no_plain_form_is_malformed_and_names_no_order() {
    let body = signed(&paid());
    for bad in [
        String::new(),
        "{}".to_owned(),
        format!("{body}&out_trade_no=a2"),
        format!("out_trade_no=a1&{body}"),
        format!("{body}&a=%"),
        format!("{body}&a=%FF"),
        format!("{body}&a=%u0041"),
        format!("{body}&"),
        body.replace("charset=utf-8", "charset=utf-16"),
    ] {
        let malformed = Notified::Rejected { rejection: Rejection::Malformed, out_trade_no: None };
        assert_eq!(read_form(&bad), malformed, "{bad}");
    }
}

#[test]
fn a_gbk_notify_is_verified_over_its_own_bytes() {
    let mut plain = paid();
    plain.insert("charset", "GBK".to_owned());
    plain.insert("subject", "SUBJECT".to_owned());
    let bytes = text(&plain).into_bytes();
    let marker = bytes.windows(7).position(|at| at == b"SUBJECT").unwrap();
    let signed_bytes = [&bytes[..marker], b"\xb3\xe4\xd6\xb5", &bytes[marker + 7..]].concat();
    let body = form(&plain, &alipay_signs(&signed_bytes)).replace("SUBJECT", "%B3%E4%D6%B5");
    assert!(matches!(read_form(&body), Notified::Paid(_)));
    assert_eq!(rejected(&body.replace("charset=GBK&", "")), Some(Rejection::Malformed), "it is no UTF-8");
}

#[test]
fn the_answer_is_seven_bytes_or_a_refusal() {
    let received = ack(Ack::Received);
    assert_eq!((received.status, received.body.as_bytes()), (200, b"success".as_slice()));
    assert_eq!(ack(Ack::Refused("SIGNATURE NOT ACCEPTED")).body, "fail");
}

#[test]
fn what_we_would_have_passed_back_is_no_second_form_unless_it_names_what_is_read() {
    // The example of Alipay's interface description, decoded once.
    let echoed = "merchantBizType=3C&merchantBizNo=2016010101111";
    let notified = read_form(&signed(&with(&[("passback_params", echoed)])));
    assert!(matches!(notified, Notified::Paid(_)), "{notified:?}");
    for hidden in ["x&refund_fee=1.00", "x&trade_status=TRADE_SUCCESS", "x&total_amount="] {
        let body = signed(&with(&[("passback_params", hidden)]));
        assert_eq!(rejected(&body), Some(Rejection::BadSign), "{hidden}");
    }
}
