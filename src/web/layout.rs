//! What every page shares: who is signed in, addresses of the static files, how states are shown.

use super::{
    Web,
    session::Visitor,
    view::{Links, View},
    words::Lang,
};
use crate::domain::{
    order::Order,
    time::UnixMs,
    user::{Right, Role},
};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;

/// The frame of a page.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// For the hidden input `token` of every form.
    pub token: String,
    pub who: Option<Who>,
    pub lang: Lang,
    pub care: bool,
    pub links: Option<Links>,
    pub demo: bool,
    pub css: String,
    pub admin_css: String,
    pub admin_js: String,
    pub copy_js: String,
    /// For the administrator's navigation.
    pub open: Open,
}

/// How much waits for somebody: refunds that have not ended, and work items.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    pub refunds: i64,
    pub work: i64,
}

#[derive(Clone, Debug)]
pub struct Who {
    pub name: String,
    pub is_admin: bool,
    pub role: Role,
}

impl Layout {
    pub fn of(web: &Web, visitor: &Visitor) -> Layout {
        Layout {
            token: visitor.form_token(&web.app),
            who: visitor.user.as_ref().map(|user| Who {
                name: user.username.clone(),
                is_admin: user.role.is_admin(),
                role: user.role,
            }),
            ..Layout::bare(web, visitor.view.clone())
        }
    }

    /// Administrators read Chinese, whatever their browser prefers.
    pub fn for_administrators(self) -> Layout {
        Layout { lang: Lang::Zh, ..self }
    }

    /// Whether to show what takes a right: the handler decides again.
    fn may(&self, right: Right) -> bool {
        self.who.as_ref().is_some_and(|who| who.role.may(right))
    }

    pub fn may_ask(&self) -> bool {
        self.may(Right::Ask)
    }

    pub fn may_money(&self) -> bool {
        self.may(Right::Money)
    }

    pub fn may_work(&self) -> bool {
        self.may(Right::Work)
    }

    pub fn may_export(&self) -> bool {
        self.may(Right::Export)
    }

    pub fn may_audit_log(&self) -> bool {
        self.may(Right::AuditLog)
    }

    pub fn may_diagnostics(&self) -> bool {
        self.may(Right::Diagnostics)
    }

    pub fn may_accounts(&self) -> bool {
        self.may(Right::Accounts)
    }

    /// For error pages: nobody is looked up, so they work when the books do not.
    pub fn anonymous(web: &Web, request: &HttpRequest) -> Layout {
        Layout::bare(web, View::of(request))
    }

    fn bare(web: &Web, view: View) -> Layout {
        Layout {
            lang: view.lang,
            care: view.care,
            links: view.links,
            demo: web.bridge.is_some(),
            css: web.assets.css.url.clone(),
            admin_css: web.assets.admin_css.url.clone(),
            admin_js: web.assets.admin_js.url.clone(),
            copy_js: web.assets.copy_js.url.clone(),
            ..Layout::default()
        }
    }
}

/// An order as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    Paid,
    Late,
    Open,
    /// The payer came back and we are still asking.
    Confirming,
    Closed,
    /// A payment came that does not fit: somebody looks at it.
    Review,
    /// Somebody has: it was credited by hand, sent back, or left.
    Handled,
}

impl OrderState {
    pub fn of(order: &Order, now: UnixMs) -> OrderState {
        match () {
            () if order.is_paid() && order.late => OrderState::Late,
            () if order.is_paid() => OrderState::Paid,
            () if order.closed_at.is_some() => OrderState::Closed,
            // Past its time but not confirmed closed: nobody should pay, and we do not yet know that nobody did.
            () if now >= order.expires_at => OrderState::Confirming,
            () => OrderState::Open,
        }
    }

    /// The word on its chip.
    pub const fn word(self, lang: Lang) -> &'static str {
        match self {
            OrderState::Paid => lang.state_paid(),
            OrderState::Late => lang.state_late(),
            OrderState::Open => lang.state_open(),
            OrderState::Confirming => lang.state_checking(),
            OrderState::Closed => lang.state_closed(),
            OrderState::Review => lang.state_review(),
            OrderState::Handled => lang.state_handled(),
        }
    }
}

/// `application/json` is asked for, and HTML is not.
pub fn accepts_json(request: &HttpRequest) -> bool {
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("json") && !accept.contains("text/html")
}

/// A page with the cookie a fresh browser needs.
pub fn page(web: &Web, visitor: &Visitor, status: StatusCode, template: &impl Template) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    visitor.greet(&web.app, &mut response);
    match template.render() {
        Ok(html) => response.insert_header(("content-type", "text/html; charset=utf-8")).body(html),
        Err(error) => {
            tracing::error!("a page cannot be rendered: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// `20:30:12.104`, Beijing; on another day than `usual` with the day before it.
pub fn precise_time(at: UnixMs, usual: UnixMs) -> String {
    let text = at.beijing_text();
    let clock = text.split_once(' ').map_or("", |(_, clock)| clock);
    let shown = if at.beijing_day() == usual.beijing_day() { clock } else { &text };
    format!("{shown}.{:03}", at.0.rem_euclid(1000))
}
