//! Codes that a phone makes of a shared secret and the time. No clock: the time is given.
//!
//! Source: RFC 6238 (May 2011) with SHA-1, 6 digits and steps of 30 s, which is what every authenticator app knows;
//! RFC 4226 section 5.3 for the truncation.

use super::same;
use crate::domain::time::UnixMs;
use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;

/// Bytes of a secret: as many as SHA-1 gives, which RFC 4226 recommends.
pub const SECRET: usize = 20;
const STEP_MS: i64 = 30_000;
/// Codes of so many steps before and after now are taken: phones are late, and so are people.
const DRIFT: i64 = 1;
const MODULUS: u32 = 1_000_000;

/// The time step a moment lies in.
fn step_of(now: UnixMs) -> i64 {
    now.0.div_euclid(STEP_MS)
}

/// The code of a step.
fn code(secret: &[u8], step: i64) -> Option<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last()? & 0x0f);
    let four: [u8; 4] = bytes.get(offset..)?.first_chunk().copied()?;
    let number = u32::from_be_bytes(four) & 0x7fff_ffff;
    Some(format!("{:06}", number % MODULUS))
}

/// The step of the code that was typed, if it is one of now and newer than the last one taken: a code is good once,
/// also for somebody who looked over a shoulder.
pub fn accepted(secret: &[u8], typed: &str, now: UnixMs, last_step: i64) -> Option<i64> {
    let here = step_of(now);
    let mut found = None;
    // All are compared, so that the time taken says nothing.
    for step in here.saturating_sub(DRIFT)..=here.saturating_add(DRIFT) {
        let right = code(secret, step).is_some_and(|code| same(&code, typed));
        if right && step > last_step && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// What is typed into a phone that cannot scan.
pub fn base32(secret: &[u8]) -> String {
    BASE32_NOPAD.encode(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"12345678901234567890";

    #[test]
    fn the_vectors_of_rfc_6238_appendix_b() {
        // Eight digits there; the last six are the code of six digits.
        for (secs, code8) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let step = step_of(UnixMs(secs * 1000));
            assert_eq!(code(KEY, step).unwrap(), code8.get(2..).unwrap(), "{secs}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_4226_appendix_d() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (step, expected) in (0..).zip(codes) {
            assert_eq!(code(KEY, step).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn a_code_is_good_one_step_around_its_own_and_never_twice() {
        let now = UnixMs(1_111_111_109_000);
        let here = step_of(now);
        for (step, good) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let typed = code(KEY, here + step).unwrap();
            assert_eq!(accepted(KEY, &typed, now, 0), good.then_some(here + step), "{step}");
        }
        let typed = code(KEY, here).unwrap();
        assert_eq!(accepted(KEY, &typed, now, here), None, "taken before");
        assert_eq!(accepted(KEY, &typed, now, here + 1), None, "older than one taken before");
        assert_eq!(accepted(KEY, &code(KEY, here + 1).unwrap(), now, here), Some(here + 1));
        for junk in ["", "0", "00000", "0000000", "abcdef", "٠٨١٨٠٤"] {
            assert_eq!(accepted(KEY, junk, now, 0), None, "{junk}");
        }
        assert_eq!(accepted(b"12345678901234567891", &typed, now, 0), None);
    }

    #[test]
    fn a_secret_is_shown_as_phones_take_it() {
        // RFC 4648 section 10, without its padding.
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
    }
}
