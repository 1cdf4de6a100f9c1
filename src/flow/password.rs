//! Passwords: what is accepted, how they are hashed. Hashing runs off the async threads, two at a time.

use super::FlowError;
use crate::app::App;
use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use std::time::Duration;

/// Characters, not bytes.
const SHORTEST: usize = 8;
/// Bytes; more is refused before it is hashed.
const LONGEST: usize = 1024;
/// Below this length a password must not be one of the first that anybody would try.
const LONG_ENOUGH_FOR_ANYTHING: usize = 20;
/// Roughly the commonest few thousand passwords.
const COMMON_GUESSES: u64 = 5_000;
const HASHING_WAIT: Duration = Duration::from_secs(4);
const SALT: usize = 16;

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakPassword {
    TooShort,
    TooLong,
    Common,
}

/// A password is used exactly as typed: never trimmed, never cut.
///
/// # Errors
/// Fewer than 8 characters, more than 1024 bytes, or a common one.
pub fn check(password: &str, username: &str) -> Result<(), WeakPassword> {
    let length = password.chars().count();
    if length < SHORTEST {
        return Err(WeakPassword::TooShort);
    }
    if password.len() > LONGEST {
        return Err(WeakPassword::TooLong);
    }
    if length < LONG_ENOUGH_FOR_ANYTHING && zxcvbn::zxcvbn(password, &[username]).guesses() < COMMON_GUESSES {
        return Err(WeakPassword::Common);
    }
    Ok(())
}

/// Argon2id with a fresh salt, as a PHC string.
///
/// # Errors
/// No random bytes; hashing overloaded.
pub async fn hash(app: &App, password: String) -> Result<String, FlowError> {
    let salt: [u8; SALT] = app.clock.random()?;
    off_thread(app, move || {
        let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hashed.map(|hash| hash.to_string()).map_err(|_| FlowError::HashingBusy)
    })
    .await?
}

/// Whether the password is the one that was hashed. Without a hash the same work is done and the
/// answer is no, so that an unknown name takes as long as a wrong password.
///
/// # Errors
/// Hashing overloaded.
pub async fn verify(app: &App, password: String, phc: Option<String>) -> Result<bool, FlowError> {
    off_thread(app, move || {
        if password.len() > LONGEST {
            return false;
        }
        let stored = phc.as_deref().and_then(|phc| PasswordHash::new(phc).ok());
        match stored {
            Some(hash) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
            None => {
                let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &[0; SALT]);
                std::hint::black_box(hashed.is_ok());
                false
            }
        }
    })
    .await
}

async fn off_thread<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FlowError> {
    let permit = tokio::time::timeout(HASHING_WAIT, app.hashing.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(FlowError::HashingBusy);
    };
    // The permit goes along: a caller who hangs up does not make room for another while this one still works.
    let counted = move || {
        let done = work();
        drop(permit);
        done
    };
    tokio::task::spawn_blocking(counted).await.map_err(|_| FlowError::HashingBusy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_and_odd_strong_ones_are_not() {
        assert_eq!(check("a1b2c3d", "ann"), Err(WeakPassword::TooShort));
        for common in ["password", "12345678", "qwertyuiop", "iloveyou", "11111111", "annannann"] {
            assert_eq!(check(common, "annannann"), Err(WeakPassword::Common), "{common}");
        }
        for fine in
            ["correct horse battery", "  spaces around  7", &"a".repeat(64), &"😀".repeat(128), "Tr0ub4dor&3"]
        {
            assert_eq!(check(fine, "ann"), Ok(()), "{fine}");
        }
        assert_eq!(check(&"x".repeat(1025), "ann"), Err(WeakPassword::TooLong));
    }
}
