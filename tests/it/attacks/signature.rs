//! Callbacks whose signature is missing, wrong, or right in an unusual way.

use super::{Outcome, Table, table, world::World, world::signed};
use shouyin::gateway::wechat_v2::{
    ApiKey,
    sign::{self, SignType},
};

pub const CASES: Table = table! {
    "WX2-SIG-01" => no_sign,
    "WX2-SIG-03" => empty_sign,
    "WX2-SIG-05" => random_sign,
    "WX2-SIG-08" => lower_case,
    "WX2-SIG-10" => empty_key,
    "WX2-SIG-13" => other_key,
    "WX2-SIG-15" => md5_for_hmac,
    "WX2-SIG-18" => hmac_for_md5,
    "WX2-SIG-19" => unknown_fields,
    "WX2-SIG-21" => empty_field,
    "WX2-SIG-25" => timing,
};

async fn no_sign(world: &mut World) -> Outcome {
    world.o1().await;
    world.notify(world.genuine().to_xml()).await;
    Ok(())
}

async fn empty_sign(world: &mut World) -> Outcome {
    world.o1().await;
    let mut fields = world.genuine();
    fields.set("sign", "");
    world.notify(fields.to_xml()).await;
    world.notify(fields.to_xml().replace("<sign><![CDATA[]]></sign>", "<sign></sign>")).await;
    world.notify(fields.to_xml().replace("<sign><![CDATA[]]></sign>", "<sign/>")).await;
    Ok(())
}

async fn random_sign(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let mut fields = world.genuine();
    fields.set("sign", &shop.clock.nonce().unwrap().to_uppercase());
    world.notify(fields.to_xml()).await;
    Ok(())
}

/// The choice, the same for both algorithms: WeChat writes upper case, anything else is refused.
async fn lower_case(world: &mut World) -> Outcome {
    let mut replies = Vec::new();
    for sign_type in [SignType::HmacSha256, SignType::Md5] {
        let shop = world
            .open_with(|config| {
                config.wechat_v2.as_mut().unwrap().sign_type = sign_type;
                config.wechat_v2.as_mut().unwrap().accept = vec![sign_type];
            })
            .await;
        world.ordered(&shop).await;
        let mut fields = world.genuine();
        let signature = sign::sign(&fields, &shop.app.config.wechat_v2.as_ref().unwrap().key, sign_type);
        fields.set("sign", &signature.to_lowercase());
        let answer = world.notify(fields.to_xml()).await;
        replies.push((answer.status, answer.body, shop.verdicts().await));
    }
    let refused = replies[0].1.contains("SIGNATURE NOT ACCEPTED");
    world.holds("no difference between", refused && replies[0] == replies[1], format!("{replies:?}"));
    Ok(())
}

async fn empty_key(world: &mut World) -> Outcome {
    world.o1().await;
    world.expect(ApiKey::new("").is_none(), "an empty key is accepted");
    // A key that ends the text where the empty one would: sign the text `…&key=` by hand.
    let mut fields = world.genuine();
    let text = format!("{}&key=", sign::canonical(&fields));
    fields.set("sign", &md5_hex(&text));
    world.notify(fields.to_xml()).await;
    Ok(())
}

fn md5_hex(text: &str) -> String {
    use md5::{Digest, Md5};
    shouyin::domain::ids::hex(&Md5::digest(text.as_bytes())).to_uppercase()
}

async fn other_key(world: &mut World) -> Outcome {
    world.o1().await;
    let other = ApiKey::new("Zq1Xw2Ec3Rv4Tb5Yn6Um7Ik8Ol9Pa0Sd").unwrap();
    let mut fields = world.genuine();
    let signature = sign::sign(&fields, &other, SignType::Md5);
    fields.set("sign", &signature);
    world.notify(fields.to_xml()).await;
    Ok(())
}

/// The downgrade is refused; the query that follows saves the payer whose callback was honest.
async fn md5_for_hmac(world: &mut World) -> Outcome {
    let shop = world.open_with(|_| {}).await;
    world.ordered(&shop).await;
    shop.simulator.pay(&world.subject).unwrap();
    world.notify(signed(&shop, world.genuine(), SignType::Md5)).await;
    let asleep = shop.order(&world.subject).await.is_paid();
    world.expect(!asleep, "credited by the callback");
    super::effects::scheduled(world).await;
    shop.sweep().await;
    let order = shop.order(&world.subject).await;
    let by = order.settled_by.map(|source| source.as_str());
    world.holds("QUERY_SCHEDULED:O5", by == Some("sweep"), format!("settled by {by:?}"));
    Ok(())
}

async fn hmac_for_md5(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    world.notify(signed(&shop, world.genuine(), SignType::HmacSha256)).await;
    let strict = shop.order(&world.subject).await.is_paid();
    // The same message, once HMAC is on the account's list.
    let shop = world
        .open_with(|config| {
            config.wechat_v2.as_mut().unwrap().sign_type = SignType::Md5;
            config.wechat_v2.as_mut().unwrap().accept = SignType::ALL.to_vec();
        })
        .await;
    world.ordered(&shop).await;
    let answer = world.notify(signed(&shop, world.genuine(), SignType::HmacSha256)).await;
    let allowed = answer.body.contains("SUCCESS") && shop.order(&world.subject).await.is_paid();
    world.holds("never credited unless", !strict && allowed, format!("strict {strict}, allowed {allowed}"));
    Ok(())
}

async fn unknown_fields(world: &mut World) -> Outcome {
    world.o1().await;
    let fields = [
        ("Version_9", "1"),
        ("a_new_one", "x"),
        ("promotion_detail", "{\"a\":[1]}"),
        ("zz", "中文"),
        ("wx_0", "0"),
    ];
    world.notify(world.changed(&fields)).await;
    Ok(())
}

async fn empty_field(world: &mut World) -> Outcome {
    world.o1().await;
    let body = world.changed(&[]);
    world.notify(body.replace("</xml>", "<attach></attach></xml>")).await;
    Ok(())
}

/// 2,000 callbacks prove the answers; that the comparison takes the same time is read from the code,
/// as a clock on a shared machine can prove nothing either way.
async fn timing(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let fields = world.genuine();
    let right = sign::sign(&fields, &shop.app.config.wechat_v2.as_ref().unwrap().key, SignType::Md5);
    for round in 0..2000_usize {
        let shared = [0, 8, 16, 24, 31][round % 5];
        let tail: String =
            right.chars().skip(shared).map(|digit| if digit == 'A' { 'B' } else { 'A' }).collect();
        let mut forged = fields.clone();
        forged.set("sign", &format!("{}{tail}", &right[..shared]));
        match shouyin::gateway::wechat_v2::notify::read(
            shop.app.config.wechat_v2.as_ref().unwrap(),
            forged.to_xml().as_bytes(),
        ) {
            shouyin::gateway::Notified::Rejected { .. } if round >= 20 => {}
            shouyin::gateway::Notified::Rejected { .. } => {
                world.notify(forged.to_xml()).await;
            }
            other => world.expect(false, format!("{shared} digits: {other:?}")),
        }
    }
    let code = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/gateway/wechat_v2/sign.rs"));
    let verify = code.split_once("pub fn verify").unwrap().1.split_once("\n}\n").unwrap().0;
    let constant = verify
        .contains("constant_time::verify_slices_are_equal(right.as_bytes(), given.as_bytes())")
        && code.contains("use aws_lc_rs::{constant_time, hmac}")
        && !verify.contains("right ==")
        && !verify.contains("== right");
    world.holds("medians of the five classes", constant, "verify does not compare in constant time");
    world.notes.push("20 of 2,000 forgeries over HTTP, the rest in the codec; no statistic of times");
    Ok(())
}
