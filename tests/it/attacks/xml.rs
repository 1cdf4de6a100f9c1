//! Callbacks that two readers of XML could read differently, or that cost more than they weigh.

use super::{Outcome, Table, child::Server, effects::in_time, table, world::World};

pub const CASES: Table = table! {
    "WX2-XML-01" => external_entity,
    "WX2-XML-04" => billion_laughs,
    "WX2-XML-06" => duplicate_amount,
    "WX2-XML-09" => comment_in_amount,
    "WX2-XML-11" => entity_in_value,
    "WX2-XML-13" => space_around_cdata,
    "WX2-XML-15" => nested,
    "WX2-XML-17" => two_roots,
    "WX2-XML-18" => truncated,
    "WX2-XML-21" => not_utf8,
    "WX2-XML-23" => empty,
    "WX2-XML-25" => deep,
    "WX2-XML-28" => wide,
};

fn number_element(world: &World) -> String {
    format!("<out_trade_no><![CDATA[{}]]></out_trade_no>", world.subject)
}

async fn external_entity(world: &mut World) -> Outcome {
    world.o1().await;
    let lure = world.lay_lure();
    for target in ["file:///etc/passwd", lure.as_str()] {
        let body = world.changed(&[]).replace(&number_element(world), "<out_trade_no>&e;</out_trade_no>");
        let answer = world.notify(format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"{target}\">]>{body}")).await;
        world.expect(!answer.body.contains("root:"), "a file's content in the answer");
    }
    Ok(())
}

fn laughs() -> String {
    let mut entities = String::from("<!ENTITY l0 \"ha\">");
    for level in 1..=10 {
        let below = format!("&l{};", level - 1).repeat(10);
        entities.push_str(&format!("<!ENTITY l{level} \"{below}\">"));
    }
    format!("<!DOCTYPE x [{entities}]><xml><attach>&l10;</attach></xml>")
}

async fn billion_laughs(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    world.callbacks += 1;
    let answer = in_time(world, shop.notify(laughs())).await;
    world.record(&answer);
    let server = Server::start(&[]).await;
    world.growth = Some(server.growth_by(|| server.notify(laughs())).await);
    Ok(())
}

/// Signed for each of the two readings.
async fn duplicate_amount(world: &mut World) -> Outcome {
    world.o1().await;
    let second = "<total_fee>1</total_fee></xml>";
    world.notify(world.changed(&[]).replace("</xml>", second)).await;
    let one = world.changed(&[("total_fee", "1")]);
    let amount = "<total_fee><![CDATA[1]]></total_fee>";
    world.expect(one.contains(amount), "the fixture has no amount");
    world.notify(one.replace(amount, &format!("<total_fee>100</total_fee>{amount}"))).await;
    Ok(())
}

async fn comment_in_amount(world: &mut World) -> Outcome {
    world.o1().await;
    for (signed_for, split) in [("100", "1<!-- x -->00"), ("1", "1<!-- x -->00"), ("100", "<!-- x -->100")] {
        let plain = format!("<total_fee><![CDATA[{signed_for}]]></total_fee>");
        let body = world.changed(&[("total_fee", signed_for)]);
        world.notify(body.replace(&plain, &format!("<total_fee>{split}</total_fee>"))).await;
    }
    Ok(())
}

async fn entity_in_value(world: &mut World) -> Outcome {
    world.o1().await;
    let body = world.changed(&[("attach", "A&B")]);
    let written = body.replace("<attach><![CDATA[A&B]]></attach>", "<attach>A&amp;B</attach>");
    world.expect(body != written, "the fixture has no attach");
    world.notify(written).await;
    Ok(())
}

async fn space_around_cdata(world: &mut World) -> Outcome {
    world.o1().await;
    let body = world.changed(&[]);
    let written = body.replace("<trade_type><![CDATA[JSAPI]]>", "<trade_type>\n<![CDATA[JSAPI]]>");
    world.expect(body != written, "the fixture has no trade_type");
    world.notify(written).await;
    Ok(())
}

async fn nested(world: &mut World) -> Outcome {
    world.o1().await;
    let inner = format!("<out_trade_no><b>{}</b></out_trade_no>", world.subject);
    world.notify(world.changed(&[]).replace(&number_element(world), &inner)).await;
    Ok(())
}

async fn two_roots(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let other = shop.user("bob").await.top_up("100").await;
    world.mark().await;
    let second = shop.simulator.signed_notify(&other, &[]);
    world.notify(format!("{}{second}", world.changed(&[]))).await;
    world.notify(format!("{second}{}", world.changed(&[]))).await;
    Ok(())
}

async fn truncated(world: &mut World) -> Outcome {
    world.o1().await;
    let body = world.changed(&[]);
    world.notify(body.strip_suffix("</xml>").unwrap()).await;
    world.notify(&body[..body.len() / 2]).await;
    Ok(())
}

async fn not_utf8(world: &mut World) -> Outcome {
    world.o1().await;
    let body = world.changed(&[]);
    world.notify([b"\xFF\xFE".as_slice(), body.as_bytes()].concat()).await;
    let wide: Vec<u8> =
        std::iter::once(0xFEFF).chain(body.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    world.notify(wide).await;
    // 中文 in GBK, declared; and declared alone.
    let gbk = b"<?xml version='1.0' encoding='gbk'?><xml><attach>\xD6\xD0\xCE\xC4</attach></xml>";
    world.notify(gbk.as_slice()).await;
    let attach = world.changed(&[("attach", "中")]);
    world.notify(format!("<?xml version=\"1.0\" encoding=\"gbk\"?>{attach}")).await;
    Ok(())
}

async fn empty(world: &mut World) -> Outcome {
    world.o1().await;
    world.notify("").await;
    Ok(())
}

async fn deep(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let body = format!("<xml>{}{}</xml>", "<a>".repeat(8000), "</a>".repeat(8000));
    world.expect(body.len() <= 64 * 1024, "over the limit of a body");
    world.callbacks += 1;
    let answer = in_time(world, shop.notify(body)).await;
    world.record(&answer);
    let alive = shop.browser().get("/healthz").await.status;
    world.holds("no stack overflow", alive == 200, alive);
    Ok(())
}

async fn wide(world: &mut World) -> Outcome {
    world.o1().await;
    let mut fields = world.genuine();
    for number in 0..1000 {
        fields.set(&format!("f{number}"), "1");
    }
    world.notify(world.signed(fields)).await;
    Ok(())
}
