//! Where the books are: `DATABASE_URL`.

use secrecy::{ExposeSecret, SecretString};
use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The words of libpq about TLS that leave nothing open. `prefer` and `allow` do without when the other side, or somebody
/// in between, says so; and a build without TLS always does.
const DECIDED: [&str; 4] = ["disable", "require", "verify-ca", "verify-full"];

/// Where the books are kept. Displayed without user, password and options.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(PostgresUrl),
}

/// A `postgres://` URL as libpq reads it: several hosts separated by commas are allowed.
#[derive(Clone, Debug)]
pub struct PostgresUrl(SecretString);

impl Database {
    /// # Errors
    /// Anything but `sqlite:PATH` or `postgres://…`; a server elsewhere without a word about TLS.
    pub fn parse(url: &str) -> Result<Database, &'static str> {
        match url.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") && !path.contains('?') => {
                Ok(Database::Sqlite(PathBuf::from(path)))
            }
            Some(("postgres" | "postgresql", _)) => PostgresUrl::parse(url).map(Database::Postgres),
            _ => Err("not a database this program knows"),
        }
    }

    /// The file of the books, if they are one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Database::Sqlite(path) => Some(path),
            Database::Postgres(_) => None,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Database::Sqlite(path) => path.display().fmt(f),
            Database::Postgres(url) => url.fmt(f),
        }
    }
}

impl PostgresUrl {
    fn parse(url: &str) -> Result<PostgresUrl, &'static str> {
        let url = PostgresUrl(SecretString::from(url));
        let (hosts, name) = url.place();
        if name.is_empty() {
            return Err("a PostgreSQL URL is postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        }
        // libpq would prefer TLS and silently do without: over a network that must be somebody's decision.
        let named = url.option("hostaddr").or(url.option("host")).unwrap_or(hosts);
        if !named.split(',').all(is_here)
            && !url.option("sslmode").is_some_and(|mode| DECIDED.contains(&mode))
        {
            return Err("the server is elsewhere: add sslmode=verify-full&sslrootcert=FILE, \
                        or sslmode=disable if the network in between is yours");
        }
        Ok(url)
    }

    /// What libpq gets: the URL with these options unless it names them itself.
    pub fn with(&self, defaults: &[(&str, &str)]) -> String {
        let mut url = self.0.expose_secret().to_owned();
        for (name, value) in defaults.iter().filter(|(name, _)| !self.names(name)) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{name}={value}"));
        }
        url
    }

    fn names(&self, option: &str) -> bool {
        self.option(option).is_some()
    }

    /// What the URL says of it, the last time it does: that is what counts for libpq.
    fn option(&self, name: &str) -> Option<&str> {
        let (_, options) = self.0.expose_secret().split_once('?').unwrap_or_default();
        let mut pairs = options.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.rfind(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Hosts and database, without who and how.
    fn place(&self) -> (&str, &str) {
        let (_, rest) = self.0.expose_secret().split_once("://").unwrap_or_default();
        let rest = rest.split('?').next().unwrap_or_default();
        // A password may contain anything but a slash, which is written %2F.
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        (authority.rsplit('@').next().unwrap_or_default(), name)
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hosts, name) = self.place();
        write!(f, "PostgreSQL {hosts}/{name}")
    }
}

/// This machine: a loopback address or a socket file.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.is_empty()
        || name == "localhost"
        || name.starts_with("%2F")
        || name.starts_with('/')
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_over_the_network_needs_a_word_about_tls() {
        for here in [
            "127.0.0.1:5432",
            "localhost",
            "[::1]:5432",
            "%2Frun%2Fpostgresql",
            "",
            "127.0.0.1,localhost:5433",
        ] {
            assert!(Database::parse(&format!("postgres://u:p@{here}/shop")).is_ok(), "{here}");
        }
        for elsewhere in ["db.example", "10.0.0.1", "127.0.0.1,db.example:5432"] {
            assert!(Database::parse(&format!("postgres://u:p@{elsewhere}/shop")).is_err(), "{elsewhere}");
            for decided in ["disable", "require", "verify-full&sslrootcert=ca.pem"] {
                let url = format!("postgres://u:p@{elsewhere}/shop?sslmode={decided}");
                assert!(Database::parse(&url).is_ok(), "{url}");
            }
            // With these libpq goes on in plain text when it has to.
            for open in ["prefer", "allow", "", "verify-full&sslmode=prefer"] {
                let url = format!("postgres://u:p@{elsewhere}/shop?sslmode={open}");
                assert!(Database::parse(&url).is_err(), "{url}");
            }
        }
        // The option of that name is another way to say where the server is.
        for elsewhere in
            ["postgres:///shop?host=db.example", "postgres:///shop?host=localhost&hostaddr=10.0.0.1"]
        {
            assert!(Database::parse(elsewhere).is_err(), "{elsewhere}");
        }
        assert!(Database::parse("postgres:///shop?host=%2Frun%2Fpostgresql").is_ok());
        assert!(Database::parse("postgres:///shop?host=/run/postgresql").is_ok());
        // The word has to be the option, not the name of a database.
        assert!(Database::parse("postgres://db.example/sslmode=disable").is_err());
    }

    #[test]
    fn what_is_shown_has_no_password_in_it() {
        let url =
            "postgresql://ann:s3cr@t@127.0.0.1:5433,127.0.0.1/shop?options=-csearch_path%3Dtwo&passfile=x";
        let database = Database::parse(url).unwrap();
        assert_eq!(database.to_string(), "PostgreSQL 127.0.0.1:5433,127.0.0.1/shop");
        assert!(!format!("{database:?}").contains("s3cr"));
    }

    #[test]
    fn options_of_the_url_win_over_ours() {
        let Ok(Database::Postgres(url)) = Database::parse("postgres://127.0.0.1/shop?connect_timeout=9")
        else {
            panic!("not read");
        };
        assert_eq!(
            url.with(&[("connect_timeout", "2"), ("application_name", "x")]),
            "postgres://127.0.0.1/shop?connect_timeout=9&application_name=x"
        );
        for wrong in [
            "postgres://127.0.0.1",
            "postgres:127.0.0.1/shop",
            "mysql://127.0.0.1/shop",
            "sqlite:",
            "sqlite://x",
        ] {
            assert!(Database::parse(wrong).is_err(), "{wrong}");
        }
    }
}
