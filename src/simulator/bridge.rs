//! What stands behind bridge.js: checks the parameters a merchant's page would hand to WeixinJSBridge.
//!
//! Source: official chapter 7_7 for the five signed fields.

use super::{Simulator, TradeState, cashier::find, trades::PREPAY_MS};
use crate::{
    domain::time::UnixMs,
    gateway::{
        wechat::JsapiParams,
        wechat_v2::{
            jsapi,
            sign::{self, SignType},
        },
    },
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use aws_lc_rs::constant_time;
use serde::Deserialize;
use serde_json::json;

/// A signature from the merchant's page may be this far ahead of our clock.
const AHEAD_MS: i64 = 5 * 60 * 1000;

pub fn routes(config: &mut web::ServiceConfig) {
    let check = web::resource("/bridge/check").route(web::post().to(check_bridge));
    config.service(check.route(web::method(Method::OPTIONS).to(preflight)));
}

/// `getBrandWCPayRequest` as the page passes it: every value a text, as WeChat demands.
#[derive(Deserialize)]
struct PayRequest {
    #[serde(rename = "appId")]
    app_id: String,
    #[serde(rename = "timeStamp")]
    time_stamp: String,
    #[serde(rename = "nonceStr")]
    nonce_str: String,
    package: String,
    #[serde(rename = "signType")]
    sign_type: String,
    #[serde(rename = "paySign")]
    pay_sign: String,
}

async fn check_bridge(
    simulator: web::Data<Simulator>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    if !from_merchant(&simulator, &request) {
        return HttpResponse::Forbidden().finish();
    }
    let checked = serde_json::from_slice::<PayRequest>(&body)
        .map_err(|_| "参数不全，或有的值不是字符串")
        .and_then(|asked| payable(&simulator, &asked));
    let reply = match checked {
        Ok(prepay_id) => json!({ "ok": true, "prepay_id": prepay_id }),
        Err(reason) => json!({ "ok": false, "reason": reason }),
    };
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, simulator.0.options.bridge_origin.as_str()))
        .insert_header((header::VARY, "Origin"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(reply.to_string())
}

async fn preflight(simulator: web::Data<Simulator>, request: HttpRequest) -> HttpResponse {
    if !from_merchant(&simulator, &request) {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, simulator.0.options.bridge_origin.as_str()))
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "POST"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"))
        .insert_header((header::VARY, "Origin"))
        .finish()
}

fn from_merchant(simulator: &Simulator, request: &HttpRequest) -> bool {
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin == Some(simulator.0.options.bridge_origin.as_str())
}

/// The prepay_id to open, or what WeChat would refuse the page for.
fn payable(simulator: &Simulator, asked: &PayRequest) -> Result<String, &'static str> {
    let account = simulator.account();
    if asked.app_id != account.appids.web {
        return Err("appId 不是下单的 appid");
    }
    if asked.nonce_str.is_empty() || asked.nonce_str.len() > 32 {
        return Err("nonceStr 应为 1 到 32 字节");
    }
    let prepay_id = asked.package.strip_prefix("prepay_id=").ok_or("package 应为 prepay_id=…")?;
    let sign_type = SignType::parse(&asked.sign_type).ok_or("signType 应为 MD5 或 HMAC-SHA256")?;
    let params = JsapiParams {
        app_id: asked.app_id.clone(),
        time_stamp: asked.time_stamp.clone(),
        nonce_str: asked.nonce_str.clone(),
        package: asked.package.clone(),
        sign_type: asked.sign_type.clone(),
        pay_sign: String::new(),
    };
    let right = sign::sign(&jsapi::signed_fields(&params), &account.key, sign_type);
    constant_time::verify_slices_are_equal(right.as_bytes(), asked.pay_sign.as_bytes())
        .map_err(|_| "paySign 签名错误")?;
    if !is_fresh(&asked.time_stamp, simulator.now()) {
        return Err("timeStamp 应为 10 位秒数，且在两小时之内");
    }
    let (trade, scenario) = find(simulator, prepay_id).ok_or("没有这个 prepay_id")?;
    if trade.sign_type != sign_type {
        return Err("signType 与下单时不一致");
    }
    if simulator.now().since(trade.prepaid_at) > PREPAY_MS {
        return Err("prepay_id 已超过两小时");
    }
    match trade.state {
        TradeState::NotPay => Ok(trade.prepay_id),
        TradeState::Closed if scenario.pays_closed_trades() => Ok(trade.prepay_id),
        TradeState::Closed => Err("订单已关闭"),
        TradeState::Success | TradeState::Refund => Err("订单已支付"),
    }
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
    use crate::gateway::{Stamp, wechat_v2::jsapi};
    use actix_web::{App, test};

    async fn asked(simulator: &Simulator, params: &serde_json::Value, origin: &str) -> (u16, String) {
        let request = test::TestRequest::post()
            .uri("/bridge/check")
            .insert_header((header::ORIGIN, origin))
            .set_payload(params.to_string());
        let app = test::init_service(App::new().configure(super::super::routes(simulator))).await;
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status().as_u16();
        (status, String::from_utf8(test::read_body(answer).await.to_vec()).unwrap())
    }

    #[actix_web::test]
    async fn the_bridge_opens_for_a_right_signature_from_the_merchant_only() {
        let (simulator, _) = simulator();
        let prepay_id = prepay(&simulator).await;
        let signed = |now| {
            let stamp = Stamp { now, nonce: "n1".to_owned() };
            serde_json::to_value(jsapi::sign(simulator.account(), WEB, &prepay_id, &stamp)).unwrap()
        };
        let params = signed(NOW);
        let (status, body) = asked(&simulator, &params, ORIGIN).await;
        assert!(status == 200 && body.contains("\"ok\":true"), "{body}");
        assert_eq!(asked(&simulator, &params, "http://evil.test").await.0, 403);
        for (name, value) in [
            ("timeStamp", json!("1770000001")),
            ("timeStamp", json!(1_770_000_000)),
            ("nonceStr", json!("n2")),
            ("package", json!("prepay_id=wx1")),
            ("signType", json!("MD5")),
            ("appId", json!("wx1")),
            ("paySign", json!("")),
        ] {
            let mut changed = params.clone();
            changed[name] = value.clone();
            let (_, body) = asked(&simulator, &changed, ORIGIN).await;
            assert!(body.contains("\"ok\":false"), "{name} {value}");
        }
        for stale in [NOW.plus_ms(-PREPAY_MS - 1000), NOW.plus_ms(AHEAD_MS + 1000)] {
            assert!(asked(&simulator, &signed(stale), ORIGIN).await.1.contains("timeStamp"));
        }
        simulator.pay(NUMBER).unwrap();
        assert!(asked(&simulator, &params, ORIGIN).await.1.contains("订单已支付"));
    }
}
