//! The parameters `WeixinJSBridge` needs to open the pay sheet, signed once: the `timeStamp` and
//! `nonceStr` in the signature are the ones in the answer.

use super::{Account, sign, xml::Fields};
use crate::gateway::Stamp;
use serde::Serialize;

/// Field names exactly as `getBrandWCPayRequest` spells them (official chapter 7_7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JsapiParams {
    #[serde(rename = "appId")]
    pub app_id: String,
    /// Seconds since 1970, as text.
    #[serde(rename = "timeStamp")]
    pub time_stamp: String,
    #[serde(rename = "nonceStr")]
    pub nonce_str: String,
    /// `prepay_id=` and the id.
    pub package: String,
    #[serde(rename = "signType")]
    pub sign_type: String,
    #[serde(rename = "paySign")]
    pub pay_sign: String,
}

pub fn sign(account: &Account, prepay_id: &str, stamp: &Stamp) -> JsapiParams {
    let mut params = JsapiParams {
        app_id: account.appid.clone(),
        time_stamp: stamp.now.secs().to_string(),
        nonce_str: stamp.nonce.clone(),
        package: format!("prepay_id={prepay_id}"),
        sign_type: account.sign_type.as_str().to_owned(),
        pay_sign: String::new(),
    };
    params.pay_sign = sign::sign(&params.signed_fields(), &account.key, account.sign_type);
    params
}

impl JsapiParams {
    /// The five fields under the signature.
    pub fn signed_fields(&self) -> Fields {
        [
            ("appId", self.app_id.as_str()),
            ("timeStamp", self.time_stamp.as_str()),
            ("nonceStr", self.nonce_str.as_str()),
            ("package", self.package.as_str()),
            ("signType", self.sign_type.as_str()),
        ]
        .into_iter()
        .collect()
    }
}
