//! What stands behind bridge.js: checks the parameters a merchant's page would hand to WeixinJSBridge.
//!
//! Source: official chapter 7_7.

use super::Simulator;
use crate::gateway::wechat::JsapiParams;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use serde::Deserialize;
use serde_json::json;

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
        .and_then(|asked| opened(&simulator, asked));
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

/// A page speaks for the service account alone.
fn opened(simulator: &Simulator, asked: PayRequest) -> Result<String, &'static str> {
    if asked.app_id != simulator.account().appids.web {
        return Err("appId 不是下单的 appid");
    }
    simulator.opens_sheet(&JsapiParams {
        app_id: asked.app_id,
        time_stamp: asked.time_stamp,
        nonce_str: asked.nonce_str,
        package: asked.package,
        sign_type: asked.sign_type,
        pay_sign: asked.pay_sign,
    })
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

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{
        gateway::{Stamp, wechat_v2::jsapi},
        simulator::trades::PREPAY_MS,
    };
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
        for stale in [NOW.plus_ms(-PREPAY_MS - 1000), NOW.plus_ms(5 * 60_000 + 1000)] {
            assert!(asked(&simulator, &signed(stale), ORIGIN).await.1.contains("timeStamp"));
        }
        simulator.pay(NUMBER).unwrap();
        assert!(asked(&simulator, &params, ORIGIN).await.1.contains("订单已支付"));
    }
}
