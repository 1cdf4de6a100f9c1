//! Instants as UTC milliseconds, and the Beijing wall clock (UTC+8, no daylight saving) that WeChat writes.

use std::fmt;
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros,
};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

/// Nothing is ever put off farther than this, in ms: an hour and a little.
pub const FARTHEST_MS: i64 = 65 * 60_000;
/// What lies farther ahead than this was done before the clock was set back, in ms. What lies nearer was done by a
/// clock that is a little ahead, or by somebody who asked later and was served first.
pub const SET_BACK_MS: i64 = 60_000;
/// A clock of ours may be off by this much, either way, in ms: two instances by twice as much from each other.
pub const CLOCK_OFF_MS: i64 = 10 * 60_000;

const COMPACT: &[BorrowedFormatItem<'_>] =
    macros::format_description!("[year][month][day][hour][minute][second]");
const READABLE: &[BorrowedFormatItem<'_>] =
    macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const BEIJING_RFC3339: &[BorrowedFormatItem<'_>] =
    macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+08:00");
const DAY: &[BorrowedFormatItem<'_>] = macros::format_description!("[year]-[month]-[day]");
const BEIJING: UtcOffset = macros::offset!(+8);

impl UnixMs {
    pub const fn plus_ms(self, ms: i64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    pub const fn plus_secs(self, secs: i64) -> UnixMs {
        self.plus_ms(secs.saturating_mul(1000))
    }

    /// Milliseconds from `earlier` to here; negative when `earlier` is later.
    pub const fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since 1970, as JSAPI's `timeStamp` wants them.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `yyyyMMddHHmmss` in Beijing, as V2 writes times (parameter rules page 4011941162).
    pub fn beijing_compact(self) -> String {
        self.beijing(COMPACT)
    }

    /// `yyyy-MM-dd HH:mm:ss` in Beijing, for people.
    pub fn beijing_text(self) -> String {
        self.beijing(READABLE)
    }

    /// RFC 3339 in Beijing, `yyyy-MM-ddTHH:mm:ss+08:00`, as V3 writes times.
    pub fn beijing_rfc3339(self) -> String {
        self.beijing(BEIJING_RFC3339)
    }

    /// `yyyy-MM-dd` in Beijing.
    pub fn beijing_day(self) -> String {
        self.beijing(DAY)
    }

    /// Reads `yyyyMMddHHmmss`, Beijing time. `None` for anything that is not a real moment.
    pub fn parse_beijing_compact(text: &str) -> Option<UnixMs> {
        if text.len() != 14 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let at = PrimitiveDateTime::parse(text, COMPACT).ok()?.assume_offset(BEIJING);
        Some(UnixMs(at.unix_timestamp().checked_mul(1000)?))
    }

    /// Reads `yyyy-MM-dd HH:mm:ss`, Beijing time, as bills write it; old ones have full-width colons.
    pub fn parse_beijing_text(text: &str) -> Option<UnixMs> {
        let at = PrimitiveDateTime::parse(&text.replace('：', ":"), READABLE).ok()?.assume_offset(BEIJING);
        Some(UnixMs(at.unix_timestamp().checked_mul(1000)?))
    }

    /// Reads RFC 3339 with any offset, to whole seconds. `None` for anything that is not a real moment.
    pub fn parse_rfc3339(text: &str) -> Option<UnixMs> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(UnixMs(at.unix_timestamp().checked_mul(1000)?))
    }

    /// Midnight in Beijing at the start of `yyyy-MM-dd`.
    pub fn parse_beijing_day(text: &str) -> Option<UnixMs> {
        let day = time::Date::parse(text, DAY).ok()?;
        Some(UnixMs(day.midnight().assume_offset(BEIJING).unix_timestamp().checked_mul(1000)?))
    }

    /// When this moment's month in Beijing begins, and when the next one does.
    pub fn beijing_month(self) -> (UnixMs, UnixMs) {
        let day = self.beijing_day();
        let (year, month) = (day.get(..4).unwrap_or_default(), day.get(5..7).unwrap_or_default());
        let begin = |year: &str, month: &str| UnixMs::parse_beijing_day(&format!("{year}-{month}-01"));
        let first = begin(year, month).unwrap_or(self);
        // Any day of the next month is 31 days after the first, and its month begins where this one ends.
        let later = first.plus_secs(31 * 24 * 3600).beijing_day();
        let next = begin(later.get(..4).unwrap_or_default(), later.get(5..7).unwrap_or_default());
        (first, next.unwrap_or(self))
    }

    fn beijing(self, format: &[BorrowedFormatItem<'_>]) -> String {
        OffsetDateTime::from_unix_timestamp(self.secs())
            .ok()
            .and_then(|at| at.to_offset(BEIJING).format(format).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.beijing_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wechat_times_are_beijing_times_wherever_the_server_stands() {
        let at = UnixMs(1_555_331_440_000);
        assert_eq!(at.beijing_compact(), "20190415203040");
        assert_eq!(UnixMs::parse_beijing_compact("20190415203040"), Some(at));
        assert_eq!(at.beijing_text(), "2019-04-15 20:30:40");
        for text in ["2019-04-15 20:30:40", "2019-04-15 20：30：40"] {
            assert_eq!(UnixMs::parse_beijing_text(text), Some(at), "{text}");
        }
        assert_eq!(UnixMs::parse_beijing_text("2019-02-29 20:30:40"), None);
        assert_eq!(at.beijing_rfc3339(), "2019-04-15T20:30:40+08:00");
        for same in ["2019-04-15T20:30:40+08:00", "2019-04-15T12:30:40Z", "2019-04-15T20:30:40.999+08:00"] {
            assert_eq!(UnixMs::parse_rfc3339(same), Some(at), "{same}");
        }
        assert_eq!(
            UnixMs::parse_beijing_day("2019-04-15").map(UnixMs::beijing_text).unwrap(),
            "2019-04-15 00:00:00"
        );
    }

    #[test]
    fn a_month_begins_and_ends_at_midnight_in_beijing() {
        for (day, first, next) in [
            ("2026-11-30", "2026-11-01", "2026-12-01"),
            ("2026-12-01", "2026-12-01", "2027-01-01"),
            ("2027-02-28", "2027-02-01", "2027-03-01"),
        ] {
            let midnight = UnixMs::parse_beijing_day(day).unwrap();
            let [first, next] = [first, next].map(|day| UnixMs::parse_beijing_day(day).unwrap());
            assert_eq!(midnight.beijing_month(), (first, next), "{day}");
            assert_eq!(midnight.plus_ms(86_399_999).beijing_month(), (first, next), "{day}");
        }
    }

    #[test]
    fn a_moment_that_does_not_exist_is_refused() {
        for text in ["20190229120000", "2019041520304", "20190415240000", "2019041520304０", ""] {
            assert_eq!(UnixMs::parse_beijing_compact(text), None, "{text}");
        }
        for text in
            ["2019-02-29T12:00:00+08:00", "2019-04-15T20:30:40", "2019-04-15 20:30", "20190415203040", ""]
        {
            assert_eq!(UnixMs::parse_rfc3339(text), None, "{text}");
        }
    }
}
