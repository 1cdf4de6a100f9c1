//! More callbacks of Alipay: other keys, other senders, other orders of events, and forms that two readers read
//! differently.

use super::{
    Outcome, Table,
    alipay::{Ali, DOOR, begun, o7, with, without, written},
    raw::gzip_bomb,
    table,
    world::{Snapshot, World},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use shouyin::{domain::order::Channel, gateway::rsa::PrivateKey};

pub const CASES: Table = table! {
    "ALI-MORE-01" => other_seller,
    "ALI-MORE-02" => keys_of_others,
    "ALI-MORE-03" => odd_signs,
    "ALI-MORE-04" => sign_type_inside,
    "ALI-MORE-05" => unsigned_parameters,
    "ALI-MORE-06" => shifted_pairs,
    "ALI-MORE-07" => in_gbk,
    "ALI-MORE-08" => other_charsets,
    "ALI-MORE-09" => fields_missing,
    "ALI-MORE-10" => other_currency,
    "ALI-MORE-11" => delivered_again,
    "ALI-MORE-12" => finished_after_success,
    "ALI-MORE-13" => finished_alone,
    "ALI-MORE-14" => second_trade,
    "ALI-MORE-15" => trade_of_another,
    "ALI-MORE-16" => refund_first,
    "ALI-MORE-17" => closed_order,
    "ALI-MORE-18" => status_after_payment,
    "ALI-MORE-19" => discount,
    "ALI-MORE-20" => other_notices,
    "ALI-MORE-21" => too_large,
    "ALI-MORE-22" => compressed,
    "ALI-MORE-23" => wrong_door,
    "ALI-MORE-24" => order_of_wechat,
    "ALI-MORE-25" => query_string,
    "ALI-MORE-26" => body_of_another_app,
};

async fn other_seller(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[("seller_id", "2088000000009999")])).await;
    Ok(())
}

/// Of the app itself, and of WeChat.
async fn keys_of_others(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let (pairs, rsa) = (ali.pairs(&world.subject), ali.keys.rsa.clone().unwrap());
    for key in [&rsa.alipay_app, &rsa.wechat_public, &rsa.merchant] {
        world.alipay(ali.signed_by(key, &pairs, &["sign", "sign_type"])).await;
    }
    Ok(())
}

async fn odd_signs(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    let sign = pairs.iter().find(|(name, _)| name == "sign").unwrap().1.clone();
    let bytes = STANDARD.decode(&sign).unwrap();
    let url_safe = sign.replace('+', "-").replace('/', "_");
    world.expect(sign.ends_with('='), &sign);
    for odd in [
        sign[..sign.len() / 2].to_owned(),
        sign.trim_end_matches('=').to_owned(),
        format!("{sign}="),
        format!("{sign}\n"),
        format!(" {sign}"),
        format!("{}\r\n{}", &sign[..76], &sign[76..]),
        STANDARD.encode([bytes.as_slice(), &[0]].concat()),
        STANDARD.encode([&[0], bytes.as_slice()].concat()),
        STANDARD.encode(vec![0; bytes.len()]),
        STANDARD.encode(vec![255; bytes.len()]),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        "x".repeat(4_000),
    ] {
        world.alipay(written(&with(&pairs, "sign", &odd))).await;
    }
    if url_safe != sign {
        world.alipay(written(&with(&pairs, "sign", &url_safe))).await;
    }
    // A plus that nobody escaped is a blank, in the text of the form as in ours.
    if sign.contains('+') {
        let escaped = written(&pairs);
        let (head, tail) = escaped.split_once("sign=").unwrap();
        world.alipay(format!("{head}sign={}", tail.replace("%2B", "+"))).await;
    }
    Ok(())
}

/// Signed as requests are signed: a notify is not.
async fn sign_type_inside(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    let key = ali.keys.rsa.as_ref().unwrap().alipay_platform.clone();
    world.alipay(ali.signed_by(&key, &pairs, &["sign"])).await;
    Ok(())
}

async fn unsigned_parameters(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    for (name, value) in
        [("extra", "1"), ("trade_status", "TRADE_FINISHED"), ("passback_params", "a"), ("zz", "x=y")]
    {
        world.alipay(written(&with(&pairs, name, value))).await;
    }
    for gone in ["subject", "buyer_id", "notify_id"] {
        world.alipay(written(&without(&pairs, gone))).await;
    }
    Ok(())
}

/// The signed text does not tell where a value ends: `subject=a&total_amount=1.00` can be one pair or two.
async fn shifted_pairs(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = without(&ali.pairs(&world.subject), "sign");
    // What Alipay would sign if a payer could choose the subject; `total_amount` sorts behind it.
    let chosen = with(&without(&pairs, "total_amount"), "subject", "账户充值&total_amount=1.00");
    let signed = ali.signed(&chosen);
    world.alipay(signed.clone()).await;
    let honest = ali.signed(&with(&pairs, "subject", "账户充值&seller_id=2088000000009999"));
    world.alipay(honest).await;
    // The other way round: the tail of one value moved into the next.
    let moved = with(&without(&ali.pairs(&world.subject), "total_amount"), "subject", &{
        let subject = &pairs.iter().find(|(name, _)| name == "subject").unwrap().1;
        format!("{subject}&total_amount=1.00")
    });
    world.alipay(written(&moved)).await;
    Ok(())
}

/// Values in GBK, escaped byte by byte and signed in those bytes.
async fn in_gbk(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let mut pairs =
        with(&with(&without(&ali.pairs(&world.subject), "sign"), "charset", "GBK"), "subject", "账户充值");
    pairs.sort();
    let bytes = |text: &str| encoding_rs::GBK.encode(text).0.into_owned();
    let covered = pairs.iter().filter(|(name, _)| name != "sign_type");
    let text: Vec<Vec<u8>> =
        covered.map(|(name, value)| [name.as_bytes(), b"=", &bytes(value)].concat()).collect();
    let key = PrivateKey::parse(&ali.keys.rsa.as_ref().unwrap().alipay_platform).unwrap();
    pairs.push(("sign".to_owned(), key.sign(&text.join(b"&".as_slice()))));
    let escaped = |value: &str| url::form_urlencoded::byte_serialize(&bytes(value)).collect::<String>();
    let body: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    world.expect(body.join("&").contains("subject=%D5%CB%BB%A7"), body.join("&"));
    world.alipay(body.join("&")).await;
    Ok(())
}

async fn other_charsets(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    for charset in ["utf-7", "utf-16", "gb18030", "iso-8859-1", "UTF-8,GBK", "unicode"] {
        world.alipay(ali.changed(&world.subject, &[("charset", charset)])).await;
    }
    Ok(())
}

async fn fields_missing(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    for name in ["trade_no", "out_trade_no", "total_amount"] {
        world.alipay(ali.changed(&world.subject, &[(name, "")])).await;
    }
    for (name, value) in [("trade_no", "20' OR 1"), ("out_trade_no", "a b"), ("trade_no", &"2".repeat(65))] {
        world.alipay(ali.changed(&world.subject, &[(name, value)])).await;
    }
    Ok(())
}

async fn other_currency(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    for currency in ["USD", "HKD", "cny"] {
        world.alipay(ali.changed(&world.subject, &[("trans_currency", currency)])).await;
    }
    Ok(())
}

/// The same notice, and the same with another `notify_time` and signature, as Alipay repeats itself.
async fn delivered_again(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let genuine = ali.changed(&world.subject, &[]);
    for _ in 0..2 {
        world.alipay(genuine.clone()).await;
        ali.shop.clock.advance_ms(25 * 3_600_000);
        let anew = ali.shop.clock.now().beijing_text();
        world.alipay(ali.changed(&world.subject, &[("notify_time", &anew)])).await;
    }
    let verdicts = ali.shop.verdicts().await;
    world.expect(verdicts == ["ok", "duplicate", "duplicate", "duplicate"], format!("{verdicts:?}"));
    Ok(())
}

async fn finished_after_success(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[])).await;
    world.alipay(ali.changed(&world.subject, &[("trade_status", "TRADE_FINISHED")])).await;
    let verdicts = ali.shop.verdicts().await;
    world.expect(verdicts == ["ok", "duplicate"], format!("{verdicts:?}"));
    Ok(())
}

async fn finished_alone(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[("trade_status", "TRADE_FINISHED")])).await;
    Ok(())
}

async fn second_trade(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[])).await;
    world.expect(ali.shop.order(&world.subject).await.is_paid(), "the fixture is not paid");
    world.mark().await;
    world.alipay(ali.changed(&world.subject, &[("trade_no", "2026112022001999999999999999")])).await;
    Ok(())
}

async fn trade_of_another(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let paid = begun(&ali.shop, Channel::AlipayQr, &ali.user).await;
    world.alipay(ali.changed(&paid, &[])).await;
    let order = ali.shop.order(&paid).await;
    world.expect(order.is_paid(), "the fixture is not paid");
    world.answers.clear();
    world.mark().await;
    let reused = order.transaction_id.unwrap();
    world.alipay(ali.changed(&world.subject, &[("trade_no", reused.as_str())])).await;
    Ok(())
}

/// The notice of a refund says TRADE_SUCCESS and the whole amount once more: it credits nothing, be it first or last.
async fn refund_first(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let refund =
        [("refund_fee", "0.40"), ("gmt_refund", "2026-11-20 20:00:00.123"), ("out_biz_no", "r-elsewhere-1")];
    world.alipay(ali.changed(&world.subject, &refund)).await;
    world
        .alipay(ali.changed(&world.subject, &[("refund_fee", "0.40"), ("out_biz_no", "r-elsewhere-1")]))
        .await;
    let all = [("refund_fee", "1.00"), ("trade_status", "TRADE_CLOSED"), ("out_biz_no", "r-elsewhere-2")];
    world.alipay(ali.changed(&world.subject, &all)).await;
    let kinds: Vec<String> = ali.shop.work_items().await.into_iter().map(|item| item.kind).collect();
    let shown = !kinds.is_empty() && kinds.iter().all(|kind| kind == "refunded_elsewhere");
    world.holds("somebody is called", shown, format!("{kinds:?}"));
    Ok(())
}

async fn closed_order(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    ali.shop.clock.advance_ms(3 * 3_600_000);
    ali.shop.close_expired().await;
    world.expect(ali.shop.order(&world.subject).await.closed_at.is_some(), "the fixture is not closed");
    world.mark().await;
    world.alipay(ali.changed(&world.subject, &[])).await;
    world.expect(ali.shop.order(&world.subject).await.late, "a late payment in silence");
    Ok(())
}

async fn status_after_payment(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[])).await;
    let paid = Snapshot::of(&ali.shop).await;
    for status in ["WAIT_BUYER_PAY", "TRADE_CLOSED"] {
        world.alipay(ali.changed(&world.subject, &[("trade_status", status)])).await;
    }
    let after = Snapshot::of(&ali.shop).await;
    let same = paid.orders == after.orders && paid.ledger == after.ledger;
    world.holds("the paid order stays", same, format!("{:?}", after.orders));
    Ok(())
}

async fn discount(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let less = [
        ("receipt_amount", "0.60"),
        ("buyer_pay_amount", "0.50"),
        ("invoice_amount", "0.50"),
        ("point_amount", "0.10"),
        ("version_9", "a=b"),
        ("voucher_detail_list", "[{\"amount\":\"0.40\",\"name\":\"满减 & 立减\"}]"),
    ];
    world.alipay(ali.changed(&world.subject, &less)).await;
    Ok(())
}

/// Signed by Alipay for this app, and no notice about a trade.
async fn other_notices(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    for kind in ["", "servicemarket_order_notify", "trade_status_sync ", "open_app_auth_notify"] {
        world.alipay(ali.changed(&world.subject, &[("notify_type", kind)])).await;
    }
    world.alipay(ali.changed(&world.subject, &[("notify_id", "")])).await;
    Ok(())
}

const LIMIT: usize = 64 * 1024;

async fn too_large(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let body = ali.changed(&world.subject, &[("body", &"a".repeat(LIMIT))]);
    let answer = world.alipay(body).await;
    world.expect(answer.status == 413, answer.status);
    // Ten thousand names are read, and say nothing.
    let many: Vec<String> = (0..10_000).map(|number| format!("p{number}=")).collect();
    let answer = world.alipay(many.join("&")[..LIMIT - 8].to_owned()).await;
    world.expect(answer.status == 200, answer.status);
    Ok(())
}

async fn compressed(world: &mut World) -> Outcome {
    o7(world).await;
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("content-encoding", "gzip")];
    world.call_back(DOOR, &headers, gzip_bomb(LIMIT - 100)).await;
    Ok(())
}

async fn wrong_door(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let genuine = ali.changed(&world.subject, &[]);
    for door in ["/notify/wechat", "/notify/wechat/refund"] {
        let answer = ali.shop.call_back(door, &[], genuine.clone()).await;
        world.expect(answer.body.contains("FAIL"), format!("{door}: {}", answer.body));
    }
    // Without keys for V3 there is no such door.
    for door in ["/notify/wechat/v3", "/notify/wechat/v3/refund", "/notify/alipay/refund", "/notify/alipay/"]
    {
        let answer = ali.shop.call_back(door, &[], genuine.clone()).await;
        world.expect(answer.status == 404, format!("{door}: {} {}", answer.status, answer.body));
    }
    world.alipay(ali.shop.simulator.signed_notify(&world.subject, &[])).await;
    Ok(())
}

/// Alipay vouches for a payment of an order that was begun at WeChat.
async fn order_of_wechat(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.subject = begun(&ali.shop, Channel::WechatNative, &ali.user).await;
    world.mark().await;
    let notice = ali.changed("ZZZ", &[("out_trade_no", &world.subject), ("total_amount", "1.00")]);
    world.alipay(notice).await;
    Ok(())
}

async fn query_string(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let genuine = ali.changed(&world.subject, &[]);
    let pairs = without(&ali.pairs(&world.subject), "trade_status");
    let door = format!("{DOOR}?{genuine}");
    let plain = [("content-type", "application/x-www-form-urlencoded")];
    world.call_back(&door, &plain, "").await;
    world.call_back(&format!("{DOOR}?trade_status=TRADE_SUCCESS"), &plain, written(&pairs)).await;
    Ok(())
}

/// Genuine for another app: its seller, its number, and the key Alipay has for it.
async fn body_of_another_app(world: &mut World) -> Outcome {
    let ali: Ali = o7(world).await;
    let pairs = with(&ali.pairs(&world.subject), "app_id", "2021000000009999");
    let pairs = with(&pairs, "seller_id", "2088000000009999");
    let other = PrivateKey::generate().unwrap().to_base64().unwrap();
    world.alipay(ali.signed_by(&other, &pairs, &["sign", "sign_type"])).await;
    Ok(())
}
