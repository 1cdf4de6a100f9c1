//! The parameters an app hands to WeChat's payment library, signed once. All names in lower case, and no signType.
//!
//! Source: official chapter 9_12; the algorithm is the order's.

use super::{Account, sign, xml::Fields};
use crate::gateway::{Stamp, wechat::AppParams};

const PACKAGE: &str = "Sign=WXPay";

pub fn sign(account: &Account, appid: &str, prepay_id: &str, stamp: &Stamp) -> AppParams {
    let mut params = AppParams {
        appid: appid.to_owned(),
        partnerid: account.mch_id.clone(),
        prepayid: prepay_id.to_owned(),
        package: PACKAGE.to_owned(),
        noncestr: stamp.nonce.clone(),
        timestamp: stamp.now.secs().to_string(),
        sign: String::new(),
    };
    let fields: Fields = [
        ("appid", params.appid.as_str()),
        ("partnerid", params.partnerid.as_str()),
        ("prepayid", params.prepayid.as_str()),
        ("package", params.package.as_str()),
        ("noncestr", params.noncestr.as_str()),
        ("timestamp", params.timestamp.as_str()),
    ]
    .into_iter()
    .collect();
    params.sign = sign::sign(&fields, &account.key, account.sign_type);
    params
}
