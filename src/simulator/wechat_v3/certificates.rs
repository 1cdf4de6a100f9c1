//! GET /v3/certificates: the platform certificates in use, each sealed under the APIv3 key.

use super::{
    Fault, Verdict,
    keys::{self, Signer, V3Keys},
    rules,
};
use crate::{clock::NoEntropy, simulator::Simulator};
use serde_json::{Value, json};

const ASSOCIATED: &str = "certificate";

/// # Errors
/// No random bytes.
pub fn list(simulator: &Simulator) -> Result<Result<Verdict, Fault>, NoEntropy> {
    let Some(keys) = simulator.0.options.v3.as_ref() else { return Ok(Err(none())) };
    let (listed, callbacks) = {
        let book = simulator.book();
        (book.v3.announced || book.v3.rotated, book.v3.callbacks)
    };
    // A merchant who has gone over to the public key for good has none.
    if callbacks == Some(Signer::PublicKey) {
        return Ok(Err(none()));
    }
    let next = listed.then_some(&keys.next_platform);
    let mut data = Vec::new();
    for named in std::iter::once(&keys.platform).chain(next) {
        data.push(sealed(simulator, keys, named)?);
    }
    Ok(Ok(Verdict::done(json!({ "data": data }))))
}

fn none() -> Fault {
    Fault::new(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥")
}

fn sealed(simulator: &Simulator, keys: &V3Keys, named: &keys::Named) -> Result<Value, NoEntropy> {
    let nonce = keys::gcm_nonce(&simulator.0.clock.nonce()?);
    let now = simulator.now();
    let (from, to) = keys::validity(now);
    let pem = keys::certificate(named, now).unwrap_or_default();
    Ok(json!({
        "serial_no": named.serial,
        "effective_time": rules::write_time(from),
        "expire_time": rules::write_time(to),
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": ASSOCIATED,
            "ciphertext": keys.seal(&nonce, ASSOCIATED, &pem),
        },
    }))
}
