//! Every URL on one screen.

use super::{
    admin, assets, error::WebError, health, home, log_in, log_in_code, notify, orders, pay, register,
    return_page, top_up, wechat,
};
use actix_web::web::{self, ServiceConfig, get, post};

/// Forms are small: two fields of 10,000 characters are still told what is wrong with them, more is not one of ours.
const MAX_FORM: usize = 64 * 1024;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.app_data(web::FormConfig::default().limit(MAX_FORM))
        .app_data(web::QueryConfig::default().error_handler(|error, request| {
            // Administrators write filters into addresses, and can mend them; nobody else does.
            if request.path().starts_with("/admin") { WebError::Unreadable.into() } else { error.into() }
        }))
        .configure(doors)
        .route("/", get().to(home::show))
        .service(
            web::resource("/register").route(get().to(register::show)).route(post().to(register::submit)),
        )
        .service(web::resource("/login").route(get().to(log_in::show)).route(post().to(log_in::submit)))
        .service(
            web::resource("/login/code")
                .route(get().to(log_in_code::show))
                .route(post().to(log_in_code::submit)),
        )
        .service(web::resource("/logout").route(post().to(log_in::out)))
        .service(web::resource("/wechat/login").route(get().to(wechat::start)))
        .service(web::resource("/wechat/callback").route(get().to(wechat::callback)))
        .service(web::resource("/wechat/mini/login").route(post().to(wechat::mini_login)))
        .service(web::resource("/top-up").route(get().to(top_up::show)).route(post().to(top_up::submit)))
        .service(web::resource("/orders").route(get().to(orders::list)))
        .service(web::resource("/orders/{out_trade_no}").route(get().to(orders::show)))
        .service(web::resource("/orders/{out_trade_no}/pay").route(get().to(pay::show)))
        .service(web::resource("/orders/{out_trade_no}/status").route(get().to(pay::status)))
        .service(web::resource("/orders/{out_trade_no}/returned").route(post().to(pay::returned)))
        .service(web::resource("/return/{out_trade_no}").route(get().to(return_page::show)))
        .service(
            web::resource("/admin/setup/{link}")
                .route(get().to(admin::set_up::show))
                .route(post().to(admin::set_up::submit)),
        )
        .configure(accounts)
        .service(web::resource("/admin").route(get().to(admin::dashboard::show)))
        .service(web::resource("/admin/orders").route(get().to(admin::orders::list)))
        .service(web::resource("/admin/orders.csv").route(get().to(admin::export::csv)))
        .service(web::resource("/admin/orders.xlsx").route(get().to(admin::export::xlsx)))
        .service(web::resource("/admin/users").route(get().to(admin::users::list)))
        .service(web::resource("/admin/users/{id}").route(get().to(admin::user::show)))
        .service(web::resource("/admin/users/{id}/freeze").route(post().to(admin::user::freeze)))
        .service(web::resource("/admin/users/{id}/unfreeze").route(post().to(admin::user::unfreeze)))
        .service(web::resource("/admin/users/{id}/adjust").route(post().to(admin::user::adjust)))
        .service(
            web::resource("/admin/adjustments/{id}/approve").route(post().to(admin::adjustment::approve)),
        )
        .service(web::resource("/admin/adjustments/{id}/reject").route(post().to(admin::adjustment::reject)))
        .service(web::resource("/admin/ledger").route(get().to(admin::ledger::list)))
        .service(web::resource("/admin/audit-log").route(get().to(admin::audit_log::list)))
        .service(web::resource("/admin/diagnostics").route(get().to(admin::diagnostics::show)))
        .service(web::resource("/admin/diagnostics/gateways").route(post().to(admin::self_test::run)))
        .service(web::resource("/admin/first-run").route(get().to(admin::first_run::show)))
        .service(web::resource("/admin/orders/{out_trade_no}").route(get().to(admin::order::show)))
        .service(web::resource("/admin/orders/{out_trade_no}/query").route(post().to(admin::order::query)))
        .service(
            web::resource("/admin/orders/{out_trade_no}/refund")
                .route(get().to(admin::refund::of_order))
                .route(post().to(admin::refund::submit_of_order)),
        )
        .service(web::resource("/admin/refunds").route(get().to(admin::refunds::list)))
        .service(
            web::resource("/admin/refunds/{out_refund_no}/approve").route(post().to(admin::refunds::approve)),
        )
        .service(
            web::resource("/admin/refunds/{out_refund_no}/reject").route(post().to(admin::refunds::reject)),
        )
        .service(
            web::resource("/admin/refunds/{out_refund_no}/give-up").route(post().to(admin::refunds::give_up)),
        )
        .service(
            web::resource("/admin/refunds/{out_refund_no}/query").route(post().to(admin::refunds::query)),
        )
        .service(web::resource("/admin/bills").route(get().to(admin::bills::list)))
        .service(web::resource("/admin/bills/{id}").route(get().to(admin::bills::show)))
        .service(web::resource("/admin/bills/{id}/lines.csv").route(get().to(admin::bill_lines::csv)))
        .service(web::resource("/admin/bills/{id}/reconcile").route(post().to(admin::bills::again)))
        .service(web::resource("/admin/notices").route(get().to(admin::notices::list)))
        .service(web::resource("/admin/notices/{notice}").route(get().to(admin::notice::show)))
        .service(web::resource("/admin/notices/{notice}/replay").route(post().to(admin::notice::replay)))
        .service(web::resource("/admin/work-items").route(get().to(admin::work_items::list)))
        .service(web::resource("/admin/work-items/{id}").route(get().to(admin::work_item::show)))
        .service(web::resource("/admin/work-items/{id}/note").route(post().to(admin::work_item::note)))
        .service(web::resource("/admin/work-items/{id}/close").route(post().to(admin::work_item::close)))
        .service(web::resource("/admin/work-items/{id}/credit").route(post().to(admin::work_item::credit)))
        .service(
            web::resource("/admin/work-items/{id}/refund")
                .route(get().to(admin::refund::of_work_item))
                .route(post().to(admin::refund::submit_of_work_item)),
        )
        .service(web::resource("/healthz").route(get().to(health::alive)))
        .service(web::resource("/readyz").route(get().to(health::ready)))
        .service(web::resource("/metrics").route(get().to(health::metrics)))
        .service(web::resource("/static/{hash}/{name}").route(get().to(assets::serve)));
}

/// The gateways' doors, before everything else: routes are tried one by one.
fn doors(cfg: &mut ServiceConfig) {
    cfg.service(web::resource("/notify/wechat").route(post().to(notify::wechat)))
        .service(web::resource("/notify/wechat/refund").route(post().to(notify::wechat_refund)))
        .service(web::resource("/notify/wechat/v3").route(post().to(notify::wechat_v3)))
        .service(web::resource("/notify/wechat/v3/refund").route(post().to(notify::wechat_v3_refund)))
        .service(web::resource("/notify/alipay").route(post().to(notify::alipay)));
}

/// Administrators' accounts.
fn accounts(cfg: &mut ServiceConfig) {
    cfg.service(
        web::resource("/admin/invite/{link}")
            .route(get().to(admin::invite::show))
            .route(post().to(admin::invite::submit)),
    )
    .service(web::resource("/admin/accounts").route(get().to(admin::accounts::list)))
    .service(web::resource("/admin/accounts/invite").route(post().to(admin::accounts::invite)))
    .service(
        web::resource("/admin/accounts/invitations/{id}/withdraw")
            .route(post().to(admin::accounts::withdraw)),
    )
    .service(web::resource("/admin/accounts/{id}").route(get().to(admin::account::show)))
    .service(web::resource("/admin/accounts/{id}/role").route(post().to(admin::account::role)))
    .service(web::resource("/admin/accounts/{id}/disable").route(post().to(admin::account::disable)))
    .service(web::resource("/admin/accounts/{id}/enable").route(post().to(admin::account::enable)))
    .service(web::resource("/admin/accounts/{id}/sign-out").route(post().to(admin::account::sign_out)))
    .service(
        web::resource("/admin/accounts/{id}/second-factor")
            .route(post().to(admin::account::remove_second_factor)),
    )
    .service(web::resource("/admin/me").route(get().to(admin::me::show)))
    .service(web::resource("/admin/me/password").route(post().to(admin::me::password)))
    .service(web::resource("/admin/me/sign-out").route(post().to(admin::me::sign_out)))
    .service(
        web::resource("/admin/me/second-factor")
            .route(get().to(admin::second_factor::show))
            .route(post().to(admin::second_factor::confirm)),
    )
    .service(web::resource("/admin/me/second-factor/begin").route(post().to(admin::second_factor::begin)))
    .service(web::resource("/admin/me/second-factor/off").route(post().to(admin::second_factor::turn_off)))
    .service(web::resource("/admin/me/recovery-codes").route(post().to(admin::second_factor::renew_codes)));
}
