//! The parameters `WeixinJSBridge` and `wx.requestPayment` need to open the pay sheet, signed once: the `timeStamp`
//! and `nonceStr` in the signature are the ones in the answer.
//!
//! Source: the V3 page on opening JSAPI payments. Four lines are signed; `signType` is not among them.

use super::{Account, sign::lines};
use crate::gateway::{Stamp, wechat::JsapiParams};

pub fn sign(account: &Account, appid: &str, prepay_id: &str, stamp: &Stamp) -> JsapiParams {
    let time_stamp = stamp.now.secs().to_string();
    let package = format!("prepay_id={prepay_id}");
    let message =
        lines([appid.as_bytes(), time_stamp.as_bytes(), stamp.nonce.as_bytes(), package.as_bytes()]);
    JsapiParams {
        app_id: appid.to_owned(),
        time_stamp,
        nonce_str: stamp.nonce.clone(),
        package,
        sign_type: "RSA".to_owned(),
        pay_sign: account.key.sign(&message),
    }
}
