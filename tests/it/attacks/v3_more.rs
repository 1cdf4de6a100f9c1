//! More callbacks of WeChat Pay V3: what else a stranger, a proxy, an old recording or WeChat itself may bring.

use super::{
    Outcome, Table,
    effects::hurried,
    raw::{bare, gzip_bomb, say},
    table,
    v3::{DOOR, V3, lines_of, o6, platform_certificate},
    world::World,
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shouyin::{
    domain::order::Channel,
    simulator::{SignedNotify, Signer},
};

pub const CASES: Table = table! {
    "WX3-MORE-01" => six_minutes_ahead,
    "WX3-MORE-02" => no_seconds,
    "WX3-MORE-03" => headers_repeated,
    "WX3-MORE-04" => other_signature_type,
    "WX3-MORE-05" => key_of_another_name,
    "WX3-MORE-06" => keys_of_others,
    "WX3-MORE-07" => bytes_changed,
    "WX3-MORE-08" => other_cipher,
    "WX3-MORE-09" => other_nonce,
    "WX3-MORE-10" => other_api_v3_key,
    "WX3-MORE-11" => broken_envelope,
    "WX3-MORE-12" => broken_contents,
    "WX3-MORE-13" => delivered_again,
    "WX3-MORE-14" => signed_again,
    "WX3-MORE-15" => other_amount,
    "WX3-MORE-16" => other_currency,
    "WX3-MORE-17" => second_transaction,
    "WX3-MORE-18" => transaction_of_another,
    "WX3-MORE-19" => fields_missing,
    "WX3-MORE-20" => unknown_order,
    "WX3-MORE-21" => other_appid,
    "WX3-MORE-22" => other_events,
    "WX3-MORE-23" => wrong_door,
    "WX3-MORE-24" => order_of_another_provider,
    "WX3-MORE-25" => late,
    "WX3-MORE-26" => coupon,
    "WX3-MORE-27" => too_large,
    "WX3-MORE-28" => other_methods,
    "WX3-MORE-29" => content_types,
    "WX3-MORE-30" => compressed,
    "WX3-MORE-31" => nested,
    "WX3-MORE-32" => window_edges,
    "WX3-MORE-33" => certificate_that_is_not_ours,
};

async fn six_minutes_ahead(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let body = v3.genuine(&world.subject).body;
    for ahead in [301, 360, 86_400] {
        world.v3_as(&v3.headers(v3.now() + ahead, body.as_bytes()), body.as_bytes()).await;
    }
    hurried(world, "QUERY_SCHEDULED:O6").await;
    Ok(())
}

/// Signed as it stands there, and yet no time: milliseconds are too far off, the rest is no number.
async fn no_seconds(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let (body, rsa) = (v3.genuine(&world.subject).body, v3.keys.rsa.clone().unwrap());
    let now = v3.now();
    for timestamp in [
        format!("-{now}"),
        format!("+{now}"),
        format!("{now}.0"),
        format!("0x{now:x}"),
        "9".repeat(40),
        "2026-11-20T20:00:00+08:00".to_owned(),
    ] {
        let headers = v3.headers_by(&rsa.wechat_public, &rsa.public_key_id(), &timestamp, body.as_bytes());
        world.v3_as(&headers, body.as_bytes()).await;
    }
    Ok(())
}

async fn headers_repeated(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.genuine(&world.subject);
    for (name, value) in genuine.headers.clone() {
        for second in [value.clone(), "1".to_owned()] {
            let mut notify = genuine.clone();
            notify.headers.push((name, second.clone()));
            world.v3(&notify).await;
            notify.headers.rotate_right(1);
            world.v3(&notify).await;
        }
    }
    Ok(())
}

async fn other_signature_type(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for named in ["WECHATPAY2-SM2-WITH-SM3", "WECHATPAY2-SHA1-RSA2048", "none", "wechatpay2-sha256-rsa2048"] {
        let mut notify = v3.genuine(&world.subject);
        notify.headers.retain(|(name, _)| *name != "Wechatpay-Signature-Type");
        notify.headers.push(("Wechatpay-Signature-Type", named.to_owned()));
        world.v3(&notify).await;
    }
    Ok(())
}

/// Both keys are WeChat's and both are known here: each only under its own name.
async fn key_of_another_name(world: &mut World) -> Outcome {
    let v3 = V3::open_with(world, |account, keys| {
        account.certificates = vec![platform_certificate(keys)];
    })
    .await;
    world.ordered(&v3.shop).await;
    let (body, rsa) = (v3.genuine(&world.subject).body, v3.keys.rsa.clone().unwrap());
    let serial = platform_certificate(&v3.keys).serial;
    let now = v3.now().to_string();
    for (key, named) in [(&rsa.wechat_public, serial), (&rsa.platform, rsa.public_key_id())] {
        let headers = v3.headers_by(key, &named, &now, body.as_bytes());
        world.v3_as(&headers, body.as_bytes()).await;
    }
    Ok(())
}

/// Of the merchant himself, and of another merchant's WeChat.
async fn keys_of_others(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let (body, rsa) = (v3.genuine(&world.subject).body, v3.keys.rsa.clone().unwrap());
    let now = v3.now().to_string();
    for key in [&rsa.merchant, &rsa.alipay_platform, &rsa.next_platform] {
        for named in [rsa.public_key_id(), rsa.merchant_serial()] {
            let headers = v3.headers_by(key, &named, &now, body.as_bytes());
            world.v3_as(&headers, body.as_bytes()).await;
        }
    }
    Ok(())
}

async fn bytes_changed(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.genuine(&world.subject);
    let changed = genuine.body.replace("支付成功", "支付成工");
    world.expect(changed != genuine.body, "nothing changed");
    world.v3_as(&genuine.headers, changed.as_bytes()).await;
    for name in ["Wechatpay-Nonce", "Wechatpay-Timestamp"] {
        let mut notify = genuine.clone();
        let (_, value) = notify.headers.iter_mut().find(|(known, _)| *known == name).unwrap();
        let last = if value.ends_with('1') { '2' } else { '1' };
        value.pop();
        value.push(last);
        world.v3(&notify).await;
    }
    // The signature of another callback of ours.
    let other = v3.genuine(&world.subject);
    world.v3_as(&other.headers, genuine.body.as_bytes()).await;
    Ok(())
}

async fn other_cipher(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for algorithm in [
        json!("AEAD_AES_128_GCM"),
        json!("aead_aes_256_gcm"),
        json!("NONE"),
        json!(""),
        json!(256),
        Value::Null,
    ] {
        let notify = v3.bent(&world.subject, |envelope| envelope["resource"]["algorithm"] = algorithm);
        world.v3(&notify).await;
    }
    Ok(())
}

async fn other_nonce(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let bends: [fn(&str) -> String; 6] = [
        |nonce| nonce.chars().take(11).collect(),
        |nonce| format!("{nonce}0"),
        |nonce| format!("{nonce}{nonce}"),
        |_| String::new(),
        |_| "收收收收".to_owned(),
        |nonce| nonce.chars().rev().collect(),
    ];
    for bend in bends {
        let notify = v3.bent(&world.subject, |envelope| {
            let nonce = envelope["resource"]["nonce"].as_str().unwrap();
            envelope["resource"]["nonce"] = json!(bend(nonce));
        });
        world.v3(&notify).await;
    }
    Ok(())
}

/// Sealed with this key.
fn sealed(key: &str, plain: &str) -> String {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).unwrap());
    let mut bytes = plain.as_bytes().to_vec();
    let nonce = Nonce::try_assume_unique_for_key(b"nonce-nonce-").unwrap();
    key.seal_in_place_append_tag(nonce, Aad::from(b"transaction"), &mut bytes).unwrap();
    STANDARD.encode(bytes)
}

async fn other_api_v3_key(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let inside = v3.inside(&world.subject).to_string();
    let number = world.subject.clone();
    let with = |key: &str| {
        v3.bent(&number, |envelope| {
            envelope["resource"]["nonce"] = json!("nonce-nonce-");
            envelope["resource"]["ciphertext"] = json!(sealed(key, &inside));
        })
    };
    let (others, zeros) = (with(&"k".repeat(32)), with(&"\0".repeat(32)));
    world.v3(&others).await;
    world.v3(&zeros).await;
    let plain = v3.bent(&world.subject, |envelope| {
        envelope["resource"]["ciphertext"] = json!(STANDARD.encode(&inside));
    });
    world.v3(&plain).await;
    let bare = v3.bent(&world.subject, |envelope| envelope["resource"]["ciphertext"] = json!(inside));
    world.v3(&bare).await;
    // With the right one the same way is believed, so the key alone was wrong.
    let right = v3.keys.api_v3_key();
    let body = with(&right).body;
    let read = shouyin::gateway::wechat_v3::json::Object::parse(body.as_bytes()).unwrap();
    let key = shouyin::gateway::wechat_v3::ApiV3Key::new(&right).unwrap();
    let opens = shouyin::gateway::wechat_v3::aead::open(&key, read.object("resource").unwrap());
    world.expect(opens.as_deref() == Some(inside.as_bytes()), "the seal of this test is wrong");
    Ok(())
}

async fn broken_envelope(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.genuine(&world.subject).body;
    for name in ["event_type", "resource"] {
        for value in [Value::Null, json!(1), json!([]), json!("")] {
            let notify = v3.bent(&world.subject, |envelope| envelope[name] = value);
            world.v3(&notify).await;
        }
    }
    for body in [
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("[{genuine}]"),
        format!("\u{feff}{genuine}"),
        format!("{genuine}{{}}"),
        format!("{genuine},"),
        genuine.replacen('{', "{\"resource\":{},", 1),
        genuine.replacen('{', "{\"event_type\":\"TRANSACTION.SUCCESS\",", 1),
        genuine.replacen("\"nonce\"", "\"algorithm\":\"AEAD_AES_256_GCM\",\"nonce\"", 1),
        genuine[..genuine.len() - 1].to_owned(),
    ] {
        world.v3(&v3.signed(body)).await;
    }
    Ok(())
}

async fn broken_contents(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.inside(&world.subject).to_string();
    for inside in [
        String::new(),
        "null".to_owned(),
        format!("[{genuine}]"),
        format!("{genuine}{genuine}"),
        format!("\u{feff}{genuine}"),
        genuine.replacen('{', "{\"trade_state\":\"SUCCESS\",", 1),
        genuine.replacen('{', "{\"out_trade_no\":\"X\",", 1),
        genuine.replacen('{', "{\"amoun\\u0074\":{\"total\":1},", 1),
        genuine.replacen('{', &format!("{{\"attach\":{}{},", "[".repeat(2_000), "]".repeat(2_000)), 1),
    ] {
        world.v3(&v3.sealing("TRANSACTION.SUCCESS", &inside)).await;
    }
    Ok(())
}

/// A payment that the simulator knows of too, so that it may be asked about.
async fn paid_once(world: &mut World, v3: &V3) -> SignedNotify {
    v3.shop.simulator.pay(&world.subject).unwrap();
    v3.genuine(&world.subject)
}

async fn delivered_again(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = paid_once(world, &v3).await;
    for _ in 0..3 {
        world.v3(&genuine).await;
        v3.shop.clock.advance_ms(60_000);
    }
    let verdicts = v3.shop.verdicts().await;
    world.expect(verdicts == ["ok", "duplicate", "duplicate"], format!("{verdicts:?}"));
    // A recording that is too old by now is not even read.
    v3.shop.clock.advance_ms(180_000);
    let answer = v3.shop.call_back(DOOR, &lines_of(&genuine.headers), genuine.body.clone()).await;
    world.expect(answer.status == 400 && answer.body.contains("TOO OLD"), answer.body);
    Ok(())
}

async fn signed_again(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = paid_once(world, &v3).await;
    world.v3(&genuine).await;
    for _ in 0..3 {
        v3.shop.clock.advance_ms(24 * 3_600_000);
        world.v3(&v3.signed(genuine.body.clone())).await;
    }
    let verdicts = v3.shop.verdicts().await;
    world.expect(verdicts == ["ok", "duplicate", "duplicate", "duplicate"], format!("{verdicts:?}"));
    Ok(())
}

async fn other_amount(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for total in [1, 99, 101, 10_000] {
        let notify = v3.changed(&world.subject, &[("amount.total", json!(total))]);
        world.v3(&notify).await;
    }
    // What the payer paid is not what was ordered, even where it fits.
    let notify =
        v3.changed(&world.subject, &[("amount.total", json!(1)), ("amount.payer_total", json!(100))]);
    world.v3(&notify).await;
    Ok(())
}

async fn other_currency(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for currency in ["USD", "JPY", "cny", "CNY "] {
        let notify = v3.changed(&world.subject, &[("amount.currency", json!(currency))]);
        world.v3(&notify).await;
    }
    Ok(())
}

async fn second_transaction(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = paid_once(world, &v3).await;
    world.v3(&genuine).await;
    world.expect(v3.shop.order(&world.subject).await.is_paid(), "the fixture is not paid");
    world.mark().await;
    let second = v3.changed(&world.subject, &[("transaction_id", json!("4200009999202611209999999999"))]);
    world.v3(&second).await;
    Ok(())
}

async fn transaction_of_another(world: &mut World) -> Outcome {
    let v3 = V3::open_with(world, |_, _| {}).await;
    let user = world.ordered(&v3.shop).await;
    let paid = user.top_up("1").await;
    let transaction = v3.shop.simulator.pay(&paid).unwrap();
    v3.shop.deliver().await;
    world.expect(v3.shop.order(&paid).await.is_paid(), "the fixture is not paid");
    world.mark().await;
    let notify = v3.changed(&world.subject, &[("transaction_id", json!(transaction))]);
    world.v3(&notify).await;
    Ok(())
}

async fn fields_missing(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for name in ["amount", "amount.total", "transaction_id", "out_trade_no", "trade_state"] {
        let notify = v3.changed(&world.subject, &[(name, Value::Null)]);
        world.v3(&notify).await;
    }
    for (name, value) in [
        ("amount", json!(100)),
        ("amount", json!([{ "total": 100 }])),
        ("amount.currency", json!(1)),
        ("amount.currency", json!("")),
        ("transaction_id", json!("")),
        ("transaction_id", json!(4_200_000_000_u64)),
        ("transaction_id", json!("42' OR '1'='1")),
        ("out_trade_no", json!("")),
        ("out_trade_no", json!("x".repeat(33))),
        ("trade_state", json!(["SUCCESS"])),
    ] {
        let notify = v3.changed(&world.subject, &[(name, value)]);
        world.v3(&notify).await;
    }
    Ok(())
}

async fn unknown_order(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let message = v3.genuine("ZZZ");
    world.v3(&v3.signed(message.body)).await;
    Ok(())
}

async fn other_appid(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let notify = v3.changed(&world.subject, &[("appid", json!("wx9999999999999999"))]);
    world.v3(&notify).await;
    Ok(())
}

/// Authentic, and no word of a payment: whatever stands in the sealed part.
async fn other_events(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let inside = v3.inside(&world.subject).to_string();
    for event in ["TRANSACTION.CLOSED", "TRANSACTION.success", "PAYSCORE.USER_PAID", "COUPON.USE", "SUCCESS"]
    {
        world.v3(&v3.sealing(event, &inside)).await;
    }
    Ok(())
}

/// A payment at the door of refunds, and the words of V2 at the door of V3.
async fn wrong_door(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.genuine(&world.subject);
    let answer = v3
        .shop
        .call_back("/notify/wechat/v3/refund", &lines_of(&genuine.headers), genuine.body.clone())
        .await;
    world.expect(answer.status == 400 && answer.body.contains("FAIL"), &answer.body);
    let answer = v3.shop.call_back("/notify/wechat", &lines_of(&genuine.headers), genuine.body.clone()).await;
    world.expect(answer.body.contains("FAIL"), &answer.body);
    let answer = v3.shop.call_back("/notify/alipay", &lines_of(&genuine.headers), genuine.body.clone()).await;
    world.expect(answer.body == "fail", &answer.body);
    let xml = v3.shop.simulator.signed_notify(&world.subject, &[]);
    world.call_back(DOOR, &[("content-type", "text/xml")], xml).await;
    Ok(())
}

/// WeChat vouches for a payment of an order that was begun at Alipay.
async fn order_of_another_provider(world: &mut World) -> Outcome {
    let v3 = V3::open_with(world, |_, _| {}).await;
    let user = v3.shop.user("ann").await;
    world.subject = super::alipay::begun(&v3.shop, Channel::AlipayQr, &user).await;
    world.mark().await;
    let inside = json!({
        "appid": v3.shop.app.config.wechat_v2.as_ref().unwrap().appids.web,
        "mchid": v3.shop.app.config.wechat_v2.as_ref().unwrap().mch_id,
        "out_trade_no": world.subject, "transaction_id": "4200000290201904150837155038",
        "trade_type": "NATIVE", "trade_state": "SUCCESS", "amount": { "total": 100, "currency": "CNY" },
    });
    world.v3(&v3.sealing("TRANSACTION.SUCCESS", &inside.to_string())).await;
    Ok(())
}

async fn late(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    v3.shop.clock.advance_ms(121 * 60_000);
    v3.shop.close_expired().await;
    world.expect(v3.shop.order(&world.subject).await.closed_at.is_some(), "the fixture is not closed");
    world.mark().await;
    world.v3(&v3.genuine(&world.subject)).await;
    world.expect(v3.shop.order(&world.subject).await.late, "a late payment in silence");
    Ok(())
}

async fn coupon(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let detail =
        json!([{ "coupon_id": "109519", "amount": 40, "type": "CASH", "a_new_one": { "deep": [1, 2.5] } }]);
    let overrides =
        [("amount.payer_total", json!(60)), ("promotion_detail", detail), ("version_9", json!(true))];
    let notify = v3.changed(&world.subject, &overrides);
    world.v3(&notify).await;
    Ok(())
}

const LIMIT: usize = 64 * 1024;

async fn too_large(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let mut body = v3.genuine(&world.subject).body;
    body.push_str(&" ".repeat(LIMIT + 1 - body.len()));
    let notify = v3.signed(body);
    let answer = world.v3(&notify).await;
    world.expect(answer.status == 413, answer.status);
    let lie = format!("POST {DOOR} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 10000000000\r\n\r\n");
    let said = say(&v3.shop, &[lie.as_bytes(), &vec![b'{'; LIMIT + 1]].concat()).await;
    world.expect(said.closed && said.status() == 413, said.text);
    Ok(())
}

async fn other_methods(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for door in [DOOR, "/notify/wechat/v3/refund", "/notify/alipay"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            let said = say(&v3.shop, bare(method, door).as_bytes()).await;
            let right = said.status() == 405 || (method == "OPTIONS" && said.status() == 204);
            world.expect(right, format!("{method} {door}: {}", said.text));
            world.expect(!said.text.to_lowercase().contains("success"), format!("{method}: {}", said.text));
        }
    }
    Ok(())
}

/// The choice: what a proxy makes of the type decides nothing, the signature does.
async fn content_types(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    v3.shop.simulator.pay(&world.subject).unwrap();
    for named in ["application/x-www-form-urlencoded", "text/xml", "application/json; charset=gbk", ""] {
        let notify = v3.genuine(&world.subject);
        let mut headers = lines_of(&notify.headers);
        headers[0] = ("content-type", named);
        world.call_back(DOOR, &headers, notify.body.clone()).await;
    }
    Ok(())
}

async fn compressed(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let bomb = gzip_bomb(LIMIT - 100);
    let mut headers = v3.headers(v3.now(), &bomb);
    headers.push(("content-encoding", "gzip".to_owned()));
    world.v3_as(&headers, &bomb).await;
    Ok(())
}

async fn nested(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for piece in ["[", "{\"a\":", "[[],"] {
        let body = piece.repeat(LIMIT / piece.len());
        world.v3(&v3.signed(body)).await;
    }
    Ok(())
}

/// Five minutes off are believed on both sides, a second more is not.
async fn window_edges(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let body = v3.genuine(&world.subject).body;
    for off in [-301, 301] {
        let headers = v3.headers(v3.now() + off, body.as_bytes());
        let answer = v3.shop.call_back(DOOR, &lines_of(&headers), body.clone()).await;
        world.expect(answer.status == 400, format!("{off}: {}", answer.body));
    }
    world.expect(!v3.shop.order(&world.subject).await.is_paid(), "credited by an old message");
    for off in [-300, 300] {
        world.v3_as(&v3.headers(v3.now() + off, body.as_bytes()), body.as_bytes()).await;
    }
    Ok(())
}

/// WeChat's new certificate signs before it has been fetched: nothing is believed until it has.
async fn certificate_that_is_not_ours(world: &mut World) -> Outcome {
    let v3 = V3::open_with(world, |account, keys| {
        account.public_key = None;
        account.certificates = vec![platform_certificate(keys)];
    })
    .await;
    world.ordered(&v3.shop).await;
    v3.shop.simulator.rotate_certificate();
    v3.shop.simulator.sign_callbacks_with(Some(Signer::Certificate));
    let notify = v3.genuine(&world.subject);
    let answer = v3.shop.call_back(DOOR, &lines_of(&notify.headers), notify.body.clone()).await;
    world.expect(answer.status == 400, &answer.body);
    world.expect(!v3.shop.order(&world.subject).await.is_paid(), "believed without its key");
    world.expect(
        shouyin::jobs::gateway_keys::run_once(v3.shop.app.clone()).await.unwrap() == 1,
        "not fetched",
    );
    world.v3(&notify).await;
    Ok(())
}
