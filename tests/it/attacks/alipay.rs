//! Callbacks of Alipay: a form whose signature covers every parameter but two.

use super::{Outcome, Table, effects::credited, table, world::Snapshot, world::World};
use crate::{
    channels::COMPUTER,
    harness::{Answer, Browser, Shop},
};
use shouyin::{config::SimulatorKeys, domain::order::Channel, gateway::rsa::PrivateKey};
use std::rc::Rc;
use url::form_urlencoded;

pub const CASES: Table = table! {
    "ALI-01" => no_sign,
    "ALI-02" => other_sign_type,
    "ALI-04" => duplicate_parameter,
    "ALI-08" => broken_escapes,
    "ALI-09" => other_statuses,
    "ALI-12" => odd_amounts,
    "ALI-15" => other_app,
    "ALI-17" => unknown_order,
    "ALI-18" => seven_bytes,
    "ALI-21" => return_is_no_proof,
};

pub const DOOR: &str = "/notify/alipay";
const TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
pub type Pairs = Vec<(String, String)>;

/// A shop at Alipay, and the keys of both sides.
pub struct Ali {
    pub shop: Rc<Shop>,
    pub keys: SimulatorKeys,
    pub user: Browser,
}

/// O7 of the catalogue: ann's unpaid order of 1.00 yuan, shown as a code on her computer.
pub async fn o7(world: &mut World) -> Ali {
    let mut kept = None;
    let shop = Rc::new(Shop::open_with_keys(|_, keys| kept = Some(keys.clone())).await);
    world.shop = Some(shop.clone());
    let user = Browser::new(shop.url.clone(), COMPUTER);
    user.register("ann").await;
    world.subject = begun(&shop, Channel::AlipayQr, &user).await;
    world.mark().await;
    Ali { shop, keys: kept.unwrap(), user }
}

/// An order of one yuan that the gateway has prepared for this way to pay.
pub async fn begun(shop: &Shop, channel: Channel, user: &Browser) -> String {
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields =
        [("token", token.as_str()), ("intent", &intent), ("amount", "1"), ("channel", channel.as_str())];
    let made = user.post_json("/top-up", &fields).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let number = made.json()["out_trade_no"].as_str().unwrap().to_owned();
    assert_eq!(shop.attempts(&number).await[0].channel, channel);
    number
}

impl Ali {
    /// The genuine callback with parameters changed before it is signed; an empty value takes one out.
    pub fn changed(&self, number: &str, overrides: &[(&str, &str)]) -> String {
        self.shop.simulator.alipay_notify(number, overrides)
    }

    /// The parameters of the genuine callback, with `sign` and `sign_type`.
    pub fn pairs(&self, number: &str) -> Pairs {
        form_urlencoded::parse(self.changed(number, &[]).as_bytes()).into_owned().collect()
    }

    /// These pairs, signed by Alipay over these very bytes with the empty ones among them.
    pub fn signed(&self, pairs: &Pairs) -> String {
        self.signed_by(&self.keys.rsa.as_ref().unwrap().alipay_platform, pairs, &["sign", "sign_type"])
    }

    pub fn signed_by(&self, key: &str, pairs: &Pairs, without: &[&str]) -> String {
        let mut sorted = pairs.clone();
        sorted.sort();
        let covered = sorted.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        let text: Vec<String> = covered.map(|(name, value)| format!("{name}={value}")).collect();
        let sign = PrivateKey::parse(key).unwrap().sign(text.join("&").as_bytes());
        written(&with(pairs, "sign", &sign))
    }
}

pub fn written(pairs: &Pairs) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The same with one value set, or set anew.
pub fn with(pairs: &Pairs, name: &str, value: &str) -> Pairs {
    let mut pairs: Pairs = pairs.iter().filter(|(known, _)| known != name).cloned().collect();
    pairs.push((name.to_owned(), value.to_owned()));
    pairs
}

pub fn without(pairs: &Pairs, name: &str) -> Pairs {
    pairs.iter().filter(|(known, _)| known != name).cloned().collect()
}

impl World {
    /// A callback of Alipay.
    pub async fn alipay(&mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.call_back(DOOR, &[TYPE], body).await
    }
}

async fn no_sign(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    for unsigned in [without(&pairs, "sign"), with(&pairs, "sign", ""), with(&pairs, "sign", " ")] {
        world.alipay(written(&unsigned)).await;
    }
    Ok(())
}

async fn other_sign_type(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    let mut refused = Vec::new();
    for named in ["RSA", "MD5", "NONE", "DSA", "rsa2", "RSA2 ", "HMAC", ""] {
        refused.push(world.alipay(written(&with(&pairs, "sign_type", named))).await.body);
    }
    refused.push(world.alipay(written(&without(&pairs, "sign_type"))).await.body);
    // A key that everybody knows, used the way the message names.
    let sign = hmac(&ali, &with(&pairs, "sign_type", "HMAC"));
    refused.push(world.alipay(written(&with(&with(&pairs, "sign_type", "HMAC"), "sign", &sign))).await.body);
    let unpaid = !ali.shop.order(&world.subject).await.is_paid();
    world.holds(
        "RSA (SHA-1) and MD5",
        refused.iter().all(|body| body == "fail") && unpaid,
        format!("{refused:?}"),
    );
    let right = world.alipay(written(&pairs)).await.body;
    let verdicts = ali.shop.verdicts().await;
    let own = right == "success" && verdicts.iter().rev().skip(1).all(|verdict| verdict == "bad_sign");
    world.holds("never verified with the message's", own, format!("{right} {verdicts:?}"));
    world
        .notes
        .push("no true SHA-1 signature is made here: nothing in this program can sign or verify with it");
    Ok(())
}

/// Signed with our own public text as if it were a secret, as readers that take the algorithm from the message believe.
fn hmac(ali: &Ali, pairs: &Pairs) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    use base64::{Engine, engine::general_purpose::STANDARD};
    let public = PrivateKey::parse(&ali.keys.rsa.as_ref().unwrap().alipay_platform).unwrap().public_base64();
    let mut sorted: Vec<String> =
        without(pairs, "sign").iter().map(|(name, value)| format!("{name}={value}")).collect();
    sorted.sort();
    STANDARD.encode(sign(&Key::new(HMAC_SHA256, public.unwrap().as_bytes()), sorted.join("&").as_bytes()))
}

async fn duplicate_parameter(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let other = begun(&ali.shop, Channel::AlipayQr, &ali.user).await;
    world.mark().await;
    let genuine = ali.changed(&world.subject, &[]);
    for body in [
        format!("{genuine}&out_trade_no={other}"),
        format!("out_trade_no={other}&{genuine}"),
        format!("{genuine}&%6Fut_trade_no={other}"),
        format!("{genuine}&out_trade_no={}", world.subject),
        format!("{genuine}&sign=x"),
        format!("{genuine}&total_amount=1.00"),
    ] {
        world.alipay(body).await;
    }
    Ok(())
}

async fn broken_escapes(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let genuine = ali.changed(&world.subject, &[]);
    for broken in ["a=%", "a=%F", "a=%FF", "a=%u0041", "a=%00%", "a=%C0%AF", "a=\u{5145}", "=", "a", "&", ""]
    {
        world.alipay(broken).await;
        world.alipay(format!("{genuine}&{broken}")).await;
    }
    world.alipay(b"a=\xff\xfe".to_vec()).await;
    Ok(())
}

async fn other_statuses(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let pairs = ali.pairs(&world.subject);
    for (status, reply) in [
        ("WAIT_BUYER_PAY", "success"),
        ("TRADE_CLOSED", "success"),
        ("", "fail"),
        ("success", "fail"),
        ("trade_success", "fail"),
        ("TRADE_SUCCESS ", "fail"),
        ("TRADE_PENDING", "fail"),
    ] {
        for body in [
            ali.changed(&world.subject, &[("trade_status", status)]),
            ali.signed(&with(&pairs, "trade_status", status)),
        ] {
            let answer = world.alipay(body).await;
            world.expect(answer.body == reply, format!("{status}: {}", answer.body));
        }
    }
    world.expect(ali.shop.order(&world.subject).await.closed_at.is_none(), "closed by a callback");
    Ok(())
}

/// What Alipay documents are digits and at most two decimals: other ways to write the same amount are refused.
async fn odd_amounts(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    for odd in [
        "0.01", "100", "1.000", "01.00", "+1.00", "-1.00", "1e0", "1.00元", "1,00", "1.", ".99", "1.0 ",
        " 1", "0", "0.00", "NaN", "１.00",
    ] {
        let answer = world.alipay(ali.changed(&world.subject, &[("total_amount", odd)])).await;
        world.expect(answer.body == "fail", format!("{odd}: {}", answer.body));
    }
    let after = Snapshot::of(&ali.shop).await;
    let before = world.before.clone().unwrap();
    world.expect(before.ledger == after.ledger && before.orders == after.orders, "something was credited");
    let mismatches = after.notices.values().filter(|(verdict, _)| verdict == "amount_mismatch").count();
    let shown = after.work.values().filter(|(kind, _)| kind == "amount_mismatch").count();
    world.holds(
        "0.01 and 100 quarantined",
        mismatches == 2 && shown >= 1,
        format!("{:?} {:?}", after.notices, after.work),
    );
    for plain in ["1", "1.0", "1.00"] {
        let number = begun(&ali.shop, Channel::AlipayQr, &ali.user).await;
        let before = Snapshot::of(&ali.shop).await;
        let answer = world.alipay(ali.changed(&number, &[("total_amount", plain)])).await;
        world.expect(answer.body == "success", format!("{plain}: {}", answer.body));
        let once = credited(&before, &Snapshot::of(&ali.shop).await, &number, Some(100));
        world.expect(once.is_ok(), format!("{plain}: {once:?}"));
    }
    let code = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/money.rs"));
    world.holds("no floating point", !code.contains("f64") && !code.contains("f32"), "a float");
    Ok(())
}

async fn other_app(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed(&world.subject, &[("app_id", "2021000000009999")])).await;
    Ok(())
}

async fn unknown_order(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    world.alipay(ali.changed("ZZZ", &[])).await;
    Ok(())
}

async fn seven_bytes(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let answer = world.alipay(ali.changed(&world.subject, &[])).await;
    world.expect(answer.body.as_bytes() == b"success", format!("{:?}", answer.body));
    world.expect(answer.header("content-length") == "7", format!("{:?}", answer.headers));
    let odd =
        ["set-cookie", "location", "content-encoding"].iter().any(|name| answer.headers.contains_key(*name));
    world.expect(!odd, format!("{:?}", answer.headers));
    Ok(())
}

/// The parameters a browser comes back with are signed like a callback, paid or not: neither the page nor the door
/// believes them.
async fn return_is_no_proof(world: &mut World) -> Outcome {
    let ali = o7(world).await;
    let query = ali.shop.simulator.alipay_return(&world.subject).unwrap();
    world.expect(query.contains("sign=") && query.contains("total_amount=1.00"), &query);
    let page = ali.user.get(&format!("/return/{}?{query}", world.subject)).await;
    world.expect(page.status == 200 && page.body.contains("正在确认支付结果"), &page.body);
    world.expect(!page.body.contains("支付成功") && !page.body.contains("已收到"), &page.body);
    let posted = ali.shop.call_back(DOOR, &[TYPE], query.clone()).await;
    world.expect(posted.body == "fail", &posted.body);
    let before = world.before.clone().unwrap();
    let after = Snapshot::of(&ali.shop).await;
    world.expect(
        before.work == after.work && before.alerts == after.alerts,
        "a payer can ring for the operator",
    );
    let none = before.ledger == after.ledger && before.orders == after.orders;
    world.holds("NO_CREDIT unless trade.query", none, format!("{:?}", after.ledger));
    Ok(())
}
