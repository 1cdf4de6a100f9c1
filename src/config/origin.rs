//! Origins: the one people and WeChat reach us by, and those we call.

use std::{fmt, net::IpAddr};
use url::{Host, Url};

/// The origin browsers and WeChat use, without a trailing slash. Links and `notify_url` are made
/// from it, never from a Host header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// # Errors
    /// What is wrong: not an origin, plain http outside loopback, or an address WeChat cannot reach.
    pub fn parse(text: &str) -> Result<PublicUrl, &'static str> {
        if text.is_empty() {
            return Err("is not set");
        }
        let url = origin(text).ok_or("is not a plain origin")?;
        match url.host() {
            _ if is_loopback(&url) => {}
            _ if url.scheme() != "https" => return Err("must be https outside loopback"),
            Some(Host::Ipv4(ip)) if is_private(IpAddr::V4(ip)) => return Err("is a private address"),
            Some(Host::Ipv6(ip)) if is_private(IpAddr::V6(ip)) => return Err("is a private address"),
            _ => {}
        }
        Ok(PublicUrl(url.origin().ascii_serialization()))
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A comma list of origins we may call: https, or http on loopback for a simulator.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let origins: Option<Vec<String>> = text
        .split(',')
        .map(str::trim)
        .map(|one| {
            let url = origin(one)?;
            (url.scheme() == "https" || is_loopback(&url)).then(|| url.origin().ascii_serialization())
        })
        .collect();
    origins.filter(|origins| !origins.is_empty())
}

/// One address we may call, with its path: https, or http on loopback for a simulator.
pub(super) fn address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)));
    plain.then(|| url.to_string())
}

fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (bare && anonymous && url.has_host() && matches!(url.scheme(), "http" | "https")).then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn is_private(ip: IpAddr) -> bool {
    // An address of version 4 may be written as one of version 6.
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            // 100.64.0.0/10 is what providers share out behind their own translation (RFC 6598).
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            shared || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast()
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified(),
    }
}
