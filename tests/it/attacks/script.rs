//! A gateway that says whatever a case wants, with our own key where it is to be believed.

use shouyin::gateway::wechat_v2::{Account, sign, xml::Fields};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How one call is answered.
#[derive(Clone)]
pub enum Line {
    /// These fields, completed with our identity and signed.
    Signed(Vec<(String, String)>),
    /// The same, not signed.
    Unsigned(Vec<(String, String)>),
    /// The same, signed for other content.
    Missigned(Vec<(String, String)>),
    /// A whole HTTP answer.
    Bytes(Vec<u8>),
    /// Silence.
    Never,
}

/// A signed failure.
pub fn failure(code: &str, description: &str) -> Line {
    Line::Signed(pairs(&[("result_code", "FAIL"), ("err_code", code), ("err_code_des", description)]))
}

/// A signed success.
pub fn success(fields: &[(&str, &str)]) -> Line {
    Line::Signed([pairs(fields), pairs(&[("result_code", "SUCCESS")])].concat())
}

pub fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An HTTP answer with this head and body.
pub fn http(head: &str, body: &[u8]) -> Line {
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    Line::Bytes([head.as_bytes(), body].concat())
}

type Book = dyn FnMut(&str, &str) -> Line + Send;

/// The gateway. Cloning shares it.
#[derive(Clone)]
pub struct Script {
    pub origin: String,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    account: Option<Account>,
    book: Box<Book>,
    calls: Vec<String>,
    /// Raw bytes of every connection, as far as they were read.
    heard: Vec<u8>,
}

impl Script {
    /// Listens at once; says nothing useful until `play`.
    pub async fn open() -> Script {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let book: Box<Book> = Box::new(|_, _| Line::Never);
        let inner = Arc::new(Mutex::new(Inner { account: None, book, calls: vec![], heard: vec![] }));
        let script = Script { origin, inner };
        let serving = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = serving.clone();
                tokio::spawn(async move { script.serve(stream).await });
            }
        });
        script
    }

    pub fn speak_for(&self, account: &Account) {
        self.inner.lock().unwrap().account = Some(account.clone());
    }

    /// From now on: the call and the number it names to what is said.
    pub fn play(&self, book: impl FnMut(&str, &str) -> Line + Send + 'static) {
        let mut inner = self.inner.lock().unwrap();
        inner.book = Box::new(book);
        inner.calls.clear();
    }

    /// `unifiedorder NUMBER` and the like, since `play`.
    pub fn calls(&self) -> Vec<String> {
        self.inner.lock().unwrap().calls.clone()
    }

    pub fn heard(&self) -> Vec<u8> {
        self.inner.lock().unwrap().heard.clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let body = loop {
            let mut buffer = [0; 16 * 1024];
            match stream.read(&mut buffer).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
                _ => return,
            }
            self.inner.lock().unwrap().heard.extend_from_slice(&bytes);
            if bytes.first() == Some(&0x16) {
                // A TLS greeting: answered with what is no TLS.
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                return;
            }
            if let Some(body) = whole(&bytes) {
                break body;
            }
        };
        let path = String::from_utf8_lossy(&bytes).split(' ').nth(1).unwrap_or_default().to_owned();
        let call = path.rsplit('/').next().unwrap_or_default().to_owned();
        let asked = Fields::parse(&body).unwrap_or_default();
        let number = asked.get("out_trade_no").unwrap_or_default().to_owned();
        let reply = {
            let mut inner = self.inner.lock().unwrap();
            inner.calls.push(format!("{call} {number}"));
            let line = (inner.book)(&call, &number);
            inner.account.as_ref().and_then(|account| written(account, line))
        };
        match reply {
            // The other end may have had enough before all of it is written.
            Some(reply) => drop(stream.write_all(&reply).await),
            None => tokio::time::sleep(Duration::from_secs(30)).await,
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Vec<u8>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length =
        head.split_once("content-length: ").map_or("0", |(_, rest)| rest.split('\r').next().unwrap());
    let length: usize = length.parse().unwrap();
    bytes.get(end..end + length).map(<[u8]>::to_vec)
}

fn written(account: &Account, line: Line) -> Option<Vec<u8>> {
    let (given, signing) = match line {
        Line::Signed(given) => (given, Some("")),
        Line::Missigned(given) => (given, Some("other")),
        Line::Unsigned(given) => (given, None),
        Line::Bytes(bytes) => return Some(bytes),
        Line::Never => return None,
    };
    let ours = [
        ("return_code", "SUCCESS"),
        ("return_msg", "OK"),
        ("appid", account.appids.web.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
    ];
    let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut fields: Fields = ours.into_iter().chain(given).collect();
    if let Some(twist) = signing {
        let mut content = fields.clone();
        if !twist.is_empty() {
            content.set("nonce_str", twist);
        }
        let signature = sign::sign(&content, &account.key, account.sign_type);
        fields.set("sign", &signature);
    }
    match http("200 OK\r\ncontent-type: text/xml", fields.to_xml().as_bytes()) {
        Line::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}
