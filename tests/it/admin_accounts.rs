//! Administrators' accounts: invited once, given a role, closed at once, and never without an owner.

use crate::{
    attacks::rows,
    harness::{Answer, Browser, PASSWORD, Shop},
    second_factor::enrol,
};
use shouyin::{
    domain::user::Role,
    flow::set_up,
    store::users::{self, Account},
};

async fn post(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = browser.get("/admin/me").await.hidden("token");
    let fields: Vec<_> = [("token", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
    browser.post(path, &fields).await
}

/// Asks for an invitation; gives the path of its link.
async fn invite(shop: &Shop, owner: &Browser, role: &str) -> String {
    let page = post(owner, "/admin/accounts/invite", &[("role", role), ("for_whom", "王芳")]).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (_, rest) = page.body.split_once(&format!("{}/admin/invite/", shop.url)).unwrap();
    format!("/admin/invite/{}", &rest[..64])
}

async fn accept(shop: &Shop, link: &str, name: &str) -> (Browser, Answer) {
    let browser = shop.browser();
    let page = browser.get(link).await;
    if page.status != 200 {
        return (browser, page);
    }
    let token = page.hidden("token");
    let form = [("token", token.as_str()), ("username", name), ("password", PASSWORD)];
    let answer = browser.post(link, &form).await;
    (browser, answer)
}

async fn account(shop: &Shop, name: &str) -> Account {
    let all = shop.app.store.read(users::admins).await.unwrap();
    all.into_iter().find(|account| account.user.username == name).unwrap()
}

async fn home(shop: &Shop, name: &str) -> String {
    format!("/admin/accounts/{}", account(shop, name).await.user.id)
}

async fn is_in(browser: &Browser) -> bool {
    browser.get("/admin/orders").await.status == 200
}

#[actix_web::test]
async fn an_invitation_makes_one_account_of_its_role_and_is_used_up() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let link = invite(&shop, &owner, "finance").await;
    assert!(owner.get("/admin/accounts").await.body.contains("还没有用的邀请"));
    assert!(shop.browser().get(&link).await.body.contains("boss 邀请你成为“财务”"));
    // What a person can mend leaves the link open.
    assert_eq!(accept(&shop, &link, "boss").await.1.status, 422);
    let (browser, made) = accept(&shop, &link, "fang").await;
    assert_eq!((made.status, made.header("location")), (303, "/admin/orders"));
    assert!(is_in(&browser).await);
    assert_eq!(account(&shop, "fang").await.user.role, Role::Finance);
    assert_eq!(browser.get("/admin/accounts").await.status, 403);
    assert_eq!(accept(&shop, &link, "somebody").await.1.status, 404);
    assert!(!owner.get("/admin/accounts").await.body.contains("还没有用的邀请"));
    for role in ["user", "root", ""] {
        let refused = post(&owner, "/admin/accounts/invite", &[("role", role), ("for_whom", "x")]).await;
        assert_eq!(refused.status, 422, "{role}");
    }
    let log = rows(&shop, "audit_log").await;
    let made = log.iter().rfind(|row| row["action"] == "admin_created").unwrap();
    assert_eq!((&made["detail"], &made["became"]), (&"invited by boss".into(), &"finance".into()));
}

#[actix_web::test]
async fn an_invitation_ends_after_half_an_hour_when_withdrawn_and_with_whoever_gave_it() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let old = invite(&shop, &owner, "support").await;
    shop.clock.advance_ms(30 * 60_000);
    assert_eq!(accept(&shop, &old, "late").await.1.status, 404);

    let link = invite(&shop, &owner, "support").await;
    let page = owner.get("/admin/accounts").await.body;
    let (_, rest) = page.split_once("action=\"/admin/accounts/invitations/").unwrap();
    let path = format!("/admin/accounts/invitations/{}", rest.split('"').next().unwrap());
    assert_eq!(post(&owner, &path, &[]).await.status, 303);
    assert_eq!(post(&owner, &path, &[]).await.status, 409);
    assert_eq!(accept(&shop, &link, "late").await.1.status, 404);

    // A second owner hands out a link and is closed: so is the link.
    let second = shop.admin_as(Role::Owner).await;
    let link = invite(&shop, &second, "owner").await;
    let path = format!("{}/disable", home(&shop, "owner").await);
    assert_eq!(post(&owner, &path, &[("reason", "离职")]).await.status, 303);
    assert_eq!(accept(&shop, &link, "late").await.1.status, 404);
}

#[actix_web::test]
async fn links_die_however_whoever_handed_them_out_is_put_out() {
    let shop = Shop::open().await;
    let boss = shop.admin().await;
    let second = shop.admin_as(Role::Owner).await;
    let path = home(&shop, "owner").await;
    let is_dead = async |link: String| accept(&shop, &link, "late").await.1.status == 404;

    let link = invite(&shop, &second, "owner").await;
    assert_eq!(post(&boss, &format!("{path}/sign-out"), &[]).await.status, 303);
    assert!(is_dead(link).await, "signed out everywhere");

    assert_eq!(second.log_in("owner", PASSWORD).await.status, 303);
    let link = invite(&shop, &second, "owner").await;
    let (old, new) = (("old", PASSWORD), ("new", "another good password"));
    assert_eq!(post(&second, "/admin/me/password", &[old, new]).await.status, 303);
    assert!(is_dead(link).await, "a new password");

    let link = invite(&shop, &second, "owner").await;
    assert!(set_up::reset_password(&shop.app, "owner", PASSWORD.to_owned()).await.unwrap());
    assert!(is_dead(link).await, "a new password at the machine");

    assert_eq!(second.log_in("owner", PASSWORD).await.status, 303);
    enrol(&shop, &second).await;
    let link = invite(&shop, &second, "owner").await;
    let taken = post(&boss, &format!("{path}/second-factor"), &[("reason", "手机丢了")]).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    assert!(is_dead(link).await, "without the second factor");
}

#[actix_web::test]
async fn a_closed_account_is_out_at_once_and_does_not_come_back_in() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    let phone = shop.browser();
    assert_eq!(phone.log_in("support", PASSWORD).await.status, 303);
    let path = home(&shop, "support").await;
    assert_eq!(post(&owner, &format!("{path}/disable"), &[]).await.status, 422, "no reason given");
    assert!(is_in(&support).await && is_in(&phone).await);
    assert_eq!(post(&owner, &format!("{path}/disable"), &[("reason", "离职")]).await.status, 303);
    assert!(!is_in(&support).await && !is_in(&phone).await);
    assert_eq!(phone.log_in("support", PASSWORD).await.status, 422);
    assert!(owner.get(&path).await.body.contains("已停用"));

    assert_eq!(post(&owner, &format!("{path}/enable"), &[("reason", "回来了")]).await.status, 303);
    assert!(!is_in(&support).await, "the old session stays dead");
    assert_eq!(phone.log_in("support", PASSWORD).await.status, 303);
    assert!(is_in(&phone).await);
}

#[actix_web::test]
async fn a_new_role_holds_at_once_and_signs_out() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let finance = shop.admin_as(Role::Finance).await;
    let path = format!("{}/role", home(&shop, "finance").await);
    assert_eq!(post(&owner, &path, &[("role", "user")]).await.status, 422);
    assert_eq!(post(&owner, &path, &[("role", "auditor")]).await.status, 303);
    assert!(!is_in(&finance).await);
    assert_eq!(finance.log_in("finance", PASSWORD).await.status, 303);
    let number = shop.paid("ann", "50").await;
    let refund = finance.get(&format!("/admin/orders/{number}/refund")).await;
    assert_eq!(refund.status, 403);
    assert!(refund.body.contains("退款和入账") && refund.body.contains("负责人、财务"), "{}", refund.body);
    let page = finance.get(&format!("/admin/orders/{number}")).await.body;
    assert!(!page.contains("/refund\"") && !page.contains("/query\""), "no button that does nothing: {page}");
}

#[actix_web::test]
async fn there_is_always_an_owner_left() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let boss = home(&shop, "boss").await;
    for role in ["finance", "auditor"] {
        assert_eq!(post(&owner, &format!("{boss}/role"), &[("role", role)]).await.status, 409);
    }
    assert_eq!(post(&owner, &format!("{boss}/disable"), &[("reason", "x")]).await.status, 409);
    let second = shop.admin_as(Role::Owner).await;
    let other = home(&shop, "owner").await;
    assert_eq!(post(&owner, &format!("{boss}/disable"), &[("reason", "x")]).await.status, 409, "oneself");

    // Each closes the other at the same moment.
    let (mine, theirs) = (format!("{other}/disable"), format!("{boss}/disable"));
    let (my_token, their_token) =
        (owner.get("/admin/me").await.hidden("token"), second.get("/admin/me").await.hidden("token"));
    let both = futures_util::future::join(
        owner.post(&mine, &[("token", &my_token), ("reason", "x")]),
        second.post(&theirs, &[("token", &their_token), ("reason", "x")]),
    )
    .await;
    // Whoever comes late is refused, or has been signed out by then and is sent to sign in again.
    let closed = |answer: &Answer| answer.status == 303 && !answer.header("location").contains("/login");
    assert_eq!([closed(&both.0), closed(&both.1)].iter().filter(|closed| **closed).count(), 1, "{both:?}");
    let open = [account(&shop, "boss").await, account(&shop, "owner").await];
    assert_eq!(open.iter().filter(|account| account.disabled_at.is_none()).count(), 1);
}

#[actix_web::test]
async fn an_owner_whom_no_password_opens_is_not_the_one_who_is_left() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let second = shop.admin_as(Role::Owner).await;
    enrol(&shop, &second).await;
    let path = format!("{}/second-factor", home(&shop, "owner").await);
    assert_eq!(post(&owner, &path, &[("reason", "phone lost")]).await.status, 200);
    assert!(account(&shop, "owner").await.has_no_password);
    let boss = home(&shop, "boss").await;
    assert_eq!(post(&owner, &format!("{boss}/role"), &[("role", "finance")]).await.status, 409);
    // What counts as set up is another question: no second set-up link is ever printed.
    assert!(shop.app.store.read(users::any_admin).await.unwrap());
}

#[actix_web::test]
async fn sessions_are_listed_and_end_one_by_one_or_together() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    let phone = Browser::new(shop.url.clone(), "Mozilla/5.0 (Linux; Android 14) Mobile");
    shop.clock.advance_ms(60_000);
    assert_eq!(phone.log_in("support", PASSWORD).await.status, 303);
    let path = home(&shop, "support").await;
    let page = owner.get(&path).await.body;
    for words in ["手机浏览器", "电脑浏览器", "127.0.0.1"] {
        assert!(page.contains(words), "{words}");
    }
    // The latest first: the phone.
    let session = owner.get(&path).await.hidden("session");
    assert_eq!(post(&owner, &format!("{path}/sign-out"), &[("session", &session)]).await.status, 303);
    assert!(is_in(&support).await && !is_in(&phone).await);
    assert_eq!(post(&owner, &format!("{path}/sign-out"), &[]).await.status, 303);
    assert!(!is_in(&support).await);

    // Nobody ends another's session through the page of their own account.
    assert_eq!(support.log_in("support", PASSWORD).await.status, 303);
    let of_owner = shop.app.store.read({
        let (id, now) = (account(&shop, "boss").await.user.id, shop.clock.now());
        move |db| shouyin::store::sessions::of_user(db, id, now)
    });
    let of_owner = of_owner.await.unwrap().remove(0).id();
    assert_eq!(post(&support, "/admin/me/sign-out", &[("session", &of_owner)]).await.status, 303);
    assert!(is_in(&owner).await);
}

#[actix_web::test]
async fn a_new_password_takes_the_old_one_and_signs_out_everywhere_else() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let elsewhere = shop.browser();
    assert_eq!(elsewhere.log_in("boss", PASSWORD).await.status, 303);
    let new = "a rather better password";
    for (old, fresh, words) in [
        ("wrong", new, "现在的密码不正确"),
        (PASSWORD, "short", "至少需要 8 个字符"),
        (PASSWORD, "password", "太常见"),
    ] {
        let answer = post(&admin, "/admin/me/password", &[("old", old), ("new", fresh)]).await;
        assert!(answer.status == 422 && answer.body.contains(words), "{words}: {}", answer.body);
    }
    assert!(is_in(&elsewhere).await);
    assert_eq!(post(&admin, "/admin/me/password", &[("old", PASSWORD), ("new", new)]).await.status, 303);
    assert!(is_in(&admin).await && !is_in(&elsewhere).await);
    assert_eq!(elsewhere.log_in("boss", PASSWORD).await.status, 422);
    assert_eq!(elsewhere.log_in("boss", new).await.status, 303);
}

#[actix_web::test]
async fn every_act_about_an_account_is_written_down_with_before_and_after() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    shop.admin_as(Role::Support).await;
    let path = home(&shop, "support").await;
    let reason = [("reason", "试一下")];
    invite(&shop, &owner, "auditor").await;
    post(&owner, &format!("{path}/role"), &[("role", "finance")]).await;
    // Nothing to change, nothing to write down.
    post(&owner, &format!("{path}/role"), &[("role", "finance")]).await;
    post(&owner, &format!("{path}/sign-out"), &[]).await;
    post(&owner, &format!("{path}/disable"), &reason).await;
    post(&owner, &format!("{path}/enable"), &reason).await;
    let log = rows(&shop, "audit_log").await;
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
    let told: Vec<_> = log
        .iter()
        .map(|row| ["actor", "action", "target", "detail", "was", "became"].map(|name| text(row, name)))
        .collect();
    let expected = [
        ["boss", "admin_created", "boss", "by setup link", "", "owner"],
        ["boss", "admin_signed_in", "boss", "127.0.0.1", "", ""],
        ["cli", "admin_created", "support", "", "", "support"],
        ["support", "admin_signed_in", "support", "127.0.0.1", "", ""],
        ["boss", "admin_invited", "王芳", "", "", "auditor"],
        ["boss", "admin_role_changed", "support", "", "support", "finance"],
        ["boss", "admin_signed_out", "support", "all", "", ""],
        ["boss", "admin_disabled", "support", "试一下", "open", "closed"],
        ["boss", "admin_enabled", "support", "试一下", "closed", "open"],
    ];
    assert_eq!(told, expected);
}

#[actix_web::test]
async fn only_an_open_account_that_may_move_money_counts_as_the_second_administrator() {
    let shop = Shop::open().await;
    let owner = shop.admin().await;
    let boss = account(&shop, "boss").await.user;
    let has_second = || shouyin::flow::decide_refund::has_second_admin(&shop.app, &boss);
    shop.admin_as(Role::Support).await;
    assert!(!has_second().await.unwrap());
    shop.admin_as(Role::Finance).await;
    assert!(has_second().await.unwrap());
    let path = format!("{}/disable", home(&shop, "finance").await);
    assert_eq!(post(&owner, &path, &[("reason", "x")]).await.status, 303);
    assert!(!has_second().await.unwrap());
}
