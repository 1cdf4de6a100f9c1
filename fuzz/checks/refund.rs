//! Refunds: what a reply or a callback says about one is what the second reader finds in it, a reply only when it
//! is authentic, and a callback only under our own cipher.

use super::{
    notify::{changes, gateway},
    second::{APPID, KEY, MCH_ID, Message, fen},
};
use shouyin::{
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        order::{Environment, Provider},
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    gateway::{
        Gateway, Notify, RefundAsked, RefundNews, RefundNotified, RefundStanding, Response,
        wechat_v2::{ApiKey, WechatV2, refund_notify, xml::Fields},
    },
};

/// The refund that is asked about: that of the callbacks in `tests/vectors`.
const OUT_REFUND_NO: &str = "RFP201904152";
const OUT_TRADE_NO: &str = "P20190415203040A";
const TRANSACTION_ID: &str = "4200000301201904158888888888";
const TOTAL: i64 = 100;
const AMOUNT: i64 = 60;

/// The input as a reply, as it is and with the signature it would need; as a callback; and as the secret part of one.
pub fn check(body: &[u8]) {
    let (gateway, refund) = (gateway(), refund());
    judge_reply(&gateway, &refund, body);
    if let Some(signed) = Message::signed(body) {
        judge_reply(&gateway, &refund, &signed);
    }
    judge_callback(&gateway, body, None);
    if let Ok(secret) = std::str::from_utf8(body) {
        judge_callback(&gateway, sealed(secret).as_bytes(), Some(secret));
    }
}

fn refund() -> Refund {
    Refund {
        id: 1,
        out_refund_no: OutRefundNo::parse(OUT_REFUND_NO).expect("a good number"),
        order_id: Some(1),
        work_item_id: None,
        user_id: Some(1),
        provider: Provider::Wechat,
        account: format!("{MCH_ID}:{APPID}"),
        environment: Environment::Live,
        out_trade_no: OutTradeNo::parse(OUT_TRADE_NO).expect("a good number"),
        transaction_id: TransactionId::parse(TRANSACTION_ID).expect("a good number"),
        total: Fen::new(TOTAL).expect("in range"),
        amount: Fen::new(AMOUNT).expect("in range"),
        reason: String::new(),
        notify_url: String::new(),
        requested_by: String::new(),
        requested_at: UnixMs(0),
        decided_by: None,
        state: RefundState::Processing,
        refund_id: None,
        last_answer: None,
        asked: 1,
        asked_at: None,
        refused_at: None,
        queried_at: None,
        next_at: None,
        finished_at: None,
    }
}

fn judge_reply(gateway: &WechatV2, refund: &Refund, body: &[u8]) {
    let answer = Response::new(200, body.to_vec());
    let (asked, news) = (gateway.refund_asked(&answer, refund), gateway.refund_news(&answer, refund));
    let Ok(fields) = Fields::parse(body) else {
        assert!(asked.is_err() && news.is_err(), "no document, and yet an answer");
        return;
    };
    let read = Message::read(body).expect("accepted, and no well-formed flat XML to others");
    let ours = read.says("return_code", "SUCCESS")
        && read.is_authentic()
        && read.says("appid", APPID)
        && read.says("mch_id", MCH_ID)
        && read.get("out_trade_no").is_none_or(|number| number == OUT_TRADE_NO);
    assert!(ours || (asked.is_err() && news.is_err()), "an answer nobody vouches for");
    if let Ok(RefundAsked::Accepted { refund_id }) = &asked {
        assert!(read.says("result_code", "SUCCESS") && read.says("out_refund_no", OUT_REFUND_NO));
        assert!(read.says("refund_id", refund_id));
        assert!(read.get("refund_fee").is_none_or(|text| fen(text) == Some(AMOUNT)));
    }
    if let Ok(RefundNews::NotFound) = &news {
        assert!(!read.says("result_code", "SUCCESS") && read.says("err_code", "REFUNDNOTEXIST"));
    }
    let Ok(RefundNews::Found(found)) = news else { return };
    assert!(read.says("result_code", "SUCCESS"));
    let group = (0..50)
        .find(|n| read.says(&format!("out_refund_no_{n}"), OUT_REFUND_NO))
        .expect("found, and in no group");
    let word = match found.standing() {
        RefundStanding::Success => "SUCCESS",
        RefundStanding::Processing => "PROCESSING",
        RefundStanding::Abnormal => "CHANGE",
        RefundStanding::Closed => "REFUNDCLOSE",
    };
    assert!(read.says(&format!("refund_status_{group}"), word));
    assert!(read.says(&format!("refund_id_{group}"), found.refund_id()));
    assert_eq!(read.get(&format!("refund_fee_{group}")).and_then(fen), Some(AMOUNT));
    assert!(read.get("total_fee").is_none_or(|total| fen(total) == Some(TOTAL)));
    for changed in changes(&fields) {
        let answer = Response::new(200, changed.to_xml().into_bytes());
        assert!(gateway.refund_news(&answer, refund).is_err(), "{changed:?}");
    }
}

/// A callback of ours around any secret part.
fn sealed(secret: &str) -> String {
    let key = ApiKey::new(KEY).expect("not empty");
    let req_info = refund_notify::seal(&key, secret).expect("the cipher works");
    assert_eq!(refund_notify::open(&key, &req_info).as_deref(), Some(secret.as_bytes()));
    let other = ApiKey::new("another key").expect("not empty");
    assert_ne!(refund_notify::open(&other, &req_info).as_deref(), Some(secret.as_bytes()));
    format!(
        "<xml><return_code>SUCCESS</return_code><appid>{APPID}</appid><mch_id>{MCH_ID}</mch_id>\
         <req_info><![CDATA[{req_info}]]></req_info></xml>"
    )
}

/// `secret` is what the sealed part holds, where that is known.
fn judge_callback(gateway: &WechatV2, body: &[u8], secret: Option<&str>) {
    let RefundNotified::Hint(hint) = gateway.refund_notified(Notify { body, ..Notify::default() }) else {
        return;
    };
    let outer = Message::read(body).expect("accepted, and no well-formed flat XML to others");
    assert!(
        outer.says("return_code", "SUCCESS") && outer.says("appid", APPID) && outer.says("mch_id", MCH_ID)
    );
    let Some(secret) = secret else { return };
    let inner = Message::read(secret.as_bytes()).expect("accepted, and no well-formed flat XML to others");
    assert!(inner.says("out_refund_no", hint.out_refund_no.as_str()));
    assert!(inner.says("out_trade_no", hint.out_trade_no.as_str()));
    assert!(inner.says("transaction_id", hint.transaction_id.as_str()));
    assert!(inner.says("refund_status", &hint.status));
    assert_eq!(inner.get("total_fee").and_then(fen), Some(hint.total.get()));
    assert_eq!(inner.get("refund_fee").and_then(fen), hint.amount.map(|fen| fen.get()));
    assert!(body.len() < 16 * 1024);
}
