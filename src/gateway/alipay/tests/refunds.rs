//! Refunds at Alipay: what we ask and what we believe.

use super::*;

#[test]
fn a_refund_is_asked_for_with_one_number_and_accepted_whatever_fund_change_says() {
    let refund = refund_of(7);
    let (form, content) = sent(&alipay().refund(&refund, &stamp()));
    assert_eq!(form.get("method"), Some("alipay.trade.refund"));
    let right = serde_json::json!({
        "trade_no": "2019041522001468450512500001", "refund_amount": "0.07", "out_request_no": "r1",
        "refund_reason": "多充了",
    });
    assert_eq!(content, right);
    let (_, silent) = sent(&alipay().refund(&Refund { reason: String::new(), ..refund.clone() }, &stamp()));
    assert!(silent.get("refund_reason").is_none());
    let node = "alipay_trade_refund_response";
    let asked = |fields: &str| {
        alipay().refund_asked(&reply(node, &format!(r#"{{"code":"10000",{fields}}}"#)), &refund)
    };
    let trade_no = r#""trade_no":"2019041522001468450512500001""#;
    for more in [
        r#""fund_change":"Y","refund_fee":"0.07","out_trade_no":"a1""#,
        r#""fund_change":"N","refund_fee":"5.00""#,
        r#""fund_change":"Y","refund_fee":0.07"#,
        r#""fund_change":"Y""#,
        // Not through yet, and so not in the sum.
        r#""fund_change":"N","refund_fee":"0.00""#,
        r#""refund_fee":"0.06""#,
    ] {
        let accepted = RefundAsked::Accepted { refund_id: String::new() };
        assert_eq!(asked(&format!("{trade_no},{more}")), Ok(accepted), "{more}");
    }
    for (fields, name) in [
        (r#""trade_no":"2","fund_change":"Y""#.to_owned(), "trade_no"),
        (r#""fund_change":"Y""#.to_owned(), "trade_no"),
        (format!(r#"{trade_no},"out_trade_no":"a2""#), "out_trade_no"),
        (format!(r#"{trade_no},"fund_change":"Y","refund_fee":"0.06""#), "refund_fee"),
        (format!(r#"{trade_no},"fund_change":"Y","refund_fee":0.06"#), "refund_fee"),
        (format!(r#"{trade_no},"refund_fee":"9.91""#), "refund_fee"),
        (format!(r#"{trade_no},"refund_fee":"x""#), "refund_fee"),
    ] {
        assert_eq!(asked(&fields), Err(Untrusted::Identity(name)), "{fields}");
    }
}

#[test]
fn a_refund_that_was_not_taken_on_is_refused_only_by_the_business() {
    let node = "alipay_trade_refund_response";
    let asked =
        |code, sub_code| alipay().refund_asked(&failure(node, code, sub_code), &refund_of(7)).unwrap();
    let text = |sub_code: &str| format!("{sub_code} t");
    assert_eq!(asked("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH"), RefundAsked::NotEnough);
    let unknown = RefundAsked::Unknown { code: text("ACQ.SYSTEM_ERROR") };
    assert_eq!(asked("40004", "ACQ.SYSTEM_ERROR"), unknown);
    assert_eq!(asked("20000", "ACQ.SYSTEM_ERROR"), unknown);
    let refused = RefundAsked::Refused { code: text("ACQ.REASON_TRADE_REFUND_FEE_ERR") };
    assert_eq!(asked("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR"), refused);
    let unlisted = RefundAsked::Unknown { code: text("ACQ.SOMETHING_NEW") };
    assert_eq!(asked("40004", "ACQ.SOMETHING_NEW"), unlisted);
    let throttled = RefundAsked::Throttled { code: text("isv.app-call-limited") };
    assert_eq!(asked("40002", "isv.app-call-limited"), throttled);
}

#[test]
fn a_refund_is_finished_by_one_word_with_its_own_number_payment_and_amount() {
    let refund = refund_of(7);
    let (form, content) = sent(&alipay().refund_query(&refund, &stamp()));
    assert_eq!(form.get("method"), Some("alipay.trade.fastpay.refund.query"));
    let right = serde_json::json!({"trade_no": "2019041522001468450512500001", "out_request_no": "r1"});
    assert_eq!(content, right);
    let node = "alipay_trade_fastpay_refund_query_response";
    let news =
        |fields: &str| alipay().refund_news(&reply(node, &format!(r#"{{"code":"10000"{fields}}}"#)), &refund);
    let of = |trade: &str, no: &str, amount: &str, total: &str, status: &str| {
        news(&format!(
            r#","trade_no":"{trade}","out_trade_no":"a1","out_request_no":"{no}","refund_amount":"{amount}",
            "total_amount":"{total}","refund_status":"{status}""#
        ))
    };
    let ours = "2019041522001468450512500001";
    let Ok(RefundNews::Found(found)) = of(ours, "r1", "0.07", "9.90", "REFUND_SUCCESS") else { panic!() };
    assert_eq!((found.standing(), found.refund_id()), (RefundStanding::Success, ""));
    assert_eq!(found.out_refund_no().as_str(), "r1");
    for status in ["REFUND_PROCESSING", "REFUND_FAIL", "refund_success", "SUCCESS"] {
        let unknown = RefundNews::Unknown { code: status.to_owned() };
        assert_eq!(of(ours, "r1", "0.07", "9.90", status), Ok(unknown));
    }
    for (answer, name) in [
        (of("2", "r1", "0.07", "9.90", "REFUND_SUCCESS"), "trade_no"),
        (of(ours, "r2", "0.07", "9.90", "REFUND_SUCCESS"), "out_request_no"),
        (of(ours, "r1", "0.08", "9.90", "REFUND_SUCCESS"), "refund_amount"),
        (of(ours, "r1", "", "9.90", "REFUND_SUCCESS"), "refund_amount"),
        (of(ours, "r1", "0.07", "9.91", "REFUND_SUCCESS"), "total_amount"),
        (
            news(r#","out_request_no":"r1","refund_amount":"0.07","refund_status":"REFUND_SUCCESS""#),
            "trade_no",
        ),
    ] {
        assert_eq!(answer, Err(Untrusted::Identity(name)));
    }
}

#[test]
fn code_10000_alone_never_finishes_a_refund() {
    let node = "alipay_trade_fastpay_refund_query_response";
    let refund = refund_of(7);
    let news = |answer: Response| alipay().refund_news(&answer, &refund);
    assert_eq!(news(reply(node, r#"{"code":"10000","msg":"Success"}"#)), Ok(RefundNews::NotFound));
    let named = r#"{"code":"10000","out_request_no":"r1","refund_amount":"0.07"}"#;
    let unknown = RefundNews::Unknown { code: "10000 without refund_status".to_owned() };
    assert_eq!(news(reply(node, named)), Ok(unknown));
    assert_eq!(news(failure(node, "40004", "ACQ.TRADE_NOT_EXIST")), Ok(RefundNews::NotFound));
    for (code, sub_code) in
        [("40004", "ACQ.SYSTEM_ERROR"), ("20000", "ACQ.TRADE_NOT_EXIST"), ("40002", "isv.x")]
    {
        let unknown = RefundNews::Unknown { code: format!("{sub_code} t") };
        assert_eq!(news(failure(node, code, sub_code)), Ok(unknown));
    }
}
