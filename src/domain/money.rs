//! Money as whole fen (1/100 CNY). No float ever touches an amount.
#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::fmt;

/// An amount in fen, 0 to 2^53 (the largest integer every JSON reader keeps exactly).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fen(i64);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("not a plain decimal number")]
    NotDecimal,
    #[error("more than two decimals")]
    TooFine,
    #[error("larger than this system can hold")]
    TooLarge,
}

impl Fen {
    pub const ZERO: Fen = Fen(0);
    pub const MAX: i64 = 1 << 53;

    /// `None` outside 0 ..= 2^53.
    pub const fn new(fen: i64) -> Option<Fen> {
        if fen >= 0 && fen <= Self::MAX { Some(Fen(fen)) } else { None }
    }

    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a gateway's integer fen: canonical decimal digits only, so that the text that was
    /// signed and the number that is compared cannot differ.
    ///
    /// # Errors
    /// Signs, blanks, leading zeros, exponents, non-ASCII digits; more than 2^53.
    pub fn parse_fen(text: &str) -> Result<Fen, AmountError> {
        let fen = digits(text)?;
        if fen.to_string() == text { Ok(Fen(fen)) } else { Err(AmountError::NotDecimal) }
    }

    /// Reads yuan as people type it: digits, then at most two decimals. `"9.9"` is 990 fen.
    ///
    /// # Errors
    /// Anything but `digits[.d[d]]`; leading zeros; a third decimal; more than 2^53 fen.
    pub fn parse_yuan(text: &str) -> Result<Fen, AmountError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(AmountError::NotDecimal),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let yuan = Self::parse_fen(whole)?.0;
        let cents = match fraction.len() {
            0 => 0,
            1 => digits(fraction)?.checked_mul(10).ok_or(AmountError::TooLarge)?,
            2 => digits(fraction)?,
            _ => {
                digits(fraction)?;
                return Err(AmountError::TooFine);
            }
        };
        yuan.checked_mul(100)
            .and_then(|fen| fen.checked_add(cents))
            .and_then(Fen::new)
            .ok_or(AmountError::TooLarge)
    }

    pub fn checked_add(self, other: Fen) -> Option<Fen> {
        self.0.checked_add(other.0).and_then(Fen::new)
    }

    /// Yuan with two decimals and no sign: `990` is `"9.90"`.
    pub fn yuan(self) -> String {
        yuan_text(self.0)
    }
}

/// Signed fen (a ledger leg, a sum) as yuan text: `-2000` is `"-20.00"`.
pub fn yuan_text(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}{}.{:02}", fen.checked_div(100).unwrap_or(0), fen.checked_rem(100).unwrap_or(0))
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "¥{}", self.yuan())
    }
}

fn digits(text: &str) -> Result<i64, AmountError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::NotDecimal);
    }
    let number: i64 = text.parse().map_err(|_| AmountError::TooLarge)?;
    if number > Fen::MAX { Err(AmountError::TooLarge) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_below_a_hundred_yuan_survives_the_round_trip() {
        for fen in 0..10_000 {
            let amount = Fen::new(fen).unwrap();
            assert_eq!(Fen::parse_yuan(&amount.yuan()), Ok(amount));
            assert_eq!(Fen::parse_fen(&fen.to_string()), Ok(amount));
        }
    }

    #[test]
    fn prices_that_floats_get_wrong_are_exact() {
        for (text, fen) in [("19.99", 1999), ("0.29", 29), ("4.35", 435), ("8.2", 820), ("1.15", 115)] {
            assert_eq!(Fen::parse_yuan(text).map(Fen::get), Ok(fen), "{text}");
        }
    }

    #[test]
    fn an_amount_that_is_not_plain_decimal_text_is_refused() {
        let bad = [
            "",
            " 1",
            "1 ",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "Infinity",
            "1;2",
            "１００",
            "1,000",
            "0x10",
            "1.",
            ".5",
            "01",
            "1.2.3",
            "1.-2",
            "1.+2",
            "٣",
        ];
        for text in bad {
            assert_eq!(Fen::parse_yuan(text), Err(AmountError::NotDecimal), "{text:?}");
            assert!(Fen::parse_fen(text).is_err(), "{text:?}");
        }
        assert_eq!(Fen::parse_yuan("0.001"), Err(AmountError::TooFine));
        assert_eq!(Fen::parse_yuan("99999999999999999999"), Err(AmountError::TooLarge));
        assert_eq!(Fen::parse_yuan("90071992547409.93"), Err(AmountError::TooLarge));
    }

    #[test]
    fn two_to_the_53rd_is_the_last_amount() {
        let last = Fen::new(Fen::MAX).unwrap();
        assert_eq!(Fen::MAX, 9_007_199_254_740_992);
        assert_eq!(Fen::parse_fen("9007199254740992"), Ok(last));
        assert_eq!(Fen::parse_fen("9007199254740993"), Err(AmountError::TooLarge));
        assert_eq!((Fen::new(Fen::MAX + 1), Fen::new(-1)), (None, None));
        let one = Fen::new(1).unwrap();
        assert_eq!(last.checked_add(one), None);
        assert_eq!(one.checked_add(one), Fen::new(2));
    }

    #[test]
    fn an_amount_is_shown_in_yuan_with_its_sign() {
        assert_eq!(Fen::new(990).unwrap().to_string(), "¥9.90");
    }

    #[test]
    fn negative_sums_are_written_with_one_sign() {
        assert_eq!(yuan_text(-5), "-0.05");
        assert_eq!(yuan_text(-2000), "-20.00");
        assert_eq!(yuan_text(i64::MIN), "-92233720368547758.08");
    }
}
