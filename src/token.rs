//! Tokens people carry and we only know by their hash, and form tokens bound to a browser.

pub mod seal;
pub mod totp;

use crate::domain::ids::hex;
use aws_lc_rs::{constant_time, digest, hmac};
use secrecy::{ExposeSecret, SecretString};

/// SHA-256 of a random token, as hex: enough, because the token has 256 bits of its own.
pub fn hash(token: &str) -> String {
    hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

/// The token every form of this browser carries: nobody without our key can make it.
pub fn of_form(key: &SecretString, browser: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
    hex(hmac::sign(&key, format!("form:{browser}").as_bytes()).as_ref())
}

/// Constant-time comparison of two texts.
pub fn same(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}
