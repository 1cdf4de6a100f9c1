//! The top-up form and what it makes.

use super::{
    Web, csrf,
    error::{WebError, Wrong},
    layout::{Layout, page},
    providers,
    session::{SignedIn, see_other},
    ways::{Way, Ways},
    words::Lang,
};
use crate::{
    domain::{
        ids::Openid,
        ledger::Account,
        money::{Fen, yuan_text},
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
    /// Nothing to choose when there is only one.
    ways: Vec<Way>,
    channel_error: Option<String>,
    /// What happens next, when it is not plain.
    hint: Option<&'static str>,
    /// The one wallet it is paid from, when there is only one.
    wallet: Option<&'static str>,
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

/// What the form says and asks for, besides what is the same every time.
#[derive(Default)]
struct Filled {
    typed: String,
    error: Option<String>,
    channel: Option<Channel>,
    channel_error: Option<String>,
}

/// GET /top-up. In WeChat the openid is learnt first, silently.
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, visitor: SignedIn) -> Result<HttpResponse, WebError> {
    let asks = visitor.pays_in_wechat() && visitor.can_ask_wechat(&web.app);
    if asks && visitor.openid.is_none() && !visitor.json {
        return Ok(see_other("/wechat/login?next=%2Ftop-up", None));
    }
    form(&web, &visitor, StatusCode::OK, Filled::default()).await
}

/// POST /top-up
///
/// # Errors
/// See `WebError`; an amount or a way to pay that a person can mend comes back as the form with 422.
pub async fn submit(
    web: Data<Arc<Web>>,
    request: HttpRequest,
    visitor: SignedIn,
    posted: Form<TopUpForm>,
) -> Result<HttpResponse, WebError> {
    let posted = posted.into_inner();
    csrf::check(&request, &web.app, &visitor, &posted.token)?;
    web.limits.top_up(&web.app, visitor.user.id).await?;
    let typed = if posted.amount == "other" { &posted.other_amount } else { &posted.amount };
    let ways = Ways::of(&web, &visitor);
    let made = match wish(&posted, typed, &ways, &visitor) {
        Ok(wish) => {
            let channel = wish.channel;
            let made = top_up::create(&web.app, wish).await;
            made.map(|order| (order, channel)).map_err(|error| refusal(&web, error))
        }
        Err(refused) => Err(refused),
    };
    let (order, channel) = match made {
        Ok(made) => made,
        Err(Refused::Other(error)) => return Err(error),
        Err(Refused::Amount(wrong) | Refused::Channel(wrong)) if visitor.json => {
            return Err(WebError::Wrong(wrong));
        }
        Err(mendable) => return again(&web, &visitor, typed, &posted.channel, mendable).await,
    };
    let page = format!("/orders/{}/pay", order.out_trade_no);
    if !visitor.json && (ways.default().is_none() || ways.carries(channel)) {
        return Ok(see_other(&page, None));
    }
    let payer = payer(&web, &visitor, channel).await?;
    let ip = visitor.ip.to_string();
    let pay = top_up::checkout(&web.app, order.id, channel, payer.as_ref(), &ip).await?;
    if visitor.json {
        return created(&web, &order, channel, pay);
    }
    // Whatever the gateway said, the order's own page says it better and can try again.
    let chosen =
        if posted.channel.is_empty() { String::new() } else { format!("?channel={}", channel.as_str()) };
    Ok(see_other(&format!("{page}{chosen}"), None))
}

/// The openid to ask for, where the gateway wants one.
async fn payer(web: &Web, visitor: &SignedIn, channel: Channel) -> Result<Option<Openid>, WebError> {
    match &visitor.openid {
        // A session knows openids of WeChat's browser only: under another appid they are nobody.
        Some(openid) if web.app.payer_appid(channel) == web.app.appid() => Ok(Some(openid.clone())),
        // A program pays through a client of its own: the openid bound before is the payer's.
        _ if visitor.json && channel.names_payer() => {
            let appid = web.app.payer_appid(channel);
            Ok(bind_openid::known(&web.app, &visitor.user, appid).await?)
        }
        _ => Ok(None),
    }
}

enum Refused {
    /// Said beside the field.
    Amount(Wrong),
    /// Said beside the ways to pay.
    Channel(Wrong),
    Other(WebError),
}

/// The form once more, with what is to be mended.
async fn again(
    web: &Web,
    visitor: &SignedIn,
    typed: &str,
    channel: &str,
    refused: Refused,
) -> Result<HttpResponse, WebError> {
    let mut filled =
        Filled { typed: typed.to_owned(), channel: Channel::parse(channel), ..Filled::default() };
    match refused {
        Refused::Amount(wrong) => filled.error = Some(wrong.say(visitor.view.lang)),
        Refused::Channel(wrong) => filled.channel_error = Some(wrong.say(visitor.view.lang)),
        Refused::Other(error) => return Err(error),
    }
    form(web, visitor, StatusCode::UNPROCESSABLE_ENTITY, filled).await
}

fn wish(posted: &TopUpForm, typed: &str, ways: &Ways, visitor: &SignedIn) -> Result<Wish, Refused> {
    let amount = amount(typed).map_err(Refused::Amount)?;
    let channel = match posted.channel.as_str() {
        "" if visitor.json => ways.default_of_programs(),
        "" => ways.default(),
        name => Some(ways.named(name, visitor.json).map_err(Refused::Channel)?),
    };
    // Where nothing is possible the order is still made: its page says where to go with it.
    let channel = channel.unwrap_or(Channel::WechatJsapi);
    Ok(Wish { user_id: visitor.user.id, amount, channel, intent: posted.intent.clone() })
}

fn amount(typed: &str) -> Result<Fen, Wrong> {
    let amount = Fen::parse_yuan(typed).map_err(Wrong::Amount)?;
    #[cfg(feature = "canaries")]
    let amount = wrong::rounded(amount, typed);
    Ok(amount)
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
            Refused::Amount(Wrong::AmountOutside { min: limits.min, max: limits.max })
        }
        TopUpError::Frozen => Refused::Other(WebError::Impossible(Lang::frozen)),
        TopUpError::BadIntent => Refused::Other(WebError::FormExpired),
        TopUpError::IntentReused => Refused::Other(WebError::FormUsed),
        TopUpError::TooManyOpen => Refused::Other(WebError::TooManyOpen),
        TopUpError::Flow(error) => Refused::Other(error.into()),
    }
}

async fn form(
    web: &Web,
    visitor: &SignedIn,
    status: StatusCode,
    filled: Filled,
) -> Result<HttpResponse, WebError> {
    let (typed, lang) = (filled.typed.as_str(), visitor.view.lang);
    let ways = Ways::of(web, visitor);
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
        error: filled.error,
        min: limits.min.yuan(),
        max: limits.max.yuan(),
        intent: web.app.clock.nonce()?,
        ways: if ways.here().len() > 1 {
            ways.choices(filled.channel.filter(|channel| ways.has(*channel)).or(ways.default()), lang)
        } else {
            Vec::new()
        },
        channel_error: filled.channel_error,
        hint: hint(&ways, lang),
        wallet: match ways.here() {
            [only] => Some(providers::wallet(only.provider(), lang)),
            _ => None,
        },
        top_up_js: web.assets.top_up_js.url.clone(),
    };
    Ok(page(web, visitor, status, &form))
}

/// With several ways each says for itself what it does; inside WeChat the sheet needs no announcement.
fn hint(ways: &Ways, lang: Lang) -> Option<&'static str> {
    match ways.here() {
        [] => Some(ways.elsewhere(lang)),
        [only] if ways.carries(*only) => Some(lang.scan_wechat_after()),
        [Channel::WechatNative] => Some(lang.scan_wechat_after()),
        [Channel::AlipayQr] => Some(lang.scan_alipay_after()),
        _ => None,
    }
}

/// 201 for programs: what the payer's client needs, or where to send the payer.
fn created(web: &Web, order: &Order, channel: Channel, pay: Pay) -> Result<HttpResponse, WebError> {
    let pay_page = format!("{}/orders/{}/pay", web.app.config.public_url, order.out_trade_no);
    let pay: Value = match pay {
        Pay::Ready(checkout) => serde_json::to_value(checkout).unwrap_or_default(),
        Pay::NeedOpenid if channel != Channel::WechatJsapi => {
            return Err(WebError::Impossible(Lang::who_pays));
        }
        // Without an openid only the WeChat browser itself can go on.
        Pay::NeedOpenid => json!({ "kind": "redirect", "url": pay_page }),
        Pay::Paid => Value::Null,
        Pay::Closed => return Err(WebError::Impossible(Lang::order_over)),
        Pay::UsedUp => return Err(WebError::Impossible(Lang::order_used_up)),
        Pay::Frozen => return Err(WebError::Impossible(Lang::frozen)),
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
