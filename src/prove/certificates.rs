//! Whose signatures the shop believes in a world with V3: WeChat's public key, the platform certificates that it fetches,
//! or both while it goes over from one to the other; and certificates that change while it works.

use super::{
    faults::{Dice, Swarm},
    keys::Keys,
    people::millis,
    world::World,
};
use crate::{
    app::App,
    config::SimulatorKeys,
    domain::time::UnixMs,
    gateway::{
        rsa::{PrivateKey, PublicKey},
        wechat_v3::{Account, PlatformCertificate},
    },
    simulator::{Signer, V3Keys},
};
use std::{sync::Arc, time::Duration};

/// A certificate that signs next is handed out so long before, in ms: the shop looks every twelve hours.
const ANNOUNCED_MS: i64 = 13 * 3_600_000;
/// The configured one holds five years, in ms.
const HOLDS_MS: i64 = 5 * 365 * 24 * 3_600_000;
/// The name of one that ended the day before the world began.
pub const ENDED: &str = "5E0D000000000000000000000000000000000001";
/// The name of one that nobody ever hands out.
pub const NOBODYS: &str = "5E0D000000000000000000000000000000000002";
const DAY_MS: i64 = 24 * 3_600_000;

/// What the shop is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    PublicKey,
    Certificates,
    /// The seven days of the switch: either may sign a callback.
    Both,
}

/// The next certificate, in ms after the world began.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    announced_ms: i64,
    signs_ms: i64,
}

/// Of a world with V3.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    pub mode: Mode,
    pub rotation: Option<Rotation>,
}

impl Trust {
    /// Nothing is drawn in a world without V3.
    pub fn draw(dice: &Dice, swarm: &Swarm) -> Trust {
        let mut trust = Trust { mode: Mode::PublicKey, rotation: None };
        if !swarm.v3 {
            return trust;
        }
        trust.mode = match dice.below(4) {
            0 | 1 => return trust,
            2 => Mode::Certificates,
            _ => Mode::Both,
        };
        if dice.permille(700) {
            let tenths = i64::try_from(dice.between(1, 8)).unwrap_or(1);
            let signs_ms = swarm.chaos_ms.saturating_mul(tenths).checked_div(10).unwrap_or_default();
            // WeChat says so before; where everything may go wrong, it may also not.
            let sudden = !swarm.calm && dice.permille(500);
            let announced_ms = if sudden { signs_ms } else { signs_ms.saturating_sub(ANNOUNCED_MS).max(0) };
            trust.rotation = Some(Rotation { announced_ms, signs_ms });
        }
        trust
    }

    pub fn by_certificate(&self) -> bool {
        self.mode != Mode::PublicKey
    }

    /// The account as this shop has it. A certificate that has ended is left over in the configuration of every shop
    /// that has any. `None` when a key cannot be read.
    pub fn account(&self, keys: &SimulatorKeys, mut account: Account, start: UnixMs) -> Option<Account> {
        if !self.by_certificate() {
            return Some(account);
        }
        let rsa = keys.rsa.as_ref()?;
        let certificate = |serial: &str, private: &str, not_after| {
            let public = PrivateKey::parse(private).ok()?.public_base64()?;
            let key = PublicKey::parse(&public).ok()?;
            Some(PlatformCertificate { serial: serial.to_owned(), key, not_after })
        };
        account.certificates.push(certificate(ENDED, &rsa.alipay_platform, start.plus_ms(-DAY_MS))?);
        if self.mode == Mode::Certificates {
            account.public_key = None;
        } else {
            let [serial, _] = V3Keys::of(keys)?.serials();
            account.certificates.push(certificate(&serial, &rsa.platform, start.plus_ms(HOLDS_MS))?);
        }
        Some(account)
    }
}

/// Whether an instance has not got this certificate.
pub fn lacks(app: &App, serial: &str) -> bool {
    let mut held = app.gateways().flat_map(|gateway| gateway.certificates());
    !held.any(|(name, _)| name.ends_with(serial))
}

/// Whether an instance has not got the certificate that signs now.
pub fn lacks_current(world: &World, keys: &Keys, app: &App) -> bool {
    keys.certificates()
        .get(usize::from(world.simulator.is_rotated()))
        .is_some_and(|by| lacks(app, &by.serial))
}

/// What WeChat does with its keys while the faults last.
pub fn begin(world: &Arc<World>) {
    let trust = world.trust;
    if !trust.by_certificate() {
        return;
    }
    world.note(|| format!("{trust:?}"));
    if let Some(rotation) = trust.rotation {
        if rotation.announced_ms == 0 {
            world.simulator.announce_certificate();
        }
        world.spawn(rotate(world.clone(), rotation));
    }
    if trust.mode == Mode::Both {
        world.spawn(go_over(world.clone()));
    }
}

async fn rotate(world: Arc<World>, rotation: Rotation) {
    let Rotation { announced_ms, signs_ms } = rotation;
    world.clock.sleep(ms(announced_ms)).await;
    world.simulator.announce_certificate();
    world.clock.sleep(ms(signs_ms.saturating_sub(announced_ms))).await;
    world.simulator.rotate_certificate();
    world.note(|| "the next platform certificate signs from now on".to_owned());
}

/// In the days of the switch some callbacks are signed by the certificate, though the order named the public key.
async fn go_over(world: Arc<World>) {
    let longest = millis(world.swarm.chaos_ms).checked_div(6).unwrap_or_default();
    while !world.healed() {
        let by = world.dice.permille(500).then_some(Signer::Certificate);
        world.simulator.sign_callbacks_with(by);
        world.note(|| format!("callbacks are signed by {by:?}"));
        world.clock.sleep(world.dice.ms(1_000, longest)).await;
    }
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(millis(ms))
}
