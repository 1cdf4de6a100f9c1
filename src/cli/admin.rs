//! `admin`: accounts of administrators, made at the machine itself.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::user::Role,
    flow::{password::WeakPassword, register::RegisterError, set_up},
    store::Store,
};
use clap::Subcommand;
use std::io::{self, IsTerminal};

#[derive(Subcommand)]
pub(super) enum Action {
    /// Makes an administrator. The password is read from standard input, one line.
    ///
    /// Example: printf '%s\n' "$PASSWORD" | shouyin admin create ann --role support
    Create {
        name: String,
        /// owner, finance, support, auditor or developer.
        #[arg(long, default_value = "owner", value_parser = role)]
        role: Role,
    },
    /// Replaces a password, takes the second factor away and signs that account out everywhere.
    ///
    /// Example: shouyin admin reset-password ann
    ResetPassword { name: String },
}

/// # Errors
/// The server is running, or the name or password is not accepted.
pub(super) async fn run(source: &Source, action: Action) -> Result<(), CliError> {
    let config = Config::read(source)?;
    let store = Store::open(&config.database)?;
    let app = App::new(config, store, Clock::system())?;
    let password = read_password()?;
    match action {
        Action::Create { name, role } => {
            set_up::admin_by_command(&app, &name, password, role).await.map_err(explained)?;
            println!("administrator {name} made: {}", role.as_str());
        }
        Action::ResetPassword { name } => {
            if !set_up::reset_password(&app, &name, password).await.map_err(explained)? {
                return Err(CliError::Failed(format!("there is no account named {name}")));
            }
            println!("password of {name} replaced; all its sessions are ended, no code is asked for");
        }
    }
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse_admin(text).ok_or_else(|| {
        let names: Vec<_> = Role::admins().map(Role::as_str).collect();
        format!("one of {}", names.join(", "))
    })
}

fn read_password() -> Result<String, CliError> {
    if io::stdin().is_terminal() {
        eprintln!("password (at least 8 characters; it will be visible as you type):");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn explained(error: RegisterError) -> CliError {
    match error {
        RegisterError::BadName => CliError::Usage("a name has 2 to 32 letters, digits or _ . - @".to_owned()),
        RegisterError::NameTaken => CliError::Failed("that name is taken".to_owned()),
        RegisterError::Weak(WeakPassword::TooShort) => {
            CliError::Usage("a password has at least 8 characters".to_owned())
        }
        RegisterError::Weak(WeakPassword::TooLong) => {
            CliError::Usage("a password has at most 1024 bytes".to_owned())
        }
        RegisterError::Weak(WeakPassword::Common) => {
            CliError::Usage("that password is among the first anybody would try".to_owned())
        }
        RegisterError::Flow(error) => error.into(),
    }
}
