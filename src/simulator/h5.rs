//! The page a phone's browser is sent to for an H5 payment, and the way back to the merchant.
//!
//! Source: the official H5 pages: five minutes, not inside WeChat, from the registered domain only, `redirect_url`.

use super::{Simulator, ids};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{LOCATION, REFERER, USER_AGENT},
    web,
};
use serde::Deserialize;
use url::form_urlencoded;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route(ids::H5_PATH, web::get().to(open));
}

#[derive(Deserialize)]
struct Opened {
    #[serde(default)]
    prepay_id: String,
    #[serde(default)]
    redirect_url: String,
}

/// Shows the cashier, which comes back to `redirect_url` if that is on the merchant's pages.
async fn open(
    simulator: web::Data<Simulator>,
    request: HttpRequest,
    query: web::Query<Opened>,
) -> HttpResponse {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |reason: &'static str| {
        HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body(reason)
    };
    let from = request.peer_addr().map(|peer| peer.ip());
    let trade = match simulator.opens_h5(&query.prepay_id, header(USER_AGENT), header(REFERER), from) {
        Ok(trade) => trade,
        Err(reason) => return refused(reason),
    };
    if !query.redirect_url.is_empty() && simulator.merchants_own(&query.redirect_url).is_none() {
        return refused("redirect_url 的域名不是商户申请 H5 时登记的");
    }
    HttpResponse::SeeOther()
        .insert_header((LOCATION, cashier(&trade.prepay_id, &query.redirect_url)))
        .finish()
}

/// The cashier's address, with the way back if there is one.
pub fn cashier(prepay_id: &str, redirect_url: &str) -> String {
    let mut address = format!("/cashier?prepay_id={prepay_id}");
    if !redirect_url.is_empty() {
        let escaped: String = form_urlencoded::byte_serialize(redirect_url.as_bytes()).collect();
        address.push_str(&format!("&redirect_url={escaped}"));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::super::{routes, testing::*};
    use actix_web::{App, dev::ServiceResponse, test};

    const SHOP: &str = "http://shop.test/pay/1";
    const BACK: &str = "http%3A%2F%2Fshop.test%2Freturn%2F1";

    async fn get(simulator: &super::Simulator, uri: &str, agent: &str, referer: &str) -> ServiceResponse {
        let app = test::init_service(App::new().configure(routes(simulator))).await;
        let request = test::TestRequest::get()
            .uri(uri)
            .peer_addr("127.0.0.1:50000".parse().unwrap())
            .insert_header(("user-agent", agent))
            .insert_header(("referer", referer));
        test::call_service(&app, request.to_request()).await
    }

    fn location(answer: &ServiceResponse) -> String {
        answer.headers().get("location").unwrap().to_str().unwrap().to_owned()
    }

    #[actix_web::test]
    async fn a_browser_from_the_merchants_page_pays_and_is_sent_back() {
        let (simulator, _) = simulator();
        let reply = call(&simulator, "/pay/unifiedorder", order_as(&simulator, "MWEB", WEB)).await;
        let url = reply.get("mweb_url").unwrap();
        assert_eq!(simulator.number_of(url).as_deref(), Some(NUMBER));
        let path = url.splitn(4, '/').nth(3).unwrap();
        let uri = format!("/{path}&redirect_url={BACK}");
        let answer = get(&simulator, &uri, "Mobile Safari", SHOP).await;
        assert_eq!(answer.status(), 303);
        let cashier = location(&answer);
        let page = test::read_body(get(&simulator, &cashier, "Mobile Safari", "").await).await;
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(page.contains("value=\"http://shop.test/return/1\""), "{page}");
        for (button, paid) in [("cancel", false), ("pay", true)] {
            let app = test::init_service(App::new().configure(routes(&simulator))).await;
            let form = [
                ("prepay_id", reply.get("prepay_id").unwrap()),
                ("scenario", "ok"),
                ("redirect_url", "http://shop.test/return/1"),
            ];
            let request =
                test::TestRequest::post().uri(&format!("/cashier/{button}")).set_form(form).to_request();
            let answer = test::call_service(&app, request).await;
            assert_eq!(location(&answer), "http://shop.test/return/1");
            assert_eq!(simulator.trade(NUMBER).unwrap().transaction_id.is_some(), paid);
        }
    }

    #[actix_web::test]
    async fn an_h5_address_opens_for_five_minutes_outside_wechat_from_the_merchants_domain() {
        let (simulator, clock) = simulator();
        let reply = call(&simulator, "/pay/unifiedorder", order_as(&simulator, "MWEB", WEB)).await;
        let prepay_id = reply.get("prepay_id").unwrap();
        let uri = format!("{}?prepay_id={prepay_id}&package=1", super::ids::H5_PATH);
        for (uri, agent, referer, status) in [
            (uri.clone(), "Safari", SHOP, 303),
            (uri.clone(), "Safari MicroMessenger/8.0", SHOP, 400),
            (uri.clone(), "Safari", "", 400),
            (uri.clone(), "Safari", "http://evil.test/pay", 400),
            (format!("{uri}&redirect_url=http%3A%2F%2Fevil.test%2F"), "Safari", SHOP, 400),
            (uri.replace("wx", "wy"), "Safari", SHOP, 400),
        ] {
            assert_eq!(
                get(&simulator, &uri, agent, referer).await.status(),
                status,
                "{uri} {agent} {referer}"
            );
        }
        let app = test::init_service(App::new().configure(routes(&simulator))).await;
        let elsewhere = test::TestRequest::get()
            .uri(&uri)
            .peer_addr("127.0.0.2:50000".parse().unwrap())
            .insert_header(("user-agent", "Safari"))
            .insert_header(("referer", SHOP));
        let answer = test::call_service(&app, elsewhere.to_request()).await;
        assert_eq!(answer.status(), 400, "ordered for a browser at another address");
        clock.advance_ms(5 * 60_000 + 1);
        assert_eq!(get(&simulator, &uri, "Safari", SHOP).await.status(), 400);
    }
}
