//! Who we are at Alipay: app, seller, the app's key and Alipay's, and where Alipay is.

use super::{PublicUrl, Reader, SIMULATOR_ALIPAY_APP_ID, SIMULATOR_ALIPAY_SELLER_ID, is_placeholder, origin};
use crate::{
    domain::order::Environment,
    gateway::{
        alipay::{
            Account, Certificates,
            cert_sn::{self, Certificate},
        },
        rsa::{KeyFault, PrivateKey, PublicKey},
    },
};

const PRIVATE_KEY: &str = "ALIPAY_PRIVATE_KEY_PEM";
const PUBLIC_KEY: &str = "ALIPAY_PUBLIC_KEY_PEM";
const APP_CERT: &str = "ALIPAY_APP_CERT_PEM";
const ALIPAY_CERT: &str = "ALIPAY_CERT_PEM";
const ROOT_CERT: &str = "ALIPAY_ROOT_CERT_PEM";
const NOT_SET: &str = "is not set, but other variables of Alipay are";

impl Reader<'_> {
    /// `None` when no variable of Alipay's is set, or when something is wrong with one.
    pub(super) fn alipay(&mut self, public_url: &PublicUrl) -> Option<Account> {
        if !self.any_set("ALIPAY_") {
            return None;
        }
        let app_id = self.number("ALIPAY_APP_ID", |text| (10..=32).contains(&text.len()));
        let seller_id = self.number("ALIPAY_SELLER_ID", |text| text.len() == 16 && text.starts_with("2088"));
        let gateway_url =
            self.parsed("ALIPAY_GATEWAY", "https://openapi.alipay.com/gateway.do", origin::address);
        let key = self.fitting(PRIVATE_KEY, app_key);
        let by_certificate =
            [APP_CERT, ALIPAY_CERT, ROOT_CERT].iter().any(|name| self.source.get(name).is_some());
        let (public_key, certificates) = if by_certificate {
            let (public_key, certificates) = self.certificates(key.as_ref())?;
            (public_key, Some(certificates))
        } else {
            (self.platform_key(key.as_ref())?, None)
        };
        Some(Account {
            app_id: app_id?,
            seller_id: seller_id?,
            key: key?,
            public_key,
            certificates,
            gateway_url: gateway_url?,
            public_url: public_url.to_string(),
            environment: Environment::Live,
        })
    }

    fn number(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.fitting(name, |text| {
            let digits = text.bytes().all(|b| b.is_ascii_digit()) && fits(text) && !is_placeholder(text);
            match text {
                // They pass for real ones, and whoever pays the simulator pays nothing.
                SIMULATOR_ALIPAY_APP_ID | SIMULATOR_ALIPAY_SELLER_ID => {
                    Err("is the simulator's, where money is play money")
                }
                _ if digits => Ok(text.to_owned()),
                _ => Err("is not of the accepted form"),
            }
        })
    }

    /// The value, or a problem that says why it does not fit.
    fn fitting<T, F: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, F>,
    ) -> Option<T> {
        let Some(text) = self.source.get(name) else {
            self.problem(name, NOT_SET);
            return None;
        };
        parse(&text).map_err(|fault| self.problem(name, &fault.to_string())).ok()
    }

    /// Alipay's key for our app. That it signs the app's own texts shows that it is the app's.
    fn platform_key(&mut self, key: Option<&PrivateKey>) -> Option<PublicKey> {
        let public_key = self.fitting(PUBLIC_KEY, PublicKey::parse)?;
        if key.is_some_and(|key| key.matches(&public_key)) {
            self.problem(
                PUBLIC_KEY,
                "is the public key of your own app; wanted is Alipay's, which the open platform shows once that is uploaded",
            );
            return None;
        }
        Some(public_key)
    }

    fn certificates(&mut self, key: Option<&PrivateKey>) -> Option<(PublicKey, Certificates)> {
        if self.source.get(PUBLIC_KEY).is_some() {
            self.problem(PUBLIC_KEY, "is set together with certificates: the app has one mode or the other");
        }
        let app = self.fitting(APP_CERT, certificate);
        let alipay = self.fitting(ALIPAY_CERT, certificate);
        let roots = self.fitting(ROOT_CERT, |text| {
            cert_sn::of_roots(text).ok_or("holds no root certificate with an RSA signature")
        });
        let (key, app, alipay) = (key?, app?, alipay?);
        if !key.matches(&app.public_key) {
            self.problem(APP_CERT, "is not the certificate of ALIPAY_PRIVATE_KEY_PEM");
        }
        if key.matches(&alipay.public_key) {
            self.problem(ALIPAY_CERT, "is the certificate of your own app; wanted is Alipay's");
        }
        let certificates = Certificates {
            app_cert_sn: app.sn,
            alipay_root_cert_sn: roots?,
            alipay_cert_sn: alipay.sn,
            app_ends: app.not_after,
            alipay_ends: alipay.not_after,
        };
        Some((alipay.public_key, certificates))
    }
}

/// The app's key, once it has signed what its other half verifies.
fn app_key(text: &str) -> Result<PrivateKey, String> {
    let key = PrivateKey::parse(text).map_err(|fault| fault.to_string())?;
    if key.proves_itself() { Ok(key) } else { Err("does not sign what it should".to_owned()) }
}

fn certificate(text: &str) -> Result<Certificate, &'static str> {
    Certificate::parse(text).map_err(|fault| match fault {
        KeyFault::Text => "is neither PEM nor base64",
        KeyFault::Kind => "is not an X.509 certificate with an RSA key",
        KeyFault::Small => "has an RSA key of less than 2048 bits",
    })
}

#[cfg(test)]
mod tests;
