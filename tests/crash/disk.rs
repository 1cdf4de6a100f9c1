//! A disk that is full, that cannot write, that cannot sync, under the real program. `disk.c` is that disk.

use crate::{
    books::Books,
    child::{Server, Wish},
    http::Line,
    place::Place,
    shop::{Payment, SHOP},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{LazyLock, Mutex},
    thread,
    time::{Duration, Instant},
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// After space has come back, the shop is itself again within this.
const RECOVERY: Duration = Duration::from_secs(30);
/// Callbacks one round sends at most until it meets the fault.
const ROUND: usize = 12;

static LIBRARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk.so");
    // Another run of this test may be using it.
    let new = library.with_extension(std::process::id().to_string());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/disk.c");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
        .arg(&new)
        .arg(source)
        .status();
    assert!(compiled.expect("a C compiler").success());
    fs::rename(new, &library).unwrap();
    library
});

/// A process on a disk that does as it is told.
pub struct Disk {
    pub place: Place,
    fault: PathBuf,
    log: Option<PathBuf>,
}

impl Disk {
    pub fn new(place: Place) -> Disk {
        Disk { fault: place.folder.0.join("fault"), log: None, place }
    }

    /// One that writes down everything that happens to it.
    pub fn watched(place: Place) -> Disk {
        Disk { log: Some(place.folder.0.join("disk.log")), ..Disk::new(place) }
    }

    pub fn log(&self) -> &Path {
        self.log.as_ref().unwrap()
    }

    pub fn serve(&self) -> Server {
        let mut variables = vec![("LD_PRELOAD", LIBRARY.clone()), ("DISK_FAULT", self.fault.clone())];
        variables.extend(self.log.clone().map(|log| ("DISK_LOG", log)));
        SHOP.serve(&self.place, &Wish { variables, ..Wish::default() })
    }

    /// From now on the `nth` call fails: this one only, or it and all after it.
    pub fn fail(&self, call: &str, nth: usize, error: i32, how: &str) {
        let whole = self.place.folder.0.join("fault.new");
        fs::write(&whole, format!("{call} {nth} {error} {how}")).unwrap();
        fs::rename(whole, &self.fault).unwrap();
    }

    pub fn heal(&self) {
        fs::remove_file(&self.fault).unwrap();
    }

    /// Whether a fault that happens once has happened.
    pub fn has_failed(&self) -> bool {
        !self.fault.exists()
    }

    fn holds(&self, acknowledged: &BTreeSet<String>) {
        let books = Books::read(&self.place.database).unwrap();
        assert_eq!(books.faults, Vec::<String>::new());
        assert_eq!(books.doubled(), 0);
        let lost: Vec<_> = acknowledged.iter().filter(|number| !books.credited_once(number)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_that_is_not_durable_and_room_heals_it() {
    let disk = Disk::new(SHOP.quiet_books("full"));
    let mut server = disk.serve();
    let mut payments = SHOP.payments.iter();
    let mut acknowledged = BTreeSet::new();
    let (mut refused, mut slowest) = (0, Duration::ZERO);
    for nth in [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45, 60, 90, 120] {
        disk.fail("write", nth, ENOSPC, "on");
        let mut wechat = Line::open(&server.origin).unwrap();
        let mut unheard = None;
        for payment in payments.by_ref().take(ROUND) {
            let answer = wechat.notify(&payment.callback).unwrap();
            if answer.is_success() {
                acknowledged.insert(payment.number.clone());
            } else {
                assert!(answer.is_failure(), "{answer:?}");
                unheard = Some(payment);
                break;
            }
        }
        let unheard = unheard.unwrap_or_else(|| panic!("write {nth} was never reached"));
        refused += 1;
        assert_eq!(get(&server, "/readyz"), 503);
        assert_eq!(get(&server, "/login"), 200);
        let mut pages = SHOP.phones[unheard.payer].get(&server.origin, "/orders").unwrap();
        assert_eq!(pages.status, 200, "{}", pages.body);
        pages = SHOP.phones[unheard.payer].status(&server.origin, &unheard.number).unwrap();
        assert!(pages.body.contains("\"paid\":false") || pages.status == 503, "{}", pages.body);
        disk.holds(&acknowledged);
        disk.heal();
        let healed = Instant::now();
        while get(&server, "/readyz") != 200 {
            assert!(healed.elapsed() < RECOVERY, "write {nth}: not ready again: {}", server.said());
        }
        let answer = wechat.notify(&unheard.callback).unwrap();
        assert!(answer.is_success(), "write {nth}: {answer:?}");
        acknowledged.insert(unheard.number.clone());
        slowest = slowest.max(healed.elapsed());
        disk.holds(&acknowledged);
    }
    assert!(server.is_running());
    println!(
        "disk full: {refused} times, {} acknowledged, 0 lost; ready and credited again after {} ms at most",
        acknowledged.len(),
        slowest.as_millis()
    );
    server.kill();
    disk.holds(&acknowledged);
}

/// Each write of one settlement in its turn, until there is none left to fail.
#[test]
fn a_write_error_anywhere_in_a_settlement_leaves_it_whole_or_undone() {
    let failed: usize = thread::scope(|scope| {
        let halves =
            [1, 2].map(|first| scope.spawn(move || (first..).step_by(2).take_while(fails_one_write).count()));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    println!("write errors: each of the {failed} writes of a settlement failed once, 0 lost, 0 doubled");
    assert!(failed > 2, "a settlement is more than two writes");
}

/// Whether the settlement has that many writes; the `nth` one fails.
fn fails_one_write(nth: &usize) -> bool {
    let nth = *nth;
    let disk = Disk::new(SHOP.quiet_books("eio"));
    let mut server = disk.serve();
    let payment = &SHOP.payments[nth];
    disk.fail("write", nth, EIO, "once");
    let answer = Line::open(&server.origin).unwrap().notify(&payment.callback).unwrap();
    if !disk.has_failed() {
        assert!(answer.is_success(), "{answer:?}");
        return false;
    }
    assert!(answer.is_failure(), "write {nth}: {answer:?}");
    assert_eq!(server.ended().code(), Some(4), "write {nth}: {}", server.said());
    starts_again(&disk, BTreeSet::new(), std::slice::from_ref(payment));
    true
}

#[test]
fn after_a_failed_sync_the_process_ends_and_everything_acknowledged_is_there() {
    for nth in [1, 2, 3, 7] {
        let disk = Disk::new(SHOP.quiet_books("sync"));
        let mut server = disk.serve();
        disk.fail("sync", nth, EIO, "once");
        let payments = &SHOP.payments[..60];
        let acknowledged = Mutex::new(BTreeSet::new());
        thread::scope(|scope| {
            for line in 0..3 {
                let (origin, acknowledged) = (&server.origin, &acknowledged);
                scope.spawn(move || {
                    let Ok(mut wechat) = Line::open(origin) else { return };
                    for payment in payments.iter().skip(line).step_by(3) {
                        let Ok(answer) = wechat.notify(&payment.callback) else { return };
                        if answer.is_success() {
                            acknowledged.lock().unwrap().insert(payment.number.clone());
                        } else {
                            assert!(answer.is_failure(), "{answer:?}");
                        }
                    }
                });
            }
        });
        assert!(disk.has_failed());
        assert_eq!(server.ended().code(), Some(4), "{}", server.said());
        let said = server.said();
        assert!(said.contains("the disk failed a commit") && said.contains("Start again"), "{said}");
        let acknowledged = acknowledged.into_inner().unwrap();
        assert!(acknowledged.len() < payments.len(), "the writer went on after a failed sync");
        starts_again(&disk, acknowledged, payments);
    }
}

/// SQLite by itself copies the log within a COMMIT, and says nothing when the disk fails that.
#[test]
fn after_a_failed_sync_of_the_file_that_takes_up_the_log_the_process_ends_and_the_log_stays() {
    let disk = Disk::new(SHOP.quiet_books("copy"));
    let mut server = disk.serve();
    disk.fail("sync-books", 1, EIO, "once");
    let payments = &SHOP.payments[..200];
    let mut wechat = Line::open(&server.origin).unwrap();
    let told = |payment: &&Payment| wechat.notify(&payment.callback).is_ok_and(|answer| answer.is_success());
    let acknowledged: BTreeSet<String> =
        payments.iter().take_while(told).map(|payment| payment.number.clone()).collect();
    assert!(disk.has_failed());
    assert_eq!(server.ended().code(), Some(4), "{}", server.said());
    assert!(server.said().contains("the disk failed to take up the log"), "{}", server.said());
    println!("a failed copy of the log: after {} acknowledged", acknowledged.len());
    assert!((30..payments.len()).contains(&acknowledged.len()));
    let log = disk.place.folder.0.join("books.db-wal");
    assert!(fs::metadata(log).unwrap().len() > 1_000_000, "the log is what the file is mended from");
    starts_again(&disk, acknowledged, payments);
}

/// A new process has everything that was acknowledged, and takes the rest.
fn starts_again(disk: &Disk, mut acknowledged: BTreeSet<String>, payments: &[Payment]) {
    let server = disk.serve();
    disk.holds(&acknowledged);
    let mut wechat = Line::open(&server.origin).unwrap();
    for payment in payments {
        let answer = wechat.notify(&payment.callback).unwrap();
        assert!(answer.is_success(), "{answer:?}");
        acknowledged.insert(payment.number.clone());
    }
    disk.holds(&acknowledged);
}

fn get(server: &Server, path: &str) -> u16 {
    Line::open(&server.origin).unwrap().ask("GET", path, &[], "").unwrap().status
}
