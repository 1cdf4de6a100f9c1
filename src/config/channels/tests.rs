use super::*;
use crate::{
    config::{Config, ConfigError, Source},
    gateway::rsa::PrivateKey,
};
use std::{collections::BTreeMap, sync::LazyLock};

static OURS: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
static ALIPAYS: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

type Part = Vec<(&'static str, String)>;

fn part(values: &[(&'static str, &str)]) -> Part {
    values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// Who the merchant is at WeChat, without a protocol to speak.
fn at_wechat() -> Part {
    part(&[
        ("WECHAT_APPID", "wx2421b1c4370ec43b"),
        ("WECHAT_APP_SECRET", "5b2d4c6e8f0a1b3c5d7e9f1a2b4c6d8e"),
        ("WECHAT_MCH_ID", "10000100"),
    ])
}

fn v2() -> Part {
    part(&[("WECHAT_API_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf")])
}

fn v3() -> Part {
    part(&[
        ("WECHAT_API_V3_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf"),
        ("WECHAT_MERCHANT_KEY_PEM", &OURS.to_base64().unwrap()),
        ("WECHAT_MERCHANT_CERT_SERIAL", "1dde55ad98ed71d6edd4a4a16996de7b47773a8c"),
    ])
}

fn at_alipay() -> Part {
    part(&[
        ("ALIPAY_APP_ID", "2021000122600001"),
        ("ALIPAY_SELLER_ID", "2088102146225135"),
        ("ALIPAY_PRIVATE_KEY_PEM", &OURS.to_base64().unwrap()),
        ("ALIPAY_PUBLIC_KEY_PEM", &ALIPAYS.public_base64().unwrap()),
    ])
}

/// A shop with these accounts, and nothing else of any gateway.
fn read(parts: &[Part]) -> Result<Config, ConfigError> {
    let shop = part(&[
        ("SECRET_KEY", "4f1c0de5a7b3928e6d5c4b3a29181706f5e4d3c2"),
        ("PUBLIC_URL", "https://pay.shop.cn"),
    ]);
    let values: BTreeMap<String, String> =
        parts.concat().into_iter().chain(shop).map(|(name, value)| (name.to_owned(), value)).collect();
    Config::read(&Source::from_maps(&BTreeMap::new(), &values))
}

/// What is said, by name.
fn said(parts: &[Part]) -> Vec<(String, String)> {
    read(parts).unwrap_err().0.into_iter().map(|problem| (problem.name, problem.what)).collect()
}

#[test]
fn a_merchant_with_v3_alone_is_asked_for_nothing_of_v2() {
    let config = read(&[at_wechat(), v3()]).unwrap();
    assert!(config.wechat_v3.is_some() && config.wechat_login.is_some());
    assert!(config.wechat_v2.is_none() && config.wechat_certificate.is_none() && config.alipay.is_none());
    assert_eq!(config.channels, [Channel::WechatJsapi, Channel::WechatNative]);
    assert!(config.origins.alipay.is_empty());
}

#[test]
fn half_of_v3_is_missed_by_name_and_v2_is_not_missed_beside_it() {
    for missing in ["WECHAT_API_V3_KEY", "WECHAT_MERCHANT_KEY_PEM", "WECHAT_MERCHANT_CERT_SERIAL"] {
        let half: Part = v3().into_iter().filter(|(name, _)| *name != missing).collect();
        let named: Vec<String> = said(&[at_wechat(), half]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, [missing]);
    }
    let named: Vec<String> = said(&[at_wechat()]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, ["WECHAT_API_KEY"], "without a word of V3 it is V2 that is missed");
}

#[test]
fn a_shop_at_alipay_alone_is_asked_for_nothing_of_wechat() {
    let config = read(&[at_alipay()]).unwrap();
    assert!(config.alipay.is_some() && config.wechat_v2.is_none() && config.wechat_v3.is_none());
    assert!(config.wechat_login.is_none() && config.wechat_mini.is_none());
    assert_eq!(config.channels, [Channel::AlipayQr, Channel::AlipayPage, Channel::AlipayWap]);
}

#[test]
fn all_three_stand_beside_each_other() {
    let mini =
        [("WECHAT_MINI_APPID", "wx00000000000mini0"), ("WECHAT_MINI_APP_SECRET", "a1b2c3d4e5f60718293a")];
    let app = [("WECHAT_APP_APPID", "wx000000000000app0")];
    let config = read(&[at_wechat(), v2(), v3(), at_alipay(), part(&mini), part(&app)]).unwrap();
    assert!(config.wechat_v2.is_some() && config.wechat_v3.is_some() && config.alipay.is_some());
    let all_but_h5: Vec<Channel> =
        Channel::ALL.into_iter().filter(|channel| *channel != Channel::WechatH5).collect();
    assert_eq!(config.channels, all_but_h5);
}

#[test]
fn those_that_are_named_are_offered_in_that_order_and_h5_only_so() {
    let named = part(&[("CHANNELS", "alipay_qr, wechat_h5,,wechat_native")]);
    let config = read(&[at_wechat(), v3(), at_alipay(), named]).unwrap();
    assert_eq!(config.channels, [Channel::AlipayQr, Channel::WechatH5, Channel::WechatNative]);
}

#[test]
fn a_way_of_paying_whose_variables_are_missing_is_named_with_the_first_of_them() {
    for (parts, named, wanted) in [
        ([at_wechat(), v3()], "alipay_qr", "ALIPAY_APP_ID"),
        ([at_wechat(), v3()], "alipay_page", "ALIPAY_APP_ID"),
        ([at_wechat(), v3()], "alipay_wap", "ALIPAY_APP_ID"),
        ([at_wechat(), v3()], "wechat_mini", "WECHAT_MINI_APPID"),
        ([at_wechat(), v2()], "wechat_app", "WECHAT_APP_APPID"),
        ([at_alipay(), Part::new()], "wechat_jsapi", "WECHAT_APPID"),
        ([at_alipay(), Part::new()], "wechat_native", "WECHAT_APPID"),
        ([at_alipay(), Part::new()], "wechat_h5", "WECHAT_APPID"),
        ([at_alipay(), Part::new()], "wechat_mini", "WECHAT_MINI_APPID"),
    ] {
        // Beside one that can be had, so that nothing else is wrong.
        let has = if parts[1].is_empty() { "alipay_qr" } else { "wechat_native" };
        let channels = part(&[("CHANNELS", &format!("{has},{named}"))]);
        let [first, second] = parts;
        assert_eq!(
            said(&[first, second, channels]),
            [("CHANNELS".to_owned(), format!("names {named}, but {wanted} is not set"))]
        );
    }
}

#[test]
fn what_is_no_way_of_paying_or_none_at_all_is_said() {
    let with = |named| said(&[at_wechat(), v3(), part(&[("CHANNELS", named)])]);
    let channels = |what: &str| ("CHANNELS".to_owned(), what.to_owned());
    assert_eq!(with("wechat_native,bogus"), [channels("names bogus, which is no way of paying")]);
    assert_eq!(with(" , "), [channels("names no way of paying")]);
}
