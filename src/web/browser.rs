//! Which browser is this, as far as paying goes. A hint for what to show, never a right.

/// The kinds that pay differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browser {
    /// WeChat on a phone: has `WeixinJSBridge` and OAuth.
    WechatPhone,
    /// WeChat on a computer: OAuth, but no JSAPI payment.
    WechatComputer,
    Other,
}

impl Browser {
    pub fn of(user_agent: &str) -> Browser {
        if !user_agent.contains("MicroMessenger") {
            Browser::Other
        } else if ["WindowsWechat", "MacWechat"].iter().any(|mark| user_agent.contains(mark)) {
            Browser::WechatComputer
        } else {
            Browser::WechatPhone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_browser_is_told_by_its_user_agent() {
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/4G Language/zh_CN";
        let android = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/116.0 Mobile Safari/537.36 MicroMessenger/8.0.47 WeChat/arm64";
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/116.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781 WindowsWechat(0x63090a13)";
        let mac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 MicroMessenger/6.8.0 NetType/WIFI MacWechat/3.8.7";
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36";
        assert_eq!(Browser::of(phone), Browser::WechatPhone);
        assert_eq!(Browser::of(android), Browser::WechatPhone);
        assert_eq!(Browser::of(windows), Browser::WechatComputer);
        assert_eq!(Browser::of(mac), Browser::WechatComputer);
        assert_eq!(Browser::of(chrome), Browser::Other);
        assert_eq!(Browser::of(""), Browser::Other);
    }
}
