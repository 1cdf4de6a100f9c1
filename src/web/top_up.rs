//! The top-up form and what it makes.

use super::{
    Web,
    browser::Browser,
    csrf,
    error::WebError,
    layout::{Layout, page},
    session::{SignedIn, see_other},
};
use crate::{
    domain::{
        ledger::Account,
        money::{AmountError, Fen, yuan_text},
        order::{Channel, Order},
    },
    flow::{
        bind_openid,
        top_up::{self, Pay, TopUpError, Wish},
    },
    store::{ledger, refunds},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Form},
};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "top_up.html")]
struct TopUpPage {
    layout: Layout,
    balance: String,
    /// Held by refunds under way.
    frozen: Option<String>,
    presets: Vec<Preset>,
    other: String,
    other_checked: bool,
    error: Option<String>,
    min: String,
    max: String,
    intent: String,
    /// For browsers that cannot pay themselves.
    wechat_hint: Option<String>,
    top_up_js: String,
}

struct Preset {
    yuan: String,
    value: String,
    checked: bool,
}

/// Amounts and owners come from here and from the session; no other field of a form is read.
#[derive(Deserialize)]
pub struct TopUpForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    amount: String,
    /// Used when `amount` is the word `other`.
    #[serde(default)]
    other_amount: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    intent: String,
}

/// GET /top-up. In WeChat the openid is learnt first, silently.
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, visitor: SignedIn) -> Result<HttpResponse, WebError> {
    if visitor.kind == Browser::WechatPhone && visitor.openid.is_none() && !visitor.json {
        return Ok(see_other("/wechat/login?next=%2Ftop-up", None));
    }
    let intent = web.app.clock.nonce()?;
    form(&web, &visitor, StatusCode::OK, "", intent, None).await
}

/// POST /top-up
///
/// # Errors
/// See `WebError`; an amount a person can mend comes back as the form with 422.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    posted: Form<TopUpForm>,
) -> Result<HttpResponse, WebError> {
    let posted = posted.into_inner();
    csrf::check(&request, &web.app, &visitor, &posted.token)?;
    web.limits.top_up(&web.app, visitor.user.id)?;
    let typed = if posted.amount == "other" { &posted.other_amount } else { &posted.amount };
    let made = match wish(&posted, typed, visitor.user.id) {
        Ok(wish) => top_up::create(&web.app, wish).await.map_err(|error| refusal(&web, error)),
        Err(sentence) => Err(Refused::Amount(sentence)),
    };
    let order = match made {
        Ok(order) => order,
        Err(Refused::Other(error)) => return Err(error),
        Err(Refused::Amount(sentence)) if visitor.json => return Err(WebError::Unprocessable(sentence)),
        Err(Refused::Amount(sentence)) => {
            let intent = web.app.clock.nonce()?;
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return form(&web, &visitor, status, typed, intent, Some(sentence)).await;
        }
    };
    let channel = Channel::parse(&posted.channel).unwrap_or(Channel::WechatJsapi);
    let payer = match &visitor.openid {
        Some(openid) => Some(openid.clone()),
        // A program pays through a client of its own: the openid bound before is the payer's.
        None if visitor.json => bind_openid::known(&web.app, &visitor.user).await?,
        None => None,
    };
    let ip = visitor.ip.to_string();
    let pay = top_up::checkout(&web.app, order.id, channel, payer.as_ref(), &ip).await?;
    if visitor.json {
        return created(&web, &order, pay);
    }
    // Whatever the gateway said, the order's own page says it better and can try again.
    Ok(see_other(&format!("/orders/{}/pay", order.out_trade_no), None))
}

enum Refused {
    /// With the sentence for beside the field.
    Amount(String),
    Other(WebError),
}

fn wish(posted: &TopUpForm, typed: &str, user_id: i64) -> Result<Wish, String> {
    let amount = Fen::parse_yuan(typed).map_err(|error| match error {
        AmountError::TooFine => "金额最多两位小数。".to_owned(),
        AmountError::TooLarge => "金额太大了。".to_owned(),
        AmountError::NotDecimal => "请输入数字金额，例如 50 或 9.90。".to_owned(),
    })?;
    #[cfg(feature = "canaries")]
    let amount = wrong::rounded(amount, typed);
    let channel = match posted.channel.as_str() {
        "" => Channel::WechatJsapi,
        name => Channel::parse(name).ok_or_else(|| "没有这种支付方式。".to_owned())?,
    };
    Ok(Wish { user_id, amount, channel, intent: posted.intent.clone() })
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What a wrong version of reading an amount would do.

    use super::*;
    use crate::canary::{self, Canary};

    /// Yuan as a float, times a hundred, cut to an integer.
    pub(super) fn rounded(amount: Fen, typed: &str) -> Fen {
        let float = typed.parse::<f64>().ok().filter(|_| canary::sings(Canary::FloatAmount));
        float.and_then(|yuan| Fen::parse_fen(&(yuan * 100.0).trunc().to_string()).ok()).unwrap_or(amount)
    }
}

fn refusal(web: &Web, error: TopUpError) -> Refused {
    let limits = &web.app.config.top_up;
    match error {
        TopUpError::AmountOutside => {
            Refused::Amount(format!("单笔充值金额为 {} 至 {} 元。", limits.min.yuan(), limits.max.yuan()))
        }
        TopUpError::BadIntent => {
            Refused::Other(WebError::BadRequest("表单已失效，没有下单。请返回充值页重试。"))
        }
        TopUpError::IntentReused => {
            Refused::Other(WebError::Conflict("这张表单已经用过，原订单仍然有效。请返回充值页重新选择金额。"))
        }
        TopUpError::TooManyOpen => {
            Refused::Other(WebError::Conflict("未支付的订单太多了。请先支付或等待它们过期，再下新单。"))
        }
        TopUpError::Flow(error) => Refused::Other(error.into()),
    }
}

async fn form(
    web: &Web,
    visitor: &SignedIn,
    status: StatusCode,
    typed: &str,
    intent: String,
    error: Option<String>,
) -> Result<HttpResponse, WebError> {
    let user_id = visitor.user.id;
    let (balance, held) = web
        .app
        .store
        .read(move |db| Ok((ledger::balance(db, &Account::User(user_id))?, refunds::held(db, user_id)?)))
        .await?;
    let limits = &web.app.config.top_up;
    let chosen =
        Fen::parse_yuan(typed).ok().or(if typed.is_empty() { limits.presets.get(2).copied() } else { None });
    let presets: Vec<Preset> = limits
        .presets
        .iter()
        .map(|preset| Preset {
            yuan: preset.yuan().trim_end_matches(".00").to_owned(),
            value: preset.yuan(),
            checked: Some(*preset) == chosen,
        })
        .collect();
    let other_checked = !presets.iter().any(|preset| preset.checked);
    let form = TopUpPage {
        layout: Layout::of(web, visitor),
        balance: yuan_text(balance),
        frozen: (held > 0).then(|| yuan_text(held)),
        other: if other_checked { typed.chars().take(32).collect() } else { String::new() },
        other_checked,
        presets,
        error,
        min: limits.min.yuan(),
        max: limits.max.yuan(),
        intent,
        wechat_hint: (visitor.kind != Browser::WechatPhone)
            .then(|| "下单后会显示二维码，请用手机微信扫码付款。".to_owned()),
        top_up_js: web.assets.top_up_js.url.clone(),
    };
    Ok(page(web, visitor, status, &form))
}

/// 201 for programs: what the payer's client needs, or where to send the payer.
fn created(web: &Web, order: &Order, pay: Pay) -> Result<HttpResponse, WebError> {
    let pay_page = format!("{}/orders/{}/pay", web.app.config.public_url, order.out_trade_no);
    let pay: Value = match pay {
        Pay::Ready(checkout) => serde_json::to_value(checkout).unwrap_or_default(),
        // Without an openid only the WeChat browser itself can go on.
        Pay::NeedOpenid => json!({ "kind": "redirect", "url": pay_page }),
        Pay::Paid => Value::Null,
        Pay::Closed => {
            return Err(WebError::Conflict(
                "订单已过期或关闭。如果已经付款，到账后会自动更新，请勿重复支付；否则请重新下单。",
            ));
        }
        Pay::UsedUp => {
            return Err(WebError::Conflict(
                "这个订单尝试的次数太多，不能再付。如果已经付款，到账后会自动更新，请勿重复支付；否则请重新下单。",
            ));
        }
        Pay::Busy => return Err(WebError::GatewayBusy),
        Pay::Refused | Pay::NotOffered => return Err(WebError::GatewayRefuses),
    };
    Ok(HttpResponse::Created().json(json!({
        "out_trade_no": order.out_trade_no.as_str(),
        "amount_fen": order.amount.get(),
        "status": order.status.number(),
        "pay": pay,
        "pay_page": pay_page,
    })))
}
