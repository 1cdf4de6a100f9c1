use super::*;
use std::collections::BTreeMap;

fn good() -> BTreeMap<String, String> {
    [
        ("SECRET_KEY", "4f1c0de5a7b3928e6d5c4b3a29181706f5e4d3c2"),
        ("WECHAT_APPID", "wx2421b1c4370ec43b"),
        ("WECHAT_APP_SECRET", "5b2d4c6e8f0a1b3c5d7e9f1a2b4c6d8e"),
        ("WECHAT_MCH_ID", "10000100"),
        ("WECHAT_API_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf"),
        ("PUBLIC_URL", "https://pay.shop.cn"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut values = good();
    for (name, value) in changes {
        values.insert((*name).to_owned(), (*value).to_owned());
    }
    Config::read(&Source::from_maps(&BTreeMap::new(), &values))
}

fn refused(name: &str, value: &str) {
    let error = read(&[(name, value)]).expect_err(&format!("{name}={value:?} must be refused"));
    assert!(error.0.iter().any(|problem| problem.name == name), "{name}={value:?}: {error}");
    assert!(value.len() < 8 || !error.to_string().contains(value), "the message repeats the value: {error}");
}

#[test]
fn a_complete_configuration_is_read() {
    let config = read(&[]).unwrap();
    assert_eq!(config.url("/notify/wechat"), "https://pay.shop.cn/notify/wechat");
    assert_eq!(config.top_up.max.get(), 500_000);
    assert_eq!(config.top_up.presets.len(), 6);
    assert_eq!(config.origins.wechat_api.len(), 2);
    assert_eq!(config.wechat_v2.unwrap().accept, vec![SignType::HmacSha256]);
}

#[test]
fn an_empty_short_or_placeholder_key_refuses_to_start() {
    let (short, long) = (format!("{}a1b2c3d", "a1b2c3d4".repeat(3)), format!("{}x", "a1b2c3d4".repeat(4)));
    let marked = format!("{SIMULATOR_MARK}{}", "a".repeat(23));
    for value in ["", "changeme", "your_key_here", &short, &long, &"x".repeat(32), &marked] {
        refused("WECHAT_API_KEY", value);
    }
    for value in ["", "1234567890abcdef", &"a".repeat(40), "changeme-changeme-changeme-changeme"] {
        refused("SECRET_KEY", value);
    }
    refused("WECHAT_APP_SECRET", "");
}

#[test]
fn a_public_url_that_wechat_cannot_call_is_refused() {
    for value in [
        "http://pay.shop.cn",
        "https://pay.shop.cn/?a=1",
        "https://pay.shop.cn/shop",
        "https://10.0.0.5",
        "https://192.168.1.2",
        "https://[::ffff:10.0.0.5]",
        "https://100.64.0.1",
        "https://[fd00::1]",
        "https://u:p@pay.shop.cn",
        "ftp://pay.shop.cn",
        "pay.shop.cn",
    ] {
        refused("PUBLIC_URL", value);
    }
    assert!(read(&[("PUBLIC_URL", "http://127.0.0.1:9000")]).is_ok());
}

#[test]
fn a_misspelt_variable_is_an_error_with_a_suggestion() {
    let error = read(&[("WECHAT_MCHID", "1")]).unwrap_err();
    assert!(error.to_string().contains("did you mean WECHAT_MCH_ID?"), "{error}");
    let file: BTreeMap<String, String> = [("ANYTHING".to_owned(), "1".to_owned())].into();
    assert_eq!(Source::from_maps(&file, &good()).problems().len(), 1);
    let environment: BTreeMap<String, String> = [("PATH".to_owned(), "/bin".to_owned())].into();
    assert_eq!(Source::from_maps(&BTreeMap::new(), &environment).problems(), vec![]);
}

#[test]
fn a_secret_may_come_from_a_file_but_not_twice() {
    let path = std::env::temp_dir().join(format!("shouyin-config-{}", std::process::id()));
    std::fs::write(&path, "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf\n").unwrap();
    let path_text = path.to_str().unwrap();
    let mut values = good();
    values.remove("WECHAT_API_KEY");
    values.insert("WECHAT_API_KEY_FILE".to_owned(), path_text.to_owned());
    assert!(Config::read(&Source::from_maps(&BTreeMap::new(), &values)).is_ok());
    assert!(read(&[("WECHAT_API_KEY_FILE", path_text)]).is_err());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    refused("TOP_UP_MIN_FEN", "0");
    refused("TOP_UP_MAX_FEN", "1e3");
    refused("TOP_UP_PRESETS_FEN", "100,x");
    refused("ORDER_EXPIRE_MINUTES", "5");
    refused("WECHAT_SIGN_TYPE", "SHA1");
    refused("WECHAT_ACCEPT_SIGN_TYPES", "MD5,");
    refused("TRUSTED_PROXIES", "10.0.0.1/99");
    refused("WECHAT_API_BASE", "http://api.mch.weixin.qq.com");
    refused("WECHAT_OAUTH_BASE", "https://a.example.org,https://b.example.org");
    refused("DATABASE_URL", "mysql://x");
    refused("LOG_FORMAT", "xml");
}

#[test]
fn public_url_and_origins_are_kept_in_normal_form() {
    for text in ["HTTPS://Pay.Shop.cn", "https://pay.shop.cn:443/", "https://pay.shop.cn"] {
        let config = read(&[("PUBLIC_URL", text)]).unwrap();
        assert_eq!(config.public_url.as_str(), "https://pay.shop.cn", "{text}");
        assert!(config.public_url.is_https(), "{text}");
        assert_eq!(config.url("/notify/wechat"), "https://pay.shop.cn/notify/wechat");
    }
    let config = read(&[("WECHAT_API_BASE", "HTTPS://API.mch.weixin.qq.com:443/")]).unwrap();
    assert_eq!(config.origins.wechat_api, ["https://api.mch.weixin.qq.com"]);
}

#[test]
fn wechats_web_authorisation_has_one_origin() {
    let config = read(&[("WECHAT_OAUTH_BASE", "HTTPS://One.example.org/")]).unwrap();
    assert_eq!(config.origins.wechat_oauth, ["https://one.example.org"]);
    assert_eq!(config.wechat_authorize_base, "https://one.example.org");
    refused("WECHAT_OAUTH_BASE", "https://one.example.org,https://two.example.org");
}

#[test]
fn an_accept_list_without_our_own_sign_type_is_refused() {
    refused("WECHAT_ACCEPT_SIGN_TYPES", "MD5");
    assert!(read(&[("WECHAT_SIGN_TYPE", "MD5"), ("WECHAT_ACCEPT_SIGN_TYPES", "HMAC-SHA256")]).is_err());
    for (ours, accepted) in [("MD5", "MD5"), ("MD5", "HMAC-SHA256, MD5"), ("HMAC-SHA256", "MD5,HMAC-SHA256")]
    {
        let both = [("WECHAT_SIGN_TYPE", ours), ("WECHAT_ACCEPT_SIGN_TYPES", accepted)];
        assert!(read(&both).is_ok(), "{both:?}");
    }
}

#[test]
fn debug_of_a_configuration_shows_no_secret() {
    let shown = format!("{:?} {:?}", read(&[]).unwrap(), Source::from_maps(&BTreeMap::new(), &good()));
    for (name, value) in good().iter().filter(|(name, _)| name.contains("KEY") || name.contains("SECRET")) {
        assert!(!shown.contains(value.as_str()), "{name} is shown");
    }
}
