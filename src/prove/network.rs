//! The wire between the shop and the simulated WeChat, in both directions, with everything that can
//! happen to a message on it.

use super::{
    answers::{self, Heard},
    machine::{Owner, locked},
    oracle::{ALL, Reply},
    world::World,
};
use crate::{
    flow::{
        notify::{self, Incoming},
        settle::Evidence,
    },
    gateway::{
        AckReply, Headers, Protocol, Response,
        wechat_v2::{sign, xml::Fields},
    },
    http::{HttpError, InProcess, Letter},
    simulator::Asked,
    store::refunds,
};
use futures_util::FutureExt;
use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};
use tokio::sync::oneshot;

/// Both sides wait so long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// True replies kept for the wrong question.
const KEPT_REPLIES: usize = 20;
/// Of a thousand requests for a refund that hangs so many are on their way for long.
const SLIPS: u64 = 100;

type Answer = Result<Response, HttpError>;

/// The line every request of a world travels over.
pub fn line(world: &Weak<World>) -> InProcess {
    let world = world.clone();
    Arc::new(move |letter| {
        let world = world.clone();
        async move {
            let Some(world) = world.upgrade() else { return Err(HttpError::Timeout) };
            let path = letter.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
            let answer = async {
                match Door::at(&path) {
                    Some(door) => to_shop(&world, Callback::new(door, letter)).await,
                    None => to_gateway(&world, &Call::new(&path, letter)).await,
                }
            };
            world.clock.within(PATIENCE, answer).await.unwrap_or(Err(HttpError::Timeout))
        }
        .boxed()
    })
}

/// A call of ours on its way to the gateway.
#[derive(Clone)]
struct Call {
    /// What the story calls it: the path, or at Alipay the method.
    name: String,
    path: String,
    letter: Letter,
}

impl Call {
    fn new(path: &str, letter: Letter) -> Call {
        let method = url::form_urlencoded::parse(&letter.body).find(|(name, _)| name == "method");
        let name = match method {
            Some((_, method)) if path.starts_with("/gateway.do") => method.into_owned(),
            _ => path.to_owned(),
        };
        Call { name, path: path.to_owned(), letter }
    }

    /// Whether it asks what became of an order.
    fn is_query(&self) -> bool {
        let of_v3 = !self.letter.post && self.path.starts_with("/v3/pay/transactions/");
        of_v3 || self.path == "/pay/orderquery" || self.name == "alipay.trade.query"
    }

    /// Whether it asks for a refund.
    fn is_refund(&self) -> bool {
        let of_v3 = self.letter.post && self.path == "/v3/refund/domestic/refunds";
        of_v3 || self.path == "/secapi/pay/refund" || self.name == "alipay.trade.refund"
    }

    /// Whether it asks for one of the refunds that hang: half of them, by the amount.
    fn hangs(&self, world: &World) -> bool {
        if !world.swarm.hangs || world.healed() || !self.is_refund() {
            return false;
        }
        let Some(Ok(open)) = world.store.look(|db| refunds::open(db, ALL)) else { return false };
        let body = String::from_utf8_lossy(&self.letter.body);
        let wanted = open.iter().find(|refund| body.contains(refund.out_refund_no.as_str()));
        wanted.is_some_and(|refund| refund.amount.get().rem_euclid(2) == 0)
    }
}

async fn to_gateway(world: &Arc<World>, call: &Call) -> Answer {
    let (swarm, path) = (&world.swarm, &call.name);
    world.clock.sleep(world.dice.ms(1, swarm.slow_ms)).await;
    if world.mischief(swarm.refused) {
        world.note(|| format!("{path} cannot connect"));
        return Err(HttpError::Connect("no route".to_owned()));
    }
    if world.mischief(swarm.request_lost) {
        world.note(|| format!("{path} is lost"));
        return never().await;
    }
    let hangs = call.hangs(world);
    // In trouble one of those requests may be on its way for long, and then the refund is made after all.
    let slips = hangs && !swarm.calm && world.dice.permille(SLIPS);
    if hangs && !slips {
        world.note(|| format!("{path} meets NOTENOUGH"));
        return Ok(failed(world, "NOTENOUGH"));
    }
    if slips || world.mischief(swarm.request_late) {
        world.note(|| format!("{path} is under way for long"));
        let (world, call) = (world.clone(), call.clone());
        let task = world.clone();
        task.spawn(async move {
            world.clock.sleep(world.dice.ms(5_000, 120_000)).await;
            answered(&world, &call);
        });
        return never().await;
    }
    if world.mischief(swarm.system_error) {
        world.note(|| format!("{path} meets SYSTEMERROR"));
        return Ok(failed(world, "SYSTEMERROR"));
    }
    let reply = answered(world, call);
    world.clock.sleep(world.dice.ms(1, swarm.slow_ms)).await;
    if world.mischief(swarm.reply_lost) {
        world.note(|| format!("the reply to {path} is lost"));
        return if world.dice.permille(500) {
            Err(HttpError::Broken("reset by peer".to_owned()))
        } else {
            never().await
        };
    }
    if world.mischief(swarm.garbage) {
        world.note(|| format!("the reply to {path} is spoiled"));
        return Ok(spoiled(world, reply));
    }
    if call.is_query() && world.mischief(swarm.misrouted) {
        let memory = locked(&world.memory);
        if let Some(other) = memory.replies.get(world.dice.index(memory.replies.len())) {
            let other = other.clone();
            drop(memory);
            world.note(|| "a query gets the reply to another".to_owned());
            return Ok(other);
        }
    }
    Ok(reply)
}

/// The caller's patience ends this.
async fn never() -> Answer {
    std::future::pending().await
}

fn answered(world: &World, call: &Call) -> Response {
    let method = if call.letter.post { "POST" } else { "GET" };
    let Letter { headers, body, .. } = &call.letter;
    let asked = Asked { method, target: &call.path, headers: Headers(headers), body };
    let reply = world.simulator.answer(&asked).ok().flatten().unwrap_or_default();
    let fields = Fields::parse(&reply.body).unwrap_or_default();
    let of = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    world.note(|| {
        let asked = Fields::parse(body).unwrap_or_default();
        let number = asked.get("out_trade_no").unwrap_or_default().to_owned();
        let said = format!("{}{}{}", of("err_code"), of("trade_state"), of("prepay_id"));
        format!("{} {number}: {} {said}", call.name, reply.status)
    });
    let paid = || String::from_utf8_lossy(&reply.body).contains("SUCCESS");
    if call.is_query() && (of("trade_state") == "SUCCESS" || fields == Fields::default() && paid()) {
        let mut memory = locked(&world.memory);
        if memory.replies.len() >= KEPT_REPLIES {
            memory.replies.remove(0);
        }
        memory.replies.push(reply.clone());
    }
    reply
}

/// An authentic failure, signed as WeChat signs.
fn failed(world: &World, err_code: &str) -> Response {
    let account = &world.account;
    let mut fields: Fields = [
        ("return_code", "SUCCESS"),
        ("return_msg", "OK"),
        ("appid", account.appids.web.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", "prove"),
        ("result_code", "FAIL"),
        ("err_code", err_code),
        ("err_code_des", "系统错误"),
    ]
    .into_iter()
    .collect();
    let signature = sign::sign(&fields, &account.key, account.sign_type);
    fields.set("sign", &signature);
    Response::new(200, fields.to_xml().into_bytes())
}

/// What nobody may believe.
fn spoiled(world: &World, reply: Response) -> Response {
    let Response { headers, body: reply, .. } = reply;
    // Not by its length, which for a signed text is another in every process.
    let half = reply.len().saturating_mul(world.dice.index(100)).checked_div(100).unwrap_or_default();
    let text = String::from_utf8_lossy(&reply).into_owned();
    let (status, body) = match world.dice.below(6) {
        0 => (502, b"<html>Bad Gateway</html>".to_vec()),
        1 => (200, Vec::new()),
        2 => (200, reply.into_iter().take(half).collect()),
        3 => (200, text.replace("NOTPAY", "SUCCESS").replace("WAIT_BUYER_PAY", "TRADE_SUCCESS").into_bytes()),
        4 => (200, text.replace("<total_fee>", "<total_fee>1").replace("\":\"", "\":\"1").into_bytes()),
        _ => (200, b"<xml><return_code>FAIL</return_code><return_msg>busy</return_msg></xml>".to_vec()),
    };
    // Without a change it would be a true reply: then it is cut instead.
    Response { headers, ..Response::new(status, body) }
}

/// An address of ours that gateways call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Door {
    pub protocol: Protocol,
    pub story: Story,
}

impl Door {
    fn at(path: &str) -> Option<Door> {
        Protocol::ALL.into_iter().find_map(|protocol| {
            let story = match path {
                _ if path == protocol.notify_path() => Story::Payment,
                _ if Some(path) == protocol.refund_notify_path() => Story::Refund,
                _ => return None,
            };
            Some(Door { protocol, story })
        })
    }
}

/// A message on its way to a door.
#[derive(Clone)]
pub struct Callback {
    pub door: Door,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Callback {
    fn new(door: Door, letter: Letter) -> Callback {
        Callback { door, headers: letter.headers, body: letter.body }
    }
}

/// What a callback is about; the address says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Story {
    Payment,
    Refund,
}

/// One try of the gateway to deliver a callback.
async fn to_shop(world: &Arc<World>, callback: Callback) -> Answer {
    let swarm = &world.swarm;
    if world.mischief(swarm.callback_lost) {
        world.note(|| "a callback is lost".to_owned());
        return never().await;
    }
    if world.mischief(swarm.callback_twice) {
        let copies = world.dice.between(1, 3);
        for _ in 0..copies {
            let (copy, task, again) = (callback.clone(), world.clone(), world.clone());
            let pause = world.dice.ms(0, swarm.callback_slow_ms);
            task.spawn(async move {
                again.clock.sleep(pause).await;
                // Nobody listens to the answer.
                let _ = deliver(&again, copy).await;
            });
        }
    }
    let pause = world.dice.ms(1, swarm.callback_slow_ms);
    if pause >= PATIENCE {
        // The gateway gives up before the message arrives, and it arrives all the same.
        let task = world.clone();
        let late = world.clone();
        task.spawn(async move {
            late.clock.sleep(pause).await;
            let _ = deliver(&late, callback).await;
        });
        return never().await;
    }
    world.clock.sleep(pause).await;
    let answer = deliver(world, callback).await;
    if world.mischief(swarm.ack_lost) {
        world.note(|| "the answer to a callback is lost".to_owned());
        return never().await;
    }
    answer
}

/// Hands a callback to an instance as the web floor does, on a task that outlives the caller.
pub async fn deliver(world: &Arc<World>, callback: Callback) -> Answer {
    let Some((number, app)) = world.any_instance() else {
        return Err(HttpError::Connect("nobody listens".to_owned()));
    };
    let (sender, answer) = oneshot::channel();
    let (witness, received_at) = (world.clone(), app.clock.now());
    let task = async move {
        let spoiled = witness.weather.spoiled.load(Ordering::Relaxed);
        let stranger = answers::is_strange(&witness, &app, &callback);
        let Callback { door, headers, body } = callback.clone();
        let evidence = Evidence { body, headers, remote_ip: "127.0.0.1".to_owned() };
        let incoming = Incoming { protocol: door.protocol, evidence, received_at };
        let received = match door.story {
            Story::Payment => notify::receive(app, incoming).await,
            Story::Refund => notify::receive_refund(app, incoming).await,
        };
        let (reply, response) = match received {
            Ok(ack) => {
                let reply = if says_received(door.protocol, &ack) { Reply::Success } else { Reply::Fail };
                (reply, Response::new(ack.status, ack.body.into_bytes()))
            }
            Err(_) => (Reply::Error, Response::new(503, Vec::new())),
        };
        let books_failed = witness.weather.spoiled.load(Ordering::Relaxed) != spoiled;
        let heard = Heard { reply, received_at, books_failed, stranger };
        witness.oracle.judge_answer(&witness, &callback, &heard);
        let _ = sender.send(response);
    };
    world.machine.spawn(Owner::Instance(number), task.boxed());
    answer.await.map_err(|_| HttpError::Broken("reset by peer".to_owned()))
}

/// What the gateway takes for yes, in its own words.
fn says_received(protocol: Protocol, ack: &AckReply) -> bool {
    match protocol {
        Protocol::WechatV2 => ack.status == 200 && ack.body.contains("<![CDATA[SUCCESS]]>"),
        Protocol::WechatV3 => [200, 204].contains(&ack.status),
        Protocol::Alipay => ack.status == 200 && ack.body == "success",
    }
}
