//! This program again as a process of its own: on a slower disk, or as a server whose memory is nobody else's.

use crate::{
    empty,
    pace::{self, Pace},
    shop::{self, Servers},
    threads,
};
use shouyin::{domain::ids::Username, flow::log_in, store::users};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// What the process is to be, and where it may write.
const ROLE: &str = "SHOUYIN_BENCH_ROLE";
const FOLDER: &str = "SHOUYIN_BENCH_FOLDER";
/// How long pages are left waiting before the memory is read: each has asked its gateway and looked again by then.
const SETTLED: Duration = Duration::from_secs(5);

/// Does what the environment says this process is for, if it is such a child.
pub async fn played() -> bool {
    let Ok(role) = env::var(ROLE) else { return false };
    let folder = PathBuf::from(env::var(FOLDER).unwrap());
    match role.as_str() {
        "pace" => {
            let pace = pace::at_half(empty(&folder), empty(&folder), &folder, crate::ORDERS).await;
            let [p99, idle, sync] = [pace.p99, pace.idle, pace.sync].map(|time| time.as_micros());
            println!("{} {p99} {idle} {sync}", pace.rate);
        }
        "pages" => serve_pages(&folder).await,
        other => panic!("{other}"),
    }
    true
}

fn start(role: &str, folder: &Path, variables: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(ROLE, role).env(FOLDER, folder).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// `pace::at_half` on a file; `slow` is a disk that takes 4 ms more for each sync.
pub fn pace(folder: &Path, slow: bool) -> Pace {
    let library = slow.then(|| slow_disk(folder));
    let variables: Vec<(&str, &Path)> = library.iter().map(|path| ("LD_PRELOAD", path.as_path())).collect();
    let child = start("pace", folder, &variables);
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let micros = |number: f64| Duration::from_secs_f64(number / 1e6);
    Pace { rate: numbers[0], p99: micros(numbers[1]), idle: micros(numbers[2]), sync: micros(numbers[3]) }
}

fn slow_disk(folder: &Path) -> PathBuf {
    let library = folder.join("slow.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/callbacks/slow.c");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiled.unwrap().success());
    library
}

/// Serves orders of one user, says where and under which cookie, and ends with its input.
async fn serve_pages(folder: &Path) {
    let app = shop::open(empty(folder));
    shop::prepare(&app, 1_000, 1).await;
    let name = Username::parse("user0").unwrap();
    let (user, _) = app.store.read(move |db| users::by_name(db, &name)).await.unwrap().unwrap();
    let secret = log_in::open_session(&app, &user, None, None).await.unwrap();
    let servers = Servers::start(&[app]);
    println!("{} shouyin={secret}", servers.address(0));
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut vec![]).unwrap()).await.unwrap();
    servers.stop().await;
}

/// KiB of a server before and while a thousand pages wait for their orders to be paid.
pub fn waiting_pages(folder: &Path) -> (u64, u64) {
    let mut server = start("pages", folder, &[]);
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let (address, cookie) = said.trim().split_once(' ').unwrap();
    let before = threads::resident_kib(server.id());
    let mut pages: Vec<TcpStream> = (0..1_000)
        .map(|n| {
            let mut page = TcpStream::connect(address).unwrap();
            let request = format!(
                "GET /orders/{}/status?wait=25 HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n",
                shop::number(n)
            );
            page.write_all(request.as_bytes()).unwrap();
            page.set_nonblocking(true).unwrap();
            page
        })
        .collect();
    thread::sleep(SETTLED);
    for page in &mut pages {
        let mut answer = vec![0; 1_000];
        let error = page.read(&mut answer).map(|read| String::from_utf8_lossy(&answer[..read]).into_owned());
        assert_eq!(error.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock), "every page still waits");
    }
    let during = threads::resident_kib(server.id());
    drop((pages, server.stdin.take()));
    assert!(server.wait().unwrap().success());
    fs::remove_dir_all(folder).ok();
    (before, during)
}
