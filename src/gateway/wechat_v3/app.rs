//! The parameters the open platform's `PayReq` needs in an app. The bare `prepay_id` is signed; `package` and
//! `partnerid` are not.
//!
//! Source: the V3 page on opening App payments.

use super::{Account, sign::lines};
use crate::gateway::{Stamp, wechat::AppParams};

pub fn sign(account: &Account, appid: &str, prepay_id: &str, stamp: &Stamp) -> AppParams {
    let timestamp = stamp.now.secs().to_string();
    let message =
        lines([appid.as_bytes(), timestamp.as_bytes(), stamp.nonce.as_bytes(), prepay_id.as_bytes()]);
    AppParams {
        appid: appid.to_owned(),
        partnerid: account.mch_id.clone(),
        prepayid: prepay_id.to_owned(),
        package: "Sign=WXPay".to_owned(),
        noncestr: stamp.nonce.clone(),
        timestamp,
        sign: account.key.sign(&message),
    }
}
