//! Replies to unifiedorder, orderquery and closeorder: every good word in an answer is one that the second reader
//! finds in an authentic reply about this very order.

use super::{
    notify::{changes, facts, gateway},
    second::{APPID, MCH_ID, Message},
};
use shouyin::{
    domain::{
        ids::{Openid, OutTradeNo},
        money::Fen,
        order::{Attempt, Channel, Environment},
        time::UnixMs,
    },
    gateway::{
        Closing, Gateway, Prepaid, RefundedPayment, Response, Trade, Untrusted, wechat_v2::WechatV2,
        wechat_v2::xml::Fields,
    },
};

/// The order that is asked about: that of the replies in `tests/vectors`.
const ASKED: &str = "P20190415203040A";

/// The body as it is, and then with the signature it would need: that far no fuzzer gets by itself.
pub fn check(body: &[u8]) {
    let (gateway, attempt) = (gateway(), attempt());
    judge(&gateway, &attempt, body);
    if let Some(signed) = Message::signed(body) {
        judge(&gateway, &attempt, &signed);
    }
}

fn attempt() -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse(ASKED).expect("a good number"),
        order_id: 1,
        channel: Channel::WechatJsapi,
        account: format!("{MCH_ID}:{APPID}"),
        environment: Environment::Live,
        amount: Fen::new(20).expect("in range"),
        goods_name: String::new(),
        payer: Openid::parse("o1"),
        client_ip: String::new(),
        notify_url: String::new(),
        created_at: UnixMs(0),
        expires_at: UnixMs(0),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

fn judge(gateway: &WechatV2, attempt: &Attempt, body: &[u8]) {
    let answer = Response::new(200, body.to_vec());
    let (prepaid, trade, closing) = (
        gateway.prepaid(&answer, attempt),
        gateway.trade(&answer, attempt),
        gateway.closing(&answer, attempt),
    );
    let Ok(fields) = Fields::parse(body) else {
        assert!(matches!(closing, Err(Untrusted::Malformed(_))));
        return assert!(prepaid.is_err() && trade.is_err());
    };
    let read = Message::read(body).expect("accepted, and no well-formed flat XML to others");
    assert_eq!(closing.is_ok(), trusted(&read), "{closing:?}");
    if closing.is_err() {
        return assert!(prepaid.is_err() && trade.is_err());
    }
    let done = read.says("result_code", "SUCCESS");
    let failed = |code| !done && read.says("err_code", code);
    the_prepared_is_what_was_said(&read, done, prepaid);
    the_trade_is_what_was_said(&read, done, trade);
    match closing {
        Ok(Closing::Closed) => assert!(done || failed("ORDERCLOSED")),
        Ok(Closing::Paid) => assert!(failed("ORDERPAID")),
        Ok(Closing::NotFound) => assert!(failed("ORDERNOTEXIST")),
        Ok(Closing::Unbegun) => panic!("V2 knows every order it has prepared"),
        Ok(Closing::Unknown { .. }) | Err(_) => assert!(!done),
    }
    nothing_else_is_trusted(gateway, attempt, &fields);
}

/// Authentic, from our gateway, to us, and about nothing but this order.
fn trusted(read: &Message) -> bool {
    read.says("return_code", "SUCCESS")
        && read.is_authentic()
        && read.says("appid", APPID)
        && read.says("mch_id", MCH_ID)
        && read.get("out_trade_no").is_none_or(|number| number == ASKED)
}

fn the_prepared_is_what_was_said(read: &Message, done: bool, prepaid: Result<Prepaid, Untrusted>) {
    let id = read
        .get("prepay_id")
        .filter(|id| id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    let failed = |codes: &[&str]| !done && read.get("err_code").is_some_and(|code| codes.contains(&code));
    match prepaid {
        Ok(Prepaid::Ready { prepay_id }) => assert!(done && id == Some(prepay_id.as_str())),
        Ok(Prepaid::Paid) => assert!(failed(&["ORDERPAID"])),
        Ok(Prepaid::Closed) => assert!(failed(&["ORDERCLOSED"])),
        Ok(Prepaid::NumberUsed) => assert!(failed(&["OUT_TRADE_NO_USED", "INVALID_REQUEST"])),
        Ok(Prepaid::Unknown { .. } | Prepaid::Refused { .. }) => assert!(!done),
        Err(untrusted) => {
            assert_eq!(untrusted, Untrusted::Incomplete("prepay_id"));
            assert!(done && id.is_none());
        }
    }
}

fn the_trade_is_what_was_said(read: &Message, done: bool, trade: Result<Trade, Untrusted>) {
    let state = read.get("trade_state").filter(|_| done);
    let payment = read.payment().filter(|_| state == Some("SUCCESS"));
    match trade {
        Ok(Trade::Paid(paid)) => {
            assert_eq!(Some(facts(&paid)), payment);
            assert_eq!(paid.out_trade_no().as_str(), ASKED);
        }
        Ok(Trade::Closed { state: named }) => {
            assert!(state == Some(named.as_str()) && ["CLOSED", "REVOKED"].contains(&named.as_str()));
        }
        Ok(Trade::Refunded { payment }) => {
            assert_eq!(state, Some("REFUND"));
            let told = payment.as_ref().map(RefundedPayment::claim);
            let told = told.map(|paid| (paid.transaction_id.as_str(), paid.amount.get(), paid.currency));
            let said = read.payment();
            assert_eq!(
                told,
                said.as_ref().map(|p| (p.transaction_id.as_str(), p.amount, p.currency.as_str()))
            );
        }
        Ok(Trade::NotFound) => assert!(!done && read.says("err_code", "ORDERNOTEXIST")),
        Ok(Trade::Pending { .. }) => {
            let plain = ["SUCCESS", "REFUND", "CLOSED", "REVOKED"];
            assert!(state.is_none_or(|state| !plain.contains(&state)));
        }
        Err(untrusted) => {
            assert!(matches!(untrusted, Untrusted::Incomplete(_)), "{untrusted:?}");
            assert!(done && (state.is_none() || (state == Some("SUCCESS") && payment.is_none())));
        }
    }
}

fn nothing_else_is_trusted(gateway: &WechatV2, attempt: &Attempt, fields: &Fields) {
    for changed in changes(fields) {
        let answer = Response::new(200, changed.to_xml().into_bytes());
        assert!(gateway.trade(&answer, attempt).is_err(), "{changed:?}");
        assert!(gateway.closing(&answer, attempt).is_err(), "{changed:?}");
    }
    let answer = Response::new(502, fields.to_xml().into_bytes());
    assert_eq!(gateway.prepaid(&answer, attempt), Err(Untrusted::Status(502)));
}
