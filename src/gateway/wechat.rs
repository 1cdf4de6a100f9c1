//! What both protocols of WeChat Pay share: under which appid each way to pay is opened, and what a browser is given.

use super::return_url;
use crate::domain::{ids::OutTradeNo, order::Channel};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// Longest description we send, in bytes of UTF-8 (V2's pages say 127 and 128, V3's 127).
const MAX_DESCRIPTION: usize = 127;
/// A prepay_id and a code_url live two hours: handed out as long as ten minutes are left.
const PREPAY_LIFE_MS: i64 = 110 * 60_000;
/// An H5 address lives five minutes: handed out as long as one is left.
const H5_LIFE_MS: i64 = 4 * 60_000;

/// The appids bound to one merchant number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appids {
    /// Of the service account: JSAPI, and with it Native and H5.
    pub web: String,
    /// Of the mini program.
    pub mini: Option<String>,
    /// Of the app, from the open platform.
    pub app: Option<String>,
}

impl Appids {
    /// The one a channel is used under; `None` when it has none, or is not WeChat's.
    pub fn of(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::WechatJsapi | Channel::WechatNative | Channel::WechatH5 => Some(&self.web),
            Channel::WechatMini => self.mini.as_deref(),
            Channel::WechatApp => self.app.as_deref(),
            Channel::AlipayQr | Channel::AlipayPage | Channel::AlipayWap => None,
        }
    }

    /// Whether a message that names this appid speaks of us.
    pub fn include(&self, appid: &str) -> bool {
        appid == self.web || self.mini.as_deref() == Some(appid) || self.app.as_deref() == Some(appid)
    }
}

/// How an account at WeChat is kept with attempts: merchant and appid.
pub fn account_name(mch_id: &str, appid: &str) -> String {
    format!("{mch_id}:{appid}")
}

/// The appid in such a name.
pub fn appid_of_account(account: &str) -> &str {
    account.split_once(':').map_or("", |(_, appid)| appid)
}

/// Whether it is the name of one of this merchant's accounts.
pub fn is_account_of(mch_id: &str, appids: &Appids, account: &str) -> bool {
    let (named, appid) = account.split_once(':').unwrap_or_default();
    named == mch_id && appids.include(appid)
}

/// How long what prepares a payment may be handed to a payer, in ms from the answer.
pub const fn prepaid_life_ms(channel: Channel) -> i64 {
    match channel {
        Channel::WechatH5 => H5_LIFE_MS,
        _ => PREPAY_LIFE_MS,
    }
}

/// What to do about a call that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Perhaps done: repeat with the same number and parameters, then query.
    UnknownOutcome,
    /// Not now: back off, then the same again.
    Throttled,
    Paid,
    Closed,
    /// Used with other parameters: query that number, never switch silently.
    NumberUsed,
    NotFound,
    /// The merchant's account or our settings; no retry helps.
    Configuration,
    /// We sent something wrong; no retry helps.
    OurDefect,
}

/// What `getBrandWCPayRequest`, or `wx.requestPayment` in a mini program, wants: names exactly as spelt there (official chapter 7_7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JsapiParams {
    #[serde(rename = "appId")]
    pub app_id: String,
    /// Seconds since 1970, as text.
    #[serde(rename = "timeStamp")]
    pub time_stamp: String,
    #[serde(rename = "nonceStr")]
    pub nonce_str: String,
    /// `prepay_id=` and the id.
    pub package: String,
    #[serde(rename = "signType")]
    pub sign_type: String,
    #[serde(rename = "paySign")]
    pub pay_sign: String,
}

/// What the open platform's `PayReq` wants in an app: names exactly as spelt there (official chapter 9_12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppParams {
    pub appid: String,
    pub partnerid: String,
    pub prepayid: String,
    /// `Sign=WXPay`.
    pub package: String,
    pub noncestr: String,
    /// Seconds since 1970, as text.
    pub timestamp: String,
    pub sign: String,
}

/// What the payer reads on WeChat's sheet, cut to 127 bytes without splitting a character.
pub fn description(text: &str) -> &str {
    let end =
        (0..=MAX_DESCRIPTION.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// It goes into a page and into a signed text: nothing but what WeChat's ids are made of.
pub fn is_prepay_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Opaque, also which scheme it has: it is drawn as a QR code and nothing else.
pub fn is_code_url(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let named = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= 512 && named && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A browser is sent there: a web address and nothing that ends one. Plain http is the simulator's.
pub fn is_h5_url(text: &str) -> bool {
    let plain = ["http://127.0.0.1:", "http://localhost:"];
    let scheme = text.starts_with("https://") || plain.iter().any(|here| text.starts_with(here));
    text.len() <= 512 && scheme && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\".contains(&b))
}

/// WeChat's page for an H5 payment, with the page of ours the browser comes back to.
pub fn with_return(h5_url: &str, public_url: &str, out_trade_no: &OutTradeNo) -> String {
    let back = return_url(public_url, out_trade_no);
    format!("{h5_url}&redirect_url={}", utf8_percent_encode(&back, NON_ALPHANUMERIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_between_characters() {
        assert_eq!(description(&"中".repeat(50)).len(), 126);
        assert_eq!(description("账户充值"), "账户充值");
        assert_eq!(description(&"a".repeat(200)).len(), 127);
    }

    #[test]
    fn an_address_that_could_leave_the_page_or_run_in_it_is_not_handed_out() {
        assert!(is_code_url("weixin://wxpay/bizpayurl?pr=NwY5Mz9"));
        assert!(is_h5_url("https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2016&package=1"));
        assert!(is_h5_url("http://127.0.0.1:9/h5?a=1") && is_h5_url("http://localhost:9/h5?a=1"));
        for text in [
            "",
            "javascript:alert(1)",
            "http://evil.example/",
            "http://localhost.evil/",
            "https://a b",
            "https://a\"",
            "//a",
        ] {
            assert!(!is_h5_url(text), "{text}");
        }
        assert!(is_code_url("https://wx.tenpay.com/x") && !is_code_url(&format!("a://{}", "x".repeat(509))));
        for text in [
            "",
            "weixin://a b",
            "weixin://a\n",
            "weixin://\u{4e2d}",
            "<script>",
            "javascript:alert(1)",
            "://x",
        ] {
            assert!(!is_code_url(text), "{text}");
        }
        assert!(is_prepay_id("wx20141101-_") && !is_prepay_id("") && !is_prepay_id("wx&x"));
    }

    #[test]
    fn each_channel_is_used_under_its_own_appid() {
        let appids = Appids { web: "wxweb".to_owned(), mini: Some("wxmini".to_owned()), app: None };
        assert_eq!(appids.of(Channel::WechatMini), Some("wxmini"));
        assert_eq!(appids.of(Channel::WechatApp), None);
        assert!(appids.include("wxmini") && !appids.include("wxother") && !appids.include(""));
        assert_eq!(appid_of_account(&account_name("1", "wxmini")), "wxmini");
        for (account, ours) in
            [("1:wxmini", true), ("2:wxmini", false), ("1:wxother", false), ("1:", false), ("", false)]
        {
            assert_eq!(is_account_of("1", &appids, account), ours, "{account}");
        }
    }
}
