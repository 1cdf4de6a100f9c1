//! Named places where a test may end the process as a crash would. Compiled in only with the feature
//! `failpoints`; otherwise passing one does nothing.

/// One place each, named where it is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// Every change of the batch is made, COMMIT is not.
    WriterBeforeCommit,
    /// The batch is durable and nobody has been told.
    WriterAfterCommit,
    /// A callback is settled and not answered.
    NotifyBeforeReply,
    /// The order is durable, WeChat has not been asked.
    TopUpAfterOrderWritten,
    /// WeChat has prepared the payment, we have not kept its `prepay_id`.
    TopUpAfterPrepayAnswer,
    /// WeChat has said what became of an attempt, nothing of it is written.
    QueryAfterAnswer,
    /// WeChat has closed an attempt, we have not asked whether it was paid before.
    CloseBetweenCloseAndQuery,
}

impl Failpoint {
    pub const ALL: [Failpoint; 7] = [
        Failpoint::WriterBeforeCommit,
        Failpoint::WriterAfterCommit,
        Failpoint::NotifyBeforeReply,
        Failpoint::TopUpAfterOrderWritten,
        Failpoint::TopUpAfterPrepayAnswer,
        Failpoint::QueryAfterAnswer,
        Failpoint::CloseBetweenCloseAndQuery,
    ];

    /// As the hidden option `serve --failpoint NAME:NTH` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Failpoint::WriterBeforeCommit => "writer/before_commit",
            Failpoint::WriterAfterCommit => "writer/after_commit",
            Failpoint::NotifyBeforeReply => "notify/before_reply",
            Failpoint::TopUpAfterOrderWritten => "top_up/after_order_written",
            Failpoint::TopUpAfterPrepayAnswer => "top_up/after_prepay_answer",
            Failpoint::QueryAfterAnswer => "query/after_answer",
            Failpoint::CloseBetweenCloseAndQuery => "close/between_close_and_query",
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{Armed, arm, pass};

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
pub const fn pass(_: Failpoint) {}

#[cfg(feature = "failpoints")]
mod armed {
    //! The one place that is armed in this process, and how often it may still be passed.

    use super::Failpoint;
    use std::{
        str::FromStr,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    static ARMED: OnceLock<(Failpoint, AtomicU32)> = OnceLock::new();

    /// A place and at which pass, counted from 1, the process ends there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Armed {
        place: Failpoint,
        nth: u32,
    }

    impl FromStr for Armed {
        type Err = &'static str;

        fn from_str(text: &str) -> Result<Armed, &'static str> {
            let (name, nth) = text.split_once(':').ok_or("not NAME:NTH")?;
            let place = Failpoint::ALL.into_iter().find(|place| place.name() == name);
            let nth = nth.parse().ok().filter(|nth| *nth > 0);
            Ok(Armed { place: place.ok_or("no such failpoint")?, nth: nth.ok_or("NTH counts from 1")? })
        }
    }

    /// Arms one place, once in the life of the process.
    pub fn arm(armed: Armed) {
        // A second one would be a mistake of the test; the first stays.
        let _ = ARMED.set((armed.place, AtomicU32::new(armed.nth)));
    }

    /// Ends the process with SIGABRT here, if this is the place and the time.
    pub fn pass(place: Failpoint) {
        if let Some((armed, left)) = ARMED.get()
            && *armed == place
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            std::process::abort();
        }
    }
}
