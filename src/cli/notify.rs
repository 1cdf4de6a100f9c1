//! `notify`: messages from the gateway as they arrived; replay one through the same door.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::{time::UnixMs, user::BY_COMMAND},
    flow::{
        notify::{self, ReplayError},
        timeline::{masked_body, masked_headers},
    },
    store::{Store, notices},
};
use clap::Subcommand;

/// Printed by one `list`.
const SHOWN: i64 = 50;

#[derive(Subcommand)]
pub(super) enum Action {
    /// The newest messages, also the rejected ones. Works beside a running server.
    ///
    /// Example: shouyin notify list --rejected
    List {
        /// Only those that were not believed.
        #[arg(long)]
        rejected: bool,
    },
    /// One message in full, openid and signature shortened.
    ///
    /// Example: shouyin notify show 019aa3…
    Show { id: String },
    /// Sends a kept callback through the same handler again; it can never credit twice. The server
    /// must not be running on the same file.
    ///
    /// Example: shouyin notify replay 019aa3…
    Replay { id: String },
}

/// # Errors
/// No such message (1), the books in use (4).
pub(super) async fn run(source: &Source, action: Action) -> Result<(), CliError> {
    let config = Config::read(source)?;
    let unknown = |id: &str| CliError::Failed(format!("there is no callback {id}"));
    match action {
        Action::List { rejected } => {
            let store = Store::open_to_read(&config.database)?;
            for notice in store.read(move |db| notices::list(db, rejected, None, SHOWN)).await? {
                let number = notice.out_trade_no.as_deref().unwrap_or("-");
                let at = UnixMs(notice.received_at);
                println!("{}  {at}  {:<7} {:<20} {number}", notice.id, notice.source, notice.verdict);
            }
        }
        Action::Show { id } => {
            let store = Store::open_to_read(&config.database)?;
            let key = id.clone();
            let notice = store.read(move |db| notices::by_id(db, &key)).await?.ok_or_else(|| unknown(&id))?;
            println!("{}  {}  {}", notice.id, UnixMs(notice.received_at), notice.verdict);
            println!("from {}\n{}", notice.remote_ip, masked_headers(&notice.headers));
            println!("{}\n\nanswered: {}", masked_body(&notice.body), notice.reply);
        }
        Action::Replay { id } => {
            let store = Store::open(&config.database)?;
            let app = App::new(config, store, Clock::system())?;
            let reply = notify::replay(app, BY_COMMAND, &id).await.map_err(|refused| match refused {
                ReplayError::Flow(error) => error.into(),
                refused => CliError::Failed(format!("{id} is not replayed: {refused}")),
            })?;
            println!("{}", reply.body);
        }
    }
    Ok(())
}
