//! Replies of WeChat's API: three levels that are never merged. `return_code` says the call was
//! understood, `result_code` that it did its job; what became of the money is the caller's to read.

use super::{Account, sign, sign::SignType, xml::Fields};
use crate::{
    canary::{self, Canary},
    domain::ids::OutTradeNo,
    gateway::{Response, Untrusted, words},
};

/// An authentic reply to a call of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `result_code` SUCCESS.
    Done(Fields),
    /// `result_code` not SUCCESS: WeChat's `err_code` as it may be kept, and its text as it came.
    Failed { err_code: String, err_code_des: String },
}

/// Reads and authenticates a reply: shape, `return_code`, signature, then that it speaks of us and of this order.
///
/// # Errors
/// Anything short of that. Replies with `return_code` FAIL are unsigned, so they prove nothing.
pub fn read(account: &Account, answer: &Response, out_trade_no: &OutTradeNo) -> Result<Reply, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let fields = Fields::parse(&answer.body).map_err(|fault| Untrusted::Malformed(fault.to_string()))?;
    if fields.get("return_code") != Some("SUCCESS") {
        return Err(Untrusted::CommFail(words::sentence(
            fields.get("return_msg").unwrap_or("no return_msg"),
        )));
    }
    let accept: Vec<SignType> = account.accept.iter().copied().chain([account.sign_type]).collect();
    sign::verify(&fields, &account.key, &accept).map_err(|fault| Untrusted::BadSign(fault.to_string()))?;
    check_identity(account, &fields, out_trade_no)?;
    if fields.get("result_code") == Some("SUCCESS") {
        return Ok(Reply::Done(fields));
    }
    Ok(Reply::Failed {
        err_code: words::word(fields.get("err_code").unwrap_or("UNKNOWN")),
        err_code_des: fields.get("err_code_des").unwrap_or_default().to_owned(),
    })
}

fn check_identity(account: &Account, fields: &Fields, out_trade_no: &OutTradeNo) -> Result<(), Untrusted> {
    if !fields.get("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Untrusted::Identity("appid"));
    }
    if fields.get("mch_id") != Some(&account.mch_id) {
        return Err(Untrusted::Identity("mch_id"));
    }
    if fields.get("out_trade_no").is_some_and(|named| named != out_trade_no.as_str())
        && !canary::sings(Canary::ReplyOfAnotherOrder)
    {
        return Err(Untrusted::Identity("out_trade_no"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::order::Environment,
        gateway::{
            wechat::Appids,
            wechat_v2::{ApiKey, order_query},
        },
    };

    fn account() -> Account {
        Account {
            appids: Appids { web: "wxweb".to_owned(), mini: None, app: None },
            mch_id: "10000100".to_owned(),
            key: ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap(),
            sign_type: SignType::HmacSha256,
            accept: Vec::new(),
            public_url: String::new(),
            environment: Environment::Live,
        }
    }

    fn asked(fields: Fields) -> Result<crate::gateway::Trade, Untrusted> {
        let answer = Response::new(200, fields.to_xml().into_bytes());
        order_query::read(&account(), &answer, &OutTradeNo::parse("a1").unwrap())
    }

    fn signed<const N: usize>(more: [(&str, &str); N]) -> Fields {
        let account = account();
        let mut fields: Fields = [("return_code", "SUCCESS"), ("appid", "wxweb"), ("mch_id", "10000100")]
            .into_iter()
            .chain(more)
            .collect();
        fields.set("sign", &sign::sign(&fields, &account.key, account.sign_type));
        fields
    }

    #[test]
    fn what_wechat_says_is_kept_short_and_printable_signed_or_not() {
        let long = format!("\u{202e}{}", "x".repeat(8_000));
        let unsigned = [("return_code", "FAIL"), ("return_msg", long.as_str())].into_iter().collect();
        let sentence = format!("\u{fffd}{}", "x".repeat(119));
        assert_eq!(asked(unsigned), Err(Untrusted::CommFail(sentence)));
        let word = || crate::gateway::Trade::Pending { state: format!("\u{fffd}{}", "x".repeat(63)) };
        assert_eq!(asked(signed([("result_code", "FAIL"), ("err_code", &long)])), Ok(word()));
        assert_eq!(asked(signed([("result_code", "SUCCESS"), ("trade_state", &long)])), Ok(word()));
        let paid = signed([
            ("result_code", "SUCCESS"),
            ("trade_state", "SUCCESS"),
            ("out_trade_no", "a1"),
            ("transaction_id", "4200000001"),
            ("total_fee", "1"),
            ("fee_type", &long),
            ("trade_type", &long),
        ]);
        let Ok(crate::gateway::Trade::Paid(paid)) = asked(paid) else { panic!() };
        let kept = format!("\u{fffd}{}", "x".repeat(63));
        assert_eq!((paid.claim().currency, paid.trade_type()), (kept.as_str(), kept.as_str()));
    }
}
