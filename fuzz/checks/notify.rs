//! The whole V2 callback: its verdict and the payment in it are those of the second reader, and no field of a
//! message that is believed can be changed.

use super::second::{APPID, KEY, MCH_ID, Message, Payment};
use shouyin::{
    domain::order::{Channel, Environment, Provider},
    gateway::{
        Gateway, Notified, Notify, Rejection, VerifiedPayment,
        wechat::Appids,
        wechat_v2::{Account, ApiKey, WechatV2, sign::SignType, xml::Fields},
    },
};

/// The gateway that every message of the corpora is addressed to.
pub fn gateway() -> WechatV2 {
    WechatV2 {
        account: Account {
            appids: Appids { web: APPID.to_owned(), mini: None, app: None },
            public_url: String::new(),
            mch_id: MCH_ID.to_owned(),
            key: ApiKey::new(KEY).expect("not empty"),
            sign_type: SignType::Md5,
            accept: SignType::ALL.to_vec(),
            environment: Environment::Live,
        },
    }
}

/// The body as it is, and then with the signature it would need: that far no fuzzer gets by itself.
pub fn check(body: &[u8]) {
    let gateway = gateway();
    judge(&gateway, body);
    if let Some(signed) = Message::signed(body) {
        judge(&gateway, &signed);
    }
}

fn judge(gateway: &WechatV2, body: &[u8]) {
    let notified = gateway.notified(Notify { body, ..Notify::default() });
    let Ok(fields) = Fields::parse(body) else {
        let nothing = Notified::Rejected { rejection: Rejection::Malformed, out_trade_no: None };
        return assert_eq!(notified, nothing);
    };
    let read = Message::read(body).expect("accepted, and no well-formed flat XML to others");
    let (verdict, payment) = expected(&read);
    match &notified {
        Notified::Paid(paid) => {
            assert_eq!((verdict, payment.as_ref()), ("paid", Some(&facts(paid))));
            let claim = paid.claim();
            let account = gateway.account(Channel::WechatJsapi).expect("its service account");
            let kept_with_attempts = (Provider::Wechat, account, gateway.account.environment);
            assert_eq!((claim.provider, claim.account.to_owned(), claim.environment), kept_with_attempts);
            assert_eq!(paid.payer().map(|payer| payer.as_str()), payer(&read));
            any_change_is_refused(gateway, &fields);
        }
        Notified::NotPaid { out_trade_no } => {
            assert_eq!(verdict, "not_paid");
            assert!(out_trade_no.as_ref().is_none_or(|number| read.says("out_trade_no", number.as_str())));
        }
        Notified::Refund(hint) => panic!("V2 reports refunds at another door: {hint:?}"),
        Notified::Rejected { rejection, out_trade_no } => {
            assert_eq!(verdict, rejection.verdict());
            assert!(out_trade_no.as_ref().is_none_or(|number| read.says("out_trade_no", number.as_str())));
        }
    }
}

/// What the second reader would answer, in the order the protocol is to be checked.
fn expected(read: &Message) -> (&'static str, Option<Payment>) {
    let refused = |verdict| (verdict, None);
    match read.get("return_code") {
        None => return refused("malformed"),
        Some("SUCCESS") => {}
        Some(_) => return refused("comm_fail"),
    }
    if !read.is_authentic() || read.hides_a_field() {
        return refused("bad_sign");
    }
    if !read.says("result_code", "SUCCESS") {
        return refused("not_paid");
    }
    if !read.says("appid", APPID) {
        return refused("appid_mismatch");
    }
    if !read.says("mch_id", MCH_ID) {
        return refused("mch_id_mismatch");
    }
    match read.payment() {
        Some(payment) => ("paid", Some(payment)),
        None => refused("incomplete"),
    }
}

fn payer(read: &Message) -> Option<&str> {
    let fits = |openid: &&str| {
        openid.len() <= 128 && openid.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    read.get("openid").filter(fits)
}

/// What a verified payment says through its public face, which is all that `settle` sees of it.
pub fn facts(paid: &VerifiedPayment) -> Payment {
    let claim = paid.claim();
    assert_eq!((claim.amount, claim.transaction_id), (paid.amount(), paid.transaction_id()));
    assert_eq!((claim.provider, paid.provider()), (Provider::Wechat, Provider::Wechat));
    assert_eq!(claim.account, format!("{MCH_ID}:{APPID}"));
    assert_eq!(claim.environment, Environment::Live);
    Payment {
        out_trade_no: paid.out_trade_no().as_str().to_owned(),
        transaction_id: paid.transaction_id().as_str().to_owned(),
        amount: paid.amount().get(),
        currency: claim.currency.to_owned(),
        trade_type: paid.trade_type().to_owned(),
        paid_at: paid.paid_at().map(|at| at.0),
    }
}

fn any_change_is_refused(gateway: &WechatV2, fields: &Fields) {
    for changed in changes(fields) {
        let notified = gateway.notified(Notify { body: changed.to_xml().as_bytes(), ..Notify::default() });
        assert!(matches!(notified, Notified::Rejected { .. }), "{changed:?}");
    }
}

/// The message with each of its fields changed or removed, and with one more.
pub fn changes(fields: &Fields) -> Vec<Fields> {
    let mut all = Vec::new();
    for (name, value) in fields.iter() {
        let mut changed = fields.clone();
        changed.set(name, &format!("{value}0"));
        all.push(changed.clone());
        if !value.is_empty() {
            changed.remove(name);
            all.push(changed);
        }
    }
    let mut more = fields.clone();
    more.set("one_more", &format!("{}1", fields.get("one_more").unwrap_or_default()));
    all.push(more);
    all
}
