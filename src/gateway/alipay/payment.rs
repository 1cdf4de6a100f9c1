//! A payment in Alipay's words, as replies and callbacks both write it.

use super::Account;
use crate::{
    domain::{
        ids::{OutTradeNo, TransactionId},
        money::Fen,
        time::UnixMs,
    },
    gateway::{Protocol, VerifiedPayment, words::word},
};

/// Reads the payment out of fields whose signature was checked, and whose identity was: a callback names app and
/// seller, a reply answers our own signed question under the key of our app.
/// `amount` is `total_amount`, which only a reply may write as a number: discounts make `receipt_amount` and
/// `buyer_pay_amount` smaller. `paid_at` names the field with the time.
///
/// # Errors
/// The name of the field that is missing or unreadable.
pub(super) fn read(
    account: &Account,
    field: impl Fn(&str) -> Option<String>,
    amount: Option<Fen>,
    paid_at: &str,
) -> Result<VerifiedPayment, &'static str> {
    Ok(VerifiedPayment {
        protocol: Protocol::Alipay,
        account: account.name(),
        environment: account.environment,
        out_trade_no: field("out_trade_no").and_then(|no| OutTradeNo::parse(&no)).ok_or("out_trade_no")?,
        transaction_id: field("trade_no").and_then(|no| TransactionId::parse(&no)).ok_or("trade_no")?,
        amount: amount.filter(|fen| fen.get() > 0).ok_or("total_amount")?,
        // Named only when the order was priced in another currency.
        currency: field("trans_currency").map_or_else(|| "CNY".to_owned(), |named| word(&named)),
        trade_type: "ALIPAY".to_owned(),
        payer: None,
        paid_at: field(paid_at).and_then(|text| moment(&text)),
    })
}

/// Reads `yyyy-MM-dd HH:mm:ss`, Beijing time.
fn moment(text: &str) -> Option<UnixMs> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    UnixMs::parse_beijing_compact(&digits).filter(|at| at.beijing_text() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_beijing_s_and_of_one_form() {
        assert_eq!(moment("2019-04-15 20:30:40"), Some(UnixMs(1_555_331_440_000)));
        for text in
            ["", "2019-04-15T20:30:40", "2019-04-15 20:30:40.123", "20190415203040", "2019-02-29 12:00:00"]
        {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
