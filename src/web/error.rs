//! The one place an error becomes a status and a sentence: what is known, what is safe, what to do next.
//! `envelope` then makes a page or problem+json of it.

use super::{
    register::weak,
    rights::{holders_zh, right_zh},
    ways::name,
    words::{Lang, Sentence},
};
use crate::domain::{
    money::{AmountError, Fen, yuan_text},
    order::Channel,
    user::Right,
};
use crate::flow::{
    FlowError,
    accounts::AccountError,
    adjust::AdjustError,
    bind_openid::BindError,
    credit_by_hand::CreditError,
    freeze::FreezeError,
    notify::ReplayError,
    request_refund::{BadReason, Kept, RefundError},
    second_factor::FactorError,
};
use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use std::fmt;

/// Why a request gets no ordinary answer.
#[derive(Debug)]
pub enum WebError {
    NotFound,
    /// A link that is used, old, withdrawn or wrong, with what to do now.
    LinkOver(fn(Lang) -> &'static str),
    /// Cross-site, or a form without its token.
    Forbidden,
    /// An administrator whose role does not have it.
    MissingRight(Right),
    /// Nobody is signed in.
    SignInFirst {
        /// Where to send a browser.
        at: String,
    },
    TooMany {
        retry_after_secs: u64,
    },
    /// A form that no page of ours has made.
    FormExpired,
    /// A form sent before, with something else in it.
    FormUsed,
    TooManyOpen,
    /// What a payer can mend.
    Wrong(Wrong),
    /// A request for what cannot be done, with the reason.
    Impossible(fn(Lang) -> &'static str),
    /// A request that no page of an administrator's makes.
    BadRequest(&'static str),
    /// An address with a parameter that is no number, or stands twice.
    Unreadable,
    /// Understood, but not now and not like this: to an administrator.
    Conflict(&'static str),
    /// A value that an administrator can mend.
    Unprocessable(String),
    /// The gateway does not answer; the order is kept.
    GatewayBusy,
    GatewayRefuses,
    Restart,
    /// The gateway, asked about a payment, did not say that it was made: what it said, if it gave a usable answer.
    Unconfirmed(Option<String>),
    /// Whether a refund was written is not known.
    RefundUnsure(FlowError),
    Flow(FlowError),
}

/// What is wrong with a top-up form, or with a payment's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Amount(AmountError),
    AmountOutside { min: Fen, max: Fen },
    NoSuchWay,
    NotOffered,
    NotHere(Channel),
    Result,
}

impl Wrong {
    pub fn say(self, lang: Lang) -> String {
        match self {
            Wrong::Amount(AmountError::TooFine) => lang.too_fine().to_owned(),
            Wrong::Amount(AmountError::TooLarge) => lang.too_large().to_owned(),
            Wrong::Amount(AmountError::NotDecimal) => lang.not_decimal().to_owned(),
            Wrong::AmountOutside { min, max } => lang.amount_outside(min.yuan(), max.yuan()),
            Wrong::NoSuchWay => lang.no_such_way().to_owned(),
            Wrong::NotOffered => lang.way_not_offered().to_owned(),
            Wrong::NotHere(channel) => lang.way_not_here(name(channel, lang)),
            Wrong::Result => lang.bad_result().to_owned(),
        }
    }
}

/// What `envelope` renders.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
    pub title: fn(Lang) -> &'static str,
    pub detail: Sentence,
}

impl Problem {
    pub fn new(
        status: u16,
        code: &'static str,
        title: fn(Lang) -> &'static str,
        detail: fn(Lang) -> &'static str,
    ) -> Problem {
        Problem { status, code, title, detail: Sentence::of(detail) }
    }

    fn with(status: u16, code: &'static str, title: fn(Lang) -> &'static str, detail: Sentence) -> Problem {
        Problem { status, code, title, detail }
    }
}

impl WebError {
    fn problem(&self) -> Problem {
        let (new, with) = (Problem::new, Problem::with);
        match self {
            WebError::NotFound => new(404, "not_found", Lang::not_found, Lang::not_found_text),
            WebError::LinkOver(next) => new(404, "not_found", Lang::link_over, *next),
            WebError::Forbidden => new(403, "forbidden", Lang::forbidden, Lang::forbidden_text),
            WebError::MissingRight(right) => {
                let detail = format!(
                    "这里需要“{}”的权限，有这项权限的是：{}。没有任何改动；需要时请找他们，或请负责人调整你的角色。",
                    right_zh(*right),
                    holders_zh(*right)
                );
                with(403, "missing_right", Lang::missing_right, Sentence::chinese(&detail))
            }
            WebError::SignInFirst { .. } => {
                new(401, "sign_in_first", Lang::sign_in_first, Lang::sign_in_first_text)
            }
            WebError::TooMany { retry_after_secs: secs } => {
                let detail = Sentence::of(|lang| lang.too_many_text(secs));
                with(429, "too_many_requests", Lang::too_many, detail)
            }
            WebError::FormExpired => new(400, "bad_request", Lang::bad_request, Lang::form_expired),
            WebError::FormUsed => new(409, "conflict", Lang::conflict, Lang::form_used),
            WebError::TooManyOpen => new(409, "conflict", Lang::conflict, Lang::too_many_open),
            WebError::Impossible(why) => new(409, "conflict", Lang::conflict, *why),
            WebError::Wrong(wrong) => {
                with(422, "unprocessable", Lang::unprocessable, Sentence::of(|lang| wrong.say(lang)))
            }
            WebError::BadRequest(detail) => {
                with(400, "bad_request", Lang::bad_request, Sentence::chinese(detail))
            }
            WebError::Unreadable => new(422, "unprocessable", Lang::unprocessable, Lang::bad_request_text),
            WebError::Conflict(detail) => with(409, "conflict", Lang::conflict, Sentence::chinese(detail)),
            WebError::Unprocessable(detail) => {
                with(422, "unprocessable", Lang::unprocessable, Sentence::chinese(detail))
            }
            WebError::GatewayBusy => new(503, "gateway_busy", Lang::gateway_busy, Lang::gateway_busy_text),
            WebError::GatewayRefuses => {
                new(502, "gateway_refuses", Lang::refused_title, Lang::gateway_refuses_text)
            }
            WebError::Restart => new(400, "restart", Lang::restart, Lang::restart_text),
            WebError::Unconfirmed(said) => {
                let detail = match said {
                    Some(said) => {
                        format!("支付平台的答复是 {said}，没有确认这笔付款。没有任何改动；请在商户平台核对。")
                    }
                    None => "支付平台没有给出可用的回答，不知道这笔付款是否存在。没有任何改动；请稍后再试。"
                        .to_owned(),
                };
                with(409, "unconfirmed", |_| "支付平台没有确认这笔付款", Sentence::chinese(&detail))
            }
            WebError::RefundUnsure(_) => with(
                503,
                "unavailable",
                Lang::unavailable,
                Sentence::chinese(
                    "退款可能已经登记。请先到订单页查看；要重试，请重新提交这一页，不会变成两笔。",
                ),
            ),
            WebError::Flow(FlowError::HashingBusy) => new(503, "busy", Lang::busy, Lang::busy_for_now),
            WebError::Flow(_) => new(503, "unavailable", Lang::unavailable, Lang::unavailable_text),
        }
    }

    /// What is said to an administrator, for a page that has room for it beside a field.
    pub fn sentence(&self) -> String {
        self.problem().detail.read_in(Lang::Zh).to_owned()
    }
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem().code)
    }
}

impl ResponseError for WebError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        if let WebError::Flow(error) | WebError::RefundUnsure(error) = self {
            tracing::error!("request failed: {error}");
        }
        let mut response = HttpResponse::build(self.status_code());
        match self {
            WebError::TooMany { retry_after_secs } => {
                response.insert_header(("retry-after", retry_after_secs.to_string()));
            }
            WebError::GatewayBusy | WebError::Flow(_) | WebError::RefundUnsure(_) => {
                response.insert_header(("retry-after", "3"));
            }
            _ => {}
        }
        let mut response = response.finish();
        response.extensions_mut().insert(self.problem());
        if let WebError::SignInFirst { at } = self {
            response.extensions_mut().insert(SignInAt(at.clone()));
        }
        response
    }
}

/// Where `envelope` sends a browser that must sign in.
#[derive(Clone, Debug)]
pub struct SignInAt(pub String);

impl From<FlowError> for WebError {
    fn from(error: FlowError) -> WebError {
        WebError::Flow(error)
    }
}

impl From<crate::store::StoreError> for WebError {
    fn from(error: crate::store::StoreError) -> WebError {
        WebError::Flow(FlowError::Store(error))
    }
}

impl From<crate::clock::NoEntropy> for WebError {
    fn from(error: crate::clock::NoEntropy) -> WebError {
        WebError::Flow(FlowError::NoEntropy(error))
    }
}

impl From<BindError> for WebError {
    fn from(error: BindError) -> WebError {
        match error {
            BindError::Restart => WebError::Restart,
            BindError::Busy => WebError::GatewayBusy,
            BindError::Configuration => WebError::GatewayRefuses,
            BindError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<ReplayError> for WebError {
    fn from(error: ReplayError) -> WebError {
        match error {
            ReplayError::NotFound => WebError::NotFound,
            ReplayError::NoCallback => {
                WebError::Conflict("这是我方查询的回复，不是回调，不能重放。没有任何改动；需要时请重新查单。")
            }
            ReplayError::Copy => {
                WebError::Conflict("这条消息本身就是重放的副本，不能再重放。没有任何改动；请重放原来那条。")
            }
            ReplayError::Cut => WebError::Conflict(
                "这条消息超过 16 KiB，我方只留了开头，不能重放。没有任何改动；需要时请重新查单。",
            ),
            ReplayError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<RefundError> for WebError {
    fn from(error: RefundError) -> WebError {
        match error {
            RefundError::NotFound => WebError::NotFound,
            RefundError::NoAmount => WebError::Unprocessable("退款金额至少 0.01 元。".to_owned()),
            RefundError::TooMuch(left) if left == Fen::ZERO => WebError::Unprocessable(
                "这笔付款已经全部退回，或正在退回，最多还能退 0.00 元。没有任何改动。".to_owned(),
            ),
            RefundError::TooMuch(left) => {
                WebError::Unprocessable(format!("这笔付款最多还能退 {} 元。没有任何改动。", left.yuan()))
            }
            RefundError::BadReason(bad) => WebError::Unprocessable(
                match bad {
                    BadReason::Empty => "请写明原因，用户会看到。",
                    BadReason::TooLong => "原因和说明太长：最多 26 个汉字（80 字节）。",
                    BadReason::Unreadable => "原因里不能有表情符号、换行或生僻字。",
                }
                .to_owned(),
            ),
            RefundError::BadIntent => {
                WebError::BadRequest("表单已失效，没有退款。请返回订单页，重新打开退款页。")
            }
            RefundError::NotPaid => WebError::Conflict(
                "这个订单没有收到过付款，没有可退的钱。没有任何改动；如果用户说付过，请先重新查单。",
            ),
            RefundError::TooMany => WebError::Conflict(
                "这笔付款已经向支付平台申请过 50 次退款，支付平台不再受理。没有任何改动；剩下的请与用户协商其他方式。",
            ),
            RefundError::TooOld => WebError::Conflict(
                "付款已经超过一年，支付平台不再受理退款。没有任何改动；请与用户协商其他方式。",
            ),
            RefundError::Spent => {
                WebError::Conflict("用户的余额已经不够这个金额。没有任何改动；可以改小金额，或先与用户协商。")
            }
            RefundError::IntentReused => WebError::Conflict(
                "这张表单已经用来申请过另一笔退款，那一笔仍然有效。请回到订单页查看，再重新打开退款页。",
            ),
            RefundError::OtherAccount => WebError::Conflict(
                "这笔付款属于另一个商户号、appid 或环境，现在的设置退不了。没有任何改动；请在原商户平台退款。",
            ),
            RefundError::Credited => WebError::Conflict(
                "这笔付款已经给用户入过账。没有任何改动；由订单入账的请到订单页退款，人工入账的只能在商户平台退，并与用户处理余额。",
            ),
            RefundError::Closed => {
                WebError::Conflict("这件事已经处理过，不能再从这里退款。没有任何改动；请刷新页面查看结果。")
            }
            RefundError::NoCertificate => WebError::Conflict(
                "还没有配置商户证书（WECHAT_CERT_PEM 和 WECHAT_KEY_PEM），不能退款。没有任何改动。",
            ),
            RefundError::OwnRequest => WebError::Conflict(
                "这笔退款是你自己申请的，要另一位管理员来同意。没有任何改动；不想退了可以撤回。",
            ),
            RefundError::DecidedBefore => {
                WebError::Conflict("这笔退款已经有人决定过。没有任何改动；请刷新页面查看结果。")
            }
            RefundError::NotGivenUp(kept) => WebError::Conflict(match kept {
                Kept::NotAsking => {
                    "只有还没有被支付平台受理的退款可以放弃。没有任何改动；请刷新页面查看结果。"
                }
                Kept::TooSoon => {
                    "不久前向支付平台申请过，申请可能还在路上。没有任何改动；最后一次申请满 25 分钟以后才能放弃。"
                }
                Kept::NotDenied => {
                    "支付平台没有说查不到这笔退款，它可能已经受理。没有任何改动；请过几秒刷新页面，看最后的答复。"
                }
            }),
            RefundError::NotConfirmed(said) => WebError::Unconfirmed(said),
            RefundError::Flow(error) => WebError::RefundUnsure(error),
        }
    }
}

impl From<CreditError> for WebError {
    fn from(error: CreditError) -> WebError {
        match error {
            CreditError::NotFound => WebError::NotFound,
            CreditError::NoReason => WebError::Unprocessable("请写明为什么这样入账。".to_owned()),
            CreditError::NoSuchUser => {
                WebError::Unprocessable("没有这个用户，没有入账。请核对用户名。".to_owned())
            }
            CreditError::Oneself => {
                WebError::Conflict("不能入账给自己。没有任何改动；请另一位管理员核对后来做。")
            }
            CreditError::TooMuch(limit) => WebError::Unprocessable(format!(
                "不属于任何订单的付款，一个人 24 小时内指定入账合计不能超过 {} 元。没有任何改动；请从这里原路退款，退款要第二位管理员同意。",
                limit.yuan()
            )),
            CreditError::NotThisKind => {
                WebError::Conflict("这类事项不能人工入账。没有任何改动；请看页面上的处理建议。")
            }
            CreditError::Closed => WebError::Conflict("这件事已经处理过。没有任何改动；请刷新页面查看结果。"),
            CreditError::Credited => {
                WebError::Conflict("这笔付款已经入过账，不会入第二次。没有任何改动；可以直接关闭这件事。")
            }
            CreditError::Refunding => {
                WebError::Conflict("这笔付款已经退款或正在退款，不能再入账。没有任何改动；请等退款有结果。")
            }
            CreditError::HasOrder => {
                WebError::Conflict("现在已经有这个订单了。没有任何改动；请到订单页点重新查单，由系统入账。")
            }
            CreditError::OtherAccount => WebError::Conflict(
                "这笔付款属于另一个商户号、appid 或环境，现在问不到支付平台。没有任何改动；请先核对设置。",
            ),
            CreditError::NotConfirmed(said) => WebError::Unconfirmed(said),
            CreditError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<AccountError> for WebError {
    fn from(error: AccountError) -> WebError {
        match error {
            AccountError::NotFound => WebError::NotFound,
            AccountError::LastOwner => WebError::Conflict(
                "这是最后一位负责人，不能停用，也不能换成别的角色。没有任何改动；请先让另一位成为负责人。",
            ),
            AccountError::Oneself => {
                WebError::Conflict("不能停用自己的账号。没有任何改动；需要时请另一位负责人来做。")
            }
            AccountError::NoFactor => {
                WebError::Conflict("这个账号没有开启两步验证。没有任何改动；请刷新页面查看。")
            }
            AccountError::OwnFactor => WebError::Conflict(
                "自己的两步验证要在“我的账号”里用密码关闭。没有任何改动；手机和恢复码都丢了时，请另一位负责人来做。",
            ),
            AccountError::WrongPassword => {
                WebError::Unprocessable("现在的密码不正确，没有任何改动。".to_owned())
            }
            AccountError::Weak(password) => WebError::Unprocessable(weak(password, Lang::Zh).to_owned()),
            AccountError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<FactorError> for WebError {
    fn from(error: FactorError) -> WebError {
        match error {
            FactorError::WrongPassword => {
                WebError::Unprocessable("现在的密码不正确，没有任何改动。".to_owned())
            }
            FactorError::WrongCode => WebError::Unprocessable(
                "验证码不正确，或已经用过。请等手机显示下一个再输入；一直不对时，请核对手机的时间。"
                    .to_owned(),
            ),
            FactorError::Blocked(secs) => {
                WebError::TooMany { retry_after_secs: u64::try_from(secs).unwrap_or_default() }
            }
            FactorError::NotNow => {
                WebError::Conflict("两步验证不在这个状态。没有任何改动；请回到“我的账号”查看。")
            }
            FactorError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<FreezeError> for WebError {
    fn from(error: FreezeError) -> WebError {
        match error {
            FreezeError::NotFound => WebError::NotFound,
            FreezeError::NoReason => WebError::Unprocessable("请写明原因，没有任何改动。".to_owned()),
            FreezeError::Already => {
                WebError::Conflict("这个用户已经是这种状态。没有任何改动；请刷新页面查看。")
            }
            FreezeError::Flow(error) => WebError::Flow(error),
        }
    }
}

impl From<AdjustError> for WebError {
    fn from(error: AdjustError) -> WebError {
        match error {
            AdjustError::NotFound => WebError::NotFound,
            AdjustError::NoReason => WebError::Unprocessable("请写明原因，没有任何改动。".to_owned()),
            AdjustError::BadAmount => {
                WebError::Unprocessable("调整的金额至少 0.01 元。没有任何改动。".to_owned())
            }
            AdjustError::BadIntent => {
                WebError::BadRequest("表单已失效，没有调整。请返回用户页，刷新后重试。")
            }
            AdjustError::IntentReused => {
                WebError::Conflict("这张表单已经用来调整过另一个金额，那一次仍然有效。请刷新用户页查看。")
            }
            AdjustError::BelowZero(balance) => WebError::Unprocessable(format!(
                "用户的余额只有 {} 元，不能减到零以下。没有任何改动。",
                yuan_text(balance)
            )),
            AdjustError::OwnRequest => WebError::Conflict(
                "这是你自己申请的，要另一位管理员来同意。没有任何改动；不想调整了可以撤回。",
            ),
            AdjustError::OwnBalance => WebError::Conflict(
                "这是你自己的余额，不能由你申请或同意调整。没有任何改动；请另外两位管理员来处理。",
            ),
            AdjustError::DecidedBefore => {
                WebError::Conflict("这次调整已经有人决定过。没有任何改动；请刷新页面查看结果。")
            }
            AdjustError::Flow(error) => WebError::Flow(error),
        }
    }
}
