//! The refund notify. It carries no signature: that we can decrypt it says that somebody had our key's
//! ciphertexts, and ECB lets their blocks be rearranged. So it is a hint to query, and never more.
//!
//! Source: page 4011989265 (partner pages, read 2026-11). `req_info` is base64 of AES-256-ECB with PKCS#7 padding over
//! a document whose root is `<root>`.

use super::{Account, ApiKey, sign, xml::Fields};
use crate::{
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        refund::RefundHint,
    },
    gateway::{RefundNotified, Rejection},
};
use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use base64::{Engine, engine::general_purpose::STANDARD};

pub(super) fn read(account: &Account, body: &[u8]) -> RefundNotified {
    match hint(account, body) {
        Ok(hint) => RefundNotified::Hint(hint),
        // What is under no signature names nothing that is worth a question.
        Err(rejection) => RefundNotified::Rejected { rejection, out_trade_no: None },
    }
}

fn hint(account: &Account, body: &[u8]) -> Result<RefundHint, Rejection> {
    let outer = Fields::parse(body).map_err(|_| Rejection::Malformed)?;
    match outer.get("return_code") {
        Some("SUCCESS") => {}
        Some(_) => return Err(Rejection::CommFail),
        None => return Err(Rejection::Malformed),
    }
    if !outer.get("appid").is_some_and(|appid| account.appids.include(appid)) {
        return Err(Rejection::AppidMismatch);
    }
    if outer.get("mch_id") != Some(&account.mch_id) {
        return Err(Rejection::MchIdMismatch);
    }
    // Bad base64, padding and inner document give one answer: different ones would help to decrypt.
    let plain = outer.get("req_info").and_then(|text| open(&account.key, text));
    let inner =
        plain.and_then(|plain| Fields::parse_root(&plain, "root").ok()).ok_or(Rejection::BadCipher)?;
    read_inner(&inner).ok_or(Rejection::BadCipher)
}

fn read_inner(fields: &Fields) -> Option<RefundHint> {
    let amount = |name| fields.get(name).and_then(|text| Fen::parse_fen(text).ok());
    Some(RefundHint {
        out_refund_no: OutRefundNo::parse(fields.get("out_refund_no")?)?,
        out_trade_no: OutTradeNo::parse(fields.get("out_trade_no")?)?,
        transaction_id: TransactionId::parse(fields.get("transaction_id")?)?,
        total: amount("total_fee")?,
        amount: Some(amount("refund_fee")?),
        status: fields.get("refund_status")?.to_owned(),
        signed: false,
    })
}

/// The plain bytes of `req_info`; `None` when it is not base64 of whole blocks that our key opens.
pub fn open(key: &ApiKey, req_info: &str) -> Option<Vec<u8>> {
    decrypt(sign::refund_cipher_key(key).as_bytes(), req_info)
}

/// The same with the cipher's own 32 bytes; `None` also for a key of another length.
pub fn decrypt(cipher_key: &[u8], base64: &str) -> Option<Vec<u8>> {
    let mut bytes = STANDARD.decode(base64).ok()?;
    let cipher =
        PaddedBlockDecryptingKey::ecb_pkcs7(UnboundCipherKey::new(&AES_256, cipher_key).ok()?).ok()?;
    Some(cipher.decrypt(&mut bytes, DecryptionContext::None).ok()?.to_vec())
}

/// `req_info` as WeChat makes it, for the simulator; `None` if the cipher fails.
pub fn seal(key: &ApiKey, plain: &str) -> Option<String> {
    let mut bytes = plain.as_bytes().to_vec();
    let cipher = UnboundCipherKey::new(&AES_256, sign::refund_cipher_key(key).as_bytes()).ok()?;
    PaddedBlockEncryptingKey::ecb_pkcs7(cipher).ok()?.encrypt(&mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}
