//! What both protocols of WeChat Pay share: under which appid each way to pay is opened, and what a browser is given.

use crate::domain::order::Channel;
use serde::Serialize;

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

/// Longest description we send, in bytes of UTF-8 (the pages say 127 and 128; the smaller is safe).
const MAX_DESCRIPTION: usize = 127;

/// A description cut to 127 bytes without splitting a character.
pub(super) fn truncated(text: &str) -> &str {
    let end =
        (0..=MAX_DESCRIPTION.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Longest text of WeChat's that is kept with its code, in characters.
const LONGEST_TEXT: usize = 120;

/// A code with the text that explains it, which for some codes is all there is.
pub fn with_text(code: &str, text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    format!("{code} {text}").trim_end().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_between_characters() {
        assert_eq!(truncated(&"中".repeat(50)).len(), 126);
        assert_eq!(truncated("账户充值"), "账户充值");
        assert_eq!(truncated(&"a".repeat(200)).len(), 127);
    }
}
