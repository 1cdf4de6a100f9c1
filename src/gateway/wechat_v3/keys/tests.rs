use super::*;
use crate::{
    domain::order::Channel,
    gateway::{Gateway, Response, Stamp, Trade, Untrusted, rsa::PrivateKey, wechat_v3::testing::*},
};
use serde_json::json;
use std::sync::LazyLock;

/// Of the next certificate WeChat will sign with.
static NEXT: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

const FIRST: (&[u8], &str) = (&[0x0a, 0xbc], "ABC");
const SECOND: (&[u8], &str) = (&[0x51, 0x57], "5157");

/// An entry of the list of certificates.
fn entry(serial_no: &str, pem: &str, sealed_with: &str) -> serde_json::Value {
    json!({ "serial_no": serial_no, "encrypt_certificate": sealed(sealed_with, "certificate", pem) })
}

fn list(entries: &[serde_json::Value]) -> String {
    json!({ "data": entries }).to_string()
}

fn first() -> serde_json::Value {
    entry(FIRST.1, &certificate_pem(&WECHAT, FIRST.0, 2030), API_V3_KEY)
}

fn second() -> serde_json::Value {
    entry(SECOND.1, &certificate_pem(&NEXT, SECOND.0, 2030), API_V3_KEY)
}

fn believes(gateway: &crate::gateway::wechat_v3::WechatV3, key: &PrivateKey, serial: &str) -> bool {
    let answer = reply_by(key, serial, 200, &transaction().to_string());
    matches!(gateway.trade(&answer, &attempt(Channel::WechatNative)), Ok(Trade::Paid(_)))
}

#[test]
fn a_certificate_is_read_with_its_serial_number_key_and_end() {
    let read = certificate(&WECHAT, FIRST.0, 2030);
    assert_eq!((read.serial.as_str(), read.not_after), ("ABC", UnixMs(1_893_456_000_000)));
    assert!(WECHAT.matches(&read.key));
    assert!(PlatformCertificate::from_der(b"").is_err());
    let der = crate::gateway::rsa::certificate_der(&certificate_pem(&WECHAT, FIRST.0, 2030)).unwrap();
    assert!(PlatformCertificate::from_der(&[der.as_slice(), b"x"].concat()).is_err());
    let small = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert;
    assert_eq!(PlatformCertificate::from_der(small.der()).err(), Some(KeyFault::Kind));
}

#[test]
fn a_serial_number_is_the_same_in_any_case_and_with_zeros_before_it() {
    let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
    for serial in ["ABC", "0abc", "00000ABC"] {
        assert!(believes(&gateway, &WECHAT, serial), "{serial}");
    }
    for serial in ["AB", "ABC0", "PUB_KEY_ID_ABC"] {
        assert!(!believes(&gateway, &WECHAT, serial), "{serial}");
    }
}

#[test]
fn both_kinds_of_keys_are_believed_side_by_side_and_each_under_its_own_name() {
    let both = crate::gateway::wechat_v3::WechatV3::new(crate::gateway::wechat_v3::Account {
        certificates: vec![certificate(&NEXT, SECOND.0, 2030)],
        ..account()
    });
    assert!(believes(&both, &WECHAT, PUBLIC_KEY_ID) && believes(&both, &NEXT, SECOND.1));
    assert!(!believes(&both, &NEXT, PUBLIC_KEY_ID) && !believes(&both, &WECHAT, SECOND.1));
}

#[test]
fn a_certificate_that_has_ended_vouches_for_nothing() {
    assert!(!believes(&gateway_with(vec![certificate(&WECHAT, FIRST.0, 2024)]), &WECHAT, FIRST.1));
}

#[test]
fn the_first_certificates_are_believed_because_they_were_sealed_with_our_key() {
    let gateway = gateway_with(Vec::new());
    assert!(!believes(&gateway, &WECHAT, FIRST.1));
    let body = list(&[first(), second()]);
    assert_eq!(gateway.keys_told(&reply_by(&WECHAT, FIRST.1, 200, &body)), Ok(()));
    assert!(believes(&gateway, &WECHAT, FIRST.1) && believes(&gateway, &NEXT, SECOND.1));
}

#[test]
fn a_new_certificate_is_taken_in_when_a_known_one_or_itself_vouches_for_it_and_the_old_one_stays() {
    for (signer, serial) in [(&*WECHAT, FIRST.1), (&*NEXT, SECOND.1)] {
        let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
        assert_eq!(gateway.keys_told(&reply_by(signer, serial, 200, &list(&[second()]))), Ok(()));
        assert!(believes(&gateway, &WECHAT, FIRST.1) && believes(&gateway, &NEXT, SECOND.1));
    }
}

#[test]
fn a_forged_list_of_certificates_changes_nothing() {
    let strangers =
        |sealed_with: &str| entry(SECOND.1, &certificate_pem(&STRANGER, SECOND.0, 2030), sealed_with);
    let other_key = "OtherOnlyApiV3Key_0123456789abcd";
    let ended = entry(SECOND.1, &certificate_pem(&NEXT, SECOND.0, 2024), API_V3_KEY);
    let ec = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let signed = |key: &PrivateKey, serial: &str, entries: &[serde_json::Value]| {
        reply_by(key, serial, 200, &list(entries))
    };
    let genuine = signed(&NEXT, SECOND.1, &[second()]);
    let sealed_as = |what: &str| {
        let pem = certificate_pem(&NEXT, SECOND.0, 2030);
        json!({ "serial_no": SECOND.1, "encrypt_certificate": sealed(API_V3_KEY, what, &pem) })
    };
    for (what, answer) in [
        ("sealed as something else", signed(&NEXT, SECOND.1, &[sealed_as("transaction")])),
        ("sealed as nothing", signed(&NEXT, SECOND.1, &[sealed_as("")])),
        ("sealed with another key", signed(&STRANGER, SECOND.1, &[strangers(other_key)])),
        ("one of two sealed with another key", signed(&NEXT, SECOND.1, &[second(), strangers(other_key)])),
        ("not signed by any of the list", signed(&STRANGER, "77", &[second()])),
        ("signed by a stranger under a listed name", signed(&STRANGER, SECOND.1, &[second()])),
        ("signed by a stranger under a known name", signed(&STRANGER, FIRST.1, &[second()])),
        (
            "named otherwise than it is",
            signed(&NEXT, SECOND.1, &[entry("5158", &certificate_pem(&NEXT, SECOND.0, 2030), API_V3_KEY)]),
        ),
        ("vouched for by one that has ended", signed(&NEXT, SECOND.1, &[ended])),
        ("of another kind of key", signed(&WECHAT, FIRST.1, &[entry("1", &ec, API_V3_KEY)])),
        ("no list", reply_by(&WECHAT, FIRST.1, 200, "{}")),
        ("an empty list", signed(&WECHAT, FIRST.1, &[])),
        ("unsigned", Response { headers: String::new(), ..genuine.clone() }),
        ("sent again later", Response { received_at: NOW.plus_secs(301), ..genuine.clone() }),
        ("an error", Response { status: 400, ..genuine.clone() }),
        ("changed", Response { body: list(&[second(), first()]).into_bytes(), ..genuine }),
    ] {
        let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
        assert!(gateway.keys_told(&answer).is_err(), "{what}");
        assert!(!believes(&gateway, &NEXT, SECOND.1) && !believes(&gateway, &STRANGER, SECOND.1), "{what}");
        assert!(believes(&gateway, &WECHAT, FIRST.1), "{what}");
    }
}

/// Takes in this list, that many hours from now.
fn told(gateway: &crate::gateway::wechat_v3::WechatV3, hours: i64, entries: &[serde_json::Value]) {
    let (at, body) = (NOW.plus_secs(hours * 3600), list(entries));
    let answer = Response {
        headers: headers(&WECHAT, FIRST.1, body.as_bytes(), at),
        received_at: at,
        ..reply_by(&WECHAT, FIRST.1, 200, &body)
    };
    assert_eq!(gateway.keys_told(&answer), Ok(()));
}

#[test]
fn a_certificate_that_lists_lack_for_a_day_is_dropped_and_a_configured_one_never() {
    let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
    let third = || entry("77", &certificate_pem(&STRANGER, &[0x77], 2030), API_V3_KEY);
    told(&gateway, 0, &[first(), second()]);
    told(&gateway, 1, &[third()]);
    told(&gateway, 24, &[third()]);
    assert!(believes(&gateway, &NEXT, SECOND.1), "missing for 23 hours");
    told(&gateway, 25, &[third(), second()]);
    told(&gateway, 26, &[third()]);
    told(&gateway, 49, &[third()]);
    assert!(believes(&gateway, &NEXT, SECOND.1), "it was there in between");
    told(&gateway, 50, &[third()]);
    assert!(!believes(&gateway, &NEXT, SECOND.1), "missing for a day");
    assert!(believes(&gateway, &WECHAT, FIRST.1), "configured");
    assert!(believes(&gateway, &STRANGER, "77"), "listed");
}

#[test]
fn a_clock_set_back_gives_a_missing_certificate_its_day_anew() {
    let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
    told(&gateway, 0, &[first(), second()]);
    for hours in [100, 0, 23] {
        told(&gateway, hours, &[first()]);
        assert!(believes(&gateway, &NEXT, SECOND.1), "{hours}");
    }
    told(&gateway, 24, &[first()]);
    assert!(!believes(&gateway, &NEXT, SECOND.1));
}

#[test]
fn a_certificate_cannot_take_the_place_of_one_that_is_known() {
    let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
    let usurper = entry(FIRST.1, &certificate_pem(&STRANGER, FIRST.0, 2030), API_V3_KEY);
    assert_eq!(gateway.keys_told(&reply_by(&WECHAT, FIRST.1, 200, &list(&[usurper]))), Ok(()));
    assert!(believes(&gateway, &WECHAT, FIRST.1) && !believes(&gateway, &STRANGER, FIRST.1));
    assert_eq!(gateway.ring.held().certificates.len(), 1, "and the same list again and again takes no room");
}

#[test]
fn an_error_in_place_of_the_list_says_so() {
    let answer = Response { headers: String::new(), ..failure(404, "NO_CERT") };
    assert_eq!(gateway().keys_told(&answer), Err(Untrusted::Status(404)));
}

fn asks(gateway: &crate::gateway::wechat_v3::WechatV3, secs: i64) -> bool {
    let request = gateway.keys(&Stamp { now: NOW.plus_secs(secs), ..stamp() });
    assert!(
        request.as_ref().is_none_or(|request| request.path == "/v3/certificates" && request.body.is_none())
    );
    request.is_some()
}

#[test]
fn certificates_are_asked_for_every_minute_until_there_are_some_and_then_twice_a_day() {
    let gateway = gateway_with(Vec::new());
    assert!(asks(&gateway, 0) && !asks(&gateway, 0) && !asks(&gateway, 59) && asks(&gateway, 60));
    gateway.keys_told(&reply_by(&WECHAT, FIRST.1, 200, &list(&[first()]))).unwrap();
    let half_a_day = 12 * 3600;
    assert!(!asks(&gateway, 120) && !asks(&gateway, 59 + half_a_day) && asks(&gateway, 60 + half_a_day));
    assert!(!asks(&gateway, 61 + half_a_day));
    // A clock set back by a day does not stop it for a day.
    assert!(asks(&gateway, -24 * 3600));
}

#[test]
fn a_flood_of_unknown_names_makes_us_ask_once_a_minute() {
    let gateway = gateway_with(vec![certificate(&WECHAT, FIRST.0, 2030)]);
    assert!(asks(&gateway, 0), "what was configured may be old");
    assert!(!asks(&gateway, 60));
    let mut asked = 0;
    for secs in 60..=240 {
        assert!(!believes(&gateway, &STRANGER, &format!("{secs}F")));
        asked += usize::from(asks(&gateway, secs));
    }
    assert_eq!(asked, 4);
    for name in ["PUB_KEY_ID_1", "", "名"] {
        assert!(!believes(&gateway, &STRANGER, name));
    }
    assert!(!asks(&gateway, 400), "no certificate could help with these");
}

#[test]
fn a_merchant_in_public_key_mode_never_asks() {
    let gateway = gateway();
    assert!(!believes(&gateway, &STRANGER, "77"));
    assert!(!asks(&gateway, 0));
}

#[test]
fn beside_a_public_key_certificates_that_have_all_ended_are_no_reason_to_hurry() {
    let account = crate::gateway::wechat_v3::Account {
        certificates: vec![certificate(&NEXT, SECOND.0, 2024)],
        ..account()
    };
    let gateway = crate::gateway::wechat_v3::WechatV3::new(account);
    assert!(asks(&gateway, 0), "one may have taken their place");
    for secs in [60, 120, 600] {
        assert!(!believes(&gateway, &STRANGER, "77"));
        assert!(!asks(&gateway, secs), "{secs}");
    }
    assert!(asks(&gateway, 12 * 3600));
}
