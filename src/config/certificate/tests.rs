//! Certificates and keys made for the moment, right and wrong.

use super::*;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};

fn signed_by(key: &KeyPair, year: i32) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 7, 9);
    params.self_signed(key).unwrap().pem()
}

fn unfit(certificate: &str, key: &str) -> Unfit {
    ClientCertificate::parse(certificate, key).unwrap_err()
}

#[test]
fn a_certificate_with_its_key_is_taken_whatever_form_the_key_has() {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = signed_by(&key, 2031);
    assert!(key.serialize_pem().contains("BEGIN PRIVATE KEY"));
    let read = ClientCertificate::parse(&certificate, &key.serialize_pem()).unwrap();
    assert_eq!(read.expires_at, UnixMs(1_941_321_600_000));
    // A PKCS#8 key of this size is 26 bytes around its PKCS#1 form.
    use base64::{Engine, engine::general_purpose::STANDARD};
    let inner = STANDARD.encode(&key.serialize_der()[26..]);
    let pkcs1 = format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n");
    assert!(ClientCertificate::parse(&certificate, &pkcs1).is_ok());
    let small = KeyPair::generate().unwrap();
    let late = ClientCertificate::parse(&signed_by(&small, 2071), &small.serialize_pem()).unwrap();
    assert_eq!(late.expires_at, UnixMs(3_203_625_600_000), "a year of four digits");
}

#[test]
fn a_pair_that_cannot_work_names_the_half_at_fault() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (certificate, pem) = (signed_by(&key, 2031), key.serialize_pem());
    assert_eq!(unfit(&certificate, &other.serialize_pem()), Unfit::Key("is not the key of WECHAT_CERT_PEM"));
    let no_key = Unfit::Key("holds no private key that can be read without a password");
    for wrong in ["", "x", &certificate, &pem.replace("PRIVATE", "ENCRYPTED PRIVATE")] {
        assert_eq!(unfit(&certificate, wrong), no_key, "{wrong}");
    }
    assert_eq!(unfit(&pem, &pem), Unfit::Certificate("holds no certificate"));
    assert_eq!(unfit("x", &pem), Unfit::Certificate("holds no certificate"));
    let cut = certificate.replace("-----END", "----END");
    assert_eq!(unfit(&cut, &pem), Unfit::Certificate("is not PEM"));
    let garbage = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    assert_eq!(unfit(garbage, &pem), Unfit::Certificate("is not an X.509 certificate"));
}

#[test]
fn the_last_thirty_days_are_counted() {
    let key = KeyPair::generate().unwrap();
    let read = ClientCertificate::parse(&signed_by(&key, 2031), &key.serialize_pem()).unwrap();
    let before = |days: i64| read.days_left(read.expires_at.plus_ms(-days * DAY_MS));
    assert_eq!((before(31), before(30), before(29)), (None, None, Some(29)));
    assert_eq!((before(0), before(-3)), (Some(0), Some(-3)));
}

#[test]
fn the_key_is_never_printed() {
    let key = KeyPair::generate().unwrap();
    let read = ClientCertificate::parse(&signed_by(&key, 2031), &key.serialize_pem()).unwrap();
    let shown = format!("{read:?}");
    assert!(shown.contains("REDACTED") && !shown.contains("PRIVATE"), "{shown}");
}
