//! Who is asking: the browser's cookie, the session behind it, the address it comes from.

use super::{Web, browser::Browser, error::WebError, layout::accepts_json, view::View};
use crate::{
    app::App,
    domain::{ids::Openid, user::User},
    flow::log_in,
    store::sessions::Place,
    token,
};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse, HttpResponseBuilder,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
    http::{
        Method,
        header::{COOKIE, HeaderValue},
    },
    web::Data,
};
use std::{future::Future, net::IpAddr, ops::Deref, pin::Pin, sync::Arc};

/// Any browser, signed in or not.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The cookie's secret; made here for a browser that had none.
    pub browser: String,
    /// The cookie is not in the browser yet.
    pub fresh: bool,
    pub user: Option<User>,
    pub openid: Option<Openid>,
    pub ip: IpAddr,
    pub kind: Browser,
    /// In demo the simulator's bridge makes a WeChat of every browser.
    pub bridged: bool,
    pub json: bool,
    pub view: View,
}

/// A browser whose user is signed in; anybody else is sent to sign in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    visitor: Visitor,
    pub user: User,
}

/// A signed-in administrator; to anybody else these pages do not exist.
#[derive(Clone, Debug)]
pub struct Admin(pub SignedIn);

impl Deref for SignedIn {
    type Target = Visitor;
    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl Deref for Admin {
    type Target = SignedIn;
    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl Visitor {
    /// Has `WeixinJSBridge`, so that WeChat is paid right here.
    pub fn pays_in_wechat(&self) -> bool {
        self.kind == Browser::WechatPhone || self.bridged
    }

    /// Whether WeChat can be asked who holds this browser.
    pub fn can_ask_wechat(&self, app: &App) -> bool {
        (self.kind.is_wechat() || self.bridged) && app.config.wechat_login.is_some()
    }

    /// Where this browser is, for an administrator's list of sessions.
    pub fn place(&self) -> Place {
        Place { ip: self.ip.to_string(), device: self.kind.name_zh().to_owned() }
    }

    /// The token this browser's forms carry.
    pub fn form_token(&self, app: &App) -> String {
        token::of_form(&app.config.secret_key, &self.browser)
    }

    /// Adds the cookie a fresh browser needs for its first form.
    pub fn greet(&self, app: &App, response: &mut HttpResponseBuilder) {
        if self.fresh {
            response.cookie(cookie(app, &self.browser));
        }
    }
}

/// The session cookie. `__Host-` keeps it to this very origin; plain http on loopback cannot have that.
pub fn cookie(app: &App, value: &str) -> Cookie<'static> {
    let https = app.config.public_url.is_https();
    Cookie::build(cookie_name(app), value.to_owned())
        .path("/")
        .http_only(true)
        .secure(https)
        .same_site(SameSite::Lax)
        .max_age(Duration::days(14))
        .finish()
}

fn cookie_name(app: &App) -> &'static str {
    if app.config.public_url.is_https() { "__Host-shouyin" } else { "shouyin" }
}

/// The secret in the cookie of that name, given the `Cookie` lines of a request: 64 hex digits, or nothing.
///
/// Names are compared as they stand. `HttpRequest::cookie` decodes percents first, so that `%5F_Host-shouyin`,
/// which browsers let any sibling of our host set, would pass for the name they protect.
pub fn carried<'a>(lines: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<String> {
    let mut values = lines
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.next()?;
    // Two of one name: somebody planted one, and nothing tells which.
    if values.next().is_some() || value.len() != 64 || !value.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    Some(String::from_utf8_lossy(value).into_owned())
}

impl FromRequest for Visitor {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<Visitor, WebError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { visitor(&request).await })
    }
}

async fn visitor(request: &HttpRequest) -> Result<Visitor, WebError> {
    let web = web_of(request)?;
    let app = &web.app;
    let lines = request.headers().get_all(COOKIE).map(HeaderValue::as_bytes);
    let carried = carried(lines, cookie_name(app));
    let session = match &carried {
        Some(secret) => log_in::session(app, secret).await?,
        None => None,
    };
    let (user, openid) = session.map_or((None, None), |session| (Some(session.user), session.openid));
    Ok(Visitor {
        fresh: carried.is_none(),
        browser: match carried {
            Some(secret) => secret,
            None => app.clock.token()?,
        },
        user,
        openid,
        ip: client_ip(request, app),
        kind: kind(request),
        bridged: web.bridge.is_some(),
        json: accepts_json(request),
        view: View::of(request),
    })
}

impl FromRequest for SignedIn {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<SignedIn, WebError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let visitor = visitor(&request).await?;
            match visitor.user.clone() {
                Some(user) => Ok(SignedIn { visitor, user }),
                None => Err(WebError::SignInFirst { at: sign_in_at(&request)? }),
            }
        })
    }
}

impl FromRequest for Admin {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<Admin, WebError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed_in = SignedIn::from_request(request, payload);
        Box::pin(async move {
            let signed_in = signed_in.await?;
            if signed_in.user.role.is_admin() { Ok(Admin(signed_in)) } else { Err(WebError::NotFound) }
        })
    }
}

/// In WeChat silently, elsewhere by form. Only a page can be returned to, so a form's address is not kept.
fn sign_in_at(request: &HttpRequest) -> Result<String, WebError> {
    let next = if request.method() == Method::GET { request.path() } else { "/top-up" };
    let silently =
        kind(request) == Browser::WechatPhone && web_of(request)?.app.config.wechat_login.is_some();
    let page = if silently { "/wechat/login" } else { "/login" };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    Ok(format!("{page}?{query}"))
}

fn kind(request: &HttpRequest) -> Browser {
    let agent = request.headers().get("user-agent").and_then(|value| value.to_str().ok());
    Browser::of(agent.unwrap_or_default())
}

/// The peer, or what a trusted proxy says about it: the last address that is not itself a trusted proxy.
pub fn client_ip(request: &HttpRequest, app: &App) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::from([127, 0, 0, 1]), |addr| addr.ip().to_canonical());
    let trusted = |ip: &IpAddr| app.config.trusted_proxies.iter().any(|network| network.contains(ip));
    if !trusted(&peer) {
        return peer;
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for hop in forwarded.into_iter().rev() {
        let Ok(ip) = hop.parse::<IpAddr>() else { break };
        client = ip.to_canonical();
        if !trusted(&client) {
            break;
        }
    }
    client
}

/// # Errors
/// The server was put together without its `Web`.
pub fn web_of(request: &HttpRequest) -> Result<Arc<Web>, WebError> {
    request.app_data::<Data<Arc<Web>>>().map(|data| Arc::clone(data.get_ref())).ok_or(WebError::NotFound)
}

/// A path on this site to go to next; anything else becomes `/top-up`.
pub fn local_path(next: &str) -> String {
    let local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.chars().any(char::is_control)
        && next.len() <= 512;
    if local { next.to_owned() } else { "/top-up".to_owned() }
}

/// 303, with a cookie when there is one.
pub fn see_other(location: &str, cookie: Option<Cookie<'static>>) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header(("location", location));
    if let Some(cookie) = cookie {
        response.cookie(cookie);
    }
    response.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_site_is_gone_to() {
        for next in ["https://evil", "//evil", "/\\evil", "javascript:alert(1)", "%2f%2fevil", "", "/a\r\nb"]
        {
            assert_eq!(local_path(next), "/top-up", "{next}");
        }
        assert_eq!(local_path("/ok?x=https://evil"), "/ok?x=https://evil");
    }
}
