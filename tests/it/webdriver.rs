//! A real browser, spoken to over WebDriver: HTTP and JSON, nothing more.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Browsers open at once, over all tests.
static ROOM: Semaphore = Semaphore::const_new(2);
/// One look lasts half a second inside the browser; this many make 40 seconds.
const LOOKS: usize = 80;
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How the window pretends to be.
#[derive(Clone, Copy, Default)]
pub struct Wish {
    pub user_agent: Option<&'static str>,
    pub size: Option<(u32, u32)>,
}

/// One browser with one empty profile. Closing, also by a panic, ends it and its driver.
pub struct Window {
    client: Client,
    driver: Child,
    port: u16,
    session: String,
    _room: SemaphorePermit<'static>,
}

/// Opens a browser, or says why a test cannot run here and gives nothing.
pub async fn open(wish: Wish) -> Option<Window> {
    let (Some(driver), Some(browser)) = (find("chromedriver"), find("chromium")) else {
        assert!(std::env::var_os("CI").is_none(), "the browser tests need chromium and chromium-driver");
        eprintln!("SKIPPED: needs chromium and chromium-driver");
        return None;
    };
    let room = ROOM.acquire().await.unwrap();
    let mut driver = Command::new(driver)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let port = port_of(&mut driver);
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
    let mut window = Window { client, driver, port, session: String::new(), _room: room };
    let mut arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        "--lang=zh-CN",
        "--accept-lang=zh-CN",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.extend(wish.user_agent.map(|agent| format!("--user-agent={agent}")));
    let capabilities = json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments, "binary": browser },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } });
    let mut made = window.request(Method::POST, "/session", Some(capabilities.clone())).await;
    // On a busy machine a browser may take longer to start than its driver waits.
    for _ in 0..2 {
        if made.is_err() {
            made = window.request(Method::POST, "/session", Some(capabilities.clone())).await;
        }
    }
    let made = made.unwrap();
    window.session = made["sessionId"].as_str().unwrap().to_owned();
    if let Some((width, height)) = wish.size {
        window.resize(width, height).await;
    }
    Some(window)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The driver takes any free port and says which.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("ChromeDriver was started successfully on port ")?
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    // Nobody reads on; a driver whose pipe is full would stand still.
    std::thread::spawn(move || lines.for_each(drop));
    port.expect("chromedriver says its port")
}

impl Window {
    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("http://127.0.0.1:{}{path}", self.port));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let good = answer.status().is_success();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let mut value: Value = serde_json::from_str(&text).map_err(|_| text)?;
        if good { Ok(value["value"].take()) } else { Err(value["value"]["message"].to_string()) }
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value, String> {
        self.request(Method::POST, &format!("/session/{}/{command}", self.session), Some(body)).await
    }

    async fn element(&self, css: &str) -> Value {
        let found = self.post("element", json!({ "using": "css selector", "value": css })).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Loads an address and waits until it is loaded.
    pub async fn goto(&self, url: &str) {
        self.post("url", json!({ "url": url })).await.unwrap();
    }

    pub async fn back(&self) {
        self.post("back", json!({})).await.unwrap();
    }

    pub async fn reload(&self) {
        self.post("refresh", json!({})).await.unwrap();
    }

    /// Waits until the element can be seen, then clicks where a finger would.
    pub async fn click(&self, css: &str) {
        self.wait_until(&visible(css)).await;
        let id = self.element(css).await[ELEMENT].as_str().unwrap().to_owned();
        if let Err(error) = self.post(&format!("element/{id}/click"), json!({})).await {
            panic!("{css}: {error}");
        }
    }

    /// Two taps on the same spot, 50 ms apart.
    pub async fn double_tap(&self, css: &str) {
        let origin = self.element(css).await;
        let (down, up) =
            (json!({ "type": "pointerDown", "button": 0 }), json!({ "type": "pointerUp", "button": 0 }));
        let wait = json!({ "type": "pause", "duration": 50 });
        let go = json!({ "type": "pointerMove", "x": 0, "y": 0, "origin": origin });
        let taps = json!([go, down, up, wait, down, up]);
        let finger = json!({ "type": "pointer", "id": "finger", "parameters": { "pointerType": "touch" }, "actions": taps });
        self.post("actions", json!({ "actions": [finger] })).await.unwrap();
    }

    /// Types into an empty field.
    pub async fn fill(&self, css: &str, text: &str) {
        let id = self.element(css).await[ELEMENT].as_str().unwrap().to_owned();
        self.post(&format!("element/{id}/value"), json!({ "text": text })).await.unwrap();
    }

    /// The visible text of an element.
    pub async fn text(&self, css: &str) -> String {
        let id = self.element(css).await[ELEMENT].as_str().unwrap().to_owned();
        let path = format!("/session/{}/element/{id}/text", self.session);
        self.request(Method::GET, &path, None).await.unwrap().as_str().unwrap().to_owned()
    }

    /// The value of a JavaScript expression.
    pub async fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let value = self.post("execute/sync", json!({ "script": script, "args": [] })).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The value of a promise.
    pub async fn eval_later(&self, promise: &str) -> Value {
        let script = format!("const done = arguments[0]; ({promise}).then(done, (e) => done(`${{e}}`));");
        let value = self.post("execute/async", json!({ "script": script, "args": [] })).await;
        value.unwrap_or_else(|error| panic!("{promise}: {error}"))
    }

    /// Runs a script that the page itself would not be allowed to load.
    pub async fn run(&self, script: &str) {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await.unwrap();
    }

    pub async fn path(&self) -> String {
        self.eval("location.pathname").await.as_str().unwrap().to_owned()
    }

    /// The browser looks at the expression again and again until it is true, over page loads too.
    pub async fn wait_until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0]; let left = 10;
             const look = () => {{
               let met = false;
               try {{ met = !!({expression}); }} catch (e) {{}}
               if (met || --left < 0) done(met); else setTimeout(look, 50);
             }};
             look();"
        );
        for _ in 0..LOOKS {
            match self.post("execute/async", json!({ "script": script, "args": [] })).await {
                Ok(Value::Bool(true)) => return,
                Ok(_) => {}
                // The page went away under the look.
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
        let (url, text) = (self.eval("location.href").await, self.text("body").await);
        panic!("never true: {expression}\nat {url} the page says:\n{text}\n{:#?}", self.complaints().await);
    }

    /// Waits until the visible text of the page has these words.
    pub async fn wait_for_text(&self, words: &str) {
        let words = Value::from(words);
        self.wait_until(&format!("document.body.innerText.includes({words})")).await;
    }

    /// Runs before the scripts of every page from now on.
    pub async fn add_script_before_page(&self, source: &str) {
        self.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source })).await;
    }

    /// A command of Chromium's own protocol.
    pub async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await.unwrap()
    }

    /// The size of the page itself.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// `light` or `dark`, as the system would say.
    pub async fn prefer(&self, scheme: &str) {
        // Without motion, a picture never catches a colour half way.
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// What is in the window, as a PNG file.
    pub async fn screenshot(&self, file: &Path) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let taken = self.cdp("Page.captureScreenshot", json!({ "format": "png" })).await;
        std::fs::write(file, BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// For the site that is open.
    pub async fn set_cookie(&self, name: &str, value: &str) {
        let cookie = json!({ "cookie": { "name": name, "value": value, "httpOnly": true } });
        self.post("cookie", cookie).await.unwrap();
    }

    pub async fn delete_cookies(&self) {
        let path = format!("/session/{}/cookie", self.session);
        self.request(Method::DELETE, &path, None).await.unwrap();
    }

    /// Goes into a frame; `None` comes out again.
    pub async fn frame(&self, css: Option<&str>) {
        let id = match css {
            Some(css) => {
                self.wait_until(&visible(css)).await;
                self.element(css).await
            }
            None => Value::Null,
        };
        self.post("frame", json!({ "id": id })).await.unwrap();
    }

    /// What the console complained about since the last look: broken policies, script errors, lost files.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("se/log", json!({ "type": "browser" })).await.unwrap();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        let bad = |entry: &&Value| {
            entry["level"] == "SEVERE" || text(entry).to_lowercase().contains("content security policy")
        };
        log.as_array().unwrap().iter().filter(bad).map(text).collect()
    }
}

/// Whether an element is there and can be seen.
fn visible(css: &str) -> String {
    format!("document.querySelector({})?.checkVisibility({{ visibilityProperty: true }})", Value::from(css))
}

impl Drop for Window {
    fn drop(&mut self) {
        // The driver closes the browser; killed first, it would leave it behind.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
                self.session
            );
            if stream.write_all(request.as_bytes()).is_ok() {
                stream.read_exact(&mut [0; 12]).ok();
            }
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
