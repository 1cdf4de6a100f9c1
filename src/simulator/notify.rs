//! What V2's pay result callback says, and its signature.
//!
//! Source: page 4011937248.

use super::{Simulator, faults::Content, layout::layout, trades::Trade};
use crate::{
    domain::{money::Fen, time::UnixMs},
    gateway::wechat_v2::{
        Account,
        sign::{self, SignType},
        xml::Fields,
    },
};

/// The fields of a payment that callback and orderquery share. The amounts hold even before it is paid.
pub fn payment_fields(trade: &Trade) -> Fields {
    let total_fee = trade.total_fee.get();
    let coupon = trade.coupon.map_or(0, Fen::get);
    let cash_fee = total_fee.saturating_sub(coupon).to_string();
    let mut fields: Fields = [
        ("out_trade_no", trade.out_trade_no.as_str()),
        ("transaction_id", trade.transaction_id.as_str()),
        ("openid", payer(trade)),
        ("is_subscribe", "N"),
        ("trade_type", trade.trade_type.as_str()),
        ("bank_type", "OTHERS"),
        ("total_fee", total_fee.to_string().as_str()),
        ("fee_type", "CNY"),
        ("cash_fee", cash_fee.as_str()),
        ("cash_fee_type", "CNY"),
        ("time_end", trade.paid_at.unwrap_or(trade.created_at).beijing_compact().as_str()),
    ]
    .into_iter()
    .collect();
    for echoed in ["attach", "device_info"] {
        if let Some(value) = trade.parameters.get(echoed) {
            fields.set(echoed, value);
        }
    }
    if coupon > 0 {
        add_coupon(&mut fields, &cash_fee, coupon);
    }
    fields
}

/// A tenth of the amount, at least one fen.
pub fn coupon_of(total_fee: Fen) -> Fen {
    Fen::new(total_fee.get().checked_div(10).unwrap_or_default().max(1)).unwrap_or_default()
}

/// A coupon that is not prepaid, so the merchant is settled only the cash, and fields nobody has heard of.
fn add_coupon(fields: &mut Fields, cash_fee: &str, coupon: i64) {
    let coupon = coupon.to_string();
    for (name, value) in [
        ("settlement_total_fee", cash_fee),
        ("coupon_fee", &coupon),
        ("coupon_count", "1"),
        ("coupon_id_0", "10000"),
        ("coupon_type_0", "NO_CASH"),
        ("coupon_fee_0", &coupon),
        ("Version_9", "simulator"),
        ("promotion_detail", r#"{"promotion_detail":[{"promotion_id":"10000","name":"满减 & 立减"}]}"#),
    ] {
        fields.set(name, value);
    }
}

/// Whoever it is that pays: nobody asks who scans a code.
pub fn payer(trade: &Trade) -> &str {
    trade.payer.as_deref().unwrap_or("oSimulatedPayerWithoutOpenid")
}

/// The whole signed callback.
pub fn body(account: &Account, trade: &Trade, content: Content, nonce: &str) -> String {
    let mut fields = notice(account, &trade.appid, payment_fields(trade), nonce);
    match content {
        // The last two are V3's alone.
        Content::True | Content::SignTest | Content::SkewedClock => signed(account, fields, trade.sign_type),
        Content::OneFenLess => {
            fields.set("total_fee", &trade.total_fee.get().saturating_sub(1).to_string());
            signed(account, fields, trade.sign_type)
        }
        Content::OtherAlgorithm => signed(account, fields, other(trade.sign_type)),
        Content::WrongSign => {
            let mut different = fields.clone();
            different.set("nonce_str", "another");
            fields.set("sign", &sign::sign(&different, &account.key, trade.sign_type));
            layout(&fields)
        }
    }
}

fn notice(account: &Account, appid: &str, mut fields: Fields, nonce: &str) -> Fields {
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", appid),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", nonce),
    ] {
        fields.set(name, value);
    }
    fields
}

const fn other(sign_type: SignType) -> SignType {
    match sign_type {
        SignType::Md5 => SignType::HmacSha256,
        SignType::HmacSha256 => SignType::Md5,
    }
}

/// Signs with the fields' own `sign_type`, else with `usual`. WeChat mostly leaves `sign_type` out, so do we.
pub fn signed(account: &Account, mut fields: Fields, usual: SignType) -> String {
    let sign_type = fields.get("sign_type").and_then(SignType::parse).unwrap_or(usual);
    fields.remove("sign");
    let signature = sign::sign(&fields, &account.key, sign_type);
    fields.set("sign", &signature);
    layout(&fields)
}

pub fn overridden(
    simulator: &Simulator,
    out_trade_no: &str,
    trade: Option<&Trade>,
    overrides: &[(&str, &str)],
) -> String {
    let account = simulator.account();
    let payment = trade.map_or_else(|| unknown(out_trade_no, simulator.now()), payment_fields);
    let appid = trade.map_or(account.appids.web.as_str(), |trade| trade.appid.as_str());
    let mut fields = notice(account, appid, payment, "5K8264ILTKCH16CQ2502SI8ZNMTM67VS");
    for (name, value) in overrides {
        if value.is_empty() {
            fields.remove(name);
        } else {
            fields.set(name, value);
        }
    }
    signed(account, fields, trade.map_or(account.sign_type, |trade| trade.sign_type))
}

fn unknown(out_trade_no: &str, now: UnixMs) -> Fields {
    [
        ("out_trade_no", out_trade_no),
        ("transaction_id", "4200000000202601010000000000"),
        ("openid", "oSimulatedPayerWithoutOpenid"),
        ("is_subscribe", "N"),
        ("trade_type", "JSAPI"),
        ("bank_type", "OTHERS"),
        ("total_fee", "1"),
        ("fee_type", "CNY"),
        ("cash_fee", "1"),
        ("time_end", now.beijing_compact().as_str()),
    ]
    .into_iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Scenario, testing::*},
        *,
    };
    use crate::gateway::{Notified, Rejection, wechat_v2::notify::read};

    #[actix_web::test]
    async fn the_gateway_believes_a_true_callback_and_no_forged_one() {
        for (scenario, expected) in [
            (Scenario::Ok, Ok(990)),
            (Scenario::Coupon, Ok(990)),
            (Scenario::WrongAmount, Ok(989)),
            (Scenario::WrongSign, Err(Rejection::BadSign)),
            (Scenario::Md5Sign, Err(Rejection::BadSign)),
        ] {
            let (simulator, _) = simulator();
            prepay(&simulator).await;
            simulator.set_scenario(NUMBER, scenario);
            let (_, callbacks) = simulator.take_payment(NUMBER).unwrap();
            let heard = match read(simulator.account(), callbacks[0].body.as_bytes()) {
                Notified::Paid(payment) => Ok(payment.amount().get()),
                Notified::Rejected { rejection, .. } => Err(rejection),
                other => panic!("{other:?}"),
            };
            assert_eq!(heard, expected, "{}", scenario.name());
        }
    }

    #[actix_web::test]
    async fn a_coupon_leaves_the_total_and_makes_the_cash_smaller() {
        let (simulator, _) = simulator();
        prepay(&simulator).await;
        simulator.set_scenario(NUMBER, Scenario::Coupon);
        let (_, callbacks) = simulator.take_payment(NUMBER).unwrap();
        let fields = Fields::parse(callbacks[0].body.as_bytes()).unwrap();
        for (name, value) in [
            ("total_fee", "990"),
            ("cash_fee", "891"),
            ("settlement_total_fee", "891"),
            ("coupon_fee", "99"),
            ("coupon_fee_0", "99"),
            ("coupon_count", "1"),
            ("coupon_type_0", "NO_CASH"),
        ] {
            assert_eq!(fields.get(name), Some(value), "{name}");
        }
    }

    #[actix_web::test]
    async fn tests_can_have_any_callback_signed() {
        let (simulator, _) = simulator();
        prepay(&simulator).await;
        let amount = |body: &str| match read(simulator.account(), body.as_bytes()) {
            Notified::Paid(payment) => Some(payment.amount().get()),
            _ => None,
        };
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[])), Some(990));
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("total_fee", "1")])), Some(1));
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("transaction_id", "")])), None);
        assert_eq!(amount(&simulator.signed_notify(NUMBER, &[("sign_type", "MD5")])), None);
        assert_eq!(amount(&simulator.signed_notify("never-placed", &[])), Some(1));
        let body = simulator.signed_notify(NUMBER, &[]);
        assert_eq!(simulator.sign_notify(Fields::parse(body.as_bytes()).unwrap()), body);
        assert!(matches!(
            read(simulator.account(), simulator.signed_notify(NUMBER, &[("mch_id", "1")]).as_bytes()),
            Notified::Rejected { rejection: Rejection::MchIdMismatch, .. }
        ));
    }
}
