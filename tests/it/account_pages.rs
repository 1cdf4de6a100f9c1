//! The pages of administrators' accounts on a phone and on a computer, like `screenshots`; made by
//! the command of `docs/pages.md`

use crate::{
    axe::Axe,
    harness::{Browser, PASSWORD, Shop},
    pay_page::sign_in,
    screenshots::shoot,
    webdriver::{self, Wish, told},
};
use shouyin::domain::user::Role;

#[actix_web::test]
async fn pages_of_accounts_fit_a_phone_and_a_computer() {
    told(async |teller| {
        let Some(window) = webdriver::open(teller, Wish { user_agent: None, size: Some((390, 844)) }).await
        else {
            return;
        };
        let (axe, shop) = (Axe::at_hand(), Shop::open().await);
        let admin = shop.admin().await;
        for role in [Role::Finance, Role::Support, Role::Auditor] {
            shop.admin_as(role).await;
        }
        let phone = Browser::new(shop.url.clone(), "Mozilla/5.0 (Linux; Android 14) Mobile");
        assert_eq!(phone.log_in("boss", PASSWORD).await.status, 303);
        let at = |path: &str| format!("{}{path}", shop.url);
        sign_in(&window, &shop, &admin.cookie().unwrap()).await;

        window.goto(&at("/admin/accounts")).await;
        window.fill("#for_whom", "财务 王芳").await;
        window.click("form[action='/admin/accounts/invite'] [type=submit]").await;
        window.wait_until("document.querySelector('.whole')").await;
        shoot(&window, &axe, "admin-invited").await;
        let link = window.eval("document.querySelector('.whole').textContent").await;
        for (path, name) in [
            ("/admin/accounts", "admin-accounts"),
            ("/admin/accounts/2", "admin-account"),
            ("/admin/me", "admin-me"),
        ] {
            window.goto(&at(path)).await;
            shoot(&window, &axe, name).await;
        }
        window.fill("#factor-password", PASSWORD).await;
        window.click("form[action='/admin/me/second-factor/begin'] [type=submit]").await;
        window.wait_until("document.querySelector('.qr svg')").await;
        shoot(&window, &axe, "admin-second-factor").await;

        let enrolling = shop.browser();
        assert_eq!(enrolling.log_in("finance", PASSWORD).await.status, 303);
        let token = enrolling.get("/admin/me").await.hidden("token");
        let form = [("token", token.as_str()), ("password", PASSWORD)];
        assert_eq!(enrolling.post("/admin/me/second-factor/begin", &form).await.status, 303);
        sign_in(&window, &shop, &enrolling.cookie().unwrap()).await;
        window.goto(&at("/admin/accounts")).await;
        window.complaints().await;
        shoot(&window, &axe, "admin-missing-right").await;
        window.goto(&at("/admin/me/second-factor")).await;
        let secret = window.eval("document.querySelector('.whole').textContent").await;
        let code = crate::second_factor::code_of(&shop, secret.as_str().unwrap());
        window.fill("#code", &code).await;
        window.click("form[action='/admin/me/second-factor'] [type=submit]").await;
        window.wait_until("document.querySelector('.codes')").await;
        shoot(&window, &axe, "admin-recovery-codes").await;
        window.goto(&at("/admin/me")).await;
        shoot(&window, &axe, "admin-me-second-factor").await;

        window.goto(link.as_str().unwrap()).await;
        shoot(&window, &axe, "admin-invite").await;
        let waiting = shop.browser();
        assert_eq!(waiting.log_in("finance", PASSWORD).await.header("location"), "/login/code");
        sign_in(&window, &shop, &waiting.cookie().unwrap()).await;
        window.goto(&at("/login/code")).await;
        shoot(&window, &axe, "login-code").await;
    })
    .await;
}
