//! Every URL on one screen.

use super::{
    admin, assets, health, home, log_in, notify, orders, pay, register, return_page, top_up, wechat,
};
use actix_web::web::{self, ServiceConfig, get, post};

/// Forms are small; anything larger is not one of ours.
const MAX_FORM: usize = 16 * 1024;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.app_data(web::FormConfig::default().limit(MAX_FORM))
        .route("/", get().to(home::show))
        .service(
            web::resource("/register").route(get().to(register::show)).route(post().to(register::submit)),
        )
        .service(web::resource("/login").route(get().to(log_in::show)).route(post().to(log_in::submit)))
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
        .service(web::resource("/notify/wechat").route(post().to(notify::wechat)))
        .service(web::resource("/notify/wechat/refund").route(post().to(notify::wechat_refund)))
        .service(web::resource("/notify/wechat/v3").route(post().to(notify::wechat_v3)))
        .service(web::resource("/notify/wechat/v3/refund").route(post().to(notify::wechat_v3_refund)))
        .service(web::resource("/notify/alipay").route(post().to(notify::alipay)))
        .service(
            web::resource("/admin/setup/{link}")
                .route(get().to(admin::set_up::show))
                .route(post().to(admin::set_up::submit)),
        )
        .service(web::resource("/admin").route(get().to(admin::orders::home)))
        .service(web::resource("/admin/orders").route(get().to(admin::orders::list)))
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
