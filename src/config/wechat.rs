//! Who we are at WeChat: merchant number, appids, keys, client certificate, and where WeChat is.

use super::{ClientCertificate, Origins, PublicUrl, Reader, certificate::Unfit, is_placeholder, origin};
use crate::{
    domain::order::Environment,
    gateway::{
        alipay,
        wechat::Appids,
        wechat_v2::{Account, ApiKey, sign::SignType},
        wechat_v3,
    },
};
use secrecy::{ExposeSecret, SecretString};

/// An account of the public platform whose users' openids we may learn.
#[derive(Clone, Debug)]
pub struct WechatApp {
    pub appid: String,
    pub secret: SecretString,
}

impl WechatApp {
    pub fn new(appid: &str, secret: &str) -> WechatApp {
        WechatApp { appid: appid.to_owned(), secret: SecretString::from(secret) }
    }
}

/// What the variables say about us at WeChat.
#[derive(Default)]
pub(super) struct Wechat {
    pub merchant: Option<Merchant>,
    pub v2: Option<Account>,
    pub v3: Option<wechat_v3::Account>,
    pub login: Option<WechatApp>,
    pub mini: Option<WechatApp>,
}

/// What both protocols need to know.
pub(super) struct Merchant {
    pub mch_id: String,
    pub appids: Appids,
}

/// Whoever sets one of these means V3.
const OF_V3: [&str; 3] = ["WECHAT_API_V3_KEY", "WECHAT_MERCHANT_KEY_PEM", "WECHAT_MERCHANT_CERT_SERIAL"];

impl Reader<'_> {
    /// Whether any variable that begins so is set.
    pub(super) fn any_set(&self, prefix: &str) -> bool {
        super::VARIABLES
            .iter()
            .any(|variable| variable.name.starts_with(prefix) && self.source.get(variable.name).is_some())
    }

    /// Nothing, when another gateway is configured and none of this one's variables are set.
    pub(super) fn wechat(&mut self, public_url: &PublicUrl) -> Wechat {
        if !self.any_set("WECHAT_") && self.any_set("ALIPAY_") {
            return Wechat::default();
        }
        let merchant = self.merchant();
        let login = self.wechat_app("WECHAT_APPID", "WECHAT_APP_SECRET");
        let mini = self
            .source
            .get("WECHAT_MINI_APPID")
            .and_then(|_| self.wechat_app("WECHAT_MINI_APPID", "WECHAT_MINI_APP_SECRET"));
        let v2 = self.wechat_v2(merchant.as_ref(), public_url);
        let v3 = self.wechat_v3(merchant.as_ref(), public_url);
        Wechat { merchant, v2, v3, login, mini }
    }

    fn merchant(&mut self) -> Option<Merchant> {
        let web = self.parsed("WECHAT_APPID", "", appid);
        let mini = self.parsed("WECHAT_MINI_APPID", "", optional(appid));
        let app = self.parsed("WECHAT_APP_APPID", "", optional(appid));
        let mch_id = self.parsed("WECHAT_MCH_ID", "", |text| {
            let digits = (6..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.to_owned())
        });
        Some(Merchant { mch_id: mch_id?, appids: Appids { web: web?, mini: mini?, app: app? } })
    }

    fn wechat_app(&mut self, appid: &str, secret: &str) -> Option<WechatApp> {
        let secret = self
            .secret_of(secret, |secret| secret.len() >= 16 && secret.bytes().all(|b| b.is_ascii_graphic()));
        Some(WechatApp { appid: self.source.get(appid)?, secret })
    }

    /// `None` without a key where V3 is spoken: then the door of V2 is shut.
    fn wechat_v2(&mut self, merchant: Option<&Merchant>, public_url: &PublicUrl) -> Option<Account> {
        let v3 = OF_V3.iter().any(|name| self.source.get(name).is_some());
        if v3 && self.source.get("WECHAT_API_KEY").is_none() {
            return None;
        }
        let key = self.secret_of("WECHAT_API_KEY", |key| {
            key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let sign_type = self.parsed("WECHAT_SIGN_TYPE", "HMAC-SHA256", SignType::parse);
        let sign_type = sign_type.unwrap_or(SignType::HmacSha256);
        let accept = self.parsed("WECHAT_ACCEPT_SIGN_TYPES", sign_type.as_str(), |text| {
            let listed = text.split(',').map(|one| SignType::parse(one.trim())).collect::<Option<Vec<_>>>();
            // WeChat signs callbacks as we signed the order: without our own algorithm none would pass.
            listed.filter(|listed| listed.contains(&sign_type))
        });
        let merchant = merchant?;
        Some(Account {
            appids: merchant.appids.clone(),
            mch_id: merchant.mch_id.clone(),
            key: ApiKey::new(key.expose_secret())?,
            sign_type,
            accept: accept?,
            public_url: public_url.to_string(),
            environment: Environment::Live,
        })
    }

    pub(super) fn certificate(&mut self) -> Option<ClientCertificate> {
        const CERT: &str = "WECHAT_CERT_PEM";
        const KEY: &str = "WECHAT_KEY_PEM";
        let read = match (self.source.get(CERT), self.source.get(KEY)) {
            (None, None) => return None,
            (Some(cert), Some(key)) => ClientCertificate::parse(&cert, &key),
            (None, Some(_)) => Err(Unfit::Certificate("is not set, but WECHAT_KEY_PEM is")),
            (Some(_), None) => Err(Unfit::Key("is not set, but WECHAT_CERT_PEM is")),
        };
        match read {
            Ok(certificate) => return Some(certificate),
            Err(Unfit::Certificate(what)) => self.problem(CERT, what),
            Err(Unfit::Key(what)) => self.problem(KEY, what),
        }
        None
    }

    pub(super) fn origins(&mut self, alipay: Option<&alipay::Account>) -> Origins {
        let api = "https://api.mch.weixin.qq.com,https://api2.mch.weixin.qq.com";
        let oauth = "https://api.weixin.qq.com";
        Origins {
            wechat_api: self.parsed("WECHAT_API_BASE", api, origin::list).unwrap_or_default(),
            wechat_oauth: self
                .parsed("WECHAT_OAUTH_BASE", oauth, |text| origin::list(text).filter(|list| list.len() == 1))
                .unwrap_or_default(),
            alipay: alipay.map(|account| account.gateway_url.clone()).into_iter().collect(),
        }
    }

    pub(super) fn authorize_base(&mut self) -> String {
        let base =
            self.source.get("WECHAT_OAUTH_BASE").unwrap_or_else(|| "https://open.weixin.qq.com".to_owned());
        origin::list(&base).and_then(|list| list.into_iter().next()).unwrap_or_default()
    }
}

fn appid(text: &str) -> Option<String> {
    let plain = (8..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && !is_placeholder(text)).then(|| text.to_owned())
}

/// The same for a variable that may be left out.
fn optional<T>(parse: impl Fn(&str) -> Option<T>) -> impl Fn(&str) -> Option<Option<T>> {
    move |text| if text.is_empty() { Some(None) } else { parse(text).map(Some) }
}
