//! The command line. Exit codes: 0 ok, 1 a check failed, 2 usage, 3 configuration, 4 database or gateway out of reach.

mod admin;
mod audit;
mod demo;
mod migrate;
mod notify;
mod order;
mod prove;
mod reconcile;
mod serve;
mod simulate;

use crate::{
    config::{Config, ConfigError, Source},
    flow::FlowError,
    store::StoreError,
};
use clap::{Parser, Subcommand};
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// 收银 Shouyin: a merchant payment backend for WeChat Pay that runs, tests and proves itself offline.
#[derive(Parser)]
#[command(version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything with no account and no network: simulator, sample data, printed links.
    ///
    /// Example: shouyin demo --reset
    Demo(demo::Options),
    /// The production server. Settings come from the environment and `.env`.
    ///
    /// Example: shouyin serve
    Serve(serve::Options),
    /// The gateway simulator alone, on its own port.
    ///
    /// Example: shouyin simulate --listen 127.0.0.1:8090 --speed 10 --scenario notify-lost
    Simulate(Box<simulate::Options>),
    /// Brings the database to this version. `serve` does so too.
    ///
    /// Example: shouyin migrate
    Migrate,
    /// Administrators.
    ///
    /// Example: shouyin admin create ann --role support
    #[command(subcommand)]
    Admin(admin::Action),
    /// One order in the terminal, or ask the gateway about it now.
    ///
    /// Example: shouyin order show 0c1f…9a
    #[command(subcommand)]
    Order(order::Action),
    /// Messages from the gateway as they arrived.
    ///
    /// Example: shouyin notify list
    #[command(subcommand)]
    Notify(notify::Action),
    /// Checks the pages of a file, every rule of the books and the chain of the audit log; exits 1 if one does not hold. Works beside a running server.
    ///
    /// Example: shouyin audit
    Audit(audit::Options),
    /// Fetches the gateways' bills of a day and holds them against the books; exits 1 while differences wait for
    /// somebody, 4 when a bill is not to be had. The server must not be running on the same file.
    ///
    /// Example: shouyin reconcile 2026-11-20
    Reconcile(reconcile::Options),
    /// Simulates the whole application with faults that follow from seeds; exits 1 with the failing seed.
    ///
    /// Example: shouyin prove --seeds 1000
    Prove(prove::Options),
}

/// Why a command did not succeed, with its exit code.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// 1
    #[error("{0}")]
    Failed(String),
    /// 2
    #[error("{0}")]
    Usage(String),
    /// 3
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// 4
    #[error("{0}")]
    OutOfReach(String),
}

impl CliError {
    const fn code(&self) -> u8 {
        match self {
            CliError::Failed(_) => 1,
            CliError::Usage(_) => 2,
            CliError::Config(_) => 3,
            CliError::OutOfReach(_) => 4,
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> CliError {
        CliError::OutOfReach(error.to_string())
    }
}

impl From<FlowError> for CliError {
    fn from(error: FlowError) -> CliError {
        CliError::OutOfReach(error.to_string())
    }
}

impl From<crate::app::AppError> for CliError {
    fn from(error: crate::app::AppError) -> CliError {
        CliError::OutOfReach(error.to_string())
    }
}

impl From<crate::clock::NoEntropy> for CliError {
    fn from(error: crate::clock::NoEntropy) -> CliError {
        CliError::OutOfReach(error.to_string())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::OutOfReach(error.to_string())
    }
}

/// Runs what the arguments ask for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let source = Source::from_process();
    let usual = match arguments.command {
        Command::Serve(_) | Command::Simulate(_) => "info,actix_server=warn",
        // Thousands of payments go wrong on purpose.
        Command::Prove(_) => "off",
        _ => "warn",
    };
    start_logging(&source, usual);
    let outcome = actix_web::rt::System::new().block_on(async {
        match arguments.command {
            Command::Demo(options) => demo::run(options).await,
            Command::Serve(options) => serve::run(&source, &options).await,
            Command::Simulate(options) => simulate::run(*options).await,
            Command::Migrate => migrate::run(&source),
            Command::Admin(action) => admin::run(&source, action).await,
            Command::Order(action) => order::run(&source, action).await,
            Command::Notify(action) => notify::run(&source, action).await,
            Command::Audit(options) => audit::run(&source, options).await,
            Command::Reconcile(options) => reconcile::run(&source, options).await,
            Command::Prove(options) => prove::run(&options),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody can be told, the exit code still says it.
            let _ = writeln!(io::stderr(), "shouyin: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// Logs go to standard error, so that what a command prints can be piped.
fn start_logging(source: &Source, usual: &str) {
    let log = Config::read_log(source);
    let filter =
        EnvFilter::try_new(log.filter.as_deref().unwrap_or(usual)).unwrap_or_else(|_| EnvFilter::new(usual));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would be said where nothing can be said, by a panic of whoever wrote the line: writer, job or answer.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    if log.json { subscriber.json().init() } else { subscriber.with_target(false).init() }
}
