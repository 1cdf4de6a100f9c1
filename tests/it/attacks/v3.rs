//! Callbacks of WeChat Pay V3: four headers, an envelope and a sealed part, each of which somebody may bend.

use super::{Outcome, Table, effects::hurried, table, world::World};
use crate::harness::{Answer, Shop};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shouyin::{
    config::SimulatorKeys,
    domain::time::UnixMs,
    gateway::{
        rsa::{PrivateKey, PublicKey},
        wechat_v3::{Account, ApiV3Key, PlatformCertificate, aead, json::Object, sign::lines},
    },
    jobs,
    simulator::{SignedNotify, Signer, V3Keys},
};
use std::rc::Rc;

pub const CASES: Table = table! {
    "WX3-01" => header_missing,
    "WX3-02" => probe,
    "WX3-03" => six_minutes_old,
    "WX3-06" => unknown_serial,
    "WX3-08" => both_kinds_of_key,
    "WX3-10" => written_anew,
    "WX3-12" => tag_tampered,
    "WX3-15" => associated_data,
    "WX3-17" => not_success,
    "WX3-19" => odd_amounts,
    "WX3-21" => other_merchant,
    "WX3-24" => no_text,
};

pub const DOOR: &str = "/notify/wechat/v3";
const TYPE: (&str, &str) = ("content-type", "application/json");
pub type Headers = Vec<(&'static str, String)>;

/// A shop that pays by V3, and the keys of both sides.
pub struct V3 {
    pub shop: Rc<Shop>,
    pub keys: SimulatorKeys,
}

/// O6 of the catalogue: ann's unpaid order of 100 fen.
pub async fn o6(world: &mut World) -> V3 {
    let v3 = V3::open_with(world, |_, _| {}).await;
    world.ordered(&v3.shop).await;
    v3
}

impl V3 {
    pub async fn open_with(world: &mut World, change: impl FnOnce(&mut Account, &SimulatorKeys)) -> V3 {
        let mut kept = None;
        let shop = Shop::open_with_keys(|config, keys| {
            let mut account = keys.wechat_v3(config.wechat_v2.as_ref().unwrap()).unwrap();
            change(&mut account, keys);
            config.wechat_v3 = Some(account);
            kept = Some(keys.clone());
        })
        .await;
        let shop = Rc::new(shop);
        world.shop = Some(shop.clone());
        V3 { shop, keys: kept.unwrap() }
    }

    pub fn genuine(&self, number: &str) -> SignedNotify {
        self.changed(number, &[])
    }

    /// With members of the sealed part changed before sealing.
    pub fn changed(&self, number: &str, overrides: &[(&str, Value)]) -> SignedNotify {
        self.shop.simulator.v3_notify(number, overrides).unwrap().unwrap()
    }

    /// Any sealed part.
    pub fn sealing(&self, event_type: &str, inside: &str) -> SignedNotify {
        self.signed(self.shop.simulator.v3_message(event_type, inside, "").unwrap().unwrap().body)
    }

    /// The sealed part of the genuine callback.
    pub fn inside(&self, number: &str) -> Value {
        let envelope = Object::parse(self.genuine(number).body.as_bytes()).unwrap();
        let key = ApiV3Key::new(&self.keys.api_v3_key()).unwrap();
        serde_json::from_slice(&aead::open(&key, envelope.object("resource").unwrap()).unwrap()).unwrap()
    }

    /// The genuine callback with its envelope bent before it is signed.
    pub fn bent(&self, number: &str, bend: impl FnOnce(&mut Value)) -> SignedNotify {
        let mut envelope = serde_json::from_str(&self.genuine(number).body).unwrap();
        bend(&mut envelope);
        self.signed(envelope.to_string())
    }

    /// Signed now by WeChat's public key, as this merchant's callbacks are.
    pub fn signed(&self, body: String) -> SignedNotify {
        SignedNotify { headers: self.headers(self.now(), body.as_bytes()), body }
    }

    pub fn now(&self) -> i64 {
        self.shop.clock.now().secs()
    }

    /// Those of WeChat's public key, at that second.
    pub fn headers(&self, secs: i64, body: &[u8]) -> Headers {
        let rsa = self.keys.rsa.as_ref().unwrap();
        self.headers_by(&rsa.wechat_public, &rsa.public_key_id(), &secs.to_string(), body)
    }

    /// Those of any key under any name.
    pub fn headers_by(&self, key: &str, serial: &str, timestamp: &str, body: &[u8]) -> Headers {
        let nonce = self.shop.clock.nonce().unwrap();
        let message = lines([timestamp.as_bytes(), nonce.as_bytes(), body]);
        vec![
            ("Wechatpay-Timestamp", timestamp.to_owned()),
            ("Wechatpay-Nonce", nonce),
            ("Wechatpay-Signature", PrivateKey::parse(key).unwrap().sign(&message)),
            ("Wechatpay-Serial", serial.to_owned()),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
        ]
    }
}

impl World {
    /// A callback of V3.
    pub async fn v3(&mut self, notify: &SignedNotify) -> Answer {
        self.v3_as(&notify.headers, notify.body.as_bytes()).await
    }

    pub async fn v3_as(&mut self, headers: &Headers, body: &[u8]) -> Answer {
        self.call_back(DOOR, &lines_of(headers), body).await
    }
}

/// With the type that V3's callbacks have.
pub fn lines_of(headers: &Headers) -> Vec<(&str, &str)> {
    [TYPE].into_iter().chain(headers.iter().map(|(name, value)| (*name, value.as_str()))).collect()
}

async fn header_missing(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for name in ["Signature", "Timestamp", "Nonce", "Serial"] {
        let mut notify = v3.genuine(&world.subject);
        notify.headers.retain(|(header, _)| *header != format!("Wechatpay-{name}"));
        world.expect(notify.headers.len() == 4, format!("{name}: {:?}", notify.headers));
        world.v3(&notify).await;
    }
    Ok(())
}

/// A probe is counted apart and otherwise as wrong as any other signature: the same answer, the same verdict.
async fn probe(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let mut answers = Vec::new();
    for prefix in ["WECHATPAY/SIGNTEST/", "AAAA"] {
        let mut notify = v3.genuine(&world.subject);
        let (_, signature) = notify.headers.iter_mut().find(|(n, _)| *n == "Wechatpay-Signature").unwrap();
        signature.insert_str(0, prefix);
        let answer = world.v3(&notify).await;
        answers.push((answer.status, answer.body));
    }
    world.holds("no special path", answers[0] == answers[1], format!("{answers:?}"));
    Ok(())
}

async fn six_minutes_old(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let body = v3.genuine(&world.subject).body;
    world.v3_as(&v3.headers(v3.now() - 360, body.as_bytes()), body.as_bytes()).await;
    hurried(world, "QUERY_SCHEDULED:O6").await;
    Ok(())
}

/// In certificate mode, where an unknown serial may mean that a new certificate is there.
async fn unknown_serial(world: &mut World) -> Outcome {
    let v3 = V3::open_with(world, |account, _| account.public_key = None).await;
    let refresh = || jobs::gateway_keys::run_once(v3.shop.app.clone());
    let downloads =
        || v3.shop.simulator.calls().iter().filter(|call| call.starts_with("certificates")).count();
    world.expect(refresh().await.unwrap() == 1, "no certificates at the start");
    world.ordered(&v3.shop).await;
    let mut seen = Vec::new();
    for minute in 0..3 {
        for _ in 0..15 {
            let mut notify = v3.genuine(&world.subject);
            let random = v3.shop.clock.nonce().unwrap();
            notify.headers.retain(|(name, _)| *name != "Wechatpay-Serial");
            notify.headers.push(("Wechatpay-Serial", format!("{}{minute:08}", random.to_uppercase())));
            world.v3(&notify).await;
            refresh().await.unwrap();
        }
        seen.push(downloads());
        v3.shop.clock.advance_ms(60_000);
    }
    world.holds("at most one certificate", seen == [1, 2, 3], format!("{seen:?}"));
    Ok(())
}

/// The first platform certificate of the simulator, as a merchant has it in a file.
pub fn platform_certificate(keys: &SimulatorKeys) -> PlatformCertificate {
    let key = PrivateKey::parse(&keys.rsa.as_ref().unwrap().platform).unwrap();
    let [serial, _] = V3Keys::of(keys).unwrap().serials();
    let key = PublicKey::parse(&key.public_base64().unwrap()).unwrap();
    PlatformCertificate { serial, key, not_after: UnixMs(i64::MAX) }
}

async fn both_kinds_of_key(world: &mut World) -> Outcome {
    let certificate = |account: &mut Account, keys: &SimulatorKeys| {
        account.certificates = vec![platform_certificate(keys)];
    };
    let v3 = V3::open_with(world, certificate).await;
    let user = world.ordered(&v3.shop).await;
    let numbers = [world.subject.clone(), user.top_up("1").await];
    world.mark().await;
    let mut paid = Vec::new();
    for (number, signer) in numbers.iter().zip([Signer::PublicKey, Signer::Certificate]) {
        v3.shop.simulator.sign_callbacks_with(Some(signer));
        let notify = v3.genuine(number);
        let serial = notify.headers.iter().find(|(name, _)| *name == "Wechatpay-Serial").unwrap().1.clone();
        world.v3(&notify).await;
        paid.push((serial.starts_with("PUB_KEY_ID_"), v3.shop.order(number).await.is_paid()));
    }
    let balance = v3.shop.balance(v3.shop.order(&numbers[0]).await.user_id).await;
    let each = paid == [(true, true), (false, true)] && balance == 200;
    world.holds("CREDIT_ONCE each", each, format!("{paid:?} {balance}"));
    Ok(())
}

async fn written_anew(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let genuine = v3.genuine(&world.subject);
    let Value::Object(members) = serde_json::from_str(&genuine.body).unwrap() else { panic!() };
    let turned: Vec<String> =
        members.iter().rev().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let spaced = serde_json::to_string_pretty(&Value::Object(members.clone())).unwrap();
    for body in [format!("{{{}}}", turned.join(",")), spaced, format!("{}\n", genuine.body)] {
        let same: Value = serde_json::from_str(&body).unwrap();
        world.expect(same == Value::Object(members.clone()) && body != genuine.body, &body);
        world.v3_as(&genuine.headers, body.as_bytes()).await;
    }
    Ok(())
}

async fn tag_tampered(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let flip = |envelope: &mut Value, from_end: bool| {
        let text = envelope["resource"]["ciphertext"].as_str().unwrap();
        let mut bytes = STANDARD.decode(text).unwrap();
        let at = if from_end { bytes.len() - 1 } else { 0 };
        bytes[at] ^= 1;
        envelope["resource"]["ciphertext"] = json!(STANDARD.encode(bytes));
    };
    for from_end in [true, false] {
        let notify = v3.bent(&world.subject, |envelope| flip(envelope, from_end));
        world.v3(&notify).await;
    }
    Ok(())
}

async fn associated_data(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for data in [json!(""), json!("refund"), json!("Transaction"), json!(1), Value::Null] {
        let notify = v3.bent(&world.subject, |envelope| envelope["resource"]["associated_data"] = data);
        world.v3(&notify).await;
    }
    let without = v3.bent(&world.subject, |envelope| {
        envelope["resource"].as_object_mut().unwrap().remove("associated_data");
    });
    world.v3(&without).await;
    Ok(())
}

async fn not_success(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    for state in
        ["NOTPAY", "CLOSED", "REFUND", "USERPAYING", "PAYERROR", "REVOKED", "", "success", "SUCCESS "]
    {
        let notify = v3.changed(&world.subject, &[("trade_state", json!(state))]);
        world.v3(&notify).await;
    }
    Ok(())
}

async fn odd_amounts(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let inside = v3.inside(&world.subject).to_string();
    world.expect(inside.contains("\"total\":100"), &inside);
    for odd in [
        "\"total\":\"100\"",
        "\"total\":100.0",
        "\"total\":1e2",
        "\"total\":-100",
        "\"total\":1,\"total\":100",
        "\"total\":100,\"tot\\u0061l\":100",
        "\"total\":0",
        "\"total\":null",
        "\"total\":[100]",
        "\"total\":9223372036854775808",
        "\"total\":18446744073709551716",
    ] {
        world.v3(&v3.sealing("TRANSACTION.SUCCESS", &inside.replace("\"total\":100", odd))).await;
    }
    let failed: Vec<u16> = world.answers.iter().map(|a| a.status).filter(|status| *status >= 500).collect();
    world.holds("NO_5XX", failed.is_empty(), format!("{failed:?}"));
    Ok(())
}

async fn other_merchant(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let notify = v3.changed(&world.subject, &[("mchid", json!("1900009999"))]);
    world.v3(&notify).await;
    Ok(())
}

/// Sent by a stranger, signed by WeChat, and in the sealed part.
async fn no_text(world: &mut World) -> Outcome {
    let v3 = o6(world).await;
    let lone = br#"{"id":"\ud800","event_type":"TRANSACTION.SUCCESS","resource":{}}"#.to_vec();
    let bytes = b"{\"id\":\"\xff\",\"event_type\":\"TRANSACTION.SUCCESS\"}".to_vec();
    for body in [lone, bytes, b"\xff\xfe".to_vec(), vec![0; 64], Vec::new()] {
        let signed = v3.headers(v3.now(), &body);
        for headers in [Vec::new(), signed] {
            world.v3_as(&headers, &body).await;
        }
    }
    let inside = v3.inside(&world.subject).to_string().replacen('{', "{\"attach\":\"\\ud800\",", 1);
    world.v3(&v3.sealing("TRANSACTION.SUCCESS", &inside)).await;
    Ok(())
}
