//! How this browser's owner wants to read: the language, and whether in care mode. Asked for by a link, remembered
//! in a cookie, else guessed from what the browser says. Nothing but looks depends on it.

use super::words::Lang;
use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration},
    http::{
        Method,
        header::{ACCEPT_LANGUAGE, COOKIE, HeaderName, USER_AGENT},
    },
};

/// The reader's wishes, and the links that change them.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub lang: Lang,
    /// 关怀模式: larger, and of higher contrast.
    pub care: bool,
    /// None on an administrator's page: there is one way to read these.
    pub links: Option<Links>,
}

/// This page once more, seen the other way.
#[derive(Clone, Debug)]
pub struct Links {
    pub lang: String,
    pub care: String,
}

/// What our own pages put into addresses; a link to the same page keeps it.
const KEPT: [&str; 3] = ["next", "channel", "before"];

impl View {
    pub fn of(request: &HttpRequest) -> View {
        if is_admins(request.path()) {
            return View::default();
        }
        let (asked, kept) = (asked(request), cookies(request));
        let lang = asked.lang.or(kept.lang).unwrap_or_else(|| guessed(request));
        let care = asked.care.or(kept.care).unwrap_or(false);
        let links = Links {
            lang: link(request, "lang", lang.other().as_str()),
            care: link(request, "care", if care { "0" } else { "1" }),
        };
        View { lang, care, links: Some(links) }
    }
}

/// The cookies that remember what this address asks for.
pub fn remembered(request: &HttpRequest, https: bool) -> Vec<Cookie<'static>> {
    let asked = asked(request);
    let cookie = |name: &'static str, value: &'static str| {
        Cookie::build(name, value)
            .path("/")
            .http_only(true)
            .secure(https)
            .same_site(SameSite::Lax)
            .max_age(Duration::days(365))
            .finish()
    };
    let lang = asked.lang.map(|lang| cookie("lang", lang.as_str()));
    let care = asked.care.map(|care| cookie("care", if care { "1" } else { "0" }));
    lang.into_iter().chain(care).collect()
}

/// Set-up is for whoever comes first; everything else below `/admin` is Chinese.
fn is_admins(path: &str) -> bool {
    (path == "/admin" || path.starts_with("/admin/")) && !path.starts_with("/admin/setup/")
}

#[derive(Default)]
struct Wishes {
    lang: Option<Lang>,
    care: Option<bool>,
}

impl Wishes {
    fn of<K: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (K, V)>) -> Wishes {
        let mut wishes = Wishes::default();
        for (name, value) in pairs {
            match (name.as_ref(), value.as_ref()) {
                ("lang", value) => wishes.lang = Lang::parse(value).or(wishes.lang),
                ("care", "1") => wishes.care = Some(true),
                ("care", "0") => wishes.care = Some(false),
                _ => {}
            }
        }
        wishes
    }
}

fn asked(request: &HttpRequest) -> Wishes {
    Wishes::of(url::form_urlencoded::parse(request.query_string().as_bytes()))
}

fn cookies(request: &HttpRequest) -> Wishes {
    let lines = request.headers().get_all(COOKIE).filter_map(|line| line.to_str().ok());
    Wishes::of(lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')))
}

/// WeChat and Alipay write their own language into the user agent, which need not be the system's.
fn guessed(request: &HttpRequest) -> Lang {
    let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let agent = header(USER_AGENT).unwrap_or_default();
    let of_app = agent.split_once("Language/").and_then(|(_, tag)| Lang::parse(tag.split(' ').next()?));
    of_app.or_else(|| preferred(header(ACCEPT_LANGUAGE).unwrap_or_default())).unwrap_or_default()
}

/// The first of our languages in the order of `Accept-Language`. Browsers write it in the order of its weights, so
/// these only matter where one is zero.
fn preferred(accepted: &str) -> Option<Lang> {
    accepted.split(',').find_map(|range| {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        Lang::parse(tag.trim()).filter(|_| !refused)
    })
}

/// A query to this very address, so that it can lead nowhere else. A form that only takes POST leads home.
fn link(request: &HttpRequest, name: &str, value: &str) -> String {
    let path = request.path();
    let shown = request.method() == Method::GET
        || matches!(path, "/login" | "/register" | "/top-up")
        || path.starts_with("/admin/setup/");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, value);
    if shown {
        query.extend_pairs(
            url::form_urlencoded::parse(request.query_string().as_bytes())
                .filter(|(name, _)| KEPT.contains(&name.as_ref())),
        );
    }
    format!("{}?{}", if shown { "" } else { "/" }, query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn lang(headers: &[(&str, &str)], uri: &str) -> Lang {
        let request = headers.iter().fold(TestRequest::with_uri(uri), |r, h| r.insert_header(*h));
        View::of(&request.to_http_request()).lang
    }

    #[test]
    fn the_address_is_believed_before_the_cookie_the_app_before_the_system_and_chinese_is_the_rest() {
        let (wechat, english) = (("user-agent", "MicroMessenger/8 Language/en"), ("accept-language", "en"));
        let chinese = ("accept-language", "zh-CN,zh;q=0.9,en;q=0.8");
        for (headers, uri, expected) in [
            (vec![], "/login", Lang::Zh),
            (vec![("accept-language", "fr-FR,fr;q=0.9,en;q=0.8")], "/login", Lang::En),
            (vec![("accept-language", "fr")], "/login", Lang::Zh),
            (vec![("accept-language", "en;q=0, zh")], "/login", Lang::Zh),
            (vec![chinese], "/login", Lang::Zh),
            (vec![chinese, wechat], "/login", Lang::En),
            (vec![english, ("user-agent", "MicroMessenger Language/zh_CN")], "/login", Lang::Zh),
            (vec![wechat, english, ("cookie", "a=b; lang=zh")], "/login", Lang::Zh),
            (vec![("cookie", "lang=klingon")], "/login", Lang::Zh),
            (vec![("cookie", "lang=zh")], "/login?lang=en", Lang::En),
            (vec![english], "/admin/orders?lang=en", Lang::Zh),
            (vec![english], "/admin/setup/x", Lang::En),
        ] {
            assert_eq!(lang(&headers, uri), expected, "{headers:?} {uri}");
        }
    }

    #[test]
    fn a_switch_stays_on_its_page_and_keeps_what_the_page_was_asked() {
        let links = |request: TestRequest| View::of(&request.to_http_request()).links.unwrap();
        let page = links(TestRequest::with_uri("/login?next=%2Forders%3Fa%3D1&lang=en&sign=x"));
        assert_eq!(page.lang, "?lang=zh&next=%2Forders%3Fa%3D1");
        assert_eq!(page.care, "?care=1&next=%2Forders%3Fa%3D1");
        assert_eq!(links(TestRequest::with_uri("//evil.example/")).lang, "?lang=en");
        assert_eq!(links(TestRequest::post().uri("/top-up")).lang, "?lang=en");
        assert_eq!(links(TestRequest::post().uri("/logout?next=x")).care, "/?care=1");
        assert!(View::of(&TestRequest::with_uri("/admin").to_http_request()).links.is_none());
    }

    #[test]
    fn what_a_link_asks_for_is_remembered_for_a_year_and_nothing_else_is() {
        let cookies = |uri: &str| remembered(&TestRequest::with_uri(uri).to_http_request(), false);
        let told: Vec<String> = cookies("/?lang=en&care=1").iter().map(Cookie::to_string).collect();
        assert_eq!(
            told,
            ["lang=en", "care=1"].map(|c| format!("{c}; HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000"))
        );
        assert!(cookies("/?lang=fr&care=yes&language=en").is_empty());
    }
}
