//! The filter of the recharge records as the address has it: read, written back as links, and told in words.

use super::{MINUTE_MS, storable, via_zh};
use crate::{
    app::App,
    domain::{
        money::Fen,
        order::{Channel, Provider, Source},
        time::UnixMs,
    },
    store::order_lists::{By, Filter as Wanted, StateFilter},
    web::{error::WebError, providers, ways::name_zh},
};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

pub const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Open longer than this, an order is worth a look, in ms.
pub const LONG_OPEN_MS: i64 = 5 * MINUTE_MS;

/// States with their words, as the form offers them.
pub const STATES: [(&str, &str); 6] = [
    ("paid", "已入账"),
    ("unpaid", "待支付"),
    ("pending", "待支付超过 5 分钟"),
    ("closed", "已关闭"),
    ("late", "晚到账"),
    ("refunded", "有退款"),
];

/// Every field as it was typed; empty ones choose nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OrderFilter {
    pub q: String,
    /// `paid` goes by the moment of the credit, anything else by that of the order.
    pub by: String,
    pub state: String,
    /// A Beijing day, or a minute of one: `2026-11-20` or `2026-11-20T20:30`.
    pub from: String,
    pub to: String,
    /// A channel, or a provider with all of its channels.
    pub channel: String,
    pub account: String,
    pub min: String,
    pub max: String,
    pub via: String,
    pub user: Option<i64>,
    pub before: Option<i64>,
    /// Anything: sum the filter, however many orders that is.
    pub totals: String,
}

/// One choice of a form or a row of links.
pub struct Choice {
    pub value: String,
    pub text: String,
    pub current: bool,
}

impl OrderFilter {
    /// What the books are to be asked; `q` is not in it.
    ///
    /// # Errors
    /// 422 with what is wrong with a field.
    pub fn read(&self, now: UnixMs) -> Result<Wanted, WebError> {
        let wrong = |sentence: &str| WebError::Unprocessable(sentence.to_owned());
        let state = match self.state.as_str() {
            "" | "all" => None,
            "paid" => Some(StateFilter::Paid),
            "unpaid" => Some(StateFilter::Unpaid),
            "closed" => Some(StateFilter::Closed),
            "late" => Some(StateFilter::Late),
            "refunded" => Some(StateFilter::Refunded),
            "pending" => Some(StateFilter::OpenSince(now.plus_ms(LONG_OPEN_MS.saturating_neg()))),
            _ => return Err(wrong("没有这种状态。")),
        };
        let by = match self.by.as_str() {
            "" | "created" => By::Created,
            "paid" => By::Paid,
            _ => return Err(wrong("时间只能按下单或入账。")),
        };
        let settled_by = match self.via.as_str() {
            "" => None,
            via => Some(Source::parse(via).ok_or_else(|| wrong("没有这种到账途径。"))?),
        };
        Ok(Wanted {
            by,
            from: from(&self.from)?,
            until: until(&self.to)?,
            state,
            channels: self.channels().ok_or_else(|| wrong("没有这种支付方式。"))?,
            account: (!self.account.is_empty()).then(|| storable(&self.account, 128)),
            least: amount(&self.min)?,
            most: amount(&self.max)?,
            settled_by,
            user_id: self.user,
            ids: None,
        })
    }

    fn channels(&self) -> Option<Vec<Channel>> {
        if self.channel.is_empty() {
            return Some(Vec::new());
        }
        if let Some(provider) = Provider::parse(&self.channel) {
            return Some(Channel::ALL.into_iter().filter(|channel| channel.provider() == provider).collect());
        }
        Channel::parse(&self.channel).map(|channel| vec![channel])
    }

    /// What was typed into the search box.
    pub fn search(&self) -> Option<String> {
        let text = storable(self.q.trim(), 64);
        (!text.is_empty()).then_some(text)
    }

    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        let typed = [
            ("q", &self.q),
            ("by", &self.by),
            ("state", &self.state),
            ("from", &self.from),
            ("to", &self.to),
            ("channel", &self.channel),
            ("account", &self.account),
            ("min", &self.min),
            ("max", &self.max),
            ("via", &self.via),
            ("totals", &self.totals),
        ];
        for (name, value) in typed.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        for (name, value) in [("user", self.user), ("before", self.before)] {
            if let Some(id) = value {
                query.append_pair(name, &id.to_string());
            }
        }
        query.finish()
    }

    /// The list under this filter.
    pub fn href(&self) -> String {
        self.under("/admin/orders")
    }

    /// Another address with this filter.
    pub fn under(&self, path: &str) -> String {
        format!("{path}?{}", self.query()).trim_end_matches('?').to_owned()
    }

    pub fn by_paid(&self) -> bool {
        self.by == "paid"
    }

    /// Kinds of the date fields: a minute that a link brought is not cut to its day.
    pub fn date_input(text: &str) -> &'static str {
        if text.contains('T') { "datetime-local" } else { "date" }
    }

    /// The ways to pay that this shop has or had, those of a provider together before them.
    pub fn channel_choices(&self, app: &App) -> Vec<Choice> {
        let mut choices = Vec::new();
        for provider in Provider::ALL {
            let offered: Vec<Channel> =
                app.channels().into_iter().filter(|channel| channel.provider() == provider).collect();
            if offered.is_empty() {
                continue;
            }
            let all = format!("{}（全部）", providers::name_zh(provider));
            choices.push(self.choice(provider.as_str(), &all));
            choices
                .extend(offered.into_iter().map(|channel| self.choice(channel.as_str(), name_zh(channel))));
        }
        choices
    }

    fn choice(&self, value: &str, text: &str) -> Choice {
        Choice { value: value.to_owned(), text: text.to_owned(), current: self.channel == value }
    }

    /// The accounts payments are made to now; none where there is nothing to choose.
    pub fn account_choices(&self, app: &App) -> Vec<Choice> {
        let mut names: Vec<String> =
            app.channels().into_iter().filter_map(|channel| Some(app.gateway_for(channel)?.1)).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 && self.account.is_empty() {
            return Vec::new();
        }
        if !self.account.is_empty() && !names.contains(&self.account) {
            names.push(self.account.clone());
        }
        let choice = |name: String| Choice { current: self.account == name, text: name.clone(), value: name };
        names.into_iter().map(choice).collect()
    }

    pub fn state_choices(&self) -> Vec<Choice> {
        let choice = |(value, text): (&str, &str)| Choice {
            value: value.to_owned(),
            text: text.to_owned(),
            current: self.state == value,
        };
        STATES.into_iter().map(choice).collect()
    }

    pub fn via_choices(&self) -> Vec<Choice> {
        let choice = |source: Source| Choice {
            value: source.as_str().to_owned(),
            text: via_zh(source).to_owned(),
            current: self.via == source.as_str(),
        };
        Source::ALL.into_iter().map(choice).collect()
    }

    /// Today, yesterday, seven days, this month, all: Beijing days, as links.
    pub fn presets(&self, now: UnixMs) -> Vec<Choice> {
        let day = |back: i64| now.plus_ms(back.saturating_mul(DAY_MS).saturating_neg()).beijing_day();
        let first: String = day(0).chars().take(8).chain("01".chars()).collect();
        let ranges = [
            ("今天", day(0), day(0)),
            ("昨天", day(1), day(1)),
            ("近 7 天", day(6), day(0)),
            ("本月", first, day(0)),
            ("全部", String::new(), String::new()),
        ];
        let preset = |(text, from, to): (&str, String, String)| {
            let current = self.from == from && self.to == to;
            let link = OrderFilter { from, to, before: None, ..self.clone() };
            Choice { value: link.href(), text: text.to_owned(), current }
        };
        ranges.into_iter().map(preset).collect()
    }

    /// Whether more than the everyday fields are filled in.
    pub fn has_more(&self) -> bool {
        self.by_paid()
            || [&self.channel, &self.account, &self.min, &self.max, &self.via]
                .iter()
                .any(|text| !text.is_empty())
    }

    /// The filter in words, for the audit log and for the second sheet of an export.
    pub fn described(&self) -> String {
        let query = self.under("");
        let shown = query.trim_start_matches('?');
        if shown.is_empty() { "all".to_owned() } else { shown.to_owned() }
    }
}

/// The first moment of a range, as the address has it.
///
/// # Errors
/// 422 for what is no day and no moment.
pub fn from(text: &str) -> Result<Option<UnixMs>, WebError> {
    Ok(moment(text)?.map(|(at, _)| at))
}

/// The first moment after a range: a whole day lasts until the next one begins.
///
/// # Errors
/// As `from`.
pub fn until(text: &str) -> Result<Option<UnixMs>, WebError> {
    Ok(moment(text)?.map(|(at, whole_day)| if whole_day { at.plus_ms(DAY_MS) } else { at }))
}

/// A Beijing day, and that it is a whole one; or a minute, or a second.
fn moment(text: &str) -> Result<Option<(UnixMs, bool)>, WebError> {
    let wrong = || WebError::Unprocessable("日期应写作 2026-11-20，或 2026-11-20T20:30。".to_owned());
    let (day, clock) = match text.split_once('T') {
        Some((day, clock)) => (day, Some(clock)),
        None => (text, None),
    };
    match (day, clock) {
        ("", None) => Ok(None),
        (day, None) => Ok(Some((UnixMs::parse_beijing_day(day).ok_or_else(wrong)?, true))),
        (day, Some(clock)) => {
            let seconds = if clock.len() == 5 { ":00" } else { "" };
            let at = UnixMs::parse_rfc3339(&format!("{day}T{clock}{seconds}+08:00")).ok_or_else(wrong)?;
            Ok(Some((at, false)))
        }
    }
}

fn amount(text: &str) -> Result<Option<Fen>, WebError> {
    match text.trim() {
        "" => Ok(None),
        text => Fen::parse_yuan(text)
            .map(Some)
            .map_err(|_| WebError::Unprocessable("金额应写作 50 或 9.90。".to_owned())),
    }
}

/// A moment as the address has it, to the second.
pub fn written(at: UnixMs) -> String {
    at.beijing_text().replace(' ', "T")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_when_the_next_begins_and_a_minute_when_it_begins() {
        let read = |from: &str, to: &str| {
            let filter = OrderFilter { from: from.to_owned(), to: to.to_owned(), ..OrderFilter::default() };
            filter.read(UnixMs(0)).map(|wanted| (wanted.from.map(|at| at.0), wanted.until.map(|at| at.0)))
        };
        let day = UnixMs::parse_beijing_day("2026-11-20").unwrap().0;
        assert_eq!(read("2026-11-20", "2026-11-20").unwrap(), (Some(day), Some(day + DAY_MS)));
        let minute = day + 20 * 3_600_000 + 30 * 60_000;
        assert_eq!(
            read("2026-11-20T20:30", "2026-11-20T20:30:01").unwrap(),
            (Some(minute), Some(minute + 1000))
        );
        for bad in ["20261120", "2026-11-31", "2026-11-20T25:00", "T", "x"] {
            assert!(read(bad, "").is_err() && read("", bad).is_err(), "{bad}");
        }
        assert_eq!(written(UnixMs(minute)), "2026-11-20T20:30:00");
    }

    #[test]
    fn a_provider_is_all_of_its_channels_and_a_wrong_word_is_none() {
        let read = |channel: &str| {
            OrderFilter { channel: channel.to_owned(), ..OrderFilter::default() }.read(UnixMs(0))
        };
        assert_eq!(read("wechat_h5").unwrap().channels, [Channel::WechatH5]);
        assert_eq!(read("alipay").unwrap().channels.len(), 3);
        assert!(read("").unwrap().channels.is_empty());
        assert!(read("wechat_h6").is_err());
    }

    #[test]
    fn a_link_says_what_was_filled_in_and_nothing_else() {
        assert_eq!(OrderFilter::default().href(), "/admin/orders");
        let filter = OrderFilter {
            q: "a&b".to_owned(),
            state: "paid".to_owned(),
            user: Some(7),
            before: Some(9),
            ..OrderFilter::default()
        };
        assert_eq!(filter.href(), "/admin/orders?q=a%26b&state=paid&user=7&before=9");
    }
}
