//! Bytes on a plain connection, for what no client library would send.

use crate::harness::Shop;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// What came back until the other end closed, or until it had been silent for so long.
pub struct Said {
    pub text: String,
    pub closed: bool,
}

impl Said {
    pub fn status(&self) -> u16 {
        let code = self.text.split(' ').nth(1).unwrap_or_default();
        code.parse().unwrap_or_else(|_| panic!("no status line in {:?}", self.text))
    }

    /// How many answers there are in it.
    pub fn answers(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }
}

/// Longer than a busy machine takes to answer, and to hang up after it.
const FIRST: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_secs(3);

/// Sends these bytes to the shop and listens.
pub async fn say(shop: &Shop, bytes: &[u8]) -> Said {
    say_to(&shop.url, bytes).await
}

pub async fn say_to(origin: &str, bytes: &[u8]) -> Said {
    let mut stream = TcpStream::connect(origin.strip_prefix("http://").unwrap()).await.unwrap();
    // The other end may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    let (mut heard, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    let closed = loop {
        let patience = if heard.is_empty() { FIRST } else { SILENCE };
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(0)) | Ok(Err(_)) => break true,
            Ok(Ok(read)) => heard.extend_from_slice(&buffer[..read]),
            Err(_) => break false,
        }
    };
    Said { text: String::from_utf8_lossy(&heard).into_owned(), closed }
}

/// A request without a body.
pub fn bare(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")
}

/// A POST of XML.
pub fn post(target: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\ncontent-type: text/xml\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A gzip file of this size that unpacks to some 160 times as many zeros: copies of 258 bytes, each in
/// 13 bits of fixed Huffman code. Its tail is cut off, as an unpacker notices too late.
pub fn gzip_bomb(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut held): (u32, u32) = (0, 0);
    let mut put = |bytes: &mut Vec<u8>, code: u32, length: u32| {
        bits |= code << held;
        held += length;
        while held >= 8 {
            bytes.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            held -= 8;
        }
    };
    // The last block, fixed codes; then one zero literal to copy from.
    put(&mut bytes, 0b011, 3);
    put(&mut bytes, 0b0000_1100, 8);
    while bytes.len() < size {
        // 285, a copy of 258 bytes: 1100 0101, most significant bit first; then distance 1.
        put(&mut bytes, 0b1010_0011, 8);
        put(&mut bytes, 0, 5);
    }
    bytes
}
