//! Which browser is this, as far as paying goes. A hint for what to show, never a right.

/// The kinds that pay differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// WeChat on a phone: has `WeixinJSBridge` and OAuth.
    WechatPhone,
    /// WeChat on a computer: OAuth, but no JSAPI payment.
    WechatComputer,
    /// Alipay's own, on a phone.
    Alipay,
    /// Any other on a phone.
    Phone,
    /// Any other, and whatever does not say what it is.
    Computer,
}

impl Browser {
    pub fn of(user_agent: &str) -> Browser {
        let has = |marks: &[&str]| marks.iter().any(|mark| user_agent.contains(mark));
        match () {
            () if has(&["MicroMessenger"]) && has(&["WindowsWechat", "MacWechat", "LinuxWechat"]) => {
                Browser::WechatComputer
            }
            () if has(&["MicroMessenger"]) => Browser::WechatPhone,
            () if has(&["AlipayClient"]) => Browser::Alipay,
            // A tablet that says it is a computer is shown what a computer is: a code for a phone to scan.
            () if has(&["Mobile", "Android", "iPhone", "iPad"]) => Browser::Phone,
            () => Browser::Computer,
        }
    }

    /// In one word, for people.
    pub const fn name_zh(self) -> &'static str {
        match self {
            Browser::WechatPhone => "手机微信",
            Browser::WechatComputer => "电脑微信",
            Browser::Alipay => "手机支付宝",
            Browser::Phone => "手机浏览器",
            Browser::Computer => "电脑浏览器",
        }
    }

    /// WeChat, which can say who holds it.
    pub const fn is_wechat(self) -> bool {
        matches!(self, Browser::WechatPhone | Browser::WechatComputer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_browser_is_told_by_its_user_agent() {
        for (agent, kind) in [
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/4G Language/zh_CN",
                Browser::WechatPhone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/116.0 Mobile Safari/537.36 MicroMessenger/8.0.47 WeChat/arm64",
                Browser::WechatPhone,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/116.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781 WindowsWechat(0x63090a13)",
                Browser::WechatComputer,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 MicroMessenger/6.8.0 NetType/WIFI MacWechat/3.8.7",
                Browser::WechatComputer,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F79 Ariver/1.0.12 AliApp(AP/10.6.10) Nebula WK AlipayClient/10.6.10 Language/zh-Hans",
                Browser::Alipay,
            ),
            (
                "Mozilla/5.0 (Linux; U; Android 14; zh-CN) AppleWebKit/537.36 Version/4.0 Chrome/105.0 UWS/5.10 Mobile Safari/537.36 AlipayDefined AliApp(AP/10.6.0) AlipayClient/10.6.0",
                Browser::Alipay,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                Browser::Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                Browser::Phone,
            ),
            (
                "Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36 ArkWeb/4.1.6.1 Mobile",
                Browser::Phone,
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36",
                Browser::Computer,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
                Browser::Computer,
            ),
            ("curl/8.8.0", Browser::Computer),
            ("", Browser::Computer),
        ] {
            assert_eq!(Browser::of(agent), kind, "{agent}");
        }
    }
}
