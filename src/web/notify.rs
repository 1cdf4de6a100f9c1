//! POST /notify/*: raw bytes to the flow, the gateway's own words back. No session, no redirect, no HTML.

use super::{Web, envelope::Written, session::client_ip};
use crate::{
    failpoint::{self, Failpoint},
    flow::{
        notify::{self, Incoming},
        settle::Evidence,
    },
    gateway::{Ack, AckReply, Protocol},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
    web::{Data, Payload},
};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};

const MAX_BODY: usize = 64 * 1024;
/// A body that trickles in slower than this is given up.
const BODY_WAIT: Duration = Duration::from_secs(5);
/// The headers that a signature of V3 is in, and how much of each is kept: one by a key of 4096 bits has 684 characters.
static SIGNATURE_HEADERS: [HeaderName; 5] = [
    HeaderName::from_static("wechatpay-timestamp"),
    HeaderName::from_static("wechatpay-nonce"),
    HeaderName::from_static("wechatpay-signature"),
    HeaderName::from_static("wechatpay-serial"),
    HeaderName::from_static("wechatpay-signature-type"),
];
const MAX_SIGNATURE_HEADER: usize = 1024;
/// Other headers worth keeping with a notice.
static KEPT_HEADERS: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::USER_AGENT, header::HOST, header::X_FORWARDED_FOR];
const MAX_HEADER: usize = 256;

/// POST /notify/wechat
pub async fn wechat(web: Data<Arc<Web>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    receive(&web, &request, payload, Protocol::WechatV2, Story::Payment).await
}

/// POST /notify/wechat/refund
pub async fn wechat_refund(web: Data<Arc<Web>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    receive(&web, &request, payload, Protocol::WechatV2, Story::Refund).await
}

/// POST /notify/wechat/v3
pub async fn wechat_v3(web: Data<Arc<Web>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    receive(&web, &request, payload, Protocol::WechatV3, Story::Payment).await
}

/// POST /notify/wechat/v3/refund
pub async fn wechat_v3_refund(web: Data<Arc<Web>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    receive(&web, &request, payload, Protocol::WechatV3, Story::Refund).await
}

/// POST /notify/alipay: payments and refunds alike
pub async fn alipay(web: Data<Arc<Web>>, request: HttpRequest, payload: Payload) -> HttpResponse {
    receive(&web, &request, payload, Protocol::Alipay, Story::Payment).await
}

/// What a callback is about; the address says it.
#[derive(Clone, Copy)]
enum Story {
    Payment,
    Refund,
}

async fn receive(
    web: &Web,
    request: &HttpRequest,
    payload: Payload,
    protocol: Protocol,
    story: Story,
) -> HttpResponse {
    let Some(gateway) = web.app.speaker(protocol) else {
        return HttpResponse::NotFound().finish();
    };
    let refused = |class| gateway.ack(Ack::Refused(class));
    let body = match tokio::time::timeout(BODY_WAIT, read(payload)).await {
        Ok(Ok(body)) => body,
        Ok(Err(status)) => {
            web.app.metrics.notices.with_label_values(&[protocol.as_str(), "unread"]).inc();
            return answer(status, refused("MESSAGE TOO LARGE OR BROKEN"));
        }
        Err(_) => return answer(StatusCode::REQUEST_TIMEOUT, refused("MESSAGE TOO SLOW")),
    };
    let timer = web.app.metrics.notice_seconds.start_timer();
    let evidence = Evidence {
        body,
        headers: kept_headers(request),
        remote_ip: client_ip(request, &web.app).to_string(),
    };
    // On a task of its own: a caller that hangs up does not stop a settlement half-way.
    let incoming = Incoming { protocol, evidence, received_at: web.app.clock.now() };
    let app = web.app.clone();
    let task = match story {
        Story::Payment => tokio::spawn(notify::receive(app, incoming)),
        Story::Refund => tokio::spawn(notify::receive_refund(app, incoming)),
    };
    let done = task.await;
    failpoint::pass(Failpoint::NotifyBeforeReply);
    let response = match done {
        Ok(Ok(ack)) => {
            let status = StatusCode::from_u16(ack.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, ack)
        }
        Ok(Err(error)) => {
            tracing::error!("a callback could not be recorded, the gateway will come again: {error}");
            answer(StatusCode::SERVICE_UNAVAILABLE, refused("TRY AGAIN LATER"))
        }
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, refused("TRY AGAIN LATER")),
    };
    timer.observe_duration();
    response
}

async fn read(mut payload: Payload) -> Result<Vec<u8>, StatusCode> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| StatusCode::BAD_REQUEST)?;
        if body.len().saturating_add(chunk.len()) > MAX_BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// One line each. What a signature is in must not be repeated, so of those headers a second one is kept, to be seen.
fn kept_headers(request: &HttpRequest) -> String {
    let mut kept = String::with_capacity(256);
    for (names, times, longest) in
        [(&SIGNATURE_HEADERS, 2, MAX_SIGNATURE_HEADER), (&KEPT_HEADERS, 1, MAX_HEADER)]
    {
        for name in names {
            let values = request.headers().get_all(name).take(times);
            // One that is no text is kept as an empty one: it stands there all the same.
            for value in values.map(|value| value.to_str().unwrap_or_default()) {
                let line = [name.as_str(), ": ", value.get(..longest).unwrap_or(value), "\n"];
                kept.extend(line);
            }
        }
    }
    kept
}

/// In the gateway's own words whatever the status is: Alipay's are plain text, and no page may take their place.
fn answer(status: StatusCode, ack: AckReply) -> HttpResponse {
    let mut response =
        HttpResponse::build(status).insert_header(("content-type", ack.content_type)).body(ack.body);
    response.extensions_mut().insert(Written);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn of_the_headers_only_those_that_matter_are_kept_and_not_more_of_them_than_matters() {
        let mut request = TestRequest::post();
        for name in ["wechatpay-nonce", "wechatpay-other", "user-agent", "replayed", "cookie"] {
            for nth in 0..3 {
                request = request.append_header((name, format!("{nth}{}", "x".repeat(2000))));
            }
        }
        let (long, short) = ("x".repeat(1023), "x".repeat(255));
        assert_eq!(
            kept_headers(&request.to_http_request()),
            format!("wechatpay-nonce: 0{long}\nwechatpay-nonce: 1{long}\nuser-agent: 0{short}\n")
        );
    }

    #[test]
    fn a_second_signature_header_is_seen_whatever_its_bytes_are() {
        let odd = actix_web::http::header::HeaderValue::from_bytes(b"\xE9").unwrap();
        let request = TestRequest::post()
            .append_header(("wechatpay-nonce", "n"))
            .append_header(("wechatpay-nonce", odd.clone()))
            .append_header(("wechatpay-signature-type", odd));
        let kept = kept_headers(&request.to_http_request());
        assert_eq!(kept.matches("wechatpay-nonce: ").count(), 2, "{kept}");
        assert!(kept.contains("wechatpay-signature-type: \n"), "{kept}");
    }

    #[test]
    fn a_signature_of_v3_is_kept_whole() {
        let mut request = TestRequest::post();
        let mut written = String::new();
        for name in &SIGNATURE_HEADERS {
            let value = "s".repeat(684);
            written.push_str(&format!("{name}: {value}\n"));
            request = request.append_header((name.clone(), value));
        }
        assert_eq!(kept_headers(&request.to_http_request()), written);
    }
}
