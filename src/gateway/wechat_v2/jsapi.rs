//! The parameters `WeixinJSBridge` needs to open the pay sheet, signed once: the `timeStamp` and
//! `nonceStr` in the signature are the ones in the answer.

use super::{Account, sign, xml::Fields};
use crate::gateway::{Stamp, wechat::JsapiParams};

/// `appid` is the one the payer's openid belongs to.
pub fn sign(account: &Account, appid: &str, prepay_id: &str, stamp: &Stamp) -> JsapiParams {
    let mut params = JsapiParams {
        app_id: appid.to_owned(),
        time_stamp: stamp.now.secs().to_string(),
        nonce_str: stamp.nonce.clone(),
        package: format!("prepay_id={prepay_id}"),
        sign_type: account.sign_type.as_str().to_owned(),
        pay_sign: String::new(),
    };
    params.pay_sign = sign::sign(&signed_fields(&params), &account.key, account.sign_type);
    params
}

/// The five fields under the signature.
pub fn signed_fields(params: &JsapiParams) -> Fields {
    [
        ("appId", params.app_id.as_str()),
        ("timeStamp", params.time_stamp.as_str()),
        ("nonceStr", params.nonce_str.as_str()),
        ("package", params.package.as_str()),
        ("signType", params.sign_type.as_str()),
    ]
    .into_iter()
    .collect()
}
