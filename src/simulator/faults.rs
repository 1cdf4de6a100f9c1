//! The mischief list: what a simulated WeChat can do wrong, and which callbacks each fault sends. No I/O.

use super::refunds::RefundStatus;
use crate::gateway::Protocol;

/// How one trade behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    #[default]
    Ok,
    NotifyLost,
    NotifyDelayed,
    NotifyTwice,
    NotifyX20Parallel,
    NotifyBeforeReturn,
    WrongAmount,
    WrongSign,
    CancelAfterPaid,
    SystemError,
    TimeoutAfterAccept,
    LatePayment,
    Coupon,
    Md5Sign,
    RefundNotEnough,
    RefundProcessing,
    RefundAbnormal,
    RefundClosed,
    RefundLostReply,
    RefundNotifyLost,
    CertRotated,
    PublicKeyMode,
    SignTestProbe,
    ClockSkew,
    TradeFinished,
    WaitBuyerPay,
    BillMissing,
    BillAmount,
}

/// What is wrong with the text of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    True,
    OneFenLess,
    WrongSign,
    /// V2: MD5 for an order signed with HMAC-SHA256, and the other way round. V3: the name of one that is not ours.
    OtherAlgorithm,
    /// V3 signs the first try wrongly on purpose, to see whether anybody looks.
    SignTest,
    /// V3's clock is ten minutes off at the first try.
    SkewedClock,
}

impl Content {
    /// What the next try is like.
    pub const fn of_retry(self) -> Content {
        match self {
            Content::SignTest | Content::SkewedClock => Content::True,
            other => other,
        }
    }
}

/// One callback a payment causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub delay_secs: i64,
    pub content: Content,
    /// Comes again while it is not acknowledged. Extra copies do not.
    pub repeats: bool,
}

/// How many first unifiedorder calls for a number `systemerror` spoils.
const SPOILED: u32 = 2;
/// How many first requests for a refund `refund-not-enough` has no funds for.
const WITHOUT_FUNDS: u32 = 2;
/// A refund to the payer's balance, and one that keeps everybody waiting, in seconds.
const REFUND_SECS: i64 = 20;
const LONG_REFUND_SECS: i64 = 3 * 24 * 3600;
const DELAY_SECS: i64 = 30;

impl Scenario {
    pub const ALL: [Scenario; 28] = [
        Scenario::Ok,
        Scenario::NotifyLost,
        Scenario::NotifyDelayed,
        Scenario::NotifyTwice,
        Scenario::NotifyX20Parallel,
        Scenario::NotifyBeforeReturn,
        Scenario::WrongAmount,
        Scenario::WrongSign,
        Scenario::CancelAfterPaid,
        Scenario::SystemError,
        Scenario::TimeoutAfterAccept,
        Scenario::LatePayment,
        Scenario::Coupon,
        Scenario::Md5Sign,
        Scenario::RefundNotEnough,
        Scenario::RefundProcessing,
        Scenario::RefundAbnormal,
        Scenario::RefundClosed,
        Scenario::RefundLostReply,
        Scenario::RefundNotifyLost,
        Scenario::CertRotated,
        Scenario::PublicKeyMode,
        Scenario::SignTestProbe,
        Scenario::ClockSkew,
        Scenario::TradeFinished,
        Scenario::WaitBuyerPay,
        Scenario::BillMissing,
        Scenario::BillAmount,
    ];

    pub const fn name(self) -> &'static str {
        self.words().0
    }

    pub const fn title_zh(self) -> &'static str {
        self.words().1
    }

    /// One sentence for the cashier page: what happens and what it proves.
    pub const fn explanation_zh(self) -> &'static str {
        self.words().2
    }

    pub fn parse(name: &str) -> Option<Scenario> {
        Scenario::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Scenario::Ok => ("ok", "正常", "付款后立即通知一次"),
            Scenario::NotifyLost => ("notify-lost", "丢通知", "付款成功但从不通知，要靠查单入账"),
            Scenario::NotifyDelayed => ("notify-delayed", "通知迟到", "付款 30 秒后才通知"),
            Scenario::NotifyTwice => ("notify-twice", "重复通知", "同一笔付款通知两次，只能入账一次"),
            Scenario::NotifyX20Parallel => {
                ("notify-x20-parallel", "并发通知", "同一笔付款同时通知二十次，只能入账一次")
            }
            Scenario::NotifyBeforeReturn => {
                ("notify-before-return", "通知先到", "通知送达并应答之后，页面才得到结果")
            }
            Scenario::WrongAmount => {
                ("wrong-amount", "少一分", "通知里的金额少 1 分（签名有效），查单才是真话")
            }
            Scenario::WrongSign => ("wrong-sign", "错签名", "通知的签名是错的，要靠查单入账"),
            Scenario::CancelAfterPaid => ("cancel-after-paid", "付完说取消", "已经付款，页面却收到 cancel"),
            Scenario::SystemError => {
                ("systemerror", "下单报错", "同一单号前两次下单返回 SYSTEMERROR，第三次成功")
            }
            Scenario::TimeoutAfterAccept => {
                ("timeout-after-accept", "下单超时", "第一次下单已受理，但应答迟于 6 秒")
            }
            Scenario::LatePayment => ("late-payment", "关单后付款", "订单关闭或过期以后付款仍然成功并通知"),
            Scenario::Coupon => ("coupon", "代金券", "用券付款，现金部分小于订单金额，并带有未知新字段"),
            Scenario::Md5Sign => ("md5-sign", "换算法", "通知用另一种签名算法"),
            Scenario::RefundNotEnough => {
                ("refund-not-enough", "退款余额不足", "前两次退款请求返回 NOTENOUGH，第三次受理")
            }
            Scenario::RefundProcessing => ("refund-processing", "退款很慢", "退款受理三天以后才成功"),
            Scenario::RefundAbnormal => {
                ("refund-abnormal", "退款异常", "退款变成 CHANGE，在首页处理之后才成功")
            }
            Scenario::RefundClosed => ("refund-closed", "退款关闭", "退款受理以后又被关闭（REFUNDCLOSE）"),
            Scenario::RefundLostReply => {
                ("refund-lost-reply", "退款丢应答", "第一次退款已经受理，应答却是 SYSTEMERROR")
            }
            Scenario::RefundNotifyLost => {
                ("refund-notify-lost", "丢退款通知", "退款成功但从不通知，要靠查退款")
            }
            Scenario::CertRotated => {
                ("cert-rotated", "换平台证书", "付款时出现新的平台证书，从此用它签名（V3）")
            }
            Scenario::PublicKeyMode => ("public-key-mode", "公钥签名", "通知用微信支付公钥签名（V3）"),
            Scenario::SignTestProbe => {
                ("signtest-probe", "探测验签", "第一次通知的签名是探测用的错签名，重发的才是真的（V3）")
            }
            Scenario::ClockSkew => {
                ("clock-skew", "时钟偏差", "第一次通知的时间戳差 10 分钟，重发的是对的（V3）")
            }
            Scenario::TradeFinished => {
                ("trade-finished", "交易完结", "付款 30 秒后又通知 TRADE_FINISHED：不能再入账，也不能再退款")
            }
            Scenario::WaitBuyerPay => {
                ("wait-buyer-pay", "各种状态都通知", "扫码、关单也通知，付款之后还迟到一条 WAIT_BUYER_PAY")
            }
            Scenario::BillMissing => ("bill-missing", "账单漏一笔", "付款正常，第二天的账单里却没有这一笔"),
            Scenario::BillAmount => ("bill-amount", "账单少一分", "付款正常，第二天的账单里金额少 1 分"),
        }
    }

    /// The callbacks one payment causes, in order.
    pub fn callbacks(self) -> Vec<Planned> {
        let first = Planned { delay_secs: 0, content: Content::True, repeats: true };
        let copy = Planned { repeats: false, ..first };
        match self {
            Scenario::NotifyLost => Vec::new(),
            Scenario::NotifyDelayed => vec![Planned { delay_secs: DELAY_SECS, ..first }],
            Scenario::NotifyTwice => vec![first, copy],
            Scenario::NotifyX20Parallel => std::iter::once(first).chain([copy; 19]).collect(),
            Scenario::WrongAmount => vec![Planned { content: Content::OneFenLess, ..first }],
            Scenario::WrongSign => vec![Planned { content: Content::WrongSign, ..first }],
            Scenario::Md5Sign => vec![Planned { content: Content::OtherAlgorithm, ..first }],
            Scenario::SignTestProbe => vec![Planned { content: Content::SignTest, ..first }],
            Scenario::ClockSkew => vec![Planned { content: Content::SkewedClock, ..first }],
            Scenario::Ok
            | Scenario::NotifyBeforeReturn
            | Scenario::CancelAfterPaid
            | Scenario::SystemError
            | Scenario::TimeoutAfterAccept
            | Scenario::LatePayment
            | Scenario::Coupon
            | Scenario::RefundNotEnough
            | Scenario::RefundProcessing
            | Scenario::RefundAbnormal
            | Scenario::RefundClosed
            | Scenario::RefundLostReply
            | Scenario::RefundNotifyLost
            | Scenario::CertRotated
            | Scenario::PublicKeyMode
            | Scenario::TradeFinished
            | Scenario::WaitBuyerPay
            | Scenario::BillMissing
            | Scenario::BillAmount => vec![first],
        }
    }

    /// The callbacks of one payment leave at the same moment instead of one after the other.
    pub const fn in_parallel(self) -> bool {
        matches!(self, Scenario::NotifyX20Parallel)
    }

    pub const fn notifies_before_return(self) -> bool {
        matches!(self, Scenario::NotifyBeforeReturn)
    }

    pub const fn pays_closed_trades(self) -> bool {
        matches!(self, Scenario::LatePayment)
    }

    pub const fn uses_coupon(self) -> bool {
        matches!(self, Scenario::Coupon)
    }

    /// A new platform certificate appears with the payment.
    pub const fn rotates_certificate(self) -> bool {
        matches!(self, Scenario::CertRotated)
    }

    /// What the page hears after a payment.
    pub const fn bridge_result(self) -> &'static str {
        match self {
            Scenario::CancelAfterPaid => "cancel",
            _ => "ok",
        }
    }

    /// `asked` counts the unifiedorder calls for this number, this one included.
    pub const fn spoils_unified_order(self, asked: u32) -> bool {
        matches!(self, Scenario::SystemError) && asked <= SPOILED
    }

    pub const fn holds_reply(self, asked: u32) -> bool {
        matches!(self, Scenario::TimeoutAfterAccept) && asked == 1
    }

    /// It shows when a paid trade is refunded; the plain one is among them.
    pub const fn concerns_refunds(self) -> bool {
        matches!(
            self,
            Scenario::Ok
                | Scenario::RefundNotEnough
                | Scenario::RefundProcessing
                | Scenario::RefundAbnormal
                | Scenario::RefundClosed
                | Scenario::RefundLostReply
                | Scenario::RefundNotifyLost
        )
    }

    /// Seconds from taking a refund on to its end, and that end.
    pub const fn refund_course(self) -> (i64, RefundStatus) {
        match self {
            Scenario::RefundProcessing => (LONG_REFUND_SECS, RefundStatus::Success),
            Scenario::RefundAbnormal => (REFUND_SECS, RefundStatus::Change),
            Scenario::RefundClosed => (REFUND_SECS, RefundStatus::Closed),
            _ => (REFUND_SECS, RefundStatus::Success),
        }
    }

    /// `asked` counts the requests for this refund, this one included.
    pub const fn lacks_funds(self, asked: u32) -> bool {
        matches!(self, Scenario::RefundNotEnough) && asked <= WITHOUT_FUNDS
    }

    /// A refund is taken on and the reply does not say so.
    pub const fn loses_refund_reply(self) -> bool {
        matches!(self, Scenario::RefundLostReply)
    }

    pub const fn notifies_refunds(self) -> bool {
        !matches!(self, Scenario::RefundNotifyLost)
    }

    /// Seconds from a payment until it is closed to refunds, which Alipay says in one more notice.
    pub const fn finishes_after_secs(self) -> Option<i64> {
        match self {
            Scenario::TradeFinished => Some(DELAY_SECS),
            _ => None,
        }
    }

    /// Alipay tells of trades that are opened and closed unpaid too.
    pub const fn notifies_every_status(self) -> bool {
        matches!(self, Scenario::WaitBuyerPay)
    }

    /// What the bill says of a payment of so many fen; `None` when it leaves the payment out.
    pub const fn billed(self, fen: i64) -> Option<i64> {
        match self {
            Scenario::BillMissing => None,
            Scenario::BillAmount => Some(fen.saturating_sub(1)),
            _ => Some(fen),
        }
    }

    /// Whether it makes a difference in this protocol.
    pub const fn concerns(self, protocol: Protocol) -> bool {
        match (protocol, self) {
            // There is one Alipay account to refund to, and it takes what comes.
            (Protocol::Alipay, Scenario::RefundAbnormal | Scenario::RefundClosed) => false,
            (Protocol::Alipay, Scenario::TradeFinished | Scenario::WaitBuyerPay) => true,
            (Protocol::WechatV2 | Protocol::WechatV3, Scenario::TradeFinished | Scenario::WaitBuyerPay) => {
                false
            }
            (
                _,
                Scenario::CertRotated
                | Scenario::PublicKeyMode
                | Scenario::SignTestProbe
                | Scenario::ClockSkew,
            ) => matches!(protocol, Protocol::WechatV3),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_of_its_own_that_reads_back() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::parse(scenario.name()), Some(scenario));
            assert!(
                scenario.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            assert!(!scenario.title_zh().is_empty() && !scenario.explanation_zh().is_empty());
        }
        assert_eq!(Scenario::parse("OK"), None);
    }

    #[test]
    fn each_scenario_sends_its_own_callbacks() {
        let sent = |scenario: Scenario| -> Vec<(i64, Content)> {
            scenario.callbacks().iter().map(|p| (p.delay_secs, p.content)).collect()
        };
        for scenario in Scenario::ALL {
            let expected = match scenario {
                Scenario::NotifyLost => vec![],
                Scenario::NotifyDelayed => vec![(30, Content::True)],
                Scenario::NotifyTwice => vec![(0, Content::True); 2],
                Scenario::NotifyX20Parallel => vec![(0, Content::True); 20],
                Scenario::WrongAmount => vec![(0, Content::OneFenLess)],
                Scenario::WrongSign => vec![(0, Content::WrongSign)],
                Scenario::Md5Sign => vec![(0, Content::OtherAlgorithm)],
                Scenario::SignTestProbe => vec![(0, Content::SignTest)],
                Scenario::ClockSkew => vec![(0, Content::SkewedClock)],
                _ => vec![(0, Content::True)],
            };
            assert_eq!(sent(scenario), expected, "{}", scenario.name());
            let repeating = scenario.callbacks().iter().filter(|p| p.repeats).count();
            assert!(repeating <= 1, "{} repeats more than one copy", scenario.name());
        }
    }
}
