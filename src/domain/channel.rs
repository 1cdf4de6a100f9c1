//! The ways to pay, and who moves the money.

/// Who moves the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    Wechat,
    Alipay,
}

impl Provider {
    pub const ALL: [Provider; 2] = [Provider::Wechat, Provider::Alipay];

    pub fn parse(text: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Wechat => "wechat",
            Provider::Alipay => "alipay",
        }
    }
}

/// How the payer reaches the gateway. Each is one option of the top-up form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Inside the WeChat browser, through `WeixinJSBridge`.
    WechatJsapi,
    /// In a mini program, by its own appid.
    WechatMini,
    /// A QR code that a phone's WeChat scans.
    WechatNative,
    /// A phone's browser that hands over to WeChat (V2 calls it MWEB).
    WechatH5,
    /// An app of the merchant's.
    WechatApp,
    /// A QR code that a phone's Alipay scans (face to face, precreate).
    AlipayQr,
    /// Alipay's own page in a computer's browser (instant payment).
    AlipayPage,
    /// Alipay's own page in a phone's browser.
    AlipayWap,
}

impl Channel {
    pub const ALL: [Channel; 8] = [
        Channel::WechatJsapi,
        Channel::WechatMini,
        Channel::WechatNative,
        Channel::WechatH5,
        Channel::WechatApp,
        Channel::AlipayQr,
        Channel::AlipayPage,
        Channel::AlipayWap,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::WechatJsapi => "wechat_jsapi",
            Channel::WechatMini => "wechat_mini",
            Channel::WechatNative => "wechat_native",
            Channel::WechatH5 => "wechat_h5",
            Channel::WechatApp => "wechat_app",
            Channel::AlipayQr => "alipay_qr",
            Channel::AlipayPage => "alipay_page",
            Channel::AlipayWap => "alipay_wap",
        }
    }

    pub fn parse(text: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.as_str() == text)
    }

    pub const fn provider(self) -> Provider {
        match self {
            Channel::WechatJsapi
            | Channel::WechatMini
            | Channel::WechatNative
            | Channel::WechatH5
            | Channel::WechatApp => Provider::Wechat,
            Channel::AlipayQr | Channel::AlipayPage | Channel::AlipayWap => Provider::Alipay,
        }
    }

    /// Whether the gateway must be told who pays, and lets nobody else pay.
    pub const fn names_payer(self) -> bool {
        matches!(self, Channel::WechatJsapi | Channel::WechatMini)
    }

    /// Whether it is paid inside a program of the merchant's, an app or a mini program, and in no browser.
    pub const fn in_app(self) -> bool {
        matches!(self, Channel::WechatMini | Channel::WechatApp)
    }

    /// Whether the gateway must be told from which address the payer's browser comes, and lets no other one pay.
    pub const fn names_address(self) -> bool {
        matches!(self, Channel::WechatH5)
    }
}
