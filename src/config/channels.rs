//! Which ways of paying are offered.

use super::Reader;
use crate::{
    domain::order::{Channel, Provider},
    gateway::wechat::Appids,
};

impl Reader<'_> {
    /// Those of `CHANNELS`, each of which needs its account; or, when that is not set, every one the accounts allow but
    /// H5, which WeChat opens to few merchants.
    pub(super) fn channels(&mut self, wechat: Option<&Appids>, alipay: bool) -> Vec<Channel> {
        let has_account = |channel: &Channel| match channel.provider() {
            Provider::Wechat => wechat.is_some_and(|appids| appids.of(*channel).is_some()),
            Provider::Alipay => alipay,
        };
        let Some(text) = self.source.get("CHANNELS") else {
            return Channel::ALL
                .into_iter()
                .filter(has_account)
                .filter(|channel| *channel != Channel::WechatH5)
                .collect();
        };
        let mut channels = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Channel::parse(name) {
                None => self.problem("CHANNELS", &format!("names {name}, which is no way of paying")),
                Some(channel) if !has_account(&channel) => {
                    let wanted = wanted(channel);
                    self.problem("CHANNELS", &format!("names {name}, but {wanted} is not set"));
                }
                Some(channel) => channels.push(channel),
            }
        }
        if channels.is_empty() {
            self.problem("CHANNELS", "names no way of paying");
        }
        channels
    }
}

/// The variable whose account a channel is used with.
const fn wanted(channel: Channel) -> &'static str {
    match channel {
        Channel::WechatMini => "WECHAT_MINI_APPID",
        Channel::WechatApp => "WECHAT_APP_APPID",
        Channel::WechatJsapi | Channel::WechatNative | Channel::WechatH5 => "WECHAT_APPID",
        Channel::AlipayQr | Channel::AlipayPage | Channel::AlipayWap => "ALIPAY_APP_ID",
    }
}

#[cfg(test)]
mod tests;
