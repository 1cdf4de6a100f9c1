//! The real program as a process of its own: its exit code, its memory, everything it says.

use crate::harness::Answer;
use reqwest::{Client, redirect::Policy};
use std::{
    fs,
    future::Future,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A configuration that `serve` accepts. None of it is a secret of anybody.
pub const GOOD: [(&str, &str); 5] = [
    ("SECRET_KEY", "4f1c0de5a7b3928e6d5c4b3a29181706f5e4d3c2"),
    ("WECHAT_APPID", "wx2421b1c4370ec43b"),
    ("WECHAT_APP_SECRET", "5b2d4c6e8f0a1b3c5d7e9f1a2b4c6d8e"),
    ("WECHAT_MCH_ID", "10000100"),
    ("WECHAT_API_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf"),
];
/// Starting includes migrations, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(20);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// `shouyin serve`, in an empty folder, with these variables over `GOOD` and no others.
pub struct Server {
    child: Child,
    pub url: String,
    pub folder: PathBuf,
}

impl Server {
    /// Starts and waits until it answers.
    pub async fn start(variables: &[(&str, &str)]) -> Server {
        let mut server = Server::spawn(variables);
        let started = Instant::now();
        while Client::new().get(format!("{}/healthz", server.url)).send().await.is_err() {
            let ended = server.child.try_wait().unwrap();
            if ended.is_some_and(|status| status.code() == Some(4)) {
                // Somebody took the port between our look and its start.
                server = Server::spawn(variables);
                continue;
            }
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "serve: {ended:?} {}", server.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Starts, and expects it to give up by itself; gives its exit status and whether it ever listened.
    pub fn refused(variables: &[(&str, &str)], patience: Duration) -> (Option<ExitStatus>, bool, String) {
        let mut server = Server::spawn(variables);
        let (started, mut listened) = (Instant::now(), false);
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        loop {
            listened |= std::net::TcpStream::connect(&address).is_ok();
            if let Some(status) = server.child.try_wait().unwrap() {
                return (Some(status), listened, server.said());
            }
            if started.elapsed() > patience {
                return (None, listened, server.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn spawn(variables: &[(&str, &str)]) -> Server {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("shouyin-child-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .arg("serve")
            .env_clear()
            .envs(GOOD)
            .env("LISTEN", address.to_string())
            // Nothing of a child may reach the real WeChat.
            .env("WECHAT_API_BASE", "http://127.0.0.1:9")
            .env("WECHAT_OAUTH_BASE", "http://127.0.0.1:9")
            .envs(variables.iter().copied())
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Server { child, url: format!("http://{address}"), folder }
    }

    /// Everything it has printed and logged.
    pub fn said(&self) -> String {
        ["stdout", "stderr"].map(|name| read(&self.folder.join(name))).concat()
    }

    /// By how much its largest memory ever exceeds what it had before the work, in bytes.
    pub async fn growth_by<T, F: Future<Output = T>>(&self, work: impl Fn() -> F) -> u64 {
        // Threads, caches and connections come with the first requests.
        for _ in 0..3 {
            self.notify("<xml><a>1</a></xml>").await;
        }
        let before = self.memory("VmRSS");
        work().await;
        self.memory("VmHWM").saturating_sub(before)
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// A callback to this process.
    pub async fn notify(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.notify_as(body, &[]).await
    }

    pub async fn notify_as(&self, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> Answer {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let mut request = client.post(format!("{}/notify/wechat", self.url)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// A callback about a refund to this process.
    pub async fn notify_refund(&self, body: impl Into<Vec<u8>>) -> Answer {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let request = client.post(format!("{}/notify/wechat/refund", self.url)).body(body.into());
        Answer::of(request.send().await.unwrap()).await
    }

    /// Ends it without warning.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The content of every file it has left, as raw text.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.display().to_string(), fs::read(&path).unwrap()));
                }
            }
        }
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
