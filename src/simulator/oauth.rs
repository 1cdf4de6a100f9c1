//! Web authorisation, `snsapi_base`: one simulated person per browser, codes that work once for five minutes; and the
//! same for the codes of a mini program.
//!
//! Source: the official pages on web authorisation of service accounts and on jscode2session; error numbers as listed there.

use super::{Simulator, SimulatorError};
use crate::{
    domain::time::UnixMs,
    gateway::wechat_v2::{
        Account,
        sign::{self, SignType},
        xml::Fields,
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    http::header::LOCATION,
    web,
};
use aws_lc_rs::constant_time;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};

const PERSON: &str = "shouyin_simulated_person";
const CODE_MS: i64 = 5 * 60 * 1000;
/// Old codes are remembered this long, to tell expired from unknown.
const FORGET_MS: i64 = 60 * 60 * 1000;
/// WeChat insists on this order.
const PARAMETERS: [&str; 5] = ["appid", "redirect_uri", "response_type", "scope", "state"];

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/connect/oauth2/authorize", web::get().to(authorize))
        .route("/sns/oauth2/access_token", web::get().to(access_token))
        .route("/sns/jscode2session", web::get().to(jscode2session));
}

/// Codes handed out and whether they were used.
#[derive(Debug, Default)]
pub struct Codes(BTreeMap<String, Issued>);

#[derive(Debug)]
struct Issued {
    whose: Use,
    openid: String,
    at: UnixMs,
    used: bool,
}

/// What a code is for: one of the web is nothing to a mini program, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Web,
    MiniProgram,
}

/// WeChat's errcode and errmsg.
type Refusal = (i64, &'static str);

impl Codes {
    pub fn issue(&mut self, code: &str, whose: Use, openid: String, now: UnixMs) {
        self.0.retain(|_, issued| now.since(issued.at) < FORGET_MS);
        self.0.insert(code.to_owned(), Issued { whose, openid, at: now, used: false });
    }

    fn redeem(&mut self, code: &str, whose: Use, now: UnixMs) -> Result<String, Refusal> {
        let issued = self.0.get_mut(code).filter(|issued| issued.whose == whose);
        let issued = issued.ok_or((40029, "invalid code"))?;
        if issued.used {
            return Err((40163, "code been used"));
        }
        if now.since(issued.at) > CODE_MS {
            return Err((42003, "oauth_code expired"));
        }
        issued.used = true;
        Ok(issued.openid.clone())
    }
}

/// 28 characters: `o`, the person's 16 hex digits, and a mark that only this appid and key can make,
/// so that an openid of an earlier run is still known.
pub fn openid_of(account: &Account, appid: &str, person: &str) -> String {
    let fields: Fields = [("appid", appid), ("person", person)].into_iter().collect();
    let mark: String = sign::sign(&fields, &account.key, SignType::HmacSha256).chars().take(11).collect();
    format!("o{person}{mark}")
}

pub fn is_issued(account: &Account, appid: &str, openid: &str) -> bool {
    openid.get(1..17).is_some_and(|person| openid_of(account, appid, person) == openid)
}

async fn authorize(
    simulator: web::Data<Simulator>,
    request: HttpRequest,
) -> Result<HttpResponse, SimulatorError> {
    let target = match redirect_target(&simulator, request.query_string()) {
        Ok(target) => target,
        Err(reason) => {
            return Ok(HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(reason));
        }
    };
    let known = request.cookie(PERSON).map(|cookie| cookie.value().to_owned()).filter(|p| is_person(p));
    let person = match known {
        Some(person) => person,
        None => simulator.0.clock.nonce()?.chars().take(16).collect(),
    };
    let (code, account) = (simulator.0.clock.nonce()?, simulator.account());
    simulator.codes().issue(
        &code,
        Use::Web,
        openid_of(account, &account.appids.web, &person),
        simulator.now(),
    );
    let (mut url, state) = target;
    url.query_pairs_mut().append_pair("code", &code).append_pair("state", &state);
    let cookie = Cookie::build(PERSON, person)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(Duration::days(365))
        .finish();
    Ok(HttpResponse::Found().insert_header((LOCATION, url.as_str())).cookie(cookie).finish())
}

fn is_person(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Where to return to, and the state to bring back.
fn redirect_target(simulator: &Simulator, query: &str) -> Result<(Url, String), &'static str> {
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    let names = pairs.iter().map(|(name, _)| name.as_str());
    if !names.take(PARAMETERS.len()).eq(PARAMETERS) {
        return Err("参数错误：appid、redirect_uri、response_type、scope、state 必须齐全并按此顺序");
    }
    let value =
        |name: &str| pairs.iter().find(|(named, _)| named == name).map_or("", |(_, value)| value.as_str());
    if value("appid") != simulator.account().appids.web {
        return Err("40013 不合法的 AppID");
    }
    if value("response_type") != "code" {
        return Err("参数错误：response_type 应为 code");
    }
    if value("scope") != "snsapi_base" {
        return Err("10005 该公众号没有这个 scope 的权限，应为 snsapi_base");
    }
    let state = value("state");
    if state.is_empty() || state.len() > 128 || !state.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err("参数错误：state 应为 1 到 128 位数字或字母");
    }
    let url = Url::parse(value("redirect_uri")).map_err(|_| "参数错误：redirect_uri 不是网址")?;
    let ours = Url::parse(&simulator.0.options.bridge_origin).map_err(|_| "模拟器没有配置商户域名")?;
    if !matches!(url.scheme(), "http" | "https") || url.origin() != ours.origin() {
        return Err("10003 redirect_uri 域名与后台配置不一致");
    }
    Ok((url, state.to_owned()))
}

#[derive(Deserialize)]
struct TokenQuery {
    #[serde(default)]
    appid: String,
    #[serde(default)]
    secret: String,
    #[serde(default, alias = "js_code")]
    code: String,
    #[serde(default)]
    grant_type: String,
}

async fn access_token(
    simulator: web::Data<Simulator>,
    query: web::Query<TokenQuery>,
) -> Result<HttpResponse, SimulatorError> {
    simulator.book().log_call("access_token", "");
    let reply = match redeemed(&simulator, &query, Use::Web) {
        Ok(openid) => json!({
            "access_token": simulator.0.clock.token()?,
            "expires_in": 7200,
            "refresh_token": simulator.0.clock.token()?,
            "openid": openid,
            "scope": "snsapi_base",
        }),
        Err((errcode, errmsg)) => json!({ "errcode": errcode, "errmsg": errmsg }),
    };
    Ok(told(&reply))
}

/// What the mini program's server asks with the code of `wx.login`.
async fn jscode2session(
    simulator: web::Data<Simulator>,
    query: web::Query<TokenQuery>,
) -> Result<HttpResponse, SimulatorError> {
    simulator.book().log_call("jscode2session", "");
    let reply = match redeemed(&simulator, &query, Use::MiniProgram) {
        Ok(openid) => {
            let session_key = STANDARD.encode(simulator.0.clock.random::<16>()?);
            json!({ "session_key": session_key, "openid": openid })
        }
        Err((errcode, errmsg)) => json!({ "errcode": errcode, "errmsg": errmsg }),
    };
    Ok(told(&reply))
}

/// WeChat sends JSON under this type, errors with status 200.
fn told(reply: &serde_json::Value) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body(reply.to_string())
}

/// Our identity first, so that a wrong secret does not use up the code.
fn redeemed(simulator: &Simulator, query: &TokenQuery, whose: Use) -> Result<String, Refusal> {
    let (appids, options) = (&simulator.account().appids, &simulator.0.options);
    let (appid, secret) = match whose {
        Use::Web => (Some(appids.web.as_str()), &options.app_secret),
        Use::MiniProgram => (appids.mini.as_deref(), &options.mini_secret),
    };
    if query.appid.is_empty() {
        return Err((41002, "appid missing"));
    }
    if Some(query.appid.as_str()) != appid {
        return Err((40013, "invalid appid"));
    }
    if query.secret.is_empty() {
        return Err((41004, "appsecret missing"));
    }
    constant_time::verify_slices_are_equal(secret.expose_secret().as_bytes(), query.secret.as_bytes())
        .map_err(|_| (40125, "invalid appsecret"))?;
    if query.grant_type != "authorization_code" {
        return Err((40002, "invalid grant_type"));
    }
    if query.code.is_empty() {
        return Err((41008, "missing code"));
    }
    simulator.codes().redeem(&query.code, whose, simulator.now())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::gateway::{Response, wechat_oauth};
    use actix_web::{App, dev::ServiceResponse, test};
    use secrecy::SecretString;

    async fn get(simulator: &Simulator, uri: &str, person: Option<&str>) -> ServiceResponse {
        let app = test::init_service(App::new().configure(super::super::routes(simulator))).await;
        let mut request = test::TestRequest::get().uri(uri);
        if let Some(person) = person {
            request = request.cookie(Cookie::new(PERSON, person));
        }
        test::call_service(&app, request.to_request()).await
    }

    async fn code(simulator: &Simulator, person: Option<&str>) -> String {
        let url = wechat_oauth::authorize_url("", WEB, "http://shop.test/back?a=b", "s1");
        let path = url.split_once('#').unwrap().0;
        let answer = get(simulator, path, person).await;
        assert_eq!(answer.status(), 302);
        let location = answer.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned();
        let rest = location.strip_prefix("http://shop.test/back?a=b&code=").unwrap();
        rest.strip_suffix("&state=s1").unwrap().to_owned()
    }

    async fn exchange(simulator: &Simulator, secret: &str, code: &str) -> serde_json::Value {
        let secret = SecretString::from(secret);
        let path = wechat_oauth::token_request(WEB, &secret, code).path;
        let answer = get(simulator, &path, None).await;
        serde_json::from_slice(&test::read_body(answer).await).unwrap()
    }

    #[actix_web::test]
    async fn a_code_gives_an_openid_once() {
        let (simulator, _) = simulator();
        let code = code(&simulator, None).await;
        assert_eq!(exchange(&simulator, "wrong", &code).await["errcode"], 40125);
        let reply = exchange(&simulator, "an-app-secret", &code).await;
        let body = serde_json::to_vec(&reply).unwrap();
        let openid = wechat_oauth::openid(&Response { status: 200, body, ..Response::default() }).unwrap();
        assert!(is_issued(simulator.account(), WEB, openid.as_str()));
        assert_eq!(openid.as_str().len(), 28);
        assert_eq!(exchange(&simulator, "an-app-secret", &code).await["errcode"], 40163);
        assert_eq!(exchange(&simulator, "an-app-secret", "never-issued").await["errcode"], 40029);
    }

    #[actix_web::test]
    async fn a_mini_program_gets_openids_of_its_own_and_no_code_of_the_web() {
        let (simulator, clock) = simulator();
        let ask = async |secret: &str, code: &str| {
            let path = format!(
                "/sns/jscode2session?appid={MINI}&secret={secret}&js_code={code}&grant_type=authorization_code"
            );
            let answer = get(&simulator, &path, None).await;
            serde_json::from_slice::<serde_json::Value>(&test::read_body(answer).await).unwrap()
        };
        let js_code = simulator.js_code(7).unwrap().unwrap();
        assert_eq!(exchange(&simulator, "an-app-secret", &js_code).await["errcode"], 40029);
        assert_eq!(ask("an-app-secret", &js_code).await["errcode"], 40125);
        let reply = ask("a-mini-secret", &js_code).await;
        assert_eq!(reply["openid"].as_str(), simulator.mini_openid_of(7).as_deref());
        assert_eq!(reply["session_key"].as_str().map(str::len), Some(24));
        assert_eq!(ask("a-mini-secret", &js_code).await["errcode"], 40163);
        let web = code(&simulator, None).await;
        assert_eq!(ask("a-mini-secret", &web).await["errcode"], 40029);
        let late = simulator.js_code(7).unwrap().unwrap();
        clock.advance_ms(CODE_MS + 1);
        assert_eq!(ask("a-mini-secret", &late).await["errcode"], 42003);
    }

    #[actix_web::test]
    async fn a_code_older_than_five_minutes_is_expired() {
        let (simulator, clock) = simulator();
        let code = code(&simulator, None).await;
        clock.advance_ms(CODE_MS + 1);
        assert_eq!(exchange(&simulator, "an-app-secret", &code).await["errcode"], 42003);
    }

    #[actix_web::test]
    async fn a_browser_stays_one_person_and_another_browser_is_another() {
        let (simulator, _) = simulator();
        let mut openids = Vec::new();
        for person in [Some("00000000000000aa"), Some("00000000000000aa"), Some("00000000000000bb"), None] {
            let code = code(&simulator, person).await;
            openids.push(exchange(&simulator, "an-app-secret", &code).await["openid"].to_string());
        }
        assert_eq!(openids[0], openids[1]);
        assert_ne!(openids[0], openids[2]);
        assert_ne!(openids[2], openids[3]);
    }

    #[actix_web::test]
    async fn an_authorisation_that_breaks_a_rule_goes_nowhere() {
        let (simulator, _) = simulator();
        let good = [
            ("appid", WEB),
            ("redirect_uri", "http://shop.test/back"),
            ("response_type", "code"),
            ("scope", "snsapi_base"),
            ("state", "abc"),
        ];
        let path = |pairs: &[(&str, &str)]| {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            format!("/connect/oauth2/authorize?{query}")
        };
        assert_eq!(get(&simulator, &path(&good), None).await.status(), 302);
        for (index, value) in [
            (0, "wx1"),
            (1, "http://evil.test/back"),
            (1, "http://shop.test.evil.test/"),
            (1, "javascript:alert(1)"),
            (2, "token"),
            (3, "snsapi_userinfo"),
            (4, "a-b"),
            (4, ""),
        ] {
            let mut bad = good;
            bad[index].1 = value;
            assert_eq!(get(&simulator, &path(&bad), None).await.status(), 400, "{bad:?}");
        }
        let mut swapped = good;
        swapped.swap(0, 1);
        assert_eq!(get(&simulator, &path(&swapped), None).await.status(), 400);
    }

    #[actix_web::test]
    async fn an_openid_of_another_appid_is_not_known() {
        let (simulator, _) = simulator();
        let account = simulator.account();
        let openid = openid_of(account, MINI, "00000000000000aa");
        assert!(is_issued(account, MINI, &openid) && !is_issued(account, WEB, &openid));
        assert_eq!(simulator.mini_openid_of(170), Some(openid));
        assert!(!is_issued(account, WEB, "oÜÜÜÜÜÜÜÜÜÜÜÜÜÜ"));
    }
}
