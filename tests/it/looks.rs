//! Every page of end users as it looks: on a phone and on a computer, in light and dark, in both languages, in care
//! mode and in the largest letters. Nothing scrolls sideways, nothing is cut, every target takes a thumb, and axe finds
//! nothing serious where it is at hand. The pictures are for people to look at, in `target/looks`;
//! `docs/pages.md` has the command that makes them all.

use crate::{
    axe::Axe,
    channels::{COMPUTER, PHONE},
    harness::{Shop, WECHAT},
    pay_page::{BRIDGE, EARLY, sign_in},
    refund_pages::refund,
    webdriver::{self, Teller, Window, Wish, told},
};
use serde_json::json;
use shouyin::{flow::set_up, simulator::faults::Scenario};
use std::path::{Path, PathBuf};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const SIZES: [(u32, u32); 2] = [(390, 844), (1280, 900)];

/// How a page is dressed: what its address asks for, the end of a picture's name, the least height of a target in px.
const DRESSES: [(&str, &str, f64); 3] =
    [("lang=zh&care=0", "", 44.0), ("lang=en&care=0", "-en", 44.0), ("lang=zh&care=1", "-care", 48.0)];

/// What a finger aims at, links inside a sentence apart: whatever is smaller than it should be.
const TARGETS: &str = "(least) => [...document.querySelectorAll('a, button, .pick + label, input:not([type=hidden]):not(.pick)')]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }))
  .map((e) => [e, Math.max(e.getBoundingClientRect().height, parseFloat(getComputedStyle(e, '::after').height) || 0,
                           e.closest('.money-input')?.getBoundingClientRect().height || 0)])
  .filter(([, height]) => height < least - 1)
  .map(([e, height]) => `${e.outerHTML.slice(0, 90)} is ${height} px`)";

/// Text that its box hides, and boxes that stand outside the page.
const CUT: &str = "[...document.querySelectorAll('body *')]
  .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest('.sr, svg, .pick, pre'))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1
    || (getComputedStyle(e).overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1))
  .map((e) => e.outerHTML.slice(0, 90))";

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("looks");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

struct Gallery {
    window: Window,
    shop: Shop,
    axe: Axe,
}

impl Gallery {
    /// One page in every dress. `then` is done to it once it is loaded.
    async fn show(&self, path: &str, name: &str, then: &str) {
        for (dress, end, least) in DRESSES {
            let sign = if path.contains('?') { '&' } else { '?' };
            self.window.goto(&format!("{}{path}{sign}{dress}", self.shop.url)).await;
            if !then.is_empty() {
                self.window.eval(&format!("void ({then})")).await;
                self.window.wait_until("document.readyState === 'complete' && !window.leaving").await;
            }
            // That a form came back or a page is missing is no complaint.
            self.window.complaints().await;
            self.look(&format!("{name}{end}"), least).await;
        }
    }

    /// The open page in every size and theme.
    async fn look(&self, name: &str, least: f64) {
        let window = &self.window;
        for (width, height) in SIZES {
            for scheme in ["light", "dark"] {
                window.prefer(scheme).await;
                self.picture(&format!("{name}-{width}-{scheme}"), width, height).await;
                self.axe.finds_nothing_serious(window, name).await;
            }
            window.prefer("light").await;
            let small = window.eval(&format!("({TARGETS})({least})")).await;
            assert_eq!(small, json!([]), "{name} at {width}");
            assert_eq!(window.eval(CUT).await, json!([]), "{name} at {width}");
            window.eval("void (document.documentElement.style.fontSize = '200%')").await;
            assert_eq!(window.eval(CUT).await, json!([]), "{name} at {width} in the largest letters");
            if !name.ends_with("-care") {
                self.picture(&format!("{name}-{width}-large"), width, height).await;
            }
            window.eval("void (document.documentElement.style.fontSize = '')").await;
        }
        assert_eq!(window.complaints().await, Vec::<String>::new(), "{name}");
    }

    async fn picture(&self, name: &str, width: u32, height: u32) {
        self.window.resize(width, height).await;
        let size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]";
        let size = self.window.eval(size).await;
        assert!(size[0].as_u64().unwrap() <= u64::from(width), "{name} scrolls sideways");
        let tall = u32::try_from(size[1].as_u64().unwrap()).unwrap();
        self.window.resize(width, height.max(tall)).await;
        self.window.screenshot(&folder().join(format!("{name}.png"))).await;
        self.window.resize(width, height).await;
    }

    async fn pretend(&self, user_agent: &str) {
        self.window.cdp("Emulation.setUserAgentOverride", json!({ "userAgent": user_agent })).await;
    }
}

async fn gallery(teller: &Teller) -> Option<Gallery> {
    let window = webdriver::open(teller, Wish { user_agent: Some(WECHAT), size: Some((390, 844)) }).await?;
    window.add_script_before_page(&format!("(() => {{ {BRIDGE} {EARLY} }})();")).await;
    Some(Gallery { window, shop: Shop::open().await, axe: Axe::at_hand() })
}

#[actix_web::test]
async fn pages_before_signing_in_look_right_in_every_dress() {
    told(async |teller| {
        let Some(at) = gallery(teller).await else { return };
        at.show("/login", "login", "").await;
        at.show("/register", "register", "").await;
        let send = "window.leaving = true, document.querySelector('form').submit()";
        at.show(
            "/register",
            "register-error",
            &format!("username.value = 'a b', password.value = 'x', {send}"),
        )
        .await;
        let link = set_up::link_if_needed(&at.shop.app).await.unwrap().unwrap();
        at.show(link.strip_prefix(&at.shop.url).unwrap(), "set-up", "").await;
        at.show("/nowhere", "error", "").await;
        let user = at.shop.user("ann").await;
        sign_in(&at.window, &at.shop, &user.cookie().unwrap()).await;
        let rename = |from: &str, to: &str| {
            at.shop.app.store.write(crate::books::sql(&format!("ALTER TABLE {from} RENAME TO {to}")))
        };
        rename("orders", "put_aside").await.unwrap();
        at.show("/orders", "maintenance", "").await;
        rename("put_aside", "orders").await.unwrap();
        println!("pictures in {}", folder().display());
    })
    .await;
}

#[actix_web::test]
async fn pages_of_paying_look_right_in_every_dress() {
    told(paying).await;
}

async fn paying(teller: &Teller) {
    let Some(at) = gallery(teller).await else { return };
    let user = at.shop.user("王小明").await;
    sign_in(&at.window, &at.shop, &user.cookie().unwrap()).await;
    at.show("/top-up", "top-up", "").await;
    let wrong = "document.querySelector('#amount-other').checked = true, other.value = '0.005', window.leaving = true,
        document.querySelector('[data-top-up]').submit()";
    at.show("/top-up", "top-up-error", wrong).await;
    let number = user.top_up("50").await;
    let pay = format!("/orders/{number}/pay");
    at.show(&pay, "pay", "").await;
    for state in ["opening", "no-bridge", "confirming", "unknown", "not-paid"] {
        let then = format!("document.querySelector('[data-pay]').dataset.state = '{state}'");
        at.show(&pay, &format!("pay-{state}"), &then).await;
    }
    let other = user.top_up("50").await;
    let by = |channel: &str| format!("/orders/{other}/pay?channel={channel}");
    at.pretend(COMPUTER).await;
    at.show("/top-up", "top-up-computer", "").await;
    at.show(&by("wechat_native"), "scan", "").await;
    at.show(&by("alipay_qr"), "scan-alipay", "").await;
    at.show(&by("alipay_qr"), "scan-stale", "document.querySelector('[data-watch]').dataset.state = 'stale'")
        .await;
    at.show(&by("alipay_page"), "away-alipay", "").await;
    at.pretend(PHONE).await;
    at.show(&by("wechat_h5"), "away-wechat", "").await;
    let attempts = at.shop.attempts(&other).await;
    let attempt = &attempts.iter().find(|attempt| attempt.closed_at.is_none()).unwrap().out_trade_no;
    at.show(&format!("/return/{attempt}"), "return", "").await;
}

#[actix_web::test]
async fn records_look_right_in_every_dress() {
    told(async |teller| {
        let Some(at) = gallery(teller).await else { return };
        let shop = &at.shop;
        let user = shop.user("王小明").await;
        sign_in(&at.window, shop, &user.cookie().unwrap()).await;
        at.show("/orders", "records-empty", "").await;
        let paid = async |yuan: &str| {
            let number = user.top_up(yuan).await;
            shop.simulator.pay(&number).unwrap();
            shop.clock.advance_ms(1_200);
            shop.deliver().await;
            number
        };
        let first = paid("200").await;
        let closed = user.top_up("9.90").await;
        let late = user.top_up("20").await;
        shop.simulator.set_scenario(&late, Scenario::LatePayment);
        shop.clock.advance_ms(12 * DAY_MS);
        while shop.close_expired().await > 0 {}
        shop.simulator.pay(&late).unwrap();
        shop.deliver().await;
        let admin = shop.admin().await;
        let success = paid("50").await;
        let review = user.top_up("88").await;
        shop.notify(shop.simulator.signed_notify(&review, &[("total_fee", "1")])).await;
        let ask = async |number: &str, intent: &str, yuan: &str| {
            let asked = refund(&admin, &format!("/admin/orders/{number}"), intent, yuan).await;
            assert_eq!(asked.status, 201, "{}", asked.body);
        };
        ask(&first, "looks-of-a-refund-01", "20").await;
        shop.wait_for_refunds(3, 60).await;
        shop.simulator.set_scenario(&first, Scenario::RefundProcessing);
        ask(&first, "looks-of-a-refund-02", "10").await;
        let open = user.top_up("100").await;
        for (path, name) in [
            ("/orders".to_owned(), "records"),
            ("/top-up".to_owned(), "top-up-frozen"),
            (format!("/orders/{open}"), "order-open"),
            (format!("/orders/{success}"), "success"),
            (format!("/orders/{first}"), "order-refunds"),
            (format!("/orders/{late}"), "order-late"),
            (format!("/orders/{closed}"), "order-closed"),
            (format!("/orders/{review}"), "order-review"),
        ] {
            at.show(&path, name, "").await;
        }
        shop.clock.advance_ms(DAY_MS);
        at.show(&format!("/orders/{open}"), "order-confirming", "").await;
    })
    .await;
}
