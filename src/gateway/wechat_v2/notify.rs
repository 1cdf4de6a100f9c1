//! The pay result callback: from bytes to a verified payment, and the answer WeChat understands.
//!
//! Source: page 4011937248 for fields and answer; the order of checks is ours and stops at the first failure.

use super::{Account, sign, xml::Fields};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::{Openid, OutTradeNo, TransactionId},
        money::Fen,
        time::UnixMs,
    },
    gateway::{Ack, AckReply, Notified, Protocol, Rejection, VerifiedPayment, wechat, words::word},
};

/// What is read here. Nothing is escaped in the text that is signed, so a value with `&fee_type=USD` in it and that field
/// by itself have the same signature: the one cannot be told from the other, and a message with such a value proves nothing.
const READ: [&str; 10] = [
    "appid",
    "fee_type",
    "mch_id",
    "openid",
    "out_trade_no",
    "result_code",
    "time_end",
    "total_fee",
    "trade_type",
    "transaction_id",
];

fn hides_a_field(value: &str) -> bool {
    let mut pieces = value.split('&').skip(1).filter_map(|piece| piece.split_once('='));
    pieces.any(|(name, _)| READ.contains(&name))
}

/// Shape, `return_code`, signature, `result_code`, identity, fields. The order itself is `settle`'s to compare.
pub fn read(account: &Account, body: &[u8]) -> Notified {
    let Ok(fields) = Fields::parse(body) else {
        return Notified::Rejected { rejection: Rejection::Malformed, out_trade_no: None };
    };
    let out_trade_no = fields.get("out_trade_no").and_then(OutTradeNo::parse);
    match check(account, &fields) {
        Ok(Some(payment)) => Notified::Paid(payment),
        Ok(None) => Notified::NotPaid { out_trade_no },
        Err(rejection) => Notified::Rejected { rejection, out_trade_no },
    }
}

fn check(account: &Account, fields: &Fields) -> Result<Option<VerifiedPayment>, Rejection> {
    #[cfg(feature = "canaries")]
    if let Some(read) = wrong::key_by_message(account, fields) {
        return read;
    }
    match fields.get("return_code") {
        Some("SUCCESS") => {}
        Some(_) => return Err(Rejection::CommFail),
        None => return Err(Rejection::Malformed),
    }
    sign::verify(fields, &account.key, &account.accept).map_err(|_| Rejection::BadSign)?;
    if fields.iter().any(|(_, value)| hides_a_field(value)) {
        return Err(Rejection::BadSign);
    }
    if fields.get("result_code") != Some("SUCCESS") {
        return Ok(None);
    }
    if !fields.get("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Rejection::AppidMismatch);
    }
    if fields.get("mch_id") != Some(&account.mch_id) {
        return Err(Rejection::MchIdMismatch);
    }
    payment(account, fields).map(Some).map_err(|_| Rejection::Incomplete)
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What a wrong version of choosing the key would do.

    use super::*;
    use crate::gateway::wechat_v2::ApiKey;

    /// The key is looked up by the `mch_id` of the message, as if several merchants shared this address. In
    /// that table everybody else's key is the merchant's own number, padded to 32 digits: theirs to know.
    pub(super) fn key_by_message(
        account: &Account,
        fields: &Fields,
    ) -> Option<Result<Option<VerifiedPayment>, Rejection>> {
        let mch_id = fields.get("mch_id").filter(|named| *named != account.mch_id)?;
        if !canary::sings(Canary::KeyByMessage) {
            return None;
        }
        let key = ApiKey::new(&format!("{mch_id:0>32}"))?;
        let named = Account { mch_id: mch_id.to_owned(), key, ..account.clone() };
        let read = check(&named, fields);
        Some(read.and_then(|paid| match paid {
            Some(_) => payment(account, fields).map(Some).map_err(|_| Rejection::Incomplete),
            None => Ok(None),
        }))
    }
}

/// Reads the payment out of fields whose signature and identity were checked by the caller.
/// `total_fee` is the amount: coupons make `cash_fee` and `settlement_total_fee` smaller.
///
/// # Errors
/// The name of the field that is missing or unreadable.
pub(super) fn payment(account: &Account, fields: &Fields) -> Result<VerifiedPayment, &'static str> {
    let name = if canary::sings(Canary::CashFeeIsTheAmount) { "cash_fee" } else { "total_fee" };
    let amount = fields.get(name).and_then(|text| Fen::parse_fen(text).ok()).filter(|fen| fen.get() > 0);
    Ok(VerifiedPayment {
        protocol: Protocol::WechatV2,
        account: wechat::account_name(&account.mch_id, fields.get("appid").ok_or("appid")?),
        environment: account.environment,
        out_trade_no: fields.get("out_trade_no").and_then(OutTradeNo::parse).ok_or("out_trade_no")?,
        transaction_id: fields
            .get("transaction_id")
            .and_then(TransactionId::parse)
            .ok_or("transaction_id")?,
        amount: amount.ok_or("total_fee")?,
        currency: word(fields.get("fee_type").unwrap_or("CNY")),
        trade_type: word(fields.get("trade_type").unwrap_or_default()),
        payer: fields.get("openid").and_then(Openid::parse),
        paid_at: fields.get("time_end").and_then(UnixMs::parse_beijing_compact),
    })
}

/// The answer in V2's own words. Anything else, even `success`, makes WeChat come again.
pub fn ack(ack: Ack) -> AckReply {
    let (code, message) = match ack {
        Ack::Received => ("SUCCESS", "OK"),
        Ack::Refused(class) => ("FAIL", class),
    };
    AckReply {
        ack,
        status: 200,
        content_type: "text/xml; charset=utf-8",
        body: format!(
            "<xml><return_code><![CDATA[{code}]]></return_code><return_msg><![CDATA[{message}]]></return_msg></xml>"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::order::Environment,
        gateway::wechat_v2::{ApiKey, sign::SignType},
    };

    fn account() -> Account {
        Account {
            appids: wechat::Appids { web: "wx2421b1c4370ec43b".to_owned(), mini: None, app: None },
            public_url: String::new(),
            mch_id: "10000100".to_owned(),
            key: ApiKey::new("Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf").unwrap(),
            sign_type: SignType::Md5,
            accept: SignType::ALL.to_vec(),
            environment: Environment::Live,
        }
    }

    fn genuine(changes: &[(&str, &str)]) -> Fields {
        let mut fields: Fields = [
            ("appid", "wx2421b1c4370ec43b"),
            ("cash_fee", "100"),
            ("mch_id", "10000100"),
            ("out_trade_no", "1409811653"),
            ("result_code", "SUCCESS"),
            ("return_code", "SUCCESS"),
            ("total_fee", "100"),
            ("transaction_id", "1004400740201409030005092168"),
        ]
        .into_iter()
        .collect();
        changes.iter().for_each(|(name, value)| fields.set(name, value));
        let sign = sign::sign(&fields, &account().key, SignType::Md5);
        fields.set("sign", &sign);
        fields
    }

    #[test]
    fn a_field_folded_into_the_value_before_it_keeps_the_signature_and_is_not_believed() {
        let dollars = genuine(&[("fee_type", "USD")]);
        let folded = genuine(&[("cash_fee", "100&fee_type=USD")]);
        assert_eq!(dollars.get("sign"), folded.get("sign"), "the text that is signed is the same");
        let read = |fields: &Fields| super::read(&account(), fields.to_xml().as_bytes());
        assert!(matches!(read(&dollars), Notified::Paid(paid) if paid.claim().currency == "USD"));
        assert!(matches!(read(&folded), Notified::Rejected { rejection: Rejection::BadSign, .. }));
        let attached = read(&genuine(&[("attach", "A&B&c=d")]));
        assert!(matches!(attached, Notified::Paid(_)), "what a merchant attaches is its own: {attached:?}");
    }
}
