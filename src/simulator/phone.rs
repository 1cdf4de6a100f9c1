//! The phone nobody has: plays the merchant's mini program and app, which pay where no browser can. What they ask of
//! the merchant goes over HTTP, by the routes every program has; there is no shorter way in.

use super::{
    Simulator,
    cashier::{Handled, html, not_found},
};
use crate::{
    domain::order::Channel,
    gateway::{
        Response,
        wechat::{AppParams, JsapiParams},
    },
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use url::form_urlencoded;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/phone", web::get().to(show))
        .route("/phone/mini", web::post().to(pay_in_mini))
        .route("/phone/app", web::post().to(pay_in_app))
        .route("/phone/code", web::post().to(login_code));
}

#[derive(Template)]
#[template(path = "simulator/phone.html")]
struct PhonePage {
    merchant: String,
    /// Whether the merchant has one.
    mini: bool,
    app: bool,
    username: String,
    amount: String,
    steps: Vec<Step>,
    /// The pay sheet that waits, once WeChat has accepted what the merchant signed.
    opened: Option<Opened>,
    /// Why there is none.
    stopped: Option<String>,
}

/// One thing the phone did, as it may be looked at.
struct Step {
    title: String,
    asked: String,
    answered: String,
    good: bool,
}

struct Opened {
    out_trade_no: String,
    prepay_id: String,
    /// What the merchant signed, by name.
    params: Vec<(String, String)>,
}

/// What the payer types into the mini program or the app: their account at the merchant.
#[derive(Deserialize)]
struct PhoneForm {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    amount: String,
}

async fn show(simulator: web::Data<Simulator>) -> Handled {
    let page = PhonePage { amount: "9.90".to_owned(), ..blank(&simulator) };
    Ok(html(&simulator, StatusCode::OK, page.render()?))
}

async fn pay_in_mini(simulator: web::Data<Simulator>, form: web::Form<PhoneForm>) -> Handled {
    ordered(&simulator, &form, Channel::WechatMini).await
}

async fn pay_in_app(simulator: web::Data<Simulator>, form: web::Form<PhoneForm>) -> Handled {
    ordered(&simulator, &form, Channel::WechatApp).await
}

/// What `wx.login` gives the mini program on this user's phone, for whoever plays the mini program themselves.
async fn login_code(simulator: web::Data<Simulator>, form: web::Form<PhoneForm>) -> Handled {
    let Some(code) = simulator.js_code(phone_of(&form.username))? else { return Ok(not_found()) };
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(json!({ "errMsg": "login:ok", "code": code }).to_string()))
}

fn blank(simulator: &Simulator) -> PhonePage {
    let appids = &simulator.account().appids;
    PhonePage {
        merchant: simulator.0.options.bridge_origin.clone(),
        mini: appids.mini.is_some(),
        app: appids.app.is_some(),
        username: String::new(),
        amount: String::new(),
        steps: Vec::new(),
        opened: None,
        stopped: None,
    }
}

async fn ordered(simulator: &Simulator, form: &PhoneForm, channel: Channel) -> Handled {
    let mut phone = Phone { simulator, cookies: BTreeMap::new(), steps: Vec::new() };
    let (status, opened, stopped) = match phone.order(form, channel).await {
        Ok(opened) => (StatusCode::OK, Some(opened), None),
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, None, Some(why)),
    };
    let page = PhonePage {
        username: form.username.clone(),
        amount: form.amount.clone(),
        steps: phone.steps,
        opened,
        stopped,
        ..blank(simulator)
    };
    Ok(html(simulator, status, page.render()?))
}

/// Every account has a phone of its own, the same each time: the merchant keeps the first it has seen.
fn phone_of(username: &str) -> u64 {
    let hash = digest(&SHA256, username.to_lowercase().as_bytes());
    hash.as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes)
}

struct Phone<'a> {
    simulator: &'a Simulator,
    cookies: BTreeMap<String, String>,
    steps: Vec<Step>,
}

impl Phone<'_> {
    /// Signs in, says who holds the phone if it is the mini program, orders, and has WeChat look at what it got.
    ///
    /// # Errors
    /// Where it ended, in words.
    async fn order(&mut self, form: &PhoneForm, channel: Channel) -> Result<Opened, String> {
        self.sign_in(form).await?;
        let page = self.get("/top-up").await?;
        let (token, intent) = (hidden(&page, "token")?, hidden(&page, "intent")?);
        if channel == Channel::WechatMini {
            let code = self.wx_login(&form.username)?;
            let bound =
                self.post("/wechat/mini/login", &[("token", token.as_str()), ("code", &code)]).await?;
            if bound.status != 200 {
                return Err(said(&bound));
            }
        }
        let wish = [
            ("token", token.as_str()),
            ("intent", &intent),
            ("amount", &form.amount),
            ("channel", channel.as_str()),
        ];
        let made = self.post("/top-up", &wish).await?;
        if made.status != 201 {
            return Err(said(&made));
        }
        let made: Value = serde_json::from_slice(&made.body).unwrap_or_default();
        self.open(channel, &made)
    }

    async fn sign_in(&mut self, form: &PhoneForm) -> Result<(), String> {
        let page = self.get("/login").await?;
        let token = hidden(&page, "token")?;
        let login = [("token", token.as_str()), ("username", &form.username), ("password", &form.password)];
        match self.post("/login", &login).await? {
            entered if entered.status == 303 => Ok(()),
            refused if refused.status == 422 => {
                Err("商户不认识这个用户名和密码。还没有账户的，先到商户页面注册。".to_owned())
            }
            refused => Err(said(&refused)),
        }
    }

    /// `wx.login`: WeChat itself, so nothing goes over the network.
    fn wx_login(&mut self, username: &str) -> Result<String, String> {
        let code = self.simulator.js_code(phone_of(username)).map_err(|error| error.to_string())?;
        let code = code.ok_or_else(|| "这个商户没有小程序".to_owned())?;
        self.steps.push(Step {
            title: "小程序 → wx.login()".to_owned(),
            asked: String::new(),
            answered: format!("code={code}"),
            good: true,
        });
        Ok(code)
    }

    /// `wx.requestPayment`, or an app's `PayReq`: WeChat checks every text and the signature before it opens the sheet.
    fn open(&mut self, channel: Channel, made: &Value) -> Result<Opened, String> {
        let params = made.pointer("/pay/params").and_then(Value::as_object).cloned().unwrap_or_default();
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (call, opened) = if channel == Channel::WechatMini {
            let params = JsapiParams {
                app_id: text("appId"),
                time_stamp: text("timeStamp"),
                nonce_str: text("nonceStr"),
                package: text("package"),
                sign_type: text("signType"),
                pay_sign: text("paySign"),
            };
            ("小程序 → wx.requestPayment()", self.simulator.opens_sheet(&params))
        } else {
            let params = AppParams {
                appid: text("appid"),
                partnerid: text("partnerid"),
                prepayid: text("prepayid"),
                package: text("package"),
                noncestr: text("noncestr"),
                timestamp: text("timestamp"),
                sign: text("sign"),
            };
            ("App → WXApi.sendReq(PayReq)", self.simulator.opens_app(&params))
        };
        let params: Vec<(String, String)> = params.keys().map(|name| (name.clone(), text(name))).collect();
        self.steps.push(Step {
            title: call.to_owned(),
            asked: params.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            answered: opened.clone().map_or_else(str::to_owned, |_| "签名无误，打开收银台".to_owned()),
            good: opened.is_ok(),
        });
        let prepay_id = opened.map_err(|reason| format!("微信不打开收银台：{reason}"))?;
        let out_trade_no = made.get("out_trade_no").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Opened { out_trade_no, prepay_id, params })
    }

    async fn get(&mut self, path: &str) -> Result<Response, String> {
        self.ask("GET", path, &[]).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Response, String> {
        self.ask("POST", path, fields).await
    }

    async fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) -> Result<Response, String> {
        let options = &self.simulator.0.options;
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = [("accept", "application/json".to_owned()), ("cookie", cookies.join("; "))];
        let form = (method == "POST")
            .then(|| form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        let url = format!("{}{path}", options.bridge_origin);
        let answer = self.simulator.0.http.browse(&url, &headers, form).await;
        let (answered, good) = match &answer {
            Ok(answer) => (shown(answer), answer.status < 400),
            Err(error) => (error.to_string(), false),
        };
        let title = format!("手机 → {method} {path}");
        self.steps.push(Step { title, asked: fields.iter().map(line).collect(), answered, good });
        let answer = answer.map_err(|_| "商户没有应答，请稍后再试。".to_owned())?;
        for pair in answer.headers.lines().filter_map(|line| line.strip_prefix("set-cookie: ")) {
            if let Some((name, value)) = pair.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

fn line((name, value): &(&str, &str)) -> String {
    let value = if *name == "password" { "（不显示）" } else { *value };
    format!("{name}={value}\n")
}

/// The status and what it says; of a page only that it is one.
fn shown(answer: &Response) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text = if text.trim_start().starts_with('<') { "（网页）" } else { text.as_ref() };
    format!("HTTP {}\n{text}", answer.status)
}

/// The merchant's own words on what went wrong.
fn said(answer: &Response) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("没有说明原因");
    format!("商户的回答（HTTP {}）：{detail}", answer.status)
}

/// The value of a hidden field in a form of the merchant's.
fn hidden(page: &Response, name: &str) -> Result<String, String> {
    let text = String::from_utf8_lossy(&page.body);
    let rest = text.split_once(&format!("name=\"{name}\" value=\"")).map(|(_, rest)| rest);
    let value = rest.and_then(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned());
    value.ok_or_else(|| said(page))
}
