//! Wrong versions of the lines that money depends on, so that the proof can prove itself: each must be
//! found. Compiled in only with the feature `canaries`; otherwise every one is constantly silent.

macro_rules! canaries {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One wrong version each; `docs/proof.md` says what is wrong with it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Canary {
            $($(#[$doc])* $name),*
        }

        impl Canary {
            pub const ALL: &[Canary] = &[$(Canary::$name),*];
        }
    };
}

canaries! {
    NoAmountCheck,
    NoStatusGuard,
    CreditTwice,
    RowsInverted,
    LateRefused,
    CreditApart,
    SuccessBeforeCommit,
    DuplicateRefused,
    BadSignClosesOrder,
    UnsignedAccepted,
    SignPrefix,
    AnyAlgorithm,
    KeyByMessage,
    LastDuplicateWins,
    CashFeeIsTheAmount,
    FloatAmount,
    NoZone,
    ReturnCodeIsTheState,
    ReplyOfAnotherOrder,
    NoAnswerMeansClosed,
    NotPaidIsFinal,
    NewNumberOnRetry,
    SweepForgets,
    SweepEndsAtExpiry,
    SlowSweep,
    NoLease,
    NoAnswerEndsAsking,
    CloseWithoutAsking,
    NoOwnerCheck,
    RefundUnlocked,
    NewRefundNumber,
    ProcessingIsRefunded,
    /// A defect this program had: an attempt read as never sent is closed though somebody is sending it.
    UnsentByMemory,
    /// Another one: what has expired by our clock alone is taken for expired at the gateway.
    OurClockIsRight,
    /// And another: a page that comes back hurries the question about the open attempt alone.
    SetAsideForgotten,
    /// The two halves of one more: an order is closed over an attempt that another phone has just opened,
    ClosedOverAttempt,
    /// and an attempt is opened for an order that another clock has just closed.
    OpenedAfterClosing,
    V3Unsigned,
    V3AnySerial,
    V3AnyTime,
    V3PayerTotal,
    AlipayUnsigned,
    AlipayAnySeller,
    AlipayRefundIsPayment,
    ByHandUnconfirmed,
    /// A line of the bill credits without a question to the gateway.
    BillCredits,
    GivenUpTooSoon,
    /// The clocks of two instances are taken for one.
    GivenUpByOneClock,
}

#[cfg(feature = "canaries")]
std::thread_local! {
    static SINGING: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "canaries")]
static EVERYWHERE: std::sync::OnceLock<Canary> = std::sync::OnceLock::new();

/// Whether this wrong version is in force on this thread.
#[cfg(feature = "canaries")]
pub fn sings(canary: Canary) -> bool {
    SINGING.get() == Some(canary) || EVERYWHERE.get() == Some(&canary)
}

/// Whether any wrong version is in force on this thread.
#[cfg(feature = "canaries")]
pub fn any_sings() -> bool {
    SINGING.get().is_some() || EVERYWHERE.get().is_some()
}

/// Never: the feature `canaries` is off.
#[cfg(not(feature = "canaries"))]
pub const fn sings(_: Canary) -> bool {
    false
}

/// Puts one wrong version in force on this thread, or none.
#[cfg(feature = "canaries")]
pub fn sing(canary: Option<Canary>) {
    SINGING.set(canary);
}

/// Puts the wrong version of this name in force on all threads, for the rest of the process. Only the
/// first call counts. `false` when there is no such name.
#[cfg(feature = "canaries")]
pub fn sing_everywhere(name: &str) -> bool {
    let named = Canary::ALL.iter().find(|canary| format!("{canary:?}") == name);
    named.is_some_and(|canary| EVERYWHERE.get_or_init(|| *canary) == canary)
}
