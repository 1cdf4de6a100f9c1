//! The last weeks of every biller as a calendar: whether each day agrees with the books, in a word and a colour.

use crate::{
    domain::{bill::BillDay, time::UnixMs},
    flow::reconcile,
    store::{
        bill_differences,
        bills::{self, BillOfDay, BillState, Biller},
    },
    web::{Web, error::WebError, providers},
};

/// Whole weeks before the one of yesterday.
const WEEKS: usize = 4;
const NAMES: [&str; 7] = ["一", "二", "三", "四", "五", "六", "日"];

/// One biller's weeks, Monday first; the last one ends with yesterday, because today has no bill yet.
pub struct Calendar {
    pub who: &'static str,
    pub account: String,
    pub weeks: Vec<Vec<Day>>,
}

impl Calendar {
    pub fn names(&self) -> [&'static str; 7] {
        NAMES
    }
}

/// One day, with a link where there is something to see.
pub struct Day {
    pub date: String,
    pub short: String,
    pub word: &'static str,
    pub tone: &'static str,
    pub url: Option<String>,
}

/// A calendar for each biller of ours.
///
/// # Errors
/// The books.
pub async fn all(web: &Web) -> Result<Vec<Calendar>, WebError> {
    let billers: Vec<Biller> = reconcile::billers(&web.app).into_iter().map(|(_, biller)| biller).collect();
    let last = BillDay::of(web.app.clock.now()).before();
    let first = first_day(last);
    let read = web.app.store.read(move |db| {
        let found = bills::since(db, first)?;
        let ids: Vec<i64> = found.iter().map(|bill| bill.id).collect();
        let counts = bill_differences::counts(db, &ids)?;
        let began =
            billers.iter().map(|biller| bills::first_attempt(db, biller)).collect::<Result<Vec<_>, _>>()?;
        Ok((billers, found, counts, began))
    });
    let (billers, found, counts, began) = read.await?;
    let calendar = |(biller, began): (Biller, Option<UnixMs>)| {
        let day = |day: BillDay| {
            let bill = found.iter().find(|bill| bill.biller == biller && bill.day == day);
            let counts = bill.and_then(|bill| counts.iter().find(|(id, ..)| *id == bill.id));
            cell(day, bill, counts.map_or((0, 0), |(_, all, open)| (*all, *open)), began)
        };
        Calendar {
            who: providers::name_zh(biller.provider),
            account: biller.account.clone(),
            weeks: weeks(first, last).into_iter().map(|week| week.into_iter().map(day).collect()).collect(),
        }
    };
    Ok(billers.into_iter().zip(began).map(calendar).collect())
}

/// The Monday some weeks before the week of `last`.
fn first_day(last: BillDay) -> BillDay {
    let mut day = last;
    let mut weeks = 0;
    while day.weekday() != 0 || weeks < WEEKS {
        weeks = weeks.saturating_add(usize::from(day.weekday() == 0));
        day = day.before();
    }
    day
}

/// From a Monday on, a week a row.
fn weeks(first: BillDay, last: BillDay) -> Vec<Vec<BillDay>> {
    let days: Vec<BillDay> =
        std::iter::successors(Some(first), |day| Some(day.after())).take_while(|day| *day <= last).collect();
    days.chunks(NAMES.len()).map(<[BillDay]>::to_vec).collect()
}

fn cell(day: BillDay, bill: Option<&BillOfDay>, (all, open): (i64, i64), began: Option<UnixMs>) -> Day {
    let (word, tone) = match bill.map(|bill| bill.state) {
        Some(BillState::Balanced) => ("平", "ok"),
        Some(BillState::Unbalanced) if open == 0 => ("已处理", "info"),
        Some(BillState::Unbalanced) => ("不平", "bad"),
        Some(BillState::Waiting) if all > 0 => ("没对完", "warn"),
        // Nobody has paid before the first order, and no bill of then is asked for.
        None if began.is_none_or(|began| day.end() <= began) => ("无", "none"),
        Some(BillState::Waiting) | None => ("未出", "mute"),
    };
    let date = day.to_string();
    Day {
        short: date.chars().skip(5).collect(),
        date,
        word,
        tone,
        url: bill.map(|bill| format!("/admin/bills/{}", bill.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_begins_on_a_monday_and_ends_with_yesterday() {
        for (last, first, days) in [
            ("2026-11-19", "2026-10-19", 32),
            ("2026-11-22", "2026-10-19", 35),
            ("2026-11-23", "2026-10-26", 29),
        ] {
            let (last, first) = (BillDay::parse(last).unwrap(), BillDay::parse(first).unwrap());
            assert_eq!(first_day(last), first, "for {last}");
            let weeks = weeks(first, last);
            assert!(weeks.iter().all(|week| week[0].weekday() == 0), "for {last}");
            assert_eq!(weeks.concat().len(), days);
            assert_eq!(weeks.concat().last(), Some(&last));
        }
    }

    #[test]
    fn a_day_before_the_first_order_has_no_bill_to_wait_for() {
        let day = BillDay::parse("2026-11-18").unwrap();
        assert_eq!(cell(day, None, (0, 0), None).word, "无");
        assert_eq!(cell(day, None, (0, 0), Some(day.end())).word, "无");
        assert_eq!(cell(day, None, (0, 0), Some(day.start())).word, "未出");
        assert_eq!(cell(day, None, (0, 0), Some(day.start())).short, "11-18");
    }
}
