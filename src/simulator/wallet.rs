//! What the payer's WeChat checks before it opens the pay sheet: parameters of a page, a mini program or an app, or the
//! address a phone's browser was sent to.
//!
//! Source: official chapters 7_7 and 9_12 for V2's signed fields, the V3 pages on the same for RSA, the H5 pages.

use super::{
    Scenario, Simulator, TradeState,
    cashier::find,
    trades::{PREPAY_MS, Trade},
};
use crate::{
    domain::time::UnixMs,
    gateway::{
        Protocol,
        wechat::{AppParams, JsapiParams},
        wechat_v2::{
            sign::{self, SignType},
            xml::Fields,
        },
    },
};
use aws_lc_rs::constant_time;
use std::net::IpAddr;
use url::Url;

/// A signature of the merchant's may be this far ahead of our clock.
const AHEAD_MS: i64 = 5 * 60 * 1000;
/// An H5 address is good for so long.
const H5_MS: i64 = 5 * 60 * 1000;
/// V3's signType.
const RSA: &str = "RSA";

type Refusal = &'static str;

impl Simulator {
    /// `wx.requestPayment` of the mini program, or `getBrandWCPayRequest` of a page: the prepay_id it opens.
    ///
    /// # Errors
    /// What WeChat would refuse it for.
    pub fn opens_sheet(&self, params: &JsapiParams) -> Result<String, Refusal> {
        let prepay_id = params.package.strip_prefix("prepay_id=").ok_or("package 应为 prepay_id=…")?;
        check_nonce(&params.nonce_str)?;
        let (trade, scenario) = find(self, prepay_id).ok_or("没有这个 prepay_id")?;
        if trade.appid != params.app_id {
            return Err("appId 不是下单的 appid");
        }
        if trade.trade_type != "JSAPI" {
            return Err("这个 prepay_id 不是 JSAPI 下单得到的");
        }
        let package = params.package.as_str();
        let (time_stamp, nonce_str) = (params.time_stamp.as_str(), params.nonce_str.as_str());
        let signed = match trade.protocol {
            Protocol::WechatV3 if params.sign_type == RSA => {
                self.merchant_signed(&[&params.app_id, time_stamp, nonce_str, package], &params.pay_sign)
            }
            Protocol::WechatV2 if SignType::parse(&params.sign_type) == Some(trade.sign_type) => self
                .key_signed(
                    &[
                        ("appId", params.app_id.as_str()),
                        ("timeStamp", time_stamp),
                        ("nonceStr", nonce_str),
                        ("package", package),
                        ("signType", params.sign_type.as_str()),
                    ],
                    trade.sign_type,
                    &params.pay_sign,
                ),
            _ => return Err("signType 与下单时不一致"),
        };
        if !signed {
            return Err("paySign 签名错误");
        }
        self.payable(&trade, scenario, time_stamp)
    }

    /// The open platform's `PayReq` of an app: the prepay_id it opens.
    ///
    /// # Errors
    /// What WeChat would refuse it for.
    pub fn opens_app(&self, params: &AppParams) -> Result<String, Refusal> {
        check_nonce(&params.noncestr)?;
        let (trade, scenario) = find(self, &params.prepayid).ok_or("没有这个 prepayid")?;
        if trade.appid != params.appid || trade.merchant != params.partnerid {
            return Err("appid 或 partnerid 不是下单的");
        }
        if trade.trade_type != "APP" {
            return Err("这个 prepayid 不是 APP 下单得到的");
        }
        if params.package != "Sign=WXPay" {
            return Err("package 应为 Sign=WXPay");
        }
        let (appid, prepayid) = (params.appid.as_str(), params.prepayid.as_str());
        let (timestamp, noncestr) = (params.timestamp.as_str(), params.noncestr.as_str());
        let signed = match trade.protocol {
            Protocol::WechatV3 => self.merchant_signed(&[appid, timestamp, noncestr, prepayid], &params.sign),
            _ => self.key_signed(
                &[
                    ("appid", appid),
                    ("partnerid", params.partnerid.as_str()),
                    ("prepayid", prepayid),
                    ("package", params.package.as_str()),
                    ("noncestr", noncestr),
                    ("timestamp", timestamp),
                ],
                trade.sign_type,
                &params.sign,
            ),
        };
        if !signed {
            return Err("sign 签名错误");
        }
        self.payable(&trade, scenario, timestamp)
    }

    /// V3: each line ended by a line feed, under the merchant's private key.
    fn merchant_signed(&self, lines: &[&str], signature: &str) -> bool {
        let message: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let keys = self.0.options.v3.as_ref();
        keys.is_some_and(|keys| keys.merchant.verify(message.as_bytes(), signature))
    }

    /// V2: as the order was, under the shared key.
    fn key_signed(&self, fields: &[(&str, &str)], sign_type: SignType, signature: &str) -> bool {
        let fields: Fields = fields.iter().copied().collect();
        let right = sign::sign(&fields, &self.account().key, sign_type);
        constant_time::verify_slices_are_equal(right.as_bytes(), signature.as_bytes()).is_ok()
    }

    fn payable(&self, trade: &Trade, scenario: Scenario, time_stamp: &str) -> Result<String, Refusal> {
        if !is_fresh(time_stamp, self.now()) {
            return Err("timeStamp 应为 10 位秒数，且在两小时之内");
        }
        if self.now().since(trade.prepaid_at) > PREPAY_MS {
            return Err("prepay_id 已超过两小时");
        }
        match trade.state {
            TradeState::NotPay => Ok(trade.prepay_id.clone()),
            TradeState::Closed if scenario.pays_closed_trades() => Ok(trade.prepay_id.clone()),
            TradeState::Closed => Err("订单已关闭"),
            TradeState::Success | TradeState::Refund => Err("订单已支付"),
        }
    }

    /// The trade an H5 address opens, in a browser that came from this page and from this address.
    ///
    /// # Errors
    /// WeChat's own words on its error page.
    pub(super) fn opens_h5(
        &self,
        prepay_id: &str,
        agent: &str,
        referer: &str,
        from: Option<IpAddr>,
    ) -> Result<Trade, Refusal> {
        let (trade, _) = find(self, prepay_id).ok_or("支付请求已失效，请重新发起支付")?;
        if trade.trade_type != "MWEB" || self.now().since(trade.prepaid_at) > H5_MS {
            return Err("支付请求已失效，请重新发起支付");
        }
        if agent.contains("MicroMessenger") {
            return Err("请在微信外打开订单，进行支付");
        }
        if self.merchants_own(referer).is_none() {
            return Err("商家参数格式有误，请联系商家解决");
        }
        let ordered_from = ["spbill_create_ip", "scene_info.payer_client_ip"];
        let ordered_from = ordered_from.iter().find_map(|name| trade.parameters.get(name)?.parse().ok());
        if from.is_some() && from != ordered_from {
            return Err("网络环境未能通过安全验证，请稍后再试");
        }
        Ok(trade)
    }

    /// An address on the merchant's pages; `None` for any other.
    pub(super) fn merchants_own(&self, address: &str) -> Option<String> {
        let (url, ours) = (Url::parse(address).ok()?, Url::parse(&self.0.options.bridge_origin).ok()?);
        (url.origin() == ours.origin() && ours.origin().is_tuple()).then(|| url.to_string())
    }
}

fn check_nonce(nonce: &str) -> Result<(), Refusal> {
    if (1..=32).contains(&nonce.len()) { Ok(()) } else { Err("nonceStr 应为 1 到 32 字节") }
}

/// Ten digits of seconds, as old as a prepay_id may be, hardly in the future.
fn is_fresh(time_stamp: &str, now: UnixMs) -> bool {
    if time_stamp.len() != 10 || !time_stamp.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let Ok(secs) = time_stamp.parse::<i64>() else { return false };
    let age = now.since(UnixMs(0).plus_secs(secs));
    (-AHEAD_MS..=PREPAY_MS).contains(&age)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::gateway::{
        Stamp,
        wechat_v2::{app, jsapi},
    };

    fn stamp() -> Stamp {
        Stamp { now: NOW, nonce: "n1".to_owned() }
    }

    #[actix_web::test]
    async fn a_mini_program_opens_what_was_ordered_under_its_own_appid() {
        let (simulator, _) = simulator();
        let prepay_id = prepay_as(&simulator, "JSAPI", MINI).await;
        let params = jsapi::sign(simulator.account(), MINI, &prepay_id, &stamp());
        assert_eq!(simulator.opens_sheet(&params), Ok(prepay_id.clone()));
        let web = jsapi::sign(simulator.account(), WEB, &prepay_id, &stamp());
        assert_eq!(simulator.opens_sheet(&web), Err("appId 不是下单的 appid"));
        let forged = JsapiParams { pay_sign: "0".repeat(64), ..params };
        assert_eq!(simulator.opens_sheet(&forged), Err("paySign 签名错误"));
    }

    #[actix_web::test]
    async fn an_app_opens_its_own_prepay_id_once() {
        let (simulator, _) = simulator();
        let prepay_id = prepay_as(&simulator, "APP", APP).await;
        let params = app::sign(simulator.account(), APP, &prepay_id, &stamp());
        assert_eq!(simulator.opens_app(&params), Ok(prepay_id.clone()));
        for wrong in [
            AppParams { package: "prepay_id=".to_owned(), ..params.clone() },
            AppParams { partnerid: "1".to_owned(), ..params.clone() },
            AppParams { noncestr: "n2".to_owned(), ..params.clone() },
            AppParams { timestamp: "1770000001".to_owned(), ..params.clone() },
        ] {
            assert!(simulator.opens_app(&wrong).is_err(), "{wrong:?}");
        }
        let sheet = jsapi::sign(simulator.account(), APP, &prepay_id, &stamp());
        assert_eq!(simulator.opens_sheet(&sheet), Err("这个 prepay_id 不是 JSAPI 下单得到的"));
        simulator.pay(NUMBER).unwrap();
        assert_eq!(simulator.opens_app(&params), Err("订单已支付"));
    }

    #[actix_web::test]
    async fn v3_parameters_are_signed_with_the_merchants_private_key() {
        let (simulator, _) = v3_simulator();
        let prepay_id = v3_prepay(&simulator, "jsapi");
        let pay_sign =
            |package: &str| merchant_key().sign(format!("{WEB}\n{}\nn1\n{package}\n", NOW.secs()).as_bytes());
        let params = |package: String, sign_type: &str| JsapiParams {
            app_id: WEB.to_owned(),
            time_stamp: NOW.secs().to_string(),
            nonce_str: "n1".to_owned(),
            sign_type: sign_type.to_owned(),
            pay_sign: pay_sign(&package),
            package,
        };
        let package = format!("prepay_id={prepay_id}");
        assert_eq!(simulator.opens_sheet(&params(package.clone(), RSA)), Ok(prepay_id.clone()));
        assert_eq!(
            simulator.opens_sheet(&params(package.clone(), "HMAC-SHA256")),
            Err("signType 与下单时不一致")
        );
        let late = JsapiParams { time_stamp: (NOW.secs() + 1).to_string(), ..params(package, RSA) };
        assert_eq!(simulator.opens_sheet(&late), Err("paySign 签名错误"));
    }
}
