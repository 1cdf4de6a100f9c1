//! Which ways of paying are offered where: by the browser, and by what the merchant has. One table for the form,
//! for the payment page and for programs.

use super::{Web, browser::Browser, error::Wrong, providers, session::Visitor, words::Lang};
use crate::domain::order::{Channel, Provider};

/// The ways offered to one visitor, the default first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    browser: Browser,
    /// The demo's bridge makes a WeChat of every browser, beside what it is.
    bridged: bool,
    /// Everything the merchant has, whatever the browser.
    offered: Vec<Channel>,
    here: Vec<Channel>,
}

impl Ways {
    pub fn of(web: &Web, visitor: &Visitor) -> Ways {
        Ways::new(visitor.kind, visitor.bridged, web.app.channels())
    }

    fn new(browser: Browser, bridged: bool, offered: Vec<Channel>) -> Ways {
        let mut here: Vec<Channel> =
            possible(browser).iter().copied().filter(|channel| offered.contains(channel)).collect();
        let jsapi = offered.contains(&Channel::WechatJsapi);
        let by_wechat = here.iter().any(|channel| channel.provider() == Provider::Wechat);
        if jsapi && bridged && browser != Browser::WechatPhone {
            here.insert(0, Channel::WechatJsapi);
        } else if jsapi && !by_wechat && (browser != Browser::Alipay || here.is_empty()) {
            // Paid in WeChat itself, where the page's own address is carried to.
            here.push(Channel::WechatJsapi);
        }
        Ways { browser, bridged, offered, here }
    }

    /// What can be chosen here.
    pub fn here(&self) -> &[Channel] {
        &self.here
    }

    pub fn has(&self, channel: Channel) -> bool {
        self.here.contains(&channel)
    }

    pub fn default(&self) -> Option<Channel> {
        self.here.first().copied()
    }

    /// What a program gets that names none: WeChat's own, as ever, or whatever there is.
    pub fn default_of_programs(&self) -> Option<Channel> {
        let first = Some(Channel::WechatJsapi).filter(|jsapi| self.offered.contains(jsapi));
        first.or_else(|| self.default()).or_else(|| self.offered.first().copied())
    }

    /// The channel somebody named. A program may name any that is offered: it knows where its payer is.
    ///
    /// # Errors
    /// Unknown, not offered, or not possible in this browser.
    pub fn named(&self, name: &str, by_program: bool) -> Result<Channel, Wrong> {
        let channel = Channel::parse(name).ok_or(Wrong::NoSuchWay)?;
        if !self.offered.contains(&channel) {
            return Err(Wrong::NotOffered);
        }
        if !by_program && !self.has(channel) {
            return Err(Wrong::NotHere(channel));
        }
        Ok(channel)
    }

    /// Whether this channel is only carried from here: the page's address goes to WeChat, which pays there.
    pub fn carries(&self, channel: Channel) -> bool {
        channel == Channel::WechatJsapi && self.browser != Browser::WechatPhone && !self.bridged
    }

    /// Where it can be paid when nothing is possible here.
    pub fn elsewhere(&self, lang: Lang) -> &'static str {
        let has = |channels: &[Channel]| channels.iter().any(|channel| self.offered.contains(channel));
        let on_computer = matches!(self.browser, Browser::Computer | Browser::WechatComputer);
        match () {
            () if has(&[Channel::WechatH5, Channel::AlipayWap]) && on_computer => lang.open_on_phone(),
            () if has(&[Channel::WechatH5, Channel::AlipayWap]) => lang.copy_to_phone_browser(),
            () if has(&[Channel::WechatNative, Channel::AlipayQr, Channel::AlipayPage]) => {
                lang.copy_to_computer()
            }
            () if has(&[Channel::WechatMini]) => lang.pay_in_mini(),
            () if has(&[Channel::WechatApp]) => lang.pay_in_app(),
            () => lang.no_way_at_all(),
        }
    }
}

/// What works in each browser, best first. Mini programs and apps come as programs, so they stand nowhere.
const fn possible(browser: Browser) -> &'static [Channel] {
    match browser {
        // A QR code cannot be scanned by the phone that shows it, and WeChat opens nothing of Alipay's.
        Browser::WechatPhone => &[Channel::WechatJsapi],
        Browser::WechatComputer => &[Channel::WechatNative, Channel::AlipayQr],
        Browser::Alipay => &[Channel::AlipayWap],
        Browser::Phone => &[Channel::WechatH5, Channel::AlipayWap],
        Browser::Computer => &[Channel::WechatNative, Channel::AlipayQr, Channel::AlipayPage],
    }
}

/// A channel as people read it.
pub const fn name(channel: Channel, lang: Lang) -> &'static str {
    match channel {
        Channel::WechatJsapi => lang.wechat_pay(),
        Channel::WechatMini => lang.wechat_mini(),
        Channel::WechatNative => lang.wechat_native(),
        Channel::WechatH5 => lang.wechat_h5(),
        Channel::WechatApp => lang.wechat_app(),
        Channel::AlipayQr => lang.alipay_qr(),
        Channel::AlipayPage => lang.alipay_page(),
        Channel::AlipayWap => lang.alipay_wap(),
    }
}

/// A channel as administrators read it.
pub const fn name_zh(channel: Channel) -> &'static str {
    name(channel, Lang::Zh)
}

/// One way as the form and the links offer it.
pub struct Way {
    pub name: &'static str,
    pub wallet: &'static str,
    /// What will happen.
    pub hint: &'static str,
    /// Colours and letter of its badge.
    pub provider: &'static str,
    pub letter: &'static str,
    pub checked: bool,
}

impl Ways {
    pub fn choices(&self, chosen: Option<Channel>, lang: Lang) -> Vec<Way> {
        let way = |channel: &Channel| Way {
            name: channel.as_str(),
            wallet: providers::wallet(channel.provider(), lang),
            hint: self.hint(*channel, lang),
            provider: channel.provider().as_str(),
            letter: providers::letter(channel.provider(), lang),
            checked: chosen == Some(*channel),
        };
        self.here.iter().map(way).collect()
    }

    pub fn hint(&self, channel: Channel, lang: Lang) -> &'static str {
        match channel {
            Channel::WechatJsapi if self.carries(channel) => lang.hint_carried(),
            Channel::WechatJsapi => lang.hint_jsapi(),
            Channel::WechatNative => lang.hint_native(),
            Channel::WechatH5 => lang.hint_h5(),
            Channel::AlipayQr => lang.hint_alipay_qr(),
            Channel::AlipayPage => lang.hint_alipay_page(),
            Channel::AlipayWap => lang.hint_alipay_wap(),
            Channel::WechatMini => lang.hint_mini(),
            Channel::WechatApp => lang.hint_app(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channel::{
        AlipayPage, AlipayQr, AlipayWap, WechatApp, WechatH5, WechatJsapi, WechatMini, WechatNative,
    };

    fn here(browser: Browser, offered: &[Channel]) -> Vec<Channel> {
        Ways::new(browser, false, offered.to_vec()).here
    }

    #[test]
    fn each_browser_is_offered_what_works_in_it_the_default_first() {
        let all = &Channel::ALL;
        assert_eq!(here(Browser::WechatPhone, all), [WechatJsapi]);
        assert_eq!(here(Browser::WechatComputer, all), [WechatNative, AlipayQr]);
        assert_eq!(here(Browser::Alipay, all), [AlipayWap]);
        assert_eq!(here(Browser::Phone, all), [WechatH5, AlipayWap]);
        assert_eq!(here(Browser::Computer, all), [WechatNative, AlipayQr, AlipayPage]);
    }

    #[test]
    fn who_has_no_way_of_wechat_here_is_carried_to_wechat_after_what_works_here() {
        let stock: Vec<Channel> = Channel::ALL.into_iter().filter(|channel| *channel != WechatH5).collect();
        assert_eq!(here(Browser::Phone, &stock), [AlipayWap, WechatJsapi]);
        for browser in [Browser::WechatComputer, Browser::Alipay, Browser::Phone, Browser::Computer] {
            let ways = Ways::new(browser, false, vec![WechatJsapi]);
            assert_eq!(ways.here, [WechatJsapi]);
            assert!(ways.carries(WechatJsapi), "{browser:?}");
        }
        assert!(!Ways::new(Browser::WechatPhone, false, vec![WechatJsapi]).carries(WechatJsapi));
    }

    #[test]
    fn alipay_alone_offers_nothing_inside_wechat_on_a_phone_and_says_where_to_go() {
        let alipay = [AlipayQr, AlipayPage, AlipayWap];
        assert_eq!(here(Browser::Computer, &alipay), [AlipayQr, AlipayPage]);
        let ways = Ways::new(Browser::WechatPhone, false, alipay.to_vec());
        assert_eq!(
            (ways.default(), ways.elsewhere(Lang::Zh)),
            (None, "这里不能付款。请复制链接，在手机浏览器里打开。")
        );
        let ways = Ways::new(Browser::Phone, false, vec![AlipayPage]);
        assert_eq!(
            (ways.default(), ways.elsewhere(Lang::Zh)),
            (None, "这里不能付款。请复制链接，在电脑的浏览器里打开。")
        );
        let ways = Ways::new(Browser::Computer, false, vec![WechatMini, WechatApp]);
        assert_eq!((ways.default(), ways.elsewhere(Lang::Zh)), (None, "请在商家的小程序里付款。"));
        assert_eq!(ways.default_of_programs(), Some(WechatMini));
    }

    #[test]
    fn what_is_named_must_exist_be_offered_and_work_here_and_programs_know_better_where_they_are() {
        let ways = Ways::new(Browser::Computer, false, vec![WechatJsapi, WechatNative, WechatApp]);
        assert_eq!(ways.named("wechat_native", false), Ok(WechatNative));
        for (name, by_program) in [
            ("", false),
            ("WECHAT_NATIVE", true),
            ("alipay_qr", true),
            ("alipay_qr", false),
            ("wechat_app", false),
        ] {
            assert!(ways.named(name, by_program).is_err(), "{name}");
        }
        assert_eq!(ways.named("wechat_app", true), Ok(WechatApp));
        assert_eq!(ways.default_of_programs(), Some(WechatJsapi));
    }

    #[test]
    fn the_demos_bridge_adds_wechats_own_way_to_what_the_browser_can_do() {
        let all = Channel::ALL.to_vec();
        let ways = Ways::new(Browser::Computer, true, all.clone());
        assert_eq!(ways.here, [WechatJsapi, WechatNative, AlipayQr, AlipayPage]);
        assert!(!ways.carries(WechatJsapi));
        assert_eq!(Ways::new(Browser::WechatPhone, true, all).here, [WechatJsapi]);
    }
}
