use super::super::*;
use crate::gateway::rsa::PrivateKey;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::BTreeMap, sync::LazyLock};

static OURS: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
static WECHATS: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

const API_V3_KEY: &str = "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf";

const SERIAL_NUMBER: &str = "1dde55ad98ed71d6edd4a4a16996de7b47773a8c";

fn certificate(key: &PrivateKey) -> String {
    certificate_of(key, SERIAL_NUMBER)
}

/// With this serial number, in hex.
fn certificate_of(key: &PrivateKey, serial: &str) -> String {
    let der = STANDARD.decode(key.to_base64().unwrap()).unwrap();
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &rcgen::PKCS_RSA_SHA256)
        .unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    let digits: Vec<char> = serial.chars().collect();
    let bytes = digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap());
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&bytes.collect::<Vec<_>>()));
    params.self_signed(&pair).unwrap().pem()
}

/// Our own part, and what is changed of it; an empty value is as good as none.
fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let key = OURS.to_base64().unwrap();
    let good = [
        ("SECRET_KEY", "4f1c0de5a7b3928e6d5c4b3a29181706f5e4d3c2"),
        ("WECHAT_APPID", "wx2421b1c4370ec43b"),
        ("WECHAT_APP_SECRET", "5b2d4c6e8f0a1b3c5d7e9f1a2b4c6d8e"),
        ("WECHAT_MCH_ID", "10000100"),
        ("WECHAT_API_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf"),
        ("PUBLIC_URL", "https://pay.shop.cn"),
        ("WECHAT_API_V3_KEY", API_V3_KEY),
        ("WECHAT_MERCHANT_KEY_PEM", key.as_str()),
        ("WECHAT_MERCHANT_CERT_SERIAL", SERIAL_NUMBER),
    ];
    let values: BTreeMap<String, String> =
        good.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::read(&Source::from_maps(&BTreeMap::new(), &values))
}

/// The names that are at fault, and that no message repeats a value.
fn faults(changes: &[(&str, &str)]) -> Vec<String> {
    let error = read(changes).unwrap_err();
    for (_, value) in changes {
        assert!(value.len() < 8 || !error.to_string().contains(value), "{error}");
    }
    error.0.into_iter().map(|problem| problem.name).collect()
}

#[test]
fn our_own_part_is_enough_because_certificates_are_fetched() {
    let account = read(&[]).unwrap().wechat_v3.unwrap();
    assert_eq!(account.serial, "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C");
    assert_eq!((account.mch_id.as_str(), account.public_url.as_str()), ("10000100", "https://pay.shop.cn"));
    assert!(account.public_key.is_none() && account.certificates.is_empty());
}

#[test]
fn without_any_of_its_variables_there_is_no_v3_and_with_some_the_others_are_missing() {
    let names = ["WECHAT_API_V3_KEY", "WECHAT_MERCHANT_KEY_PEM", "WECHAT_MERCHANT_CERT_SERIAL"];
    let none = names.map(|name| (name, ""));
    assert!(read(&none).unwrap().wechat_v3.is_none());
    for missing in names {
        assert_eq!(faults(&[(missing, "")]), [missing]);
    }
    let certificate = certificate(&WECHATS);
    let with_certificate: Vec<_> =
        none.into_iter().chain([("WECHAT_PLATFORM_CERT_PEM", certificate.as_str())]).collect();
    let mut missing = faults(&with_certificate);
    missing.sort();
    assert_eq!(missing, ["WECHAT_API_V3_KEY", "WECHAT_MERCHANT_CERT_SERIAL", "WECHAT_MERCHANT_KEY_PEM"]);
}

#[test]
fn wechats_public_key_goes_with_its_id_and_certificates_may_stand_beside_it() {
    let id = "PUB_KEY_ID_0100001000020250101000000001";
    let key = WECHATS.public_base64().unwrap();
    let two = certificate(&WECHATS) + &certificate(&PrivateKey::generate().unwrap());
    let both = [
        ("WECHAT_PUBLIC_KEY_ID", id),
        ("WECHAT_PUBLIC_KEY_PEM", key.as_str()),
        ("WECHAT_PLATFORM_CERT_PEM", two.as_str()),
    ];
    let account = read(&both).unwrap().wechat_v3.unwrap();
    let public_key = account.public_key.unwrap();
    assert!(public_key.id == id && WECHATS.matches(&public_key.key));
    assert_eq!(account.certificates.len(), 2);
    assert!(WECHATS.matches(&account.certificates[0].key));
    assert_eq!(faults(&both[..1]), ["WECHAT_PUBLIC_KEY_PEM"]);
    assert_eq!(faults(&both[1..2]), ["WECHAT_PUBLIC_KEY_ID"]);
    for odd in ["PUB_KEY_ID_!", "0100001000020250101000000001", "PUB_KEY_ID_SIMULATOR01", "PUB_KEY_ID_a b"] {
        assert_eq!(faults(&[("WECHAT_PUBLIC_KEY_ID", odd), both[1]]), ["WECHAT_PUBLIC_KEY_ID"], "{odd}");
    }
}

#[test]
fn a_key_that_cannot_be_the_one_that_is_wanted_refuses_to_start() {
    let marked = format!("{SIMULATOR_MARK}{}", "a1b2c3d4".repeat(3));
    for odd in ["changeme", "short", marked.get(..32).unwrap(), &"k".repeat(32), &format!("{API_V3_KEY}x")] {
        assert_eq!(faults(&[("WECHAT_API_V3_KEY", odd)]), ["WECHAT_API_V3_KEY"], "{odd}");
    }
    let public = OURS.public_base64().unwrap();
    for odd in ["changeme", public.as_str()] {
        assert_eq!(faults(&[("WECHAT_MERCHANT_KEY_PEM", odd)]), ["WECHAT_MERCHANT_KEY_PEM"], "{odd}");
    }
    for odd in ["1DDE", "not hexadecimal", &"A".repeat(65)] {
        assert_eq!(faults(&[("WECHAT_MERCHANT_CERT_SERIAL", odd)]), ["WECHAT_MERCHANT_CERT_SERIAL"], "{odd}");
    }
    for odd in ["changeme", "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"] {
        assert_eq!(faults(&[("WECHAT_PLATFORM_CERT_PEM", odd)]), ["WECHAT_PLATFORM_CERT_PEM"], "{odd}");
    }
}

#[test]
fn our_own_key_in_the_place_of_wechats_is_noticed() {
    let (public, certificate) = (OURS.public_base64().unwrap(), certificate(&OURS));
    let id = ("WECHAT_PUBLIC_KEY_ID", "PUB_KEY_ID_01");
    assert_eq!(faults(&[id, ("WECHAT_PUBLIC_KEY_PEM", &public)]), ["WECHAT_PUBLIC_KEY_PEM"]);
    assert_eq!(faults(&[("WECHAT_PLATFORM_CERT_PEM", &certificate)]), ["WECHAT_PLATFORM_CERT_PEM"]);
}

fn pem(key: &PrivateKey) -> String {
    let label = "PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", key.to_base64().unwrap())
}

#[test]
fn the_merchants_certificate_must_be_of_the_key_that_signs() {
    let (ours, theirs) = (certificate(&OURS), certificate(&WECHATS));
    let (our_key, their_key) = (pem(&OURS), pem(&WECHATS));
    assert!(read(&[("WECHAT_CERT_PEM", &ours), ("WECHAT_KEY_PEM", &our_key)]).is_ok());
    let other = [("WECHAT_CERT_PEM", theirs.as_str()), ("WECHAT_KEY_PEM", their_key.as_str())];
    assert_eq!(faults(&other), ["WECHAT_MERCHANT_KEY_PEM"]);
}

#[test]
fn the_serial_number_must_be_that_of_the_merchants_certificate_however_it_is_written() {
    let key = pem(&OURS);
    // A number with zeros before it, and one whose first bit would make it negative.
    for number in ["00000000dde55ad98ed71d6edd4a4a16996de7b4", "f1de55ad98ed71d6", SERIAL_NUMBER] {
        let certificate = certificate_of(&OURS, number);
        let pair = [("WECHAT_CERT_PEM", certificate.as_str()), ("WECHAT_KEY_PEM", key.as_str())];
        let (upper, bare) = (number.to_uppercase(), number.trim_start_matches('0'));
        for written in [number, &upper, bare] {
            let read = read(&[pair[0], pair[1], ("WECHAT_MERCHANT_CERT_SERIAL", written)]);
            assert!(read.is_ok(), "{written} of {number}: {read:?}");
        }
        let other = "1dde55ad98ed71d6edd4a4a16996de7b47773a8d";
        let wrong = faults(&[pair[0], pair[1], ("WECHAT_MERCHANT_CERT_SERIAL", other)]);
        assert_eq!(wrong, ["WECHAT_MERCHANT_CERT_SERIAL"], "{number}");
    }
    // Without the certificate nothing is known of its number.
    assert!(read(&[("WECHAT_MERCHANT_CERT_SERIAL", "f1de55ad98ed71d6")]).is_ok());
}

#[test]
fn a_key_whose_parts_contradict_each_other_refuses_to_start() {
    let mut der = STANDARD.decode(OURS.to_base64().unwrap()).unwrap();
    // One of the two primes stands in the middle.
    let middle = der.len() / 2;
    der[middle] ^= 1;
    assert_eq!(faults(&[("WECHAT_MERCHANT_KEY_PEM", &STANDARD.encode(der))]), ["WECHAT_MERCHANT_KEY_PEM"]);
}
