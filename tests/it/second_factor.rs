//! The second factor: after the password a code, once; ten ways back in; and nothing of it readable in the books.

use crate::{
    attacks::rows,
    harness::{Answer, Browser, PASSWORD, Shop},
};
use aws_lc_rs::hmac;
use shouyin::{domain::user::Role, flow::set_up};

const STEP_MS: i64 = 30_000;

/// A phone with the secret, written here a second time so that the program does not check itself.
pub struct Phone {
    secret: Vec<u8>,
    pub recovery: Vec<String>,
}

impl Phone {
    pub fn code(&self, shop: &Shop) -> String {
        let step = u64::try_from(shop.clock.now().0 / STEP_MS).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[19] % 16);
        let number = tag[at..at + 4].iter().fold(0_u64, |sum, byte| sum * 256 + u64::from(*byte));
        format!("{:06}", number % 2_u64.pow(31) % 1_000_000)
    }
}

/// What a phone shows that was given this secret by typing.
pub fn code_of(shop: &Shop, base32: &str) -> String {
    Phone { secret: bytes_of(base32), recovery: Vec::new() }.code(shop)
}

/// RFC 4648's alphabet, read bit by bit.
fn bytes_of(base32: &str) -> Vec<u8> {
    let bits: String = base32
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap()))
        .collect();
    let whole = bits.as_bytes().chunks_exact(8);
    whole.map(|eight| u8::from_str_radix(std::str::from_utf8(eight).unwrap(), 2).unwrap()).collect()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
}

async fn post(browser: &Browser, path: &str, field: &str, value: &str) -> Answer {
    let token = browser.get("/admin/me").await.hidden("token");
    browser.post(path, &[("token", token.as_str()), (field, value)]).await
}

/// Turns it on, with a minute gone by after it, so that the next code is a new one.
pub async fn enrol(shop: &Shop, admin: &Browser) -> Phone {
    let begun = post(admin, "/admin/me/second-factor/begin", "password", PASSWORD).await;
    assert_eq!((begun.status, begun.header("location")), (303, "/admin/me/second-factor"), "{}", begun.body);
    let page = admin.get("/admin/me/second-factor").await.body;
    assert!(page.contains("<svg"), "{page}");
    let secret = bytes_of(between(&page, "<span class=\"id whole\">", "</span>")[0]);
    assert_eq!(secret.len(), 20);
    let mut phone = Phone { secret, recovery: Vec::new() };
    let shown = post(admin, "/admin/me/second-factor", "code", &phone.code(shop)).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    phone.recovery =
        between(&shown.body, "<li class=\"id\">", "</li>").into_iter().map(str::to_owned).collect();
    assert_eq!(phone.recovery.len(), 10);
    shop.clock.advance_ms(2 * STEP_MS);
    phone
}

/// A browser whose password was right.
async fn with_password(shop: &Shop, name: &str) -> Browser {
    let browser = shop.browser();
    let answer = browser.log_in(name, PASSWORD).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login/code"), "{}", answer.body);
    browser
}

async fn show_code(browser: &Browser, code: &str) -> Answer {
    let page = browser.get("/login/code").await;
    if page.status != 200 {
        return page;
    }
    let token = page.hidden("token");
    browser.post("/login/code", &[("token", token.as_str()), ("code", code)]).await
}

async fn is_in(browser: &Browser) -> bool {
    browser.get("/admin/orders").await.status == 200
}

async fn acts(shop: &Shop) -> Vec<String> {
    let log = rows(shop, "audit_log").await;
    let all = log.into_iter().map(|row| row["action"].as_str().unwrap().to_owned());
    all.filter(|action| action != "admin_signed_in").collect()
}

#[actix_web::test]
async fn after_the_password_comes_a_code_and_before_it_nothing_opens() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let phone = enrol(&shop, &admin).await;
    assert!(is_in(&admin).await, "the browser it was turned on in stays in");

    let browser = with_password(&shop, "boss").await;
    for path in ["/admin/orders", "/admin/me", "/orders", "/top-up"] {
        assert_eq!(browser.get(path).await.status, 303, "{path}");
    }
    assert_eq!(show_code(&browser, "000000").await.status, 422);
    assert!(!is_in(&browser).await);
    let done = show_code(&browser, &phone.code(&shop)).await;
    assert_eq!((done.status, done.header("location")), (303, "/admin/orders"), "{}", done.body);
    assert!(is_in(&browser).await);
    // The browser has a new secret: the one that waited opens nothing.
    assert_eq!(browser.get("/login/code").await.header("location"), "/login");
}

#[actix_web::test]
async fn a_code_is_taken_once_whoever_has_seen_it() {
    let shop = Shop::open().await;
    let phone = enrol(&shop, &shop.admin().await).await;
    let (first, second) = (with_password(&shop, "boss").await, with_password(&shop, "boss").await);
    let code = phone.code(&shop);
    assert_eq!(show_code(&first, &code).await.status, 303);
    assert_eq!(show_code(&second, &code).await.status, 422);
    // The code of one step ago is older than the one that was taken.
    shop.clock.advance_ms(STEP_MS);
    assert_eq!(show_code(&second, &code).await.status, 422);
    assert_eq!(show_code(&second, &phone.code(&shop)).await.status, 303);

    let (left, right) = (with_password(&shop, "boss").await, with_password(&shop, "boss").await);
    shop.clock.advance_ms(STEP_MS);
    let code = phone.code(&shop);
    let both = futures_util::future::join(show_code(&left, &code), show_code(&right, &code)).await;
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 422], "of two at the same moment one goes in");
}

#[actix_web::test]
async fn a_recovery_code_opens_once_in_any_spelling_and_leaves_a_trace() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let phone = enrol(&shop, &admin).await;
    let spelt = format!(" {} ", phone.recovery[3].to_uppercase().replace('-', " "));
    assert_eq!(show_code(&with_password(&shop, "boss").await, &spelt).await.status, 303);
    assert!(acts(&shop).await.contains(&"recovery_code_used".to_owned()));
    assert!(admin.get("/admin/me").await.body.contains("还有 9 个"));
    let again = with_password(&shop, "boss").await;
    assert_eq!(show_code(&again, &phone.recovery[3]).await.status, 422);
    assert_eq!(show_code(&again, &phone.recovery[4]).await.status, 303);

    let renewed = post(&admin, "/admin/me/recovery-codes", "password", PASSWORD).await;
    assert_eq!(between(&renewed.body, "<li class=\"id\">", "</li>").len(), 10);
    let old = with_password(&shop, "boss").await;
    assert_eq!(show_code(&old, &phone.recovery[0]).await.status, 422, "the old ones are void");
}

#[actix_web::test]
async fn after_five_wrong_codes_even_the_right_one_of_the_phone_has_to_wait() {
    let shop = Shop::open().await;
    let phone = enrol(&shop, &shop.admin().await).await;
    let mut browser = with_password(&shop, "boss").await;
    for n in 1..=5 {
        let answer = show_code(&browser, "12345").await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.body.contains("60 秒"), n == 5, "{n}: {}", answer.body);
        // Another browser and another password prompt do not begin anew.
        browser = with_password(&shop, "boss").await;
    }
    assert_eq!(show_code(&browser, &phone.code(&shop)).await.status, 422);
    shop.clock.advance_ms(61_000);
    // One more wrong one, and it is twice as long.
    assert!(show_code(&browser, "12345").await.body.contains("120 秒"));
    shop.clock.advance_ms(121_000);
    assert_eq!(show_code(&browser, &phone.code(&shop)).await.status, 303);
    // A right one and they are forgotten.
    let calm = with_password(&shop, "boss").await;
    assert!(show_code(&calm, "12345").await.body.contains("不正确，或已经用过"));
}

#[actix_web::test]
async fn who_guesses_codes_does_not_lock_the_owner_of_a_recovery_code_out() {
    let shop = Shop::open().await;
    let phone = enrol(&shop, &shop.admin().await).await;
    let thief = with_password(&shop, "boss").await;
    for _ in 0..5 {
        assert_eq!(show_code(&thief, "12345").await.status, 422);
    }
    let owner = with_password(&shop, "boss").await;
    assert_eq!(show_code(&owner, &phone.code(&shop)).await.status, 422, "codes of the phone have to wait");
    assert_eq!(show_code(&owner, "abcd-efgh-ijkl-mnop").await.status, 422);
    assert_eq!(show_code(&owner, &phone.recovery[0]).await.status, 303);
    assert!(is_in(&owner).await);
}

#[actix_web::test]
async fn the_password_is_good_for_five_minutes_of_waiting() {
    let shop = Shop::open().await;
    let phone = enrol(&shop, &shop.admin().await).await;
    let browser = with_password(&shop, "boss").await;
    let token = browser.get("/login/code").await.hidden("token");
    shop.clock.advance_ms(5 * 60_000 + 1);
    let code = phone.code(&shop);
    let late = browser.post("/login/code", &[("token", token.as_str()), ("code", code.as_str())]).await;
    assert_eq!((late.status, late.header("location")), (303, "/login"));
    assert!(!is_in(&browser).await);
    // Nor does a browser get in that never gave the password.
    let stranger = shop.browser();
    let token = stranger.form_token("/login").await;
    let answer = stranger.post("/login/code", &[("token", token.as_str()), ("code", code.as_str())]).await;
    assert_eq!(answer.header("location"), "/login");
}

#[actix_web::test]
async fn turning_it_on_or_off_takes_the_password_and_ends_what_was_open_elsewhere() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let elsewhere = shop.browser();
    assert_eq!(elsewhere.log_in("boss", PASSWORD).await.status, 303);
    for path in ["/admin/me/second-factor/begin", "/admin/me/second-factor/off", "/admin/me/recovery-codes"] {
        let wrong = post(&admin, path, "password", "not my password").await;
        assert_eq!(wrong.status, 422, "{path}");
        assert!(wrong.body.contains("现在的密码不正确"), "{path}");
    }
    assert_eq!(post(&admin, "/admin/me/second-factor", "code", "123456").await.status, 409);

    // Begun and not confirmed: nothing has changed.
    assert_eq!(post(&admin, "/admin/me/second-factor/begin", "password", PASSWORD).await.status, 303);
    assert_eq!(post(&admin, "/admin/me/second-factor", "code", "0").await.status, 422);
    assert_eq!(shop.browser().log_in("boss", PASSWORD).await.header("location"), "/admin/orders");
    assert!(is_in(&elsewhere).await);

    enrol(&shop, &admin).await;
    assert!(!is_in(&elsewhere).await);
    assert_eq!(post(&admin, "/admin/me/second-factor/begin", "password", PASSWORD).await.status, 409);
    assert_eq!(post(&admin, "/admin/me/second-factor/off", "password", PASSWORD).await.status, 303);
    assert_eq!(shop.browser().log_in("boss", PASSWORD).await.header("location"), "/admin/orders");
    let acts = acts(&shop).await;
    assert_eq!(acts[acts.len() - 2..], ["second_factor_on", "second_factor_off"]);
}

#[actix_web::test]
async fn nothing_in_the_books_is_a_secret_or_a_code() {
    let shop = Shop::open().await;
    let phone = enrol(&shop, &shop.admin().await).await;
    let hex: String = phone.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let factors = rows(&shop, "second_factors").await;
    let codes = rows(&shop, "recovery_codes").await;
    assert_eq!((factors.len(), codes.len()), (1, 10));
    let kept = format!("{factors:?} {codes:?}");
    assert!(!kept.contains(&hex));
    for code in &phone.recovery {
        let code = code.replace('-', "");
        assert!(!kept.contains(&code) && !kept.contains(&shouyin::token::hash(&code)), "{code}");
    }
}

#[actix_web::test]
async fn who_lost_phone_and_codes_gets_a_new_password_from_an_owner_and_the_old_one_is_dead() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    enrol(&shop, &support).await;
    with_password(&shop, "support").await;
    let id = shop.app.store.read(shouyin::store::users::admins).await.unwrap()[1].user.id;
    let path = format!("/admin/accounts/{id}/second-factor");
    assert_eq!(post(&owner, &path, "reason", " ").await.status, 422);
    let link = take_factor_away(&shop, &owner, &path).await;
    let act = rows(&shop, "audit_log").await.pop().unwrap();
    assert_eq!((&act["action"], &act["actor"]), (&"second_factor_removed".into(), &"boss".into()));
    assert!(!is_in(&support).await);
    // Who has stolen the password, and guessed codes until its owner asked for this, is not let in by it.
    assert_eq!(shop.browser().log_in("support", PASSWORD).await.status, 422);
    let page = support.get(&link).await;
    assert!(page.body.contains("设置新密码") && !page.body.contains("name=\"username\""), "{}", page.body);
    let token = page.hidden("token");
    let weak = support.post(&link, &[("token", &token), ("password", "12345678")]).await;
    assert_eq!(weak.status, 422, "{}", weak.body);
    let chosen = "chosen by support alone";
    let done = support.post(&link, &[("token", &token), ("password", chosen)]).await;
    assert_eq!((done.status, done.header("location")), (303, "/admin/orders"), "{}", done.body);
    assert!(is_in(&support).await);
    assert_eq!(shop.browser().get(&link).await.status, 404, "once");
    assert_eq!(shop.browser().log_in("support", PASSWORD).await.status, 422);
    assert_eq!(shop.browser().log_in("support", chosen).await.header("location"), "/admin/orders");
    let renewed = rows(&shop, "audit_log").await.into_iter().find(|act| act["action"] == "password_renewed");
    assert_eq!(renewed.unwrap()["detail"], "by a link of boss");
    assert_eq!(post(&owner, &path, "reason", "当面核实").await.status, 409, "nothing is left to take away");
}

#[actix_web::test]
async fn a_link_for_a_new_password_that_was_not_used_is_made_again_and_the_older_one_is_dead() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    enrol(&shop, &support).await;
    let id = shop.app.store.read(shouyin::store::users::admins).await.unwrap()[1].user.id;
    let path = format!("/admin/accounts/{id}/second-factor");
    let first = take_factor_away(&shop, &owner, &path).await;
    assert!(owner.get(&format!("/admin/accounts/{id}")).await.body.contains("再发一个新密码链接"));
    let second = take_factor_away(&shop, &owner, &path).await;
    assert_eq!(shop.browser().get(&first).await.status, 404);
    assert_eq!(shop.browser().get(&second).await.status, 200);
    // The one who handed it out is put out, and so is the link.
    assert!(set_up::reset_password(&shop.app, "boss", "another good password".to_owned()).await.unwrap());
    assert_eq!(shop.browser().get(&second).await.status, 404);
}

#[actix_web::test]
async fn nobody_takes_their_own_factor_away_without_the_password() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    enrol(&shop, &owner).await;
    let id = shop.app.store.read(shouyin::store::users::admins).await.unwrap()[0].user.id;
    let refused = post(&owner, &format!("/admin/accounts/{id}/second-factor"), "reason", "x").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    with_password(&shop, "boss").await;
}

/// An owner takes a second factor away; gives the path of the link for a new password.
async fn take_factor_away(shop: &Shop, owner: &Browser, path: &str) -> String {
    let page = post(owner, path, "reason", "当面核实").await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (_, rest) = page.body.split_once(&format!("{}/admin/invite/", shop.url)).unwrap();
    format!("/admin/invite/{}", &rest[..64])
}

#[actix_web::test]
async fn a_password_reset_at_the_machine_takes_the_second_factor_away() {
    let shop = Shop::open().await;
    shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    enrol(&shop, &support).await;
    let new = "another good password";
    assert!(set_up::reset_password(&shop.app, "support", new.to_owned()).await.unwrap());
    assert_eq!(shop.browser().log_in("support", new).await.header("location"), "/admin/orders");
    let acts = acts(&shop).await;
    assert_eq!(acts[acts.len() - 2..], ["password_reset", "second_factor_removed"]);
}

#[actix_web::test]
async fn every_sign_in_of_an_administrator_and_the_first_block_stand_in_the_log() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let sign_ins = async || {
        let log = rows(&shop, "audit_log").await.into_iter().filter(|act| act["action"] == "admin_signed_in");
        log.map(|act| (act["actor"].clone(), act["detail"].clone())).collect::<Vec<_>>()
    };
    let boss = (serde_json::json!("boss"), serde_json::json!("127.0.0.1"));
    assert_eq!(sign_ins().await, std::slice::from_ref(&boss), "by the link");
    shop.user("ann").await;
    assert_eq!(shop.browser().log_in("boss", PASSWORD).await.status, 303);
    assert_eq!(sign_ins().await, [boss.clone(), boss.clone()], "by the password; of payers nothing");
    let phone = enrol(&shop, &admin).await;
    let browser = with_password(&shop, "boss").await;
    assert_eq!(sign_ins().await.len(), 2, "half of the way");
    let blocks = async || acts(&shop).await.into_iter().filter(|act| act == "second_factor_blocked").count();
    for wrong in 1..=5 {
        assert_eq!(blocks().await, 0, "{wrong}");
        show_code(&browser, "12345").await;
    }
    assert_eq!(blocks().await, 1);
    shop.clock.advance_ms(61_000);
    show_code(&browser, "12345").await;
    assert_eq!(blocks().await, 1, "the first of a row");
    shop.clock.advance_ms(121_000);
    assert_eq!(show_code(&browser, &phone.code(&shop)).await.status, 303);
    assert_eq!(sign_ins().await.len(), 3);
}
