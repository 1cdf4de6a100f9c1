use super::*;
use crate::config::{Problem, Source};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SerialNumber};
use std::collections::BTreeMap;

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

/// Reads the variables of Alipay's out of a merchant's, and what is wrong with them.
fn read(values: &[(&str, &str)]) -> (Option<Account>, Vec<Problem>) {
    let values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let source = Source::from_maps(&BTreeMap::new(), &values);
    let mut reader = Reader::new(&source);
    let account = reader.alipay(&PublicUrl::parse("https://pay.shop.cn").unwrap());
    (account, reader.problems)
}

fn with(
    changes: &[(&'static str, &str)],
    app: &PrivateKey,
    alipay: &PrivateKey,
) -> (Option<Account>, Vec<Problem>) {
    let (private, public) = (app.to_base64().unwrap(), alipay.public_base64().unwrap());
    let mut values = BTreeMap::from([
        ("ALIPAY_APP_ID", "2021000122600001"),
        ("ALIPAY_SELLER_ID", "2088102146225135"),
        (PRIVATE_KEY, private.as_str()),
        (PUBLIC_KEY, public.as_str()),
    ]);
    values.extend(changes.iter().copied());
    read(&values.into_iter().collect::<Vec<_>>())
}

fn wrong(read: (Option<Account>, Vec<Problem>)) -> Vec<(String, String)> {
    assert!(read.0.is_none() || !read.1.is_empty());
    read.1.into_iter().map(|problem| (problem.name, problem.what)).collect()
}

#[test]
fn an_account_is_read_whole_or_not_at_all() {
    let (app, alipay) = (key(), key());
    assert!(matches!(read(&[]), (None, problems) if problems.is_empty()));
    let (account, problems) = with(&[], &app, &alipay);
    let account = account.unwrap();
    assert_eq!(problems, []);
    assert_eq!(account.name(), "2021000122600001:2088102146225135");
    assert_eq!(account.gateway_url, "https://openapi.alipay.com/gateway.do");
    assert_eq!(
        (account.public_url.as_str(), account.environment),
        ("https://pay.shop.cn", Environment::Live)
    );
    assert!(
        account.certificates.is_none()
            && account.key.matches(&PublicKey::parse(&app.public_base64().unwrap()).unwrap())
    );
    let missing = wrong(read(&[("ALIPAY_APP_ID", "2021000122600001")]));
    let names = ["ALIPAY_SELLER_ID", PRIVATE_KEY, PUBLIC_KEY];
    assert_eq!(missing, names.map(|name| (name.to_owned(), NOT_SET.to_owned())));
}

#[test]
fn the_apps_own_public_key_is_not_taken_for_alipays() {
    let app = key();
    let [(name, what)] = wrong(with(&[], &app, &app)).try_into().unwrap();
    assert_eq!(name, PUBLIC_KEY);
    assert!(what.contains("of your own app"), "{what}");
}

#[test]
fn a_key_whose_parts_contradict_each_other_refuses_to_start() {
    let (app, alipay) = (key(), key());
    let mut der = STANDARD.decode(app.to_base64().unwrap()).unwrap();
    // One of the two primes stands in the middle.
    let middle = der.len() / 2;
    der[middle] ^= 1;
    let problems = wrong(with(&[(PRIVATE_KEY, &STANDARD.encode(der))], &app, &alipay));
    assert!(problems.len() == 1 && problems[0].0 == PRIVATE_KEY, "{problems:?}");
}

#[test]
fn an_identity_a_key_or_an_address_of_another_form_is_refused_by_name() {
    let (app, alipay) = (key(), key());
    for (name, value) in [
        ("ALIPAY_APP_ID", "SIMULATOR0000001"),
        ("ALIPAY_APP_ID", "wx2421b1c4370ec43b"),
        ("ALIPAY_APP_ID", "0000000000000000"),
        ("ALIPAY_APP_ID", SIMULATOR_ALIPAY_APP_ID),
        ("ALIPAY_SELLER_ID", SIMULATOR_ALIPAY_SELLER_ID),
        ("ALIPAY_SELLER_ID", "shop@pay.cn"),
        ("ALIPAY_SELLER_ID", "1900000109"),
        ("ALIPAY_SELLER_ID", "20881021462251350"),
        (PRIVATE_KEY, "changeme"),
        (PRIVATE_KEY, "!"),
        (PUBLIC_KEY, "AAAA"),
        ("ALIPAY_GATEWAY", "http://openapi.alipay.com/gateway.do"),
        ("ALIPAY_GATEWAY", "https://openapi.alipay.com/gateway.do?a=1"),
        ("ALIPAY_GATEWAY", "https://a:b@openapi.alipay.com/gateway.do"),
        ("ALIPAY_GATEWAY", "openapi.alipay.com"),
    ] {
        let problems = wrong(with(&[(name, value)], &app, &alipay));
        assert!(problems.len() == 1 && problems[0].0 == name, "{name}={value}: {problems:?}");
        assert!(!problems[0].1.contains(value), "{problems:?}");
    }
    let swapped = app.public_base64().unwrap();
    assert_eq!(wrong(with(&[(PRIVATE_KEY, &swapped)], &app, &alipay))[0].0, PRIVATE_KEY);
    let local = with(&[("ALIPAY_GATEWAY", "http://127.0.0.1:9000/gateway.do")], &app, &alipay).0.unwrap();
    assert_eq!(local.gateway_url, "http://127.0.0.1:9000/gateway.do");
}

/// A key and a certificate over it, issued by itself.
fn certified(serial: u64) -> (PrivateKey, String) {
    let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CountryName, "CN");
    params.distinguished_name.push(DnType::OrganizationName, "Shop");
    params.distinguished_name.push(DnType::CommonName, "Shop R1");
    let pem = params.self_signed(&pair).unwrap().pem();
    (PrivateKey::parse(&pair.serialize_pem()).unwrap(), pem)
}

#[test]
fn certificates_name_themselves_and_bring_alipays_key() {
    let ((app, app_cert), (alipay, alipay_cert)) = (certified(7), certified(300));
    let roots = format!("{alipay_cert}{app_cert}");
    let all = [(PUBLIC_KEY, ""), (APP_CERT, &app_cert), (ALIPAY_CERT, &alipay_cert), (ROOT_CERT, &roots)];
    let (account, problems) = with(&all, &app, &alipay);
    assert_eq!(problems, []);
    let account = account.unwrap();
    let [seven, three_hundred] = ["7", "300"].map(|serial| cert_sn::digest("CN=Shop R1,O=Shop,C=CN", serial));
    let right = Certificates {
        app_cert_sn: seven.clone(),
        alipay_root_cert_sn: format!("{three_hundred}_{seven}"),
        alipay_cert_sn: three_hundred,
        app_ends: cert_sn::Certificate::parse(&app_cert).unwrap().not_after,
        alipay_ends: cert_sn::Certificate::parse(&alipay_cert).unwrap().not_after,
    };
    assert_eq!(account.certificates, Some(right));
    assert!(account.public_key.verify(b"a", &alipay.sign(b"a")));

    let names = |read| wrong(read).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let public = alipay.public_base64().unwrap();
    assert_eq!(names(with(&[&all[1..], &[(PUBLIC_KEY, &public)]].concat(), &app, &alipay)), [PUBLIC_KEY]);
    assert_eq!(names(with(&all[..2], &app, &alipay)), [ALIPAY_CERT, ROOT_CERT]);
    for (name, value) in [
        (APP_CERT, alipay_cert.as_str()),
        (APP_CERT, "changeme"),
        (ALIPAY_CERT, app_cert.as_str()),
        (ALIPAY_CERT, "AAAA"),
        (ROOT_CERT, "x"),
    ] {
        let changed = [&all[..], &[(name, value)]].concat();
        assert_eq!(names(with(&changed, &app, &alipay)), [name], "{name}");
    }
}
