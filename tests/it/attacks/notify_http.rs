//! The callback address as an HTTP resource.

use super::{
    Outcome, Table,
    child::Server,
    effects::in_time,
    raw::{bare, gzip_bomb, post, say, say_to},
    table,
    world::World,
};
use crate::harness::Answer;
use reqwest::Client;

pub const CASES: Table = table! {
    "NOTIFY-HTTP-01" => as_wechat_sends_it,
    "NOTIFY-HTTP-04" => other_methods,
    "NOTIFY-HTTP-05" => query_string,
    "NOTIFY-HTTP-06" => host_localhost,
    "NOTIFY-HTTP-10" => too_large,
    "NOTIFY-HTTP-13" => compressed,
    "NOTIFY-HTTP-15" => slashes,
};

async fn as_wechat_sends_it(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let body = world.changed(&[]);
    world.callbacks += 1;
    let answer = in_time(world, shop.notify(body)).await;
    world.record(&answer);
    let cookie = answer.headers.contains_key("set-cookie") || answer.headers.contains_key("location");
    world.expect(!cookie, format!("{:?}", answer.headers));
    let exact =
        "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";
    world.expect(answer.body == exact, &answer.body);
    Ok(())
}

async fn other_methods(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO"] {
        let said = say(&shop, bare(method, "/notify/wechat").as_bytes()).await;
        let right = said.status() == 405 || (method == "OPTIONS" && said.status() == 204);
        world.expect(right, format!("{method}: {}", said.text));
        world.expect(!said.text.contains("SUCCESS"), format!("{method}: {}", said.text));
    }
    Ok(())
}

async fn query_string(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let mut fields = world.genuine();
    fields.remove("result_code");
    let target =
        format!("{}/notify/wechat?out_trade_no={}&result_code=SUCCESS&sign=x", shop.url, world.subject);
    let request = Client::new().post(target).body(fields.to_xml());
    let answer = Answer::of(request.send().await.unwrap()).await;
    world.callbacks += 1;
    world.record(&answer);
    Ok(())
}

async fn host_localhost(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let body = world.genuine().to_xml();
    let request =
        Client::new().post(format!("{}/notify/wechat", shop.url)).header("host", "localhost").body(body);
    let answer = Answer::of(request.send().await.unwrap()).await;
    world.callbacks += 1;
    world.record(&answer);
    Ok(())
}

const LIMIT: usize = 64 * 1024;

async fn too_large(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let body = format!("<xml><attach>{}</attach></xml>", "a".repeat(LIMIT + 1 - 28));
    world.expect(body.len() == LIMIT + 1, body.len());
    let answer = in_time(world, shop.notify(body.clone())).await;
    world.expect(answer.status == 413, answer.status);
    world.record(&answer);
    // Also when the length is a lie and the rest never comes.
    let lie = "POST /notify/wechat HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 10000000000\r\n\r\n<xml>";
    let bytes = [lie.as_bytes(), &vec![b'a'; LIMIT + 1]].concat();
    let said = in_time(world, say(&shop, &bytes)).await;
    world.holds("connection closed or drained", said.closed && said.status() == 413, said.text);
    let server = Server::start(&[]).await;
    world.growth = Some(server.growth_by(|| say_to(&server.url, &bytes)).await);
    Ok(())
}

/// The smallest bomb that the limit of a body lets in unpacks to ten megabytes; nobody unpacks it.
async fn compressed(world: &mut World) -> Outcome {
    world.o1().await;
    let server = Server::start(&[]).await;
    let bomb = gzip_bomb(LIMIT - 100);
    let headers = [("content-encoding", "gzip"), ("content-type", "text/xml")];
    let answer = server.notify_as(bomb.clone(), &headers).await;
    world.record(&answer);
    world.growth = Some(server.growth_by(|| server.notify_as(bomb.clone(), &headers)).await);
    Ok(())
}

async fn slashes(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let body = world.changed(&[]);
    for target in
        ["/notify/wechat/", "//notify/wechat", "/notify//wechat", "/./notify/wechat", "/Notify/wechat"]
    {
        let said = say(&shop, post(target, "", &body).as_bytes()).await;
        let right = said.status() == 404 || said.text.contains("SUCCESS");
        world.expect(right && !said.text.contains("location:"), format!("{target}: {}", said.text));
    }
    Ok(())
}
