//! HTTP/1.1 over one blocking connection, and a browser that keeps its cookie: enough for a shop that
//! may vanish in the middle of an answer.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Nothing here may take longer, or a test would hang.
const PATIENCE: Duration = Duration::from_secs(20);
const WECHAT: &str = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Mobile MicroMessenger/8.0.47";
pub const PASSWORD: &str = "correct horse battery";

/// One complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// WeChat reads this as: received, do not come again.
    pub fn is_success(&self) -> bool {
        self.status == 200 && self.body.contains("<return_code><![CDATA[SUCCESS]]>")
    }

    /// WeChat reads this as: come again.
    pub fn is_failure(&self) -> bool {
        self.status == 503 && self.body.contains("<return_code><![CDATA[FAIL]]>")
    }

    fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&mark).unwrap_or_else(|| panic!("no {name} in {}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

/// A keep-alive connection.
pub struct Line(BufReader<TcpStream>);

impl Line {
    /// To an origin such as `http://127.0.0.1:8080`.
    pub fn open(origin: &str) -> io::Result<Line> {
        let stream = TcpStream::connect(origin.strip_prefix("http://").unwrap())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Line(BufReader::new(stream)))
    }

    /// A callback as WeChat sends it.
    pub fn notify(&mut self, body: &str) -> io::Result<Answer> {
        self.ask("POST", "/notify/wechat", &[("content-type", "text/xml")], body)
    }

    /// An error unless the whole answer has come.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: shop\r\n{headers}content-length: {length}\r\n\r\n");
        self.0.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let mut answer =
            Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, headers, body: String::new() };
        let length: u64 = answer.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// A phone with WeChat: one cookie for the shop, one token for its forms.
#[derive(Clone, Debug)]
pub struct Phone {
    cookie: String,
    token: String,
}

impl Phone {
    /// Registers a user and lets WeChat tell the shop whose phone this is.
    pub fn register(shop: &str, name: &str) -> Phone {
        Phone::sign_in(shop, "/register", name)
    }

    /// Another phone of the same user.
    #[cfg(feature = "failpoints")]
    pub fn log_in(shop: &str, name: &str) -> Phone {
        Phone::sign_in(shop, "/login", name)
    }

    fn sign_in(shop: &str, form: &str, name: &str) -> Phone {
        let mut phone = Phone { cookie: String::new(), token: String::new() };
        let page = phone.get(shop, form).unwrap();
        phone.take_cookie(&page);
        let filled =
            format!("token={}&username={name}&password={}", page.hidden("token"), PASSWORD.replace(' ', "+"));
        let done = phone.post(shop, form, &filled, &[]).unwrap();
        assert_eq!(done.status, 303, "{}", done.body);
        phone.take_cookie(&done);
        let out = phone.get(shop, "/wechat/login?next=%2Ftop-up").unwrap();
        assert_eq!(out.status, 302, "{}", out.body);
        let (wechat, authorize) = split_origin(out.header("location"));
        let path = authorize.split('#').next().unwrap();
        let at_wechat = Line::open(&wechat).unwrap().ask("GET", path, &[], "").unwrap();
        assert_eq!(at_wechat.status, 302, "{}", at_wechat.body);
        // The shop's public address may be another than the one it listens on.
        let (_, back) = split_origin(at_wechat.header("location"));
        let done = phone.get(shop, &back).unwrap();
        assert_eq!(done.status, 303, "{}", done.body);
        phone.take_cookie(&done);
        phone.token = phone.get(shop, "/top-up").unwrap().hidden("token");
        phone
    }

    fn take_cookie(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie").split(';').next().filter(|pair| !pair.is_empty()) {
            self.cookie = cookie.to_owned();
        }
    }

    pub fn get(&self, shop: &str, path: &str) -> io::Result<Answer> {
        Line::open(shop)?.ask("GET", path, &[("cookie", &self.cookie), ("user-agent", WECHAT)], "")
    }

    /// What the shop says about an order, as its page asks for it.
    pub fn status(&self, shop: &str, number: &str) -> io::Result<Answer> {
        self.get(shop, &format!("/orders/{number}/status"))
    }

    /// Tops up one yuan; the same intent is the same order.
    pub fn top_up(&self, shop: &str, intent: &str) -> io::Result<Answer> {
        let form = format!("token={}&intent={intent}&amount=1", self.token);
        self.post(shop, "/top-up", &form, &[("accept", "application/json")])
    }

    fn post(&self, shop: &str, path: &str, form: &str, more: &[(&str, &str)]) -> io::Result<Answer> {
        let mut headers = vec![
            ("cookie", self.cookie.as_str()),
            ("user-agent", WECHAT),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        headers.extend_from_slice(more);
        Line::open(shop)?.ask("POST", path, &headers, form)
    }
}

fn split_origin(url: &str) -> (String, String) {
    let at = url.match_indices('/').nth(2).unwrap_or_else(|| panic!("no path in {url}")).0;
    (url[..at].to_owned(), url[at..].to_owned())
}
