//! The binary: arguments to the command, its outcome to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    shouyin::cli::run()
}
