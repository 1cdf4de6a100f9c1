//! The second factor of an administrator: a phone that makes codes, and ten recovery codes for the day it is lost.
//! Every look at a code and what follows from it is one change of the books, so that no code is taken twice.

use super::{
    FlowError,
    log_in::{NewSession, is_password_of},
};
use crate::{
    app::App,
    domain::{time::UnixMs, user::User},
    store::{
        Db, StoreError,
        audit_log::{self, Act},
        second_factors::{self, Factor},
        sessions::{self, Place},
    },
    token::{self, seal, totp},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

const CODES: usize = 10;
/// 80 bits each: 16 letters and digits.
const CODE_BYTES: usize = 10;
/// Wrong codes one after the other before the account has to wait, first a minute, then twice as long each time.
const TRIES: i64 = 5;
const FIRST_WAIT_SECS: i64 = 60;
const LONGEST_WAIT_SECS: i64 = 3600;
const SECRET: &str = "totp";
const RECOVERY: &str = "recovery";

/// Why a change of the second factor does not happen.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    #[error("the password is wrong")]
    WrongPassword,
    #[error("the code is wrong or was used before")]
    WrongCode,
    #[error("too many wrong codes, wait {0} s")]
    Blocked(i64),
    /// Nothing was begun, it is on already, or it is off.
    #[error("there is no second factor in that state")]
    NotNow,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for FactorError {
    fn from(error: StoreError) -> FactorError {
        FactorError::Flow(error.into())
    }
}

impl From<crate::clock::NoEntropy> for FactorError {
    fn from(error: crate::clock::NoEntropy) -> FactorError {
        FactorError::Flow(error.into())
    }
}

/// A secret for a phone to take.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// For typing.
    pub base32: String,
    /// For scanning.
    pub uri: String,
}

/// Makes a secret that counts once a code of it was shown. The password is asked for: a browser left open must not be
/// enough to lock its owner out.
///
/// # Errors
/// The password is wrong; it is on already; the books.
pub async fn begin(app: &App, user: &User, password: String) -> Result<(), FactorError> {
    let proof = is_password_of(app, user, password).await?.ok_or(FactorError::WrongPassword)?;
    let (secret, nonce) = (app.clock.random::<{ totp::SECRET }>()?, app.clock.random()?);
    let sealed = seal::seal(&app.config.secret_key, SECRET, user.id, nonce, &secret);
    let sealed = sealed.ok_or(FlowError::NoKeys("second factors"))?;
    let id = user.id;
    let begun = app.store.write(move |db| {
        if !proof.holds(db)? {
            return Ok(Err(FactorError::WrongPassword));
        }
        if second_factors::is_on(db, id)? {
            return Ok(Err(FactorError::NotNow));
        }
        second_factors::begin(db, id, &sealed)?;
        Ok(Ok(()))
    });
    begun.await?
}

/// What was begun and not confirmed yet.
///
/// # Errors
/// Nothing was begun; the books.
pub async fn enrolment(app: &App, user: &User) -> Result<Enrolment, FactorError> {
    let id = user.id;
    let factor = app.store.read(move |db| second_factors::of_user(db, id)).await?;
    let factor = factor.filter(|factor| factor.confirmed_at.is_none()).ok_or(FactorError::NotNow)?;
    let secret = opened(&app.config.secret_key, &factor).ok_or(FactorError::NotNow)?;
    let base32 = totp::base32(&secret);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    // The host tells the shops of one administrator apart.
    let host = app.config.public_url.as_str().split("://").last().unwrap_or_default();
    let issuer = encoded(host);
    let name = encoded(&user.username);
    let uri = format!("otpauth://totp/{issuer}:{name}?secret={base32}&issuer={issuer}");
    Ok(Enrolment { base32, uri })
}

/// Turns it on with the first code of the phone, and ends the account's other sessions. Gives the recovery codes, which
/// nobody sees again.
///
/// # Errors
/// Nothing was begun; a wrong code, or too many of them; the books.
pub async fn confirm(app: &App, user: &User, browser: &str, typed: &str) -> Result<Vec<String>, FactorError> {
    let codes = fresh_codes(app)?;
    let hashes = hashes(app, user.id, &codes);
    let (key, now, here) = (app.config.secret_key.clone(), app.clock.now(), token::hash(browser));
    let (user, typed) = (user.clone(), typed.to_owned());
    let confirmed = app.store.write(move |db| {
        let Some(factor) = second_factors::of_user(db, user.id)?.filter(|f| f.confirmed_at.is_none()) else {
            return Ok(Err(FactorError::NotNow));
        };
        match judge(db, &key, &factor, &user, &typed, now)? {
            Judged::Right => {}
            Judged::Wrong => return Ok(Err(FactorError::WrongCode)),
            Judged::Blocked(secs) => return Ok(Err(FactorError::Blocked(secs))),
        }
        second_factors::confirm(db, user.id, now)?;
        second_factors::put_codes(db, user.id, &hashes)?;
        sessions::delete_others(db, user.id, &here)?;
        note(db, &user, "second_factor_on", "off", "on", now)?;
        Ok(Ok(()))
    });
    confirmed.await??;
    Ok(codes)
}

/// # Errors
/// The password is wrong; it is off; the books.
pub async fn turn_off(app: &App, user: &User, password: String) -> Result<(), FactorError> {
    let proof = is_password_of(app, user, password).await?.ok_or(FactorError::WrongPassword)?;
    let (user, now) = (user.clone(), app.clock.now());
    let removed = app.store.write(move |db| {
        if !proof.holds(db)? {
            return Ok(Err(FactorError::WrongPassword));
        }
        if !second_factors::remove(db, user.id)? {
            return Ok(Err(FactorError::NotNow));
        }
        note(db, &user, "second_factor_off", "on", "off", now)?;
        Ok(Ok(()))
    });
    removed.await?
}

/// Ten new recovery codes in place of the old ones.
///
/// # Errors
/// The password is wrong; it is off; the books.
pub async fn renew_codes(app: &App, user: &User, password: String) -> Result<Vec<String>, FactorError> {
    let proof = is_password_of(app, user, password).await?.ok_or(FactorError::WrongPassword)?;
    let codes = fresh_codes(app)?;
    let hashes = hashes(app, user.id, &codes);
    let (user, now) = (user.clone(), app.clock.now());
    let renewed = app.store.write(move |db| {
        if !proof.holds(db)? {
            return Ok(Err(FactorError::WrongPassword));
        }
        if !second_factors::is_on(db, user.id)? {
            return Ok(Err(FactorError::NotNow));
        }
        second_factors::put_codes(db, user.id, &hashes)?;
        note(db, &user, "recovery_codes_renewed", "", "", now)?;
        Ok(Ok(()))
    });
    renewed.await??;
    Ok(codes)
}

/// How it stands with an account: on, and how many recovery codes are left.
///
/// # Errors
/// The books.
pub async fn standing(app: &App, user: &User) -> Result<Option<i64>, FlowError> {
    let id = user.id;
    let standing = app.store.read(move |db| {
        let is_on = second_factors::is_on(db, id)?;
        Ok(if is_on { Some(second_factors::codes_left(db, id)?) } else { None })
    });
    Ok(standing.await?)
}

/// Whether this browser has to show a code.
///
/// # Errors
/// The books.
pub async fn is_waiting(app: &App, browser: &str) -> Result<bool, FlowError> {
    let (hash, now) = (token::hash(browser), app.clock.now());
    Ok(app.store.read(move |db| Ok(second_factors::waiting(db, &hash, now)?.is_some())).await?)
}

/// What a code has come to.
#[derive(Clone, Debug)]
pub enum Answer {
    In {
        /// The session's token.
        secret: String,
        next: String,
    },
    Wrong,
    /// Too many wrong ones: so many seconds.
    Blocked(i64),
    /// This browser waits for nothing: the password first.
    Over,
}

/// Takes the code of a browser whose password was right, from the phone or from the list.
///
/// # Errors
/// The books.
pub async fn answer(app: &App, browser: &str, typed: &str, place: Place) -> Result<Answer, FlowError> {
    // Strangers do not get as far as the one writer.
    if !is_waiting(app, browser).await? {
        return Ok(Answer::Over);
    }
    let secret = app.clock.token()?;
    let (waiting, now) = (token::hash(browser), app.clock.now());
    let (key, typed, fresh) = (app.config.secret_key.clone(), typed.to_owned(), secret.clone());
    let appid = app.appid().to_owned();
    let answered = app.store.write(move |db| {
        let Some((user, next)) = second_factors::waiting(db, &waiting, now)? else { return Ok(Answer::Over) };
        let Some(factor) = second_factors::of_user(db, user.id)?.filter(|f| f.confirmed_at.is_some()) else {
            return Ok(Answer::Over);
        };
        match judge(db, &key, &factor, &user, &typed, now)? {
            Judged::Right => {}
            Judged::Wrong => return Ok(Answer::Wrong),
            Judged::Blocked(secs) => return Ok(Answer::Blocked(secs)),
        }
        second_factors::stop_waiting(db, &waiting)?;
        NewSession::of(&appid, now, &fresh, &user).insert(db, None, &place)?;
        Ok(Answer::In { secret: fresh.clone(), next })
    });
    let answered = answered.await?;
    if !matches!(answered, Answer::In { .. }) {
        app.metrics.log_in_failures.with_label_values::<&str>(&[]).inc();
    }
    Ok(answered)
}

enum Judged {
    Right,
    Wrong,
    Blocked(i64),
}

/// Looks at a code and writes down that it was looked at. Recovery codes count once the factor is confirmed: before,
/// there are none. They open also while codes of the phone have to wait, or who has the password could lock their owner
/// out by guessing: of 80 bits nobody guesses any.
fn judge(
    db: &mut Db,
    key: &SecretString,
    factor: &Factor,
    user: &User,
    typed: &str,
    now: UnixMs,
) -> Result<Judged, StoreError> {
    let typed: String = typed.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect();
    let hash = seal::keyed_hash(key, RECOVERY, user.id, &typed.to_ascii_lowercase());
    if second_factors::use_code(db, user.id, &hash, now)? {
        second_factors::accept(db, user.id, factor.last_step)?;
        note(db, user, "recovery_code_used", "", "", now)?;
        return Ok(Judged::Right);
    }
    let wait_ms = factor.blocked_until.saturating_sub(now.0);
    if wait_ms > 0 {
        return Ok(Judged::Blocked(wait_ms.div_euclid(1000).saturating_add(1)));
    }
    let secret = opened(key, factor);
    if secret.is_none() {
        tracing::error!("a second factor cannot be read: was SECRET_KEY changed? (docs/admins.md)");
    }
    if let Some(step) = secret.and_then(|secret| totp::accepted(&secret, &typed, now, factor.last_step)) {
        second_factors::accept(db, user.id, step)?;
        return Ok(Judged::Right);
    }
    let failures = factor.failures.saturating_add(1);
    let doublings = u32::try_from(failures.saturating_sub(TRIES)).ok();
    let wait = doublings.map_or(0, |times| {
        FIRST_WAIT_SECS.saturating_mul(2_i64.saturating_pow(times)).min(LONGEST_WAIT_SECS)
    });
    second_factors::refuse(db, user.id, failures, now.plus_secs(wait))?;
    if failures == TRIES {
        note(db, user, "second_factor_blocked", "", "", now)?;
    }
    Ok(if wait > 0 { Judged::Blocked(wait) } else { Judged::Wrong })
}

fn opened(key: &SecretString, factor: &Factor) -> Option<Vec<u8>> {
    seal::open(key, SECRET, factor.user_id, &factor.secret)
}

/// As people read and type them: `abcd-efgh-ijkl-mnop`.
fn fresh_codes(app: &App) -> Result<Vec<String>, FactorError> {
    let random: [u8; CODES * CODE_BYTES] = app.clock.random()?;
    let written = |bytes: &[u8]| {
        let letters: Vec<char> = totp::base32(bytes).to_ascii_lowercase().chars().collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        groups.join("-")
    };
    Ok(random.chunks(CODE_BYTES).map(written).collect())
}

fn hashes(app: &App, user_id: i64, codes: &[String]) -> Vec<String> {
    let hash =
        |code: &String| seal::keyed_hash(&app.config.secret_key, RECOVERY, user_id, &code.replace('-', ""));
    codes.iter().map(hash).collect()
}

fn note(
    db: &mut Db,
    user: &User,
    action: &str,
    was: &str,
    became: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    let name = user.username.as_str();
    audit_log::insert(db, Act { actor: name, action, target: name, detail: "", was, became }, now)
}
