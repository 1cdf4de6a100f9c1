//! Who asks: the `Authorization` header of a V3 request, its signature over the request as it arrived.
//!
//! Source: the official page on signing V3 requests (five lines, each ended by a line feed; five minutes of clock skew).

use super::Fault;
use crate::{
    domain::time::UnixMs,
    simulator::{Asked, wechat_v3::keys::V3Keys},
};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048 ";
/// The five values, in the order of `Claims`.
const NAMES: [&str; 5] = ["mchid", "nonce_str", "signature", "timestamp", "serial_no"];
/// How far the merchant's clock may be off.
const SKEW_SECS: u64 = 300;

/// What the header says.
struct Claims<'a> {
    mchid: &'a str,
    nonce_str: &'a str,
    signature: &'a str,
    timestamp: &'a str,
    serial_no: &'a str,
}

/// # Errors
/// What WeChat would answer with: a header that is missing or not of its form, somebody else, a clock that is off, a
/// signature that is not the merchant's over this request.
pub fn check(asked: &Asked<'_>, keys: &V3Keys, mch_id: &str, now: UnixMs) -> Result<(), Fault> {
    let header = asked.headers.only("authorization").ok_or(Fault::sign("Http头缺少Authorization"))?;
    let claims = claims(header).ok_or(Fault::sign("Http头Authorization认证类型或格式不正确"))?;
    if claims.mchid != mch_id {
        return Err(Fault::sign("商户号mchid不存在"));
    }
    if claims.serial_no != keys.merchant_serial {
        return Err(Fault::sign("商户证书序列号有误"));
    }
    let nonce = claims.nonce_str;
    if nonce.is_empty() || nonce.len() > 32 || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Fault::sign("Http头Authorization值的nonce_str应为1到32位数字或字母"));
    }
    let digits = claims.timestamp.len() == 10 && claims.timestamp.bytes().all(|b| b.is_ascii_digit());
    let secs = claims.timestamp.parse::<i64>().ok().filter(|_| digits);
    if secs.is_none_or(|secs| secs.abs_diff(now.secs()) > SKEW_SECS) {
        return Err(Fault::sign("Http头Authorization值的timestamp与现在相差超过五分钟"));
    }
    let mut message = Vec::new();
    for line in
        [asked.method.as_bytes(), asked.target.as_bytes(), claims.timestamp.as_bytes(), nonce.as_bytes()]
    {
        message.extend_from_slice(line);
        message.push(b'\n');
    }
    message.extend_from_slice(asked.body);
    message.push(b'\n');
    if keys.merchant.verify(&message, claims.signature) {
        Ok(())
    } else {
        Err(Fault::sign("签名错误，验签失败"))
    }
}

/// Each of the five once, in any order, and nothing else.
fn claims(header: &str) -> Option<Claims<'_>> {
    let pairs: Vec<(&str, &str)> = header
        .strip_prefix(SCHEME)?
        .split(',')
        .map(|pair| {
            let (name, quoted) = pair.split_once('=')?;
            Some((name, quoted.strip_prefix('"')?.strip_suffix('"')?))
        })
        .collect::<Option<_>>()?;
    let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let [mchid, nonce_str, signature, timestamp, serial_no] = NAMES.map(value);
    let claims = Claims {
        mchid: mchid?,
        nonce_str: nonce_str?,
        signature: signature?,
        timestamp: timestamp?,
        serial_no: serial_no?,
    };
    (pairs.len() == NAMES.len()).then_some(claims)
}
