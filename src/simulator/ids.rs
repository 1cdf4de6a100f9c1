//! Numbers and addresses as WeChat hands them out, in both of its protocols. No I/O.

use crate::clock::{Clock, NoEntropy};

/// Below the origin of the simulator, as the real one has it below `wx.tenpay.com`.
pub const H5_PATH: &str = "/cgi-bin/mmpayweb-bin/checkmweb";

/// `wx`, the time in Beijing and 20 hex digits: 36 as real ones have.
///
/// # Errors
/// No random bytes.
pub fn prepay_id(clock: &Clock) -> Result<String, NoEntropy> {
    let nonce: String = clock.nonce()?.chars().take(20).collect();
    Ok(format!("wx{}{nonce}", clock.now().beijing_compact()))
}

/// 4200, six digits, the day and ten digits: 28 as today's real ones have.
///
/// # Errors
/// No random bytes.
pub fn transaction_id(clock: &Clock) -> Result<String, NoEntropy> {
    let day: String = clock.now().beijing_compact().chars().take(8).collect();
    let (issuer, tail) = (below(clock, 1_000_000)?, below(clock, 10_000_000_000)?);
    Ok(format!("4200{issuer:06}{day}{tail:010}"))
}

fn below(clock: &Clock, limit: u64) -> Result<u64, NoEntropy> {
    Ok(u64::from_be_bytes(clock.random()?).checked_rem(limit).unwrap_or_default())
}

/// What the QR code of a NATIVE order says.
pub fn code_url(prepay_id: &str) -> String {
    let short: String = prepay_id.chars().skip(16).take(11).collect();
    format!("weixin://wxpay/bizpayurl?pr={short}")
}

/// Where a phone's browser is sent for an H5 order: good for five minutes.
pub fn h5_url(origin: &str, prepay_id: &str) -> String {
    format!("{origin}{H5_PATH}?prepay_id={prepay_id}&package=1037687096")
}
