//! The bills gateways make of a day, and what a line of one says beside our books.

use super::{money::Fen, time::UnixMs};
use std::fmt;

const DAY_MS: i64 = 24 * 3_600_000;
/// Beijing is eight hours ahead, all year.
const BEIJING_MS: i64 = 8 * 3_600_000;
/// When a day's bill can be fetched, from the end of the day: 10:10 in Beijing. Gateways promise it for 10:00.
const READY_MS: i64 = 10 * 3_600_000 + 10 * 60_000;

/// A day of the calendar in Beijing, by which every gateway bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BillDay(UnixMs);

impl BillDay {
    /// The day this moment lies in.
    pub const fn of(at: UnixMs) -> BillDay {
        let into = at.plus_ms(BEIJING_MS).0.rem_euclid(DAY_MS);
        BillDay(at.plus_ms(into.saturating_neg()))
    }

    /// `None` for anything but `yyyy-MM-dd`.
    pub fn parse(text: &str) -> Option<BillDay> {
        let day = BillDay::of(UnixMs::parse_beijing_day(text)?);
        (day.to_string() == text).then_some(day)
    }

    pub const fn start(self) -> UnixMs {
        self.0
    }

    /// The first moment after it.
    pub const fn end(self) -> UnixMs {
        self.0.plus_ms(DAY_MS)
    }

    pub const fn before(self) -> BillDay {
        BillDay(self.0.plus_ms(DAY_MS.saturating_neg()))
    }

    pub const fn after(self) -> BillDay {
        BillDay(self.end())
    }

    /// 0 is Monday, 6 is Sunday.
    pub const fn weekday(self) -> i64 {
        // The first of January 1970 was a Thursday.
        self.0.plus_ms(BEIJING_MS).0.div_euclid(DAY_MS).saturating_add(3).rem_euclid(7)
    }

    pub fn contains(self, at: UnixMs) -> bool {
        self.start() <= at && at < self.end()
    }

    /// When its bill can be asked for.
    pub const fn ready_at(self) -> UnixMs {
        self.end().plus_ms(READY_MS)
    }

    /// `yyyyMMdd`.
    pub fn compact(self) -> String {
        self.to_string().replace('-', "")
    }
}

/// `yyyy-MM-dd`.
impl fmt::Display for BillDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.beijing_day())
    }
}

/// What a line of a bill is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BillKind {
    Payment,
    Refund,
}

impl BillKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            BillKind::Payment => "payment",
            BillKind::Refund => "refund",
        }
    }

    pub fn parse(text: &str) -> Option<BillKind> {
        [BillKind::Payment, BillKind::Refund].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One line of a bill that moved money. Its numbers are texts as they came: a merchant's account may serve other
/// systems, whose numbers need not be like ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRow {
    pub kind: BillKind,
    pub transaction_id: String,
    pub out_trade_no: String,
    /// Empty for a payment.
    pub out_refund_no: String,
    pub amount: Fen,
    pub at: UnixMs,
    /// In the file, counted from 1.
    pub line: i32,
}

/// How a bill and our books differ in one payment or refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// 长款: the gateway has it and we have not.
    Extra,
    /// 短款: we have it and the gateway has not.
    Missing,
    /// 金额不符.
    Amount,
}

impl Bucket {
    pub const ALL: [Bucket; 3] = [Bucket::Extra, Bucket::Missing, Bucket::Amount];

    pub const fn as_str(self) -> &'static str {
        match self {
            Bucket::Extra => "extra",
            Bucket::Missing => "missing",
            Bucket::Amount => "amount",
        }
    }

    pub fn parse(text: &str) -> Option<Bucket> {
        Bucket::ALL.into_iter().find(|bucket| bucket.as_str() == text)
    }

    /// The kind of the work item it opens.
    pub const fn matter(self) -> &'static str {
        match self {
            Bucket::Extra => "bill_extra",
            Bucket::Missing => "bill_missing",
            Bucket::Amount => "bill_amount",
        }
    }
}

/// What our books have under the numbers of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Credited, or on its way back.
    pub booked: Option<Fen>,
    /// Ordered and not credited: what the payment should have been.
    pub expected: Option<Fen>,
}

/// Holds a line against the books; `None` when they agree.
pub fn judge(billed: Fen, ours: Ours) -> Option<Bucket> {
    match (ours.booked, ours.expected) {
        (Some(booked), _) => (booked != billed).then_some(Bucket::Amount),
        (None, Some(expected)) if expected != billed => Some(Bucket::Amount),
        (None, _) => Some(Bucket::Extra),
    }
}

/// Both sides of a day in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
}

impl Totals {
    pub fn add(&mut self, kind: BillKind, amount: Fen) {
        let (count, sum) = match kind {
            BillKind::Payment => (&mut self.payments, &mut self.payments_fen),
            BillKind::Refund => (&mut self.refunds, &mut self.refunds_fen),
        };
        *count = count.saturating_add(1);
        *sum = sum.saturating_add(amount.get());
    }

    /// What came in less what went back.
    pub const fn net_fen(self) -> i64 {
        self.payments_fen.saturating_sub(self.refunds_fen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_beijings_wherever_the_server_stands() {
        let day = BillDay::parse("2026-11-20").unwrap();
        // 16:00 UTC is midnight in Beijing.
        let midnight = UnixMs::parse_rfc3339("2026-11-19T16:00:00Z").unwrap();
        assert_eq!((day.start(), day.compact().as_str()), (midnight, "20261120"));
        assert_eq!(BillDay::of(midnight), day);
        assert_eq!(BillDay::of(midnight.plus_ms(-1)), day.before());
        assert_eq!(BillDay::of(day.end().plus_ms(-1)), day);
        assert!(day.contains(midnight) && !day.contains(day.end()) && !day.contains(midnight.plus_ms(-1)));
        assert_eq!(day.ready_at().beijing_text(), "2026-11-21 10:10:00");
        assert_eq!(day.before().to_string(), "2026-11-19");
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        for text in ["", "2026-11-31", "20261120", "2026-1-1", "2026-11-20 ", "+2026-11-20", "today"] {
            assert_eq!(BillDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_agrees_only_with_the_same_amount_in_the_books() {
        let fen = |fen| Fen::new(fen).unwrap();
        let ours = |booked: Option<i64>, expected: Option<i64>| Ours {
            booked: booked.map(fen),
            expected: expected.map(fen),
        };
        for (booked, expected, found) in [
            (Some(100), None, None),
            (Some(99), Some(100), Some(Bucket::Amount)),
            (None, Some(99), Some(Bucket::Amount)),
            (None, Some(100), Some(Bucket::Extra)),
            (None, None, Some(Bucket::Extra)),
        ] {
            assert_eq!(judge(fen(100), ours(booked, expected)), found, "{booked:?} {expected:?}");
        }
    }
}
