//! A real browser, spoken to over WebDriver: HTTP and JSON, nothing more. A browser that dies says nothing about the
//! shop: its story is told once more.

use futures_util::FutureExt;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Browsers open at once, over all tests.
static ROOM: Semaphore = Semaphore::const_new(2);
/// One look lasts half a second inside the browser; this many make 40 seconds.
const LOOKS: usize = 80;
/// So often an element may be taken away between finding it and using it.
const TRIES: usize = 5;
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The driver waits this long for a page and for a script. It gives up before we do, so silence is its own.
const PAGE_MS: u64 = 60_000;
const SCRIPT_MS: u64 = 30_000;
const SILENCE: Duration = Duration::from_secs(90);

/// Who tells a story. Nobody opens a browser without one, and only `told` has them.
pub struct Teller {
    /// Why the browser is no longer to be spoken with, once it is not.
    lost: Arc<OnceLock<String>>,
}

/// Runs a story. If it fails because its browser died or hangs, it is told once more from the beginning; whatever else
/// it fails by, and whatever it fails by then, is its own failure.
pub async fn told(story: impl AsyncFn(&Teller)) {
    let teller = Teller { lost: Arc::default() };
    let Err(failure) = AssertUnwindSafe(story(&teller)).catch_unwind().await else { return };
    let Some(why) = teller.lost.get() else { resume_unwind(failure) };
    eprintln!("the panic above is of a browser that was lost ({why}); the story is told once more");
    story(&Teller { lost: Arc::default() }).await;
}

/// What came instead of a value.
#[derive(Debug)]
struct Refusal {
    /// One of the W3C's codes, or `SILENT`.
    code: String,
    message: String,
    /// The browser will not answer any more.
    lost: bool,
}

/// The code where not even the driver said anything.
const SILENT: &str = "no answer";

impl Refusal {
    fn new(code: &str, message: String) -> Refusal {
        let lost = match code {
            SILENT | "invalid session id" | "session not created" | "no such window" => true,
            // Chromium's own.
            "disconnected" | "chrome not reachable" | "tab crashed" => true,
            "unknown error" => ["crashed", "not reachable", "disconnected", "unable to connect to renderer"]
                .iter()
                .any(|sign| message.contains(sign)),
            _ => false,
        };
        Refusal { code: code.to_owned(), message, lost }
    }

    /// Somebody was waited for: the page, or what should have drawn it.
    fn is_late(&self) -> bool {
        matches!(&*self.code, "timeout" | "script timeout")
            || self.code == "unknown error"
                && self.message.contains("Timed out receiving message from renderer")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // Most of what the driver says begins with the code.
        let code =
            if self.message.starts_with(&self.code) { String::new() } else { format!("{}: ", self.code) };
        write!(f, "{code}{}", self.message)
    }
}

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
    /// The browser's process, where the driver names it.
    browser: Option<u64>,
    lost: Arc<OnceLock<String>>,
    _room: SemaphorePermit<'static>,
}

/// Opens a browser, or says why a test cannot run here and gives nothing.
pub async fn open(teller: &Teller, wish: Wish) -> Option<Window> {
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
    let Some(port) = port_of(&mut driver) else {
        driver.kill().ok();
        driver.wait().ok();
        teller.lost.set("the driver did not start".to_owned()).ok();
        panic!("chromedriver says no port");
    };
    let client = Client::builder().no_proxy().timeout(SILENCE).build().unwrap();
    let (session, lost) = (String::new(), teller.lost.clone());
    let mut window = Window { client, driver, port, session, browser: None, lost, _room: room };
    let mut arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-breakpad",
        "--disable-extensions",
        // A page in English is not offered a translation, and nothing looks for other devices.
        "--disable-features=Translate,MediaRouter,OptimizationHints,AcceptCHFrame",
        // A window that nobody sees is as quick as any.
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        // Slow is not dead, and many messages are no attack.
        "--disable-hang-monitor",
        "--disable-ipc-flooding-protection",
        "--disable-default-apps",
        "--password-store=basic",
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
        "timeouts": { "pageLoad": PAGE_MS, "script": SCRIPT_MS },
        "goog:chromeOptions": { "args": arguments, "binary": browser },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } });
    let mut made = window.send(Method::POST, "/session", Some(capabilities.clone())).await;
    // On a busy machine a browser may take longer to start than its driver waits.
    for _ in 0..2 {
        if made.is_err() {
            made = window.send(Method::POST, "/session", Some(capabilities.clone())).await;
        }
    }
    let made = match made {
        Ok(made) => made,
        Err(refusal) => panic!("no browser: {}", window.judged(refusal).await),
    };
    window.browser = made["capabilities"]["goog:processID"].as_u64();
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
fn port_of(driver: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("ChromeDriver was started successfully on port ")?
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    // Nobody reads on; a driver whose pipe is full would stand still.
    std::thread::spawn(move || lines.for_each(drop));
    port
}

impl Window {
    /// One command and its answer.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
        let mut request = self.client.request(method, format!("http://127.0.0.1:{}{path}", self.port));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let silent = |error: reqwest::Error| Refusal::new(SILENT, format!("{error:?}"));
        let answer = request.send().await.map_err(silent)?;
        let good = answer.status().is_success();
        let text = answer.text().await.map_err(silent)?;
        let mut value: Value =
            serde_json::from_str(&text).map_err(|_| Refusal::new("no JSON", text.clone()))?;
        if good {
            return Ok(value["value"].take());
        }
        let said = |name: &str| value["value"][name].as_str().unwrap_or_default().to_owned();
        Err(Refusal::new(&said("error"), said("message")))
    }

    /// The same, and a browser that is lost is remembered.
    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
        match self.send(method, path, body).await {
            Ok(value) => Ok(value),
            Err(refusal) => Err(self.judged(refusal).await),
        }
    }

    async fn judged(&self, mut refusal: Refusal) -> Refusal {
        // A shop that does not answer makes a page late too: then the browser still does sums.
        if refusal.is_late() {
            let sum = json!({ "script": "return 1 + 1;", "args": [] });
            let path = format!("/session/{}/execute/sync", self.session);
            refusal.lost = self.send(Method::POST, &path, Some(sum)).await.is_err();
        }
        if refusal.lost {
            self.lost.set(refusal.to_string()).ok();
        }
        refusal
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value, Refusal> {
        self.request(Method::POST, &format!("/session/{}/{command}", self.session), Some(body)).await
    }

    async fn element(&self, css: &str) -> Value {
        let found = self.post("element", json!({ "using": "css selector", "value": css })).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Does something with an element. If its page goes away in between, it is looked up in the next one.
    async fn with(&self, css: &str, act: impl AsyncFn(&str) -> Result<Value, Refusal>) -> Value {
        for _ in 0..TRIES {
            let id = self.element(css).await[ELEMENT].as_str().unwrap().to_owned();
            match act(&id).await {
                Ok(value) => return value,
                Err(error) if error.code == "stale element reference" => {
                    self.wait_until(&visible(css)).await;
                }
                Err(error) => panic!("{css}: {error}"),
            }
        }
        panic!("{css}: stale each of {TRIES} times");
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
        self.with(css, async |id| self.post(&format!("element/{id}/click"), json!({})).await).await;
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
        let keys = json!({ "text": text });
        self.with(css, async |id| self.post(&format!("element/{id}/value"), keys.clone()).await).await;
    }

    /// Types in place of what stands there.
    pub async fn refill(&self, css: &str, text: &str) {
        self.with(css, async |id| self.post(&format!("element/{id}/clear"), json!({})).await).await;
        self.fill(css, text).await;
    }

    /// Clicks on what is a file, and waits until it is here as a whole: its name and what is in it.
    pub async fn download(&self, css: &str) -> (String, Vec<u8>) {
        let folder =
            std::env::temp_dir().join(format!("shouyin-download-{}-{}", std::process::id(), self.port));
        std::fs::create_dir_all(&folder).unwrap();
        let wish = json!({ "behavior": "allow", "downloadPath": folder });
        self.cdp("Browser.setDownloadBehavior", wish).await;
        self.click(css).await;
        for _ in 0..LOOKS {
            let mut files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            // Until it is whole it has another name.
            let whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "csv" || end == "xlsx");
            if let Some(path) = files.find(whole) {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = std::fs::read(&path).unwrap();
                std::fs::remove_dir_all(&folder).unwrap();
                return (name, bytes);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("{css} brought no file\n{}", self.state().await);
    }

    /// The visible text of an element.
    pub async fn text(&self, css: &str) -> String {
        let path = |id: &str| format!("/session/{}/element/{id}/text", self.session);
        let text = self.with(css, async |id| self.request(Method::GET, &path(id), None).await).await;
        text.as_str().unwrap().to_owned()
    }

    /// The value of a JavaScript expression.
    pub async fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, Refusal> {
        let script = format!("return ({expression});");
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
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

    /// The browser looks at the expression again and again until it is true in a page that is there as a whole, scripts
    /// and all; over page loads too.
    pub async fn wait_until(&self, expression: &str) {
        let script = format!(
            "const done = arguments[0]; let left = 10;
             const look = () => {{
               let met = false;
               try {{ met = document.readyState === 'complete' && !!({expression}); }} catch (e) {{}}
               if (met || --left < 0) done(met); else setTimeout(look, 50);
             }};
             look();"
        );
        let (mut looked, mut refusals, mut last) = (0, 0, None);
        for _ in 0..LOOKS {
            match self.post("execute/async", json!({ "script": script, "args": [] })).await {
                Ok(Value::Bool(true)) => return,
                Ok(_) => looked += 1,
                Err(error) => {
                    let lost = error.lost;
                    (refusals, last) = (refusals + 1, Some(error));
                    if lost {
                        break;
                    }
                    // The page went away under the look.
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        let last = last.map_or(String::new(), |error| format!(", last: {error}"));
        panic!(
            "never true: {expression}\nin {looked} looks and {refusals} refusals{last}\n{}",
            self.state().await
        );
    }

    /// Where the browser is and what it shows, for the message of a failure: never one itself.
    async fn state(&self) -> String {
        if self.lost.get().is_some() {
            return "the browser is lost".to_owned();
        }
        let said = |value: Result<Value, Refusal>| match value {
            Ok(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            Err(error) => error.to_string(),
        };
        let (url, text) =
            (self.try_eval("location.href").await, self.try_eval("document.body.innerText").await);
        format!("at {} the page says:\n{}\n{:#?}", said(url), said(text), self.try_complaints().await)
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
        self.try_complaints().await.unwrap()
    }

    async fn try_complaints(&self) -> Result<Vec<String>, Refusal> {
        let log = self.post("se/log", json!({ "type": "browser" })).await?;
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        let bad = |entry: &&Value| {
            entry["level"] == "SEVERE" || text(entry).to_lowercase().contains("content security policy")
        };
        let log = log.as_array().ok_or_else(|| Refusal::new("no list", log.to_string()))?;
        Ok(log.iter().filter(bad).map(text).collect())
    }

    /// The browser's process ends at once, if it is there: its number may be another's by now.
    fn kill_browser(&self) {
        let Some(browser) = self.browser else { return };
        let stat = std::fs::read_to_string(format!("/proc/{browser}/stat")).unwrap_or_default();
        // After the name in brackets: its state and its parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent == Some(&*self.driver.id().to_string()) {
            Command::new("sh").args(["-c", &format!("kill -KILL {browser}")]).status().ok();
        }
    }
}

/// Whether an element is there and can be seen.
fn visible(css: &str) -> String {
    format!("document.querySelector({})?.checkVisibility({{ visibilityProperty: true }})", Value::from(css))
}

impl Drop for Window {
    fn drop(&mut self) {
        // The driver closes the browser; killed first, it would leave it behind.
        let mut closed = false;
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
            let request = format!(
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
                self.session
            );
            closed = stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut [0; 12]).is_ok();
        }
        // One that hangs does not let itself be closed.
        if !closed {
            self.kill_browser();
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

#[test]
fn only_what_a_dead_browser_brings_about_is_a_lost_browser() {
    for (code, message, lost) in [
        (SILENT, "connection refused", true),
        ("invalid session id", "", true),
        ("session not created", "", true),
        ("no such window", "target window already closed", true),
        ("tab crashed", "", true),
        ("disconnected", "not connected to DevTools", true),
        ("unknown error", "session deleted because of page crash\nfrom tab crashed", true),
        ("unknown error", "chrome not reachable", true),
        ("unknown error", "net::ERR_CONNECTION_REFUSED", false),
        ("javascript error", "Error: the socket disconnected and crashed", false),
        ("stale element reference", "", false),
        ("no such element", "Unable to locate element: .disconnected", false),
        ("element click intercepted", "", false),
        // Whether the browser still lives is asked then.
        ("script timeout", "", false),
        ("timeout", "Timed out receiving message from renderer: 60.000", false),
    ] {
        assert_eq!(Refusal::new(code, message.to_owned()).lost, lost, "{code}: {message}");
    }
}

/// A page that needs no shop.
const PAGE: &str = "data:text/html,<title>here</title><p>words";

#[actix_web::test]
async fn a_story_whose_browser_dies_is_told_once_more_from_the_beginning() {
    let tellings = Cell::new(0);
    told(async |teller| {
        let Some(window) = open(teller, Wish::default()).await else { return };
        tellings.set(tellings.get() + 1);
        window.goto(PAGE).await;
        if tellings.get() == 1 {
            window.kill_browser();
            window.wait_until("true").await;
        }
        assert_eq!(window.text("p").await, "words");
    })
    .await;
    assert!([0, 2].contains(&tellings.get()), "none without a browser, two with one: {tellings:?}");
}

#[actix_web::test]
async fn a_story_that_fails_in_a_living_browser_is_told_once_and_its_failure_comes_through() {
    let tellings = Cell::new(0);
    let telling = told(async |teller| {
        let Some(window) = open(teller, Wish::default()).await else { return };
        window.goto(PAGE).await;
        tellings.set(tellings.get() + 1);
        window.text("button").await;
    });
    let Err(failure) = AssertUnwindSafe(telling).catch_unwind().await else {
        assert_eq!(tellings.get(), 0, "only without a browser nothing fails");
        return;
    };
    let said = failure.downcast::<String>().unwrap();
    assert!(said.starts_with("button: no such element"), "{said}");
    assert_eq!(tellings.get(), 1);
}

#[actix_web::test]
async fn an_element_whose_page_is_loaded_anew_before_it_is_used_is_looked_up_again() {
    told(async |teller| {
        let Some(window) = open(teller, Wish::default()).await else { return };
        window.goto(PAGE).await;
        let found = RefCell::new(Vec::new());
        let text = window
            .with("p", async |id| {
                found.borrow_mut().push(id.to_owned());
                if found.borrow().len() == 1 {
                    window.reload().await;
                }
                window
                    .request(Method::GET, &format!("/session/{}/element/{id}/text", window.session), None)
                    .await
            })
            .await;
        assert_eq!(text, "words");
        assert_eq!(found.borrow().len(), 2);
    })
    .await;
}
