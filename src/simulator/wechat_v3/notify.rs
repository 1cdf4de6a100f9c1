//! V3's callbacks: what they say, sealed under the APIv3 key, and the signature every try gets anew.
//!
//! Source: the official pages on the callbacks of payments and refunds.

use super::{
    SIGNATURE_TYPE,
    keys::{self, Named, Signer, V3Keys},
    put,
    refund::{amounts, status_word},
    rules::write_time,
    signature_headers, transactions,
};
use crate::{
    clock::NoEntropy,
    simulator::{
        Simulator,
        faults::{Content, Scenario},
        refund_notify,
        refunds::{Refund, RefundStatus},
        trades::{Callback, Trade, TradeState},
    },
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What messages signed wrongly on purpose begin their signature with.
const SIGN_TEST: &str = "WECHATPAY/SIGNTEST/";
/// How far off the clock is in `clock-skew`.
const SKEW_SECS: i64 = 600;
/// A signature V3 has for merchants who use other algorithms than ours.
const OTHER_SIGNATURE_TYPE: &str = "WECHATPAY2-SM2-WITH-SM3";

/// A callback as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNotify {
    /// Besides the content type, which is `application/json`.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl SignedNotify {
    /// As `gateway::Headers` reads them.
    pub fn lines(&self) -> String {
        self.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect()
    }
}

/// What V3 needs to remember besides trades and refunds.
#[derive(Debug, Default)]
pub struct Memory {
    /// The second platform certificate is handed out…
    pub announced: bool,
    /// …and is in use.
    pub rotated: bool,
    /// What signs callbacks, whatever an order asked for.
    pub callbacks: Option<Signer>,
    /// Orders whose request, or whose refund's, named WeChat's public key.
    by_public_key: BTreeSet<String>,
}

impl Memory {
    /// An order's callbacks are signed as its merchant wants replies signed.
    pub fn remember(&mut self, out_trade_no: &str, serial: Option<&str>) {
        if serial.is_some_and(|serial| serial.starts_with("PUB_KEY_ID_")) {
            self.by_public_key.insert(out_trade_no.to_owned());
        }
    }

    fn signer(&self, out_trade_no: &str, scenario: Scenario) -> Signer {
        match scenario {
            Scenario::PublicKeyMode => Signer::PublicKey,
            Scenario::CertRotated => Signer::Certificate,
            _ => self.callbacks.unwrap_or(if self.by_public_key.contains(out_trade_no) {
                Signer::PublicKey
            } else {
                Signer::Certificate
            }),
        }
    }
}

/// The body of a callback about a payment; empty when there are no keys to make one with.
pub fn about_payment(simulator: &Simulator, trade: &Trade, content: Content, nonce: &str) -> String {
    let mut inside = payment_inside(trade);
    if content == Content::OneFenLess {
        for name in ["/amount/total", "/amount/payer_total"] {
            if let Some(fen) = inside.pointer_mut(name) {
                *fen = json!(fen.as_i64().unwrap_or_default().saturating_sub(1));
            }
        }
    }
    envelope(simulator, nonce, "TRANSACTION.SUCCESS", &inside.to_string())
}

/// Whatever became of the trade since, or has not yet.
fn payment_inside(trade: &Trade) -> Value {
    let mut inside = transactions::paid(trade);
    put(&mut inside, "trade_state", TradeState::Success.as_str());
    put(&mut inside, "trade_state_desc", TradeState::Success.desc_zh());
    inside
}

/// The body of a callback about a refund that has ended.
pub fn about_refund(simulator: &Simulator, refund: &Refund, nonce: &str) -> String {
    let inside = refund_inside(simulator, refund);
    envelope(simulator, nonce, event_of(refund.end), &inside.to_string())
}

const fn event_of(end: RefundStatus) -> &'static str {
    match end {
        RefundStatus::Success | RefundStatus::Processing => "REFUND.SUCCESS",
        RefundStatus::Change => "REFUND.ABNORMAL",
        RefundStatus::Closed => "REFUND.CLOSED",
    }
}

fn refund_inside(simulator: &Simulator, refund: &Refund) -> Value {
    let mut inside = json!({
        "amount": amounts(refund),
        "mchid": simulator.account().mch_id,
        "out_refund_no": refund.out_refund_no,
        "out_trade_no": refund.out_trade_no,
        "refund_id": refund.refund_id,
        "refund_status": status_word(refund.end),
        "transaction_id": refund.transaction_id,
        "user_received_account": refund_notify::RECEIVED_BY,
    });
    if refund.end == RefundStatus::Success {
        put(&mut inside, "success_time", write_time(refund.ends_at));
    }
    inside
}

/// The whole message around its secret part. `nonce` has at least 12 bytes of ASCII.
fn envelope(simulator: &Simulator, nonce: &str, event_type: &str, inside: &str) -> String {
    let Some(keys) = simulator.0.options.v3.as_ref() else { return String::new() };
    let original_type = if event_type.starts_with("REFUND.") { "refund" } else { "transaction" };
    let summary = match event_type {
        "TRANSACTION.SUCCESS" => "支付成功",
        "REFUND.SUCCESS" => "退款成功",
        "REFUND.ABNORMAL" => "退款异常",
        _ => "退款关闭",
    };
    let gcm_nonce = keys::gcm_nonce(nonce);
    json!({
        "id": nonce,
        "create_time": write_time(simulator.now()),
        "resource_type": "encrypt-resource",
        "event_type": event_type,
        "summary": summary,
        "resource": {
            "original_type": original_type,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": keys.seal(&gcm_nonce, original_type, inside),
            "associated_data": original_type,
            "nonce": gcm_nonce,
        },
    })
    .to_string()
}

/// The headers of this try.
///
/// # Errors
/// No random bytes.
pub fn headers_of(
    simulator: &Simulator,
    callback: &Callback,
) -> Result<Vec<(&'static str, String)>, NoEntropy> {
    let Some(keys) = simulator.0.options.v3.as_ref() else { return Ok(Vec::new()) };
    let by = signer_of(simulator, keys, &callback.out_trade_no);
    let secs = simulator.now().secs();
    let nonce = simulator.0.clock.nonce()?;
    Ok(signed(by, secs, &nonce, &callback.body, callback.content))
}

fn signer_of<'a>(simulator: &Simulator, keys: &'a V3Keys, out_trade_no: &str) -> &'a Named {
    let mut book = simulator.book();
    let scenario = book.scenario(out_trade_no);
    match book.v3.signer(out_trade_no, scenario) {
        Signer::PublicKey => &keys.public_key,
        Signer::Certificate if book.v3.rotated => &keys.next_platform,
        Signer::Certificate => &keys.platform,
    }
}

fn signed(by: &Named, secs: i64, nonce: &str, body: &str, content: Content) -> Vec<(&'static str, String)> {
    let secs = if content == Content::SkewedClock { secs.saturating_sub(SKEW_SECS) } else { secs };
    let said = if content == Content::WrongSign { "another" } else { body };
    let mut headers = signature_headers(by, &secs.to_string(), nonce, said);
    for (name, value) in &mut headers {
        match (*name, content) {
            ("Wechatpay-Signature", Content::SignTest) => *value = format!("{SIGN_TEST}{value}"),
            (_, Content::OtherAlgorithm) if value == SIGNATURE_TYPE => {
                OTHER_SIGNATURE_TYPE.clone_into(value);
            }
            _ => {}
        }
    }
    headers
}

impl Simulator {
    /// The V3 callback this trade has or would have, with members of its secret part replaced before sealing, by their
    /// names with points (`amount.total`; `null` takes one out). An unknown number gets a callback for one fen. `None` when V3 is not spoken.
    ///
    /// # Errors
    /// No random bytes.
    pub fn v3_notify(
        &self,
        out_trade_no: &str,
        overrides: &[(&str, Value)],
    ) -> Result<Option<SignedNotify>, NoEntropy> {
        let trade = self.book().trade(out_trade_no, self.now()).cloned();
        let mut inside = match &trade {
            Some(trade) => payment_inside(trade),
            None => unknown(self, out_trade_no),
        };
        replace(&mut inside, overrides);
        self.v3_message("TRANSACTION.SUCCESS", &inside.to_string(), out_trade_no)
    }

    /// The same about a refund. `None` also for a refund nobody asked for.
    ///
    /// # Errors
    /// No random bytes.
    pub fn v3_refund_notify(
        &self,
        out_refund_no: &str,
        overrides: &[(&str, Value)],
    ) -> Result<Option<SignedNotify>, NoEntropy> {
        let Some(refund) = self.book().refunds.by_number(out_refund_no).cloned() else { return Ok(None) };
        let mut inside = refund_inside(self, &refund);
        replace(&mut inside, overrides);
        self.v3_message(event_of(refund.end), &inside.to_string(), &refund.out_trade_no)
    }

    /// Any secret part and event, sealed and signed as WeChat would now. `out_trade_no` decides which key signs.
    ///
    /// # Errors
    /// No random bytes.
    pub fn v3_message(
        &self,
        event_type: &str,
        inside: &str,
        out_trade_no: &str,
    ) -> Result<Option<SignedNotify>, NoEntropy> {
        let body = envelope(self, &self.0.clock.nonce()?, event_type, inside);
        self.v3_sign(&body, out_trade_no)
    }

    /// These very bytes, signed as WeChat would now.
    ///
    /// # Errors
    /// No random bytes.
    pub fn v3_sign(&self, body: &str, out_trade_no: &str) -> Result<Option<SignedNotify>, NoEntropy> {
        let Some(keys) = self.0.options.v3.as_ref() else { return Ok(None) };
        let by = signer_of(self, keys, out_trade_no);
        let headers = signed(by, self.now().secs(), &self.0.clock.nonce()?, body, Content::True);
        Ok(Some(SignedNotify { headers, body: body.to_owned() }))
    }

    /// From now on every callback is signed so; `None` leaves it to what each order asked for.
    pub fn sign_callbacks_with(&self, signer: Option<Signer>) {
        self.book().v3.callbacks = signer;
    }

    /// A new platform certificate is handed out besides the old one, and signs nothing yet.
    pub fn announce_certificate(&self) {
        self.book().v3.announced = true;
    }

    /// A new platform certificate appears, if it was not announced, and signs from now on.
    pub fn rotate_certificate(&self) {
        self.book().v3.rotated = true;
    }

    /// Whether it is the new platform certificate that signs.
    pub fn is_rotated(&self) -> bool {
        self.book().v3.rotated
    }

    /// The platform certificate that signs now, in PEM. `None` when V3 is not spoken.
    pub fn platform_certificate(&self) -> Option<String> {
        let keys = self.0.options.v3.as_ref()?;
        let rotated = self.book().v3.rotated;
        keys::certificate(if rotated { &keys.next_platform } else { &keys.platform }, self.now())
    }
}

fn unknown(simulator: &Simulator, out_trade_no: &str) -> Value {
    let account = simulator.account();
    json!({
        "amount": { "currency": "CNY", "payer_currency": "CNY", "payer_total": 1, "total": 1 },
        "appid": account.appids.web,
        "bank_type": "OTHERS",
        "mchid": account.mch_id,
        "out_trade_no": out_trade_no,
        "payer": { "openid": "oSimulatedPayerWithoutOpenid" },
        "promotion_detail": [],
        "success_time": write_time(simulator.now()),
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "trade_type": "JSAPI",
        "transaction_id": "4200000000202601010000000000",
    })
}

/// By names with points. What is replaced must be inside an object.
fn replace(inside: &mut Value, overrides: &[(&str, Value)]) {
    for (name, value) in overrides {
        let (above, member) = name.rsplit_once('.').unwrap_or(("", name));
        let pointer: String =
            above.split('.').filter(|part| !part.is_empty()).map(|p| format!("/{p}")).collect();
        if let Some(Value::Object(members)) = inside.pointer_mut(&pointer) {
            match value {
                Value::Null => members.remove(member),
                value => members.insert(member.to_owned(), value.clone()),
            };
        }
    }
}
