//! A provider as people read it: every word on the pages that goes by provider, and by nothing finer.

use super::words::Lang;
use crate::{domain::order::Provider, gateway::Protocol};

/// Whose wallet it is.
pub const fn wallet(provider: Provider, lang: Lang) -> &'static str {
    match provider {
        Provider::Wechat => lang.wechat_pay(),
        Provider::Alipay => lang.alipay(),
    }
}

/// The app that scans and pays.
pub const fn app(provider: Provider, lang: Lang) -> &'static str {
    match provider {
        Provider::Wechat => lang.wechat(),
        Provider::Alipay => lang.alipay(),
    }
}

/// As administrators read it.
pub const fn name_zh(provider: Provider) -> &'static str {
    app(provider, Lang::Zh)
}

/// Where its callbacks about payments come in, and where those about refunds, as administrators read it.
pub const fn doors_zh(protocol: Protocol) -> (&'static str, &'static str) {
    let zh = Lang::Zh;
    match protocol {
        Protocol::WechatV2 => (zh.payments_by_v2(), zh.refunds_by_v2()),
        Protocol::WechatV3 => (zh.payments_by_v3(), zh.refunds_by_v3()),
        Protocol::Alipay => (zh.alipay(), zh.refunds_by_alipay()),
    }
}

/// In the badge before its name.
pub const fn letter(provider: Provider, lang: Lang) -> &'static str {
    match provider {
        Provider::Wechat => lang.wechat_letter(),
        Provider::Alipay => lang.alipay_letter(),
    }
}

/// What its own number of a payment is called.
pub const fn number(provider: Provider, lang: Lang) -> &'static str {
    match provider {
        Provider::Wechat => lang.wechat_number(),
        Provider::Alipay => lang.alipay_number(),
    }
}

/// Where the money goes back to, and how long that takes.
pub const fn refund_course(provider: Provider, lang: Lang) -> &'static str {
    match provider {
        Provider::Wechat => lang.refund_wechat(),
        Provider::Alipay => lang.refund_alipay(),
    }
}
