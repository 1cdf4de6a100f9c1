//! What is secret stays in the configuration: nothing the program shows, writes down or says contains it.

use crate::{
    attacks::rows,
    harness::{PASSWORD, Shop},
    refund_pages::refund,
};
use shouyin::config::SimulatorKeys;
use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

/// Everything that this thread logs, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

fn secrets(keys: &SimulatorKeys) -> Vec<(&'static str, String)> {
    let rsa = keys.rsa.clone().unwrap();
    vec![
        ("the key of V2", keys.api_key.clone()),
        ("the secret of web authorisation", keys.app_secret.clone()),
        ("the key of the sessions", keys.secret_key.clone()),
        ("the merchant's key of V3", rsa.merchant),
        ("the app's key at Alipay", rsa.alipay_app),
        ("a password", PASSWORD.to_owned()),
    ]
}

/// The names of all tables of the books.
fn tables() -> impl Iterator<Item = &'static str> {
    let schema = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/schema.rs"));
    schema.split("diesel::table! {").skip(1).filter_map(|table| table.split_whitespace().next())
}

#[actix_web::test]
async fn no_key_password_or_session_is_in_a_page_the_books_the_metrics_or_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    let guard = tracing::subscriber::set_default(subscriber.finish());
    let mut keys = None;
    let mut shop = Shop::open_with_keys(|_, made| keys = Some(made.clone())).await;
    let (admin, ann) = (shop.admin().await, shop.user("ann").await);
    let number = shop.paid("bob", "50").await;
    let unpaid = ann.top_up("50").await;
    let home = format!("/admin/orders/{number}");
    assert_eq!(refund(&admin, &home, "abcdefgh", "20").await.status, 201);
    shop.wait_for_refunds(3, 20).await;
    // Things go wrong, too: a forged callback, a wrong password, a gateway that is away.
    shop.notify(shop.simulator.signed_notify(&unpaid, &[("total_fee", "1")])).await;
    shop.notify("<xml><sign>forged</sign></xml>").await;
    shop.browser().log_in("ann", "not the password").await;
    shop.cut_off().await;
    shop.clock.advance_ms(60_000);
    shop.sweep().await;
    let mut told = String::new();
    for path in ["/admin", "/admin/orders", &home, "/admin/notices", "/admin/refunds", "/admin/work-items"] {
        told += &admin.get(path).await.body;
    }
    for path in
        ["/admin/ledger", "/admin/audit-log", "/admin/diagnostics", "/admin/users", "/metrics", "/nowhere"]
    {
        told += &admin.get(path).await.body;
    }
    told += &ann.get("/orders").await.body;
    told += &ann.get(&format!("/orders/{unpaid}")).await.body;
    // Messages are bytes, which rows of text do not hold.
    for table in tables().filter(|table| !table.ends_with("notices")) {
        told.extend(rows(&shop, table).await.iter().map(ToString::to_string));
    }
    for notice in shop.all_notices().await {
        told += &format!("{} {} {}", String::from_utf8_lossy(&notice.body), notice.headers, notice.reply);
    }
    drop(guard);
    told += &String::from_utf8_lossy(&log.0.lock().unwrap());
    for known in [number.as_str(), "refund_requested", "connect", "gateway_calls"] {
        assert!(told.contains(known), "{known} is nowhere: not everything was looked at");
    }
    let cookies = [admin.cookie(), ann.cookie()].map(|cookie| ("a session", cookie.unwrap()));
    for (name, secret) in secrets(&keys.unwrap()).into_iter().chain(cookies) {
        assert!(!told.contains(&secret), "{name} is told");
    }
}
