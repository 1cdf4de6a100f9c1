//! WeChat's word on who somebody is. Web authorisation, `snsapi_base`: a redirect for a code, a code for an openid.
//! Mini programs: the code of `wx.login` for an openid.
//!
//! Sources: the official page on web authorisation of service accounts; the official page of code2Session.

use super::{Base, Request, Response};
use crate::domain::ids::Openid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Everything but RFC 3986's unreserved characters is escaped.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why there is no openid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OauthFault {
    #[error("the code is used up or expired: start again")]
    Restart,
    #[error("WeChat refuses our appid or secret")]
    Configuration,
    #[error("WeChat is busy")]
    Busy,
    #[error("the reply has no openid")]
    Unusable,
}

/// Where to send the WeChat browser. WeChat insists on this order of parameters and on the fragment.
pub fn authorize_url(base: &str, appid: &str, redirect_uri: &str, state: &str) -> String {
    format!(
        "{base}/connect/oauth2/authorize?appid={}&redirect_uri={}&response_type=code&scope=snsapi_base&state={}#wechat_redirect",
        escaped(appid),
        escaped(redirect_uri),
        escaped(state),
    )
}

/// Exchanges a code. The secret is in the query, as WeChat wants it: the path is never logged.
pub fn token_request(appid: &str, secret: &SecretString, code: &str) -> Request {
    Request {
        base: Base::WechatOauth,
        call: "oauth2/access_token",
        path: format!(
            "/sns/oauth2/access_token?appid={}&secret={}&code={}&grant_type=authorization_code",
            escaped(appid),
            escaped(secret.expose_secret()),
            escaped(code),
        ),
        body: None,
        content_type: "application/json",
        headers: Vec::new(),
        certificate: false,
    }
}

/// Exchanges the code a mini program got from `wx.login`; `appid` and `secret` are the mini program's. The reply's
/// `session_key` is not read: whoever has it can decrypt what the payer's phone says.
pub fn mini_request(appid: &str, secret: &SecretString, code: &str) -> Request {
    Request {
        base: Base::WechatOauth,
        call: "jscode2session",
        path: format!(
            "/sns/jscode2session?appid={}&secret={}&js_code={}&grant_type=authorization_code",
            escaped(appid),
            escaped(secret.expose_secret()),
            escaped(code),
        ),
        body: None,
        content_type: "application/json",
        headers: Vec::new(),
        certificate: false,
    }
}

#[derive(Deserialize)]
struct TokenReply {
    #[serde(default)]
    errcode: i64,
    openid: Option<String>,
}

/// Reads the reply to either, JSON under any content type; errors come with HTTP 200 too.
///
/// # Errors
/// `Restart` for a used or expired code, `Configuration` for a refused secret, `Busy` for -1 and rate
/// limits, `Unusable` for anything without an openid.
pub fn openid(answer: &Response) -> Result<Openid, OauthFault> {
    let reply: TokenReply = serde_json::from_slice(&answer.body).map_err(|_| OauthFault::Unusable)?;
    match reply.errcode {
        0 => reply.openid.as_deref().and_then(Openid::parse).ok_or(OauthFault::Unusable),
        40029 | 40163 | 41008 | 42003 => Err(OauthFault::Restart),
        40001 | 40013 | 40125 | 41002 | 41004 => Err(OauthFault::Configuration),
        -1 | 45011 => Err(OauthFault::Busy),
        _ => Err(OauthFault::Unusable),
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}
