//! Forgers: they send what no gateway sent, what one should not have sent, and again what one did send.

use super::{
    certificates,
    keys::{Keys, Signer, alipay_text, sealed, v3_text},
    machine::locked,
    network::{self, Callback, Door, Story},
    people::millis,
    world::World,
};
use crate::{
    domain::{money::Fen, order::Provider},
    gateway::{
        Protocol,
        rsa::PrivateKey,
        wechat_v2::{
            ApiKey, refund_notify,
            sign::{self, SignType},
            xml::Fields,
        },
    },
    simulator::{RefundView, SignedNotify},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A number nobody has handed out.
const NOBODYS: &str = "0123456789abcdef";
/// A time in seconds that no callback may be off by, whatever the clock of who hears it: 300 are allowed, and a clock is
/// up to 600 off (`people::clock_mover`). What is believed at 300 and not at 301 is the reader's own test.
const TOO_FAR_SECS: i64 = 901;

/// What it is, and whom it speaks of.
struct Forged {
    what: &'static str,
    about: String,
    callback: Callback,
}

/// Works until the faults end.
pub async fn forger(world: Arc<World>) {
    let longest = millis(world.swarm.chaos_ms).checked_div(20).unwrap_or_default();
    loop {
        world.clock.sleep(world.dice.ms(1_000, longest)).await;
        if world.healed() {
            return;
        }
        let Some(Forged { what, about, callback }) = forged(&world) else { continue };
        world.note(|| format!("a forged callback for {about}: {what}"));
        // A forger does not care about the answer; the oracle does.
        let _ = network::deliver(&world, callback).await;
    }
}

fn forged(world: &World) -> Option<Forged> {
    let mut doors = vec![(Protocol::WechatV2, Story::Payment)];
    if world.swarm.exceptions {
        doors.push((Protocol::WechatV2, Story::Refund));
    }
    if world.swarm.v3 {
        doors.extend([(Protocol::WechatV3, Story::Payment), (Protocol::WechatV3, Story::Refund)]);
    }
    if world.keys.is_some() {
        doors.extend([(Protocol::Alipay, Story::Payment), (Protocol::Alipay, Story::Refund)]);
    }
    let (protocol, story) = match doors.as_slice() {
        [only] => *only,
        // Of two forgeries one is about a payment in the protocol that everybody speaks, or heard before.
        doors => match world.dice.below(8) {
            0 => return heard_before(world),
            _ => doors.get(world.dice.index(doors.len())).copied()?,
        },
    };
    match (protocol, story) {
        (Protocol::WechatV2, Story::Payment) => {
            let number = any_number(world).unwrap_or_else(|| NOBODYS.to_owned());
            let (what, text) = v2(world, &number);
            Some(sent(what, number, Door { protocol, story }, String::new(), text))
        }
        (Protocol::WechatV2, Story::Refund) => {
            let refund = refund_of(world, Provider::Wechat);
            let about = refund.as_ref().map_or(NOBODYS, |refund| refund.out_refund_no.as_str()).to_owned();
            let (what, text) = v2_refund(world, &about, refund.as_ref());
            Some(sent(what, about, Door { protocol, story }, String::new(), text))
        }
        (Protocol::WechatV3, story) => v3_any(world, story),
        (Protocol::Alipay, story) => alipay_any(world, story),
    }
}

fn sent(what: &'static str, about: String, door: Door, headers: String, text: String) -> Forged {
    Forged { what, about, callback: Callback { door, headers, body: text.into_bytes() } }
}

fn any_number(world: &World) -> Option<String> {
    let memory = locked(&world.memory);
    memory.numbers.get(world.dice.index(memory.numbers.len())).cloned()
}

/// One that was handed out in this protocol.
fn number_of(world: &World, protocol: Protocol) -> String {
    let known = locked(&world.memory).numbers.clone();
    let ours = |number: &String| world.simulator.trade(number).is_some_and(|t| t.protocol == protocol);
    let known: Vec<String> = known.into_iter().filter(ours).collect();
    known.get(world.dice.index(known.len())).map_or_else(|| NOBODYS.to_owned(), Clone::clone)
}

fn refund_of(world: &World, provider: Provider) -> Option<RefundView> {
    let there =
        |refund: &RefundView| world.simulator.trade(&refund.out_trade_no).map(|t| t.protocol.provider());
    let refunds: Vec<RefundView> =
        world.simulator.refunds().into_iter().filter(|refund| there(refund) == Some(provider)).collect();
    refunds.get(world.dice.index(refunds.len())).cloned()
}

/// A callback as a gateway once sent it, at this moment.
fn heard_before(world: &World) -> Option<Forged> {
    let number = any_number(world)?;
    let trade = world.simulator.trade(&number)?;
    let refunds = world.simulator.refunds().into_iter().filter(|refund| refund.out_trade_no == number);
    let about_refunds = refunds.flat_map(|refund| refund.callbacks).map(|sent| (Story::Refund, sent));
    let about_payment = trade.callbacks.into_iter().map(|sent| (Story::Payment, sent));
    let heard: Vec<_> = about_payment.chain(about_refunds).collect();
    let (story, sent) = heard.get(world.dice.index(heard.len()))?;
    let door = door(trade.protocol, *story);
    let headers =
        sent.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
    let callback = Callback { door, headers, body: sent.body.clone().into_bytes() };
    Some(Forged { what: "one that was heard before", about: number, callback })
}

/// Alipay tells of both at one.
fn door(protocol: Protocol, story: Story) -> Door {
    let story = if protocol.refund_notify_path().is_some() { story } else { Story::Payment };
    Door { protocol, story }
}

fn v2(world: &World, number: &str) -> (&'static str, String) {
    let signed = |overrides: &[(&str, &str)]| world.simulator.signed_notify(number, overrides);
    let changed = |name: &str, value: Option<&str>| {
        let mut fields = Fields::parse(signed(&[]).as_bytes()).unwrap_or_default();
        match value {
            Some(value) => fields.set(name, value),
            None => fields.remove(name),
        }
        fields.to_xml()
    };
    match world.dice.below(13) {
        0 => ("no sign", changed("sign", None)),
        1 => ("a sign of another text", changed("nonce_str", Some("another"))),
        2 => ("MD5, and says so", signed(&[("sign_type", "MD5")])),
        3 => ("one fen, well signed", signed(&[("total_fee", "1")])),
        4 => ("another appid, well signed", signed(&[("appid", "wx0000000000000000")])),
        5 => ("another merchant, well signed", signed(&[("mch_id", "1")])),
        6 => ("a failure, well signed", signed(&[("result_code", "FAIL")])),
        7 => ("return_code FAIL", changed("return_code", Some("FAIL"))),
        8 => ("another currency, well signed", signed(&[("fee_type", "USD")])),
        9 => {
            let mut fields = Fields::parse(signed(&[]).as_bytes()).unwrap_or_default();
            let half: String = fields.get("sign").unwrap_or_default().chars().take(32).collect();
            fields.set("sign", &half);
            ("half of the sign", fields.to_xml())
        }
        10 => ("an amount twice", signed(&[]).replace("</xml>", "<total_fee>1</total_fee></xml>")),
        11 => ("another merchant's own", of_another_merchant(&signed(&[]), world.account.sign_type)),
        _ => ("no document", "<xml><out_trade_no>".to_owned()),
    }
}

/// What another merchant can sign: with that merchant's number and key, about an order of ours.
fn of_another_merchant(text: &str, sign_type: SignType) -> String {
    let mch_id = "1900000109";
    let mut fields = Fields::parse(text.as_bytes()).unwrap_or_default();
    fields.set("mch_id", mch_id);
    if let Some(key) = ApiKey::new(&format!("{mch_id:0>32}")) {
        let sign = sign::sign(&fields, &key, sign_type);
        fields.set("sign", &sign);
    }
    fields.to_xml()
}

/// Nobody signs these: what one can do who has our key, and what one can who has not.
fn v2_refund(world: &World, number: &str, refund: Option<&RefundView>) -> (&'static str, String) {
    let told = |outside: &[(&str, &str)], inside: &[(&str, &str)]| {
        world.simulator.refund_notify(number, outside, inside)
    };
    let (payment, trade) = refund.map_or(("", ""), |r| (r.transaction_id.as_str(), r.out_trade_no.as_str()));
    match world.dice.below(12) {
        0 => ("another amount", told(&[], &[("refund_fee", "1")])),
        1 => ("another total", told(&[], &[("total_fee", "1")])),
        2 => ("another payment", told(&[], &[("transaction_id", "4200000000202601010000000000")])),
        3 => ("another order", told(&[], &[("out_trade_no", NOBODYS)])),
        4 => ("another merchant", told(&[("mch_id", "1")], &[])),
        5 => ("another appid", told(&[("appid", "wx0000000000000000")], &[])),
        6 => ("return_code FAIL", told(&[("return_code", "FAIL")], &[])),
        7 => ("another end", told(&[], &[("refund_status", "REFUNDCLOSE")])),
        8 => ("paid out", told(&[], &[("refund_status", "SUCCESS")])),
        9 => {
            let key = ApiKey::new(&format!("{:0>32}", "another"));
            let sealed = key.and_then(|key| refund_notify::seal(&key, "<root><a>1</a></root>"));
            ("sealed with another key", told(&[("req_info", &sealed.unwrap_or_default())], &[]))
        }
        10 => ("nothing sealed", told(&[("req_info", "AAAAAAAAAAAAAAAAAAAAAA==")], &[])),
        _ => {
            let unknown = [("out_refund_no", NOBODYS), ("transaction_id", payment), ("out_trade_no", trade)];
            ("one nobody asked for", told(&[], &unknown))
        }
    }
}

fn v3_any(world: &World, story: Story) -> Option<Forged> {
    let keys = world.keys.as_ref()?;
    let door = Door { protocol: Protocol::WechatV3, story };
    let (what, about, notify) = match story {
        Story::Payment => {
            let number = number_of(world, Protocol::WechatV3);
            let (what, notify) = v3(world, keys, &number)?;
            (what, number, notify)
        }
        Story::Refund => {
            let refund = refund_of(world, Provider::Wechat)?;
            let (what, notify) = v3_refund(world, keys, &refund)?;
            (what, refund.out_refund_no, notify)
        }
    };
    // Sometimes at the other address of the two.
    let other = match story {
        Story::Payment => Story::Refund,
        Story::Refund => Story::Payment,
    };
    let door = if world.dice.permille(100) { Door { story: other, ..door } } else { door };
    Some(sent(what, about, door, notify.lines(), notify.body))
}

fn v3(world: &World, keys: &Keys, number: &str) -> Option<(&'static str, SignedNotify)> {
    let total = world.simulator.trade(number).map_or(1, |trade| trade.total_fee.get());
    let kind = world.dice.below(8);
    let with = |name: &str, value: Value| world.simulator.v3_notify(number, &[(name, value)]).ok().flatten();
    Some(match kind {
        0 => ("one fen less, well signed", with("amount.total", json!(total.saturating_sub(1)))?),
        1 => ("another appid, well signed", with("appid", json!("wx0000000000000000"))?),
        2 => ("another merchant, well signed", with("mchid", json!("1"))?),
        3 => ("another currency, well signed", with("amount.currency", json!("USD"))?),
        4 => ("not paid, well signed", with("trade_state", json!("NOTPAY"))?),
        5 => ("without a number, well signed", with("out_trade_no", Value::Null)?),
        _ => badly_signed(world, keys, world.simulator.v3_notify(number, &[]).ok().flatten()?)?,
    })
}

fn v3_refund(world: &World, keys: &Keys, refund: &RefundView) -> Option<(&'static str, SignedNotify)> {
    let number = refund.out_refund_no.as_str();
    let with =
        |overrides: &[(&str, Value)]| world.simulator.v3_refund_notify(number, overrides).ok().flatten();
    Some(match world.dice.below(9) {
        0 => ("another amount, well signed", with(&[("amount.refund", json!(1))])?),
        1 => ("another end, well signed", with(&[("refund_status", json!("CLOSED"))])?),
        2 => ("paid out, well signed", with(&[("refund_status", json!("SUCCESS"))])?),
        3 => ("another merchant, well signed", with(&[("mchid", json!("1"))])?),
        4 => ("one nobody asked for, well signed", with(&[("out_refund_no", json!(NOBODYS))])?),
        5 => ("without its amounts, well signed", with(&[("amount", Value::Null)])?),
        6 => {
            let payment = json!({ "mchid": world.account.mch_id, "trade_state": "SUCCESS" }).to_string();
            let sealed = world.simulator.v3_message("REFUND.SUCCESS", &payment, &refund.out_trade_no);
            ("a payment's contents, well signed", sealed.ok().flatten()?)
        }
        _ => badly_signed(world, keys, with(&[])?)?,
    })
}

/// What is true, in the wrong envelope.
fn badly_signed(world: &World, keys: &Keys, notify: SignedNotify) -> Option<(&'static str, SignedNotify)> {
    let of =
        |name: &str| notify.headers.iter().find(|(named, _)| *named == name).map(|(_, value)| value.clone());
    let (secs, nonce) = (of("Wechatpay-Timestamp")?, of("Wechatpay-Nonce")?);
    let (signature, secs_off) = (of("Wechatpay-Signature")?, |off: i64| {
        Some(secs.parse::<i64>().ok()?.saturating_add(off).to_string())
    });
    let set = |changes: &[(&str, String)]| {
        let mut notify = notify.clone();
        for (name, value) in &mut notify.headers {
            if let Some((_, new)) = changes.iter().find(|(changed, _)| changed == name) {
                new.clone_into(value);
            }
        }
        notify
    };
    // Known to the shop also where WeChat signed with what this shop was never given.
    let by = of("Wechatpay-Serial").and_then(|serial| keys.named(&serial)).or(keys.any())?;
    let signed = |serial: &str, key: &PrivateKey, secs: String| {
        let sign = key.sign(v3_text(&secs, &nonce, &notify.body).as_bytes());
        let serial = ("Wechatpay-Serial", serial.to_owned());
        set(&[serial, ("Wechatpay-Timestamp", secs), ("Wechatpay-Signature", sign)])
    };
    let at = |secs: String| signed(&by.serial, &by.key, secs);
    let kinds = if keys.certificates().is_empty() { 11 } else { 15 };
    Some(match world.dice.below(kinds) {
        0 => ("unsigned", SignedNotify { headers: Vec::new(), ..notify }),
        1 => {
            let sign = keys.merchant.sign(v3_text(&secs, &nonce, &notify.body).as_bytes());
            ("signed by another key", set(&[("Wechatpay-Signature", sign)]))
        }
        2 => {
            let body = notify.body.replacen("{\"create_time\":", "{ \"create_time\":", 1);
            ("a signature of another body", SignedNotify { body, ..notify })
        }
        3 => ("signed long ago", at(secs_off(TOO_FAR_SECS.saturating_neg())?)),
        4 => ("signed too early", at(secs_off(TOO_FAR_SECS)?)),
        5 => ("an old time set anew", set(&[("Wechatpay-Timestamp", secs_off(1)?)])),
        6 => ("a key nobody knows", set(&[("Wechatpay-Serial", "PUB_KEY_ID_0000".to_owned())])),
        7 => ("a probe", set(&[("Wechatpay-Signature", format!("WECHATPAY/SIGNTEST/{signature}"))])),
        8 => {
            ("another algorithm", set(&[("Wechatpay-Signature-Type", "WECHATPAY2-SM2-WITH-SM3".to_owned())]))
        }
        9 => {
            let mut twice = notify.clone();
            twice.headers.push(("Wechatpay-Timestamp", secs.clone()));
            ("a header twice", twice)
        }
        11 => ("by a certificate nobody hands out", signed(certificates::NOBODYS, &keys.app, secs)),
        12 => ("by a certificate that has ended", signed(certificates::ENDED, &keys.alipay, secs)),
        13 => match keys.certificates() {
            [old, next] if world.dice.permille(500) => {
                ("by the old certificate's name and the next one's key", signed(&old.serial, &next.key, secs))
            }
            [old, next] => {
                ("by the next certificate's name and the old one's key", signed(&next.serial, &old.key, secs))
            }
            _ => return None,
        },
        _ => ("sealed with another key, well signed", at_with(keys, by, (&secs, &nonce), &notify)?),
    })
}

/// The same message with its secret part sealed for another merchant.
fn at_with(
    keys: &Keys,
    by: &Signer,
    (secs, nonce): (&str, &str),
    notify: &SignedNotify,
) -> Option<SignedNotify> {
    let mut envelope: Value = serde_json::from_str(&notify.body).ok()?;
    let plain = keys.opened(envelope.get("resource")?)?;
    let text = |name: &str| envelope.pointer(&format!("/resource/{name}")).and_then(Value::as_str);
    let other = sealed(&[7; 32], text("nonce")?, text("associated_data")?, &plain)?;
    *envelope.pointer_mut("/resource/ciphertext")? = json!(other);
    let body = envelope.to_string();
    let sign = by.key.sign(v3_text(secs, nonce, &body).as_bytes());
    let mut headers = notify.headers.clone();
    for (name, value) in &mut headers {
        match *name {
            "Wechatpay-Signature" => sign.clone_into(value),
            "Wechatpay-Serial" => by.serial.clone_into(value),
            _ => {}
        }
    }
    Some(SignedNotify { headers, body })
}

fn alipay_any(world: &World, story: Story) -> Option<Forged> {
    let keys = world.keys.as_ref()?;
    let (what, about, text) = match story {
        Story::Payment => {
            let number = number_of(world, Protocol::Alipay);
            let (what, text) = alipay(world, keys, &number);
            (what, number, text)
        }
        Story::Refund => {
            let refund = refund_of(world, Provider::Alipay)?;
            let (what, text) = alipay_refund(world, keys, &refund)?;
            (what, refund.out_refund_no, text)
        }
    };
    Some(sent(what, about, door(Protocol::Alipay, story), String::new(), text))
}

fn alipay(world: &World, keys: &Keys, number: &str) -> (&'static str, String) {
    let total = world.simulator.trade(number).map(|trade| trade.total_fee.get()).unwrap_or_default();
    let less = Fen::new(total.saturating_sub(1)).unwrap_or_default().yuan();
    let with = |overrides: &[(&str, &str)]| world.simulator.alipay_notify(number, overrides);
    match world.dice.below(13) {
        0 => ("one fen less, well signed", with(&[("total_amount", &less)])),
        1 => ("another app, well signed", with(&[("app_id", "2021000000000001")])),
        2 => ("another seller, well signed", with(&[("seller_id", "2088000000000009")])),
        3 => ("another currency, well signed", with(&[("trans_currency", "USD")])),
        4 => ("about to be paid, well signed", with(&[("trade_status", "WAIT_BUYER_PAY")])),
        5 => ("a state nobody knows, well signed", with(&[("trade_status", "TRADE_PENDING")])),
        6 => ("no kind of notice, well signed", with(&[("notify_type", "")])),
        7 => {
            let refund = [("refund_fee", "0.01"), ("out_biz_no", NOBODYS)];
            locked(&world.memory).told_refunded.push(number.to_owned());
            ("a refund nobody asked for, well signed", with(&refund))
        }
        8 => {
            let back = world.simulator.alipay_return(number).unwrap_or_default();
            ("what a browser comes back with", back)
        }
        _ => changed(world, keys, &with(&[])),
    }
}

fn alipay_refund(world: &World, keys: &Keys, refund: &RefundView) -> Option<(&'static str, String)> {
    let number = refund.out_refund_no.as_str();
    let with = |overrides: &[(&str, &str)]| world.simulator.alipay_refund_notify(number, overrides);
    Some(match world.dice.below(8) {
        0 => ("another sum, well signed", with(&[("refund_fee", "0.01")])?),
        1 => ("another total, well signed", with(&[("total_amount", "0.01")])?),
        2 => ("one nobody asked for, well signed", with(&[("out_biz_no", NOBODYS)])?),
        3 => ("without a number, well signed", with(&[("out_biz_no", "")])?),
        4 => ("another seller, well signed", with(&[("seller_id", "2088000000000009")])?),
        _ => changed(world, keys, &with(&[])?),
    })
}

/// What is true, with something wrong that the signature is there to tell.
fn changed(world: &World, keys: &Keys, text: &str) -> (&'static str, String) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let set = |name: &str, value: &str| {
        let changed = |(named, old): &(String, String)| {
            (named.clone(), if named == name { value.to_owned() } else { old.clone() })
        };
        form(pairs.iter().map(changed))
    };
    let without = |name: &str| form(pairs.iter().filter(|(named, _)| named != name).cloned());
    match world.dice.below(7) {
        0 => ("no sign", without("sign")),
        1 => ("an empty sign", set("sign", "")),
        2 => ("a sign of another text", set("total_amount", "0.01")),
        3 => ("another state", set("trade_status", "TRADE_FINISHED")),
        4 => ("signed with our own key", set("sign", &keys.app.sign(alipay_text(&pairs).as_bytes()))),
        5 => ("another algorithm", set("sign_type", "RSA")),
        _ => ("a pair twice", format!("{text}&total_amount=0.01")),
    }
}

fn form(pairs: impl Iterator<Item = (String, String)>) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
