//! Wrong versions of the lines that money depends on, so that the proof can prove itself: each must be
//! found. Compiled in only with the feature `canaries`; otherwise every one is constantly silent.

/// One wrong version each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    NoAmountCheck,
    NoStatusGuard,
    LateRefused,
    CreditApart,
    SuccessBeforeCommit,
    DuplicateRefused,
    BadSignClosesOrder,
    UnsignedAccepted,
    AnyAlgorithm,
    CashFeeIsTheAmount,
    ReturnCodeIsTheState,
    ReplyOfAnotherOrder,
    NoAnswerMeansClosed,
    NotPaidIsFinal,
    NewNumberOnRetry,
    SweepForgets,
    NoAnswerEndsAsking,
    CloseWithoutAsking,
    /// A defect this program had: an attempt read as never sent is closed though somebody is sending it.
    UnsentByMemory,
}

impl Canary {
    pub const ALL: [Canary; 19] = [
        Canary::NoAmountCheck,
        Canary::NoStatusGuard,
        Canary::LateRefused,
        Canary::CreditApart,
        Canary::SuccessBeforeCommit,
        Canary::DuplicateRefused,
        Canary::BadSignClosesOrder,
        Canary::UnsignedAccepted,
        Canary::AnyAlgorithm,
        Canary::CashFeeIsTheAmount,
        Canary::ReturnCodeIsTheState,
        Canary::ReplyOfAnotherOrder,
        Canary::NoAnswerMeansClosed,
        Canary::NotPaidIsFinal,
        Canary::NewNumberOnRetry,
        Canary::SweepForgets,
        Canary::NoAnswerEndsAsking,
        Canary::CloseWithoutAsking,
        Canary::UnsentByMemory,
    ];
}

#[cfg(feature = "canaries")]
std::thread_local! {
    static SINGING: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// Whether this wrong version is in force on this thread.
#[cfg(feature = "canaries")]
pub fn sings(canary: Canary) -> bool {
    SINGING.get() == Some(canary)
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
