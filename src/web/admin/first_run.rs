//! The first day of a shop in steps: what is done and what comes next, each read off the books and the configuration.
//! Nobody ticks anything, so nothing here can be out of date.

use super::{duration_zh, frame};
use crate::{
    domain::{time::UnixMs, user::Right},
    gateway::Protocol,
    store::{
        Db, StoreError, figures,
        first_run::{self, Standing},
        users::Account,
    },
    web::{
        Web,
        error::WebError,
        layout::{Layout, page},
        providers,
        session::Admin,
        ways::name_zh,
    },
};
use actix_web::{HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use serde_json::json;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "admin/first_run.html")]
struct FirstRunPage {
    layout: Layout,
    steps: Vec<Step>,
    done: usize,
    /// Where to go on: the first step that is open.
    next: Option<&'static str>,
    is_demo: bool,
}

/// One step, with what is known of it and where it is done.
pub struct Step {
    /// For programs.
    key: &'static str,
    title: &'static str,
    is_done: bool,
    text: String,
    link: Option<(&'static str, String)>,
}

/// Everything that is read.
struct Found {
    standing: Standing,
    /// The protocols new payments are made by, and when the newest verified callback about a payment came.
    doors: Vec<(Protocol, Option<UnixMs>)>,
}

/// GET /admin/first-run
///
/// # Errors
/// The books.
pub async fn show(web: Data<Arc<Web>>, admin: Admin) -> Result<HttpResponse, WebError> {
    let mut steps = steps(&web, admin.user.role.may(Right::Accounts)).await?;
    let done = steps.iter().filter(|step| step.is_done).count();
    if admin.json {
        let told = |step: &Step| json!({ "step": step.key, "done": step.is_done });
        return Ok(HttpResponse::Ok().json(json!({ "steps": steps.iter().map(told).collect::<Vec<_>>() })));
    }
    for step in &mut steps {
        step.link = step.link.take().filter(|(_, href)| may_open(&admin, href));
    }
    let template = FirstRunPage {
        layout: frame(&web, &admin).await?,
        done,
        next: steps.iter().find(|step| !step.is_done).map(|step| step.title),
        steps,
        is_demo: web.bridge.is_some(),
    };
    Ok(page(&web, &admin, StatusCode::OK, &template))
}

/// Nobody is sent where their role does not get in.
fn may_open(admin: &Admin, href: &str) -> bool {
    match href {
        "/admin/diagnostics" => admin.user.role.may(Right::Diagnostics),
        "/admin/accounts" => admin.user.role.may(Right::Accounts),
        _ => true,
    }
}

/// How many steps are open, for whoever can do something about most of them.
///
/// # Errors
/// The books.
pub async fn count_open(web: &Web, admin: &Admin) -> Result<usize, WebError> {
    if !admin.user.role.may(Right::Accounts) {
        return Ok(0);
    }
    Ok(steps(web, true).await?.iter().filter(|step| !step.is_done).count())
}

/// Whose password stands alone is told to whoever sees the accounts anyway.
async fn steps(web: &Web, names_accounts: bool) -> Result<Vec<Step>, WebError> {
    let environment = web.app.environment();
    let channels = web.app.channels();
    let is_used = |protocol: &Protocol| {
        let makes =
            |channel| web.app.gateway_for(channel).is_some_and(|(one, _)| one.protocol() == *protocol);
        channels.iter().copied().any(makes)
    };
    let used: Vec<Protocol> = Protocol::ALL.into_iter().filter(is_used).collect();
    let words: Vec<_> = Protocol::ALL.into_iter().map(|one| (one.as_str(), one.provider())).collect();
    let read = web.app.store.read(move |db| {
        let standing = first_run::standing(db, environment, &words)?;
        Ok(Found { standing, doors: doors(db, used)? })
    });
    let found = read.await?;
    Ok(vec![
        owner(&found.standing.admins),
        channels_set_up(web),
        keys(&found),
        first_payment(&found.standing),
        callbacks(web, &found.doors),
        first_refund(web, &found.standing),
        second_factors(&found.standing.admins, names_accounts),
        second_person(&found.standing.admins),
        first_bill(&found.standing),
    ])
}

fn doors(db: &mut Db, used: Vec<Protocol>) -> Result<Vec<(Protocol, Option<UnixMs>)>, StoreError> {
    let at = |protocol: Protocol| Ok((protocol, figures::last_at_door(db, protocol.as_str(), "notify")?));
    used.into_iter().map(at).collect()
}

fn owner(admins: &[Account]) -> Step {
    let owners = admins.iter().filter(|account| account.user.role.may(Right::Accounts)).count();
    Step {
        key: "owner",
        title: "负责人账号",
        is_done: owners > 0,
        text: format!("{owners} 位负责人可以登录。"),
        link: None,
    }
}

fn channels_set_up(web: &Web) -> Step {
    let names: Vec<&str> = web.app.channels().into_iter().map(name_zh).collect();
    let site = web.app.config.public_url.to_string();
    Step {
        key: "channels",
        title: "支付渠道和网站地址",
        is_done: !names.is_empty(),
        text: format!("{}；用户和支付平台访问的地址是 {site}。", names.join("、")),
        link: None,
    }
}

fn keys(found: &Found) -> Step {
    let name = |protocol: &Protocol| providers::name_zh(protocol.provider());
    let (known, unknown): (Vec<_>, Vec<_>) = found
        .doors
        .iter()
        .map(|(protocol, _)| protocol)
        .partition(|protocol| found.standing.known_to.contains(&protocol.provider()));
    let list = |protocols: Vec<&Protocol>| {
        let mut names: Vec<&str> = protocols.into_iter().map(name).collect();
        names.dedup();
        names.join("、")
    };
    let is_done = unknown.is_empty() && !known.is_empty();
    Step {
        key: "keys",
        title: "支付平台认得我们的密钥",
        is_done,
        text: match is_done {
            true => format!("{} 受理过我们的请求。", list(known)),
            false => format!(
                "{} 还没有受理过我们的请求。到诊断页按“现在查一次”，不花钱就能知道密钥对不对；受理过第一笔之后这一项自动完成。",
                list(unknown)
            ),
        },
        link: Some(("诊断", "/admin/diagnostics".to_owned())),
    }
}

fn first_payment(standing: &Standing) -> Step {
    Step {
        key: "payment",
        title: "付第一笔 0.01 元",
        is_done: standing.first_paid.is_some(),
        text: match standing.first_paid {
            Some(_) => "已经有付款入账。".to_owned(),
            None => "用手机在微信里打开充值页，选“其他金额”，付 0.01 元，走一遍用户的路。".to_owned(),
        },
        link: Some(match &standing.first_paid {
            Some(number) => ("看那一笔", format!("/admin/orders/{number}")),
            None => ("充值页", "/top-up".to_owned()),
        }),
    }
}

fn callbacks(web: &Web, doors: &[(Protocol, Option<UnixMs>)]) -> Step {
    let now = web.app.clock.now();
    let base = web.app.config.public_url.to_string();
    let told = |(protocol, at): &(Protocol, Option<UnixMs>)| {
        let address = format!("{base}{}", protocol.notify_path());
        match at {
            Some(at) => format!("{address}：{}前收到过验签通过的回调。", duration_zh(now.since(*at))),
            None => format!("{address}：还没有收到过。付一笔之后仍然没有，就请查防火墙、代理和登录拦截。"),
        }
    };
    Step {
        key: "callbacks",
        title: "支付平台的回调到得了",
        is_done: !doors.is_empty() && doors.iter().all(|(_, at)| at.is_some()),
        text: doors.iter().map(told).collect::<Vec<_>>().join("\n"),
        link: Some(("回调", "/admin/notices".to_owned())),
    }
}

fn first_refund(web: &Web, standing: &Standing) -> Step {
    let lacks_certificate = web.app.config.wechat_certificate.is_none()
        && web.app.gateways().any(|gateway| gateway.refunds_by_certificate());
    let text = match (standing.refunded, lacks_certificate) {
        (true, _) => "已经退成功过。",
        (false, true) => {
            "还没有配置商户证书（WECHAT_CERT_PEM 和 WECHAT_KEY_PEM），现在退不了款；付款不受影响。"
        }
        (false, false) => "打开那一笔订单，按“退款”，退回 0.01 元，等它变成“已退款”。",
    };
    Step {
        key: "refund",
        title: "把那一分钱退回去",
        is_done: standing.refunded,
        text: text.to_owned(),
        link: Some(match &standing.first_paid {
            Some(number) if !standing.refunded => ("打开订单", format!("/admin/orders/{number}")),
            _ => ("退款", "/admin/refunds".to_owned()),
        }),
    }
}

fn second_factors(admins: &[Account], names_accounts: bool) -> Step {
    let without: Vec<&str> = admins
        .iter()
        .filter(|account| !account.has_second_factor)
        .map(|account| account.user.username.as_str())
        .collect();
    Step {
        key: "second_factor",
        title: "每位管理员打开两步验证",
        is_done: without.is_empty() && !admins.is_empty(),
        text: match (without.is_empty(), names_accounts) {
            (true, _) => "密码之外都要手机上的验证码。".to_owned(),
            (false, true) => {
                format!("还没有打开的：{}。每人在“我的账号”里自己打开，恢复码抄在纸上。", without.join("、"))
            }
            (false, false) => {
                format!("还有 {} 位没有打开。每人在“我的账号”里自己打开，恢复码抄在纸上。", without.len())
            }
        },
        link: Some(("我的账号", "/admin/me".to_owned())),
    }
}

fn second_person(admins: &[Account]) -> Step {
    let count = admins.iter().filter(|account| account.user.role.may(Right::Money)).count();
    Step {
        key: "second_person",
        title: "第二位能动钱的管理员",
        is_done: count > 1,
        text: match count > 1 {
            true => format!("{count} 位负责人或财务：大额退款和调整可以由另一位同意。"),
            false => "大额退款和调整余额要另一位负责人或财务同意；只有一个人时就办不了。".to_owned(),
        },
        link: Some(("邀请同事", "/admin/accounts".to_owned())),
    }
}

fn first_bill(standing: &Standing) -> Step {
    Step {
        key: "bill",
        title: "第一份对账单",
        is_done: standing.compared.is_some(),
        text: match &standing.compared {
            Some((_, day)) => format!("最近对完的是 {day}。"),
            None => "有了第一笔付款，第二天 10:10 起自动取账单，与账本逐笔核对，不用做什么。".to_owned(),
        },
        link: Some(match &standing.compared {
            Some((id, _)) => ("看那一天", format!("/admin/bills/{id}")),
            None => ("对账", "/admin/bills".to_owned()),
        }),
    }
}
