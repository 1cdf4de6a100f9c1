//! `shouyin serve` as a process of its own, on books that outlive it.

use crate::place::Place;
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// A configuration that `serve` accepts. None of it is a secret of anybody.
pub const SECRETS: [(&str, &str); 5] = [
    ("SECRET_KEY", "4f1c0de5a7b3928e6d5c4b3a29181706f5e4d3c2"),
    ("WECHAT_APPID", "wx2421b1c4370ec43b"),
    ("WECHAT_APP_SECRET", "5b2d4c6e8f0a1b3c5d7e9f1a2b4c6d8e"),
    ("WECHAT_MCH_ID", "10000100"),
    ("WECHAT_API_KEY", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf"),
];
/// The shop's public address: the same whatever port a process listens on. Nobody connects to it.
pub const PUBLIC_URL: &str = "http://127.0.0.1:9";
const PATIENCE: Duration = Duration::from_secs(30);
/// Somebody may take a free port between our look and the child's start.
const TRIES: usize = 5;

/// What one process gets besides the usual.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub variables: Vec<(&'static str, PathBuf)>,
    pub arguments: Vec<String>,
}

/// A running `serve`.
pub struct Server {
    child: Child,
    pub origin: String,
    log: PathBuf,
    /// Open as long as the process may print.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts on these books and returns when it is ready.
    pub fn start(place: &Place, simulator: &str, wish: &Wish) -> Server {
        for _ in 0..TRIES {
            if let Some(server) = Server::try_start(place, simulator, wish) {
                return server;
            }
        }
        panic!("no free port");
    }

    fn try_start(place: &Place, simulator: &str, wish: &Wish) -> Option<Server> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let log = place.folder.0.join("log");
        let stderr = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .arg("serve")
            .args(&wish.arguments)
            .env_clear()
            .envs(SECRETS)
            .env("DATABASE_URL", place.url())
            .env("LISTEN", address.to_string())
            .env("PUBLIC_URL", PUBLIC_URL)
            .env("WECHAT_API_BASE", simulator)
            .env("WECHAT_OAUTH_BASE", simulator)
            .env("LOG", "error")
            .envs(wish.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&place.folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(stderr))
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while stdout.read_line(&mut line).unwrap() > 0 {
            if line.contains("ready:") {
                let origin = format!("http://{address}");
                return Some(Server { child, origin, log, _stdout: stdout });
            }
            line.clear();
        }
        let status = child.wait().unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("cannot listen"), "serve gave up: {status} {said}");
        File::create(&log).unwrap();
        None
    }

    /// SIGKILL: no code of the process runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: it may finish what it has begun.
    pub fn stop(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its own end.
    pub fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "still running: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What processes on this folder have logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
