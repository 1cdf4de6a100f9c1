//! certificates: the platform certificates that sign now or soon, each sealed with the APIv3 key.
//!
//! Source: the official page on downloading platform certificates.

use super::{
    Account, PlatformCertificate, WechatV3, aead,
    json::Object,
    keys::plain_serial,
    reply,
    sign::{self, SignFault, Signature},
};
use crate::gateway::{Headers, Request, Response, Stamp, Untrusted, rsa};

/// What a certificate is sealed beside: nothing else that WeChat seals for us can be put in its place.
const ASSOCIATED_DATA: &str = "certificate";

pub(super) fn request(account: &Account, stamp: &Stamp) -> Request {
    sign::request(account, "certificates", "/v3/certificates".to_owned(), None, stamp)
}

/// Believes the list by a key known already. When it is signed by a certificate we do not have, as the first one
/// always is, that certificate must be in the list, sealed with our APIv3 key: only WeChat has it besides us.
///
/// # Errors
/// Anything else, or one entry that does not open or is not what its entry says: none of them is taken in.
pub(super) fn read(gateway: &WechatV3, answer: &Response) -> Result<Vec<PlatformCertificate>, Untrusted> {
    match gateway.ring.verify(Headers(&answer.headers), &answer.body, answer.received_at) {
        Ok(()) => listed(gateway, answer),
        Err(SignFault::UnknownSerial) => {
            let listed = listed(gateway, answer)?;
            vouched_for_by_one_of(&listed, answer).map_err(|fault| reply::untrusted(answer, fault))?;
            Ok(listed)
        }
        Err(fault) => Err(reply::untrusted(answer, fault)),
    }
}

fn vouched_for_by_one_of(listed: &[PlatformCertificate], answer: &Response) -> Result<(), SignFault> {
    let signature = Signature::read(Headers(&answer.headers))?;
    let serial = plain_serial(signature.serial);
    let named = listed.iter().find(|one| one.serial == serial && answer.received_at <= one.not_after);
    signature.check(&named.ok_or(SignFault::UnknownSerial)?.key, &answer.body, answer.received_at)
}

fn listed(gateway: &WechatV3, answer: &Response) -> Result<Vec<PlatformCertificate>, Untrusted> {
    if answer.status != 200 {
        return Err(Untrusted::Status(answer.status));
    }
    let malformed = || Untrusted::Malformed("not a list of certificates".to_owned());
    let body = Object::parse(&answer.body).ok_or_else(malformed)?;
    let entries = body.objects("data").filter(|entries| !entries.is_empty()).ok_or_else(malformed)?;
    entries.into_iter().map(|entry| opened(gateway, entry)).collect()
}

fn opened(gateway: &WechatV3, entry: &Object) -> Result<PlatformCertificate, Untrusted> {
    let plain = entry
        .object("encrypt_certificate")
        .filter(|sealed| sealed.text("associated_data") == Some(ASSOCIATED_DATA))
        .and_then(|sealed| aead::open(&gateway.account.api_v3_key, sealed))
        .ok_or_else(|| Untrusted::BadSign("a certificate is not sealed with our APIv3 key".to_owned()))?;
    let pem = std::str::from_utf8(&plain).map_err(|_| Untrusted::Incomplete("encrypt_certificate"))?;
    let certificate = rsa::certificate_der(pem)
        .and_then(|der| PlatformCertificate::from_der(&der))
        .map_err(|_| Untrusted::Incomplete("encrypt_certificate"))?;
    match entry.text("serial_no") {
        Some(named) if plain_serial(named) == certificate.serial => Ok(certificate),
        Some(_) => Err(Untrusted::Identity("serial_no")),
        None => Err(Untrusted::Incomplete("serial_no")),
    }
}
