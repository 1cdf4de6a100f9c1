//! Power loss: from the record of one run, many disks as they could have been found afterwards.
//!
//! What a sync was asked for and said done is on the disk. Of what was written later any part may be, in
//! any order, torn at sectors. After a sync that failed, what it should have saved never gets there.

use crate::{
    books::{self, Books},
    chance::{self, Chance},
    disk::Disk,
    http::Line,
    place::Place,
    shop::{Payment, SHOP, ordered},
};
use diesel::connection::SimpleConnection;
use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::Mutex,
    thread,
};

/// A disk writes so many bytes whole or not at all.
const SECTOR: usize = 512;
const HEAD: usize = 24;
const LINES: usize = 3;
/// The files of the record, by the numbers of `disk.c`.
const BOOKS: usize = 1;
const WAL: usize = 2;
/// Ours, beside those of `disk.c`: a callback was answered SUCCESS.
const ACKNOWLEDGED: u32 = 100;

/// One thing that happened. The log has one writer at a time, so its order is the order in time.
#[derive(Clone, Debug)]
enum Event {
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Truncate { file: usize, length: usize },
    Synced { file: usize },
    NotSynced { file: usize },
    Acknowledged(String),
}

/// Which syncs count when images are made: others play a program that does not wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    /// As they were.
    All,
    /// Those of commits do not; SQLite would run like that with `synchronous = NORMAL`.
    CheckpointsOnly,
    /// None, as with `synchronous = OFF`.
    None,
}

/// What was found on some images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Findings {
    images: usize,
    /// Images on which something acknowledged is missing.
    lossy: usize,
    /// Images that SQLite cannot read, or whose books do not hold.
    broken: usize,
    first: Option<String>,
}

#[test]
fn power_loss_at_any_moment_keeps_everything_acknowledged() {
    let (images, seed) = (chance::wanted("SHOUYIN_IMAGES", 100), chance::seed());
    println!("power loss: {images} images, SHOUYIN_CRASH_SEED={seed}");
    let disk = Disk::watched(SHOP.books("power"));
    let base = fs::read(disk.place.database.file().unwrap()).unwrap();
    let mut server = disk.serve();
    let bought = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for line in 0..LINES {
            let (origin, log) = (&server.origin, disk.log());
            let share: Vec<&Payment> = SHOP.payments.iter().skip(line).step_by(LINES).collect();
            scope.spawn(move || acknowledge(origin, log, &share));
        }
        let (origin, log, bought) = (&server.origin, disk.log(), &bought);
        scope.spawn(move || buy_and_acknowledge(origin, log, bought));
    });
    server.kill();
    let events = read_log(disk.log());
    let count = |which: fn(&Event) -> bool| events.iter().filter(|event| which(event)).count();
    let acknowledged = count(|event| matches!(event, Event::Acknowledged(_)));
    let checkpoints = events.windows(2).filter(|pair| begins_checkpoint(pair)).count();
    let found = examine(&base, &events, Syncs::All, images, seed);
    println!(
        "power loss: {images} images of {} writes and {} syncs, {checkpoints} checkpoints, {acknowledged} acknowledged; \
         {} with a loss, {} broken",
        count(|event| matches!(event, Event::Write { .. })),
        count(|event| matches!(event, Event::Synced { .. })),
        found.lossy,
        found.broken
    );
    assert_eq!(acknowledged, SHOP.payments.len() + bought.into_inner().unwrap().len());
    assert!(checkpoints > 1, "too little was written to reach the file of the books");
    assert_eq!(found, Findings { images, ..Findings::default() });
    // The examiner must be able to find a loss: programs that wait for fewer syncs have one.
    for syncs in [Syncs::CheckpointsOnly, Syncs::None] {
        let found = examine(&base, &events, syncs, 30, seed);
        println!("power loss, {syncs:?}: {} of 30 images with a loss, {} broken", found.lossy, found.broken);
        assert!(found.lossy > 0, "{syncs:?}: nothing is lost without syncs?");
    }
}

/// The system may have dropped what it could not sync and still show it to the next process, which must
/// not build on it.
#[test]
fn what_a_new_process_acknowledges_after_a_failed_sync_survives_power_loss() {
    let disk = Disk::watched(SHOP.quiet_books("sync-power"));
    let base = fs::read(disk.place.database.file().unwrap()).unwrap();
    let payments: Vec<&Payment> = SHOP.payments.iter().take(10).collect();
    let mut server = disk.serve();
    acknowledge(&server.origin, disk.log(), &payments[..5]);
    disk.fail("sync", 1, 5, "once");
    let answer = Line::open(&server.origin).unwrap().notify(&payments[5].callback).unwrap();
    assert!(answer.is_failure(), "{answer:?}");
    // Before it ends in order: that would tidy the failed commit away.
    server.kill();
    let mut server = disk.serve();
    // The new process has read that commit: it is in the system's memory, and perhaps nowhere else.
    assert!(Books::read(&disk.place.database).unwrap().credited_once(&payments[5].number));
    acknowledge(&server.origin, disk.log(), &payments[5..]);
    server.kill();
    let events = read_log(disk.log());
    assert!(events.iter().any(|event| matches!(event, Event::NotSynced { .. })));
    let seed = chance::seed();
    let found = examine(&base, &events, Syncs::All, 100, seed);
    assert_eq!(found, Findings { images: 100, ..Findings::default() }, "SHOUYIN_CRASH_SEED={seed}");
}

/// What is copied while somebody reads older books is not synced yet, and no later copy takes it along: the log must not
/// begin anew when a sync after it has failed.
#[test]
fn a_copy_of_the_log_that_the_disk_loses_survives_power_loss_in_the_log() {
    let disk = Disk::watched(SHOP.quiet_books("copy-power"));
    let base = fs::read(disk.place.database.file().unwrap()).unwrap();
    let (first, rest) = SHOP.payments[..260].split_at(130);
    let mut server = disk.serve();
    acknowledge(&server.origin, disk.log(), &first[..20].iter().collect::<Vec<_>>());
    let mut reader = books::open(&disk.place.database).unwrap();
    reader.batch_execute("BEGIN; SELECT COUNT(*) FROM orders").unwrap();
    acknowledge(&server.origin, disk.log(), &first[20..].iter().collect::<Vec<_>>());
    let half_copied = read_log(disk.log());
    let last =
        half_copied.iter().rposition(|event| matches!(event, Event::Write { file: BOOKS, .. })).unwrap();
    let synced = |event: &Event| matches!(event, Event::Synced { file: BOOKS });
    assert!(!half_copied[last..].iter().any(synced), "the copy is not synced while it is a part");
    reader.batch_execute("COMMIT").unwrap();
    drop(reader);
    disk.fail("sync-books", 1, 5, "once");
    let mut wechat = Line::open(&server.origin).unwrap();
    let heard = rest.iter().take_while(|payment| {
        let heard = wechat.notify(&payment.callback).is_ok_and(|answer| answer.is_success());
        if heard {
            note(disk.log(), &payment.number);
        }
        heard
    });
    assert!(heard.count() < rest.len());
    assert_eq!(server.ended().code(), Some(4), "{}", server.said());
    let mut server = disk.serve();
    acknowledge(&server.origin, disk.log(), &rest.iter().collect::<Vec<_>>());
    server.kill();
    let events = read_log(disk.log());
    assert!(events.iter().any(|event| matches!(event, Event::NotSynced { file: BOOKS })));
    let seed = chance::seed();
    let found = examine(&base, &events, Syncs::All, 100, seed);
    assert_eq!(found, Findings { images: 100, ..Findings::default() }, "SHOUYIN_CRASH_SEED={seed}");
}

fn acknowledge(origin: &str, log: &Path, payments: &[&Payment]) {
    let mut wechat = Line::open(origin).unwrap();
    for payment in payments {
        let answer = wechat.notify(&payment.callback).unwrap();
        assert!(answer.is_success(), "{answer:?}");
        note(log, &payment.number);
    }
}

fn buy_and_acknowledge(origin: &str, log: &Path, bought: &Mutex<Vec<Payment>>) {
    for n in 0..30 {
        let payment = SHOP.pay(&ordered(&SHOP.phones[0], origin, &format!("power-loss-{n}")), 0);
        acknowledge(origin, log, &[&payment]);
        bought.lock().unwrap().push(payment);
    }
}

/// Into the disk's own log, so that its order tells what came before what.
fn note(log: &Path, number: &str) {
    let mut entry = Vec::new();
    for word in [ACKNOWLEDGED, 0] {
        entry.extend(word.to_le_bytes());
    }
    for long in [0, number.len() as u64] {
        entry.extend(long.to_le_bytes());
    }
    entry.extend(number.as_bytes());
    // In one piece: others append to it as well.
    assert_eq!(OpenOptions::new().append(true).open(log).unwrap().write(&entry).unwrap(), entry.len());
}

fn read_log(log: &Path) -> Vec<Event> {
    let text = fs::read(log).unwrap();
    let mut rest = text.as_slice();
    let mut events = Vec::new();
    while rest.len() >= HEAD {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap()) as usize;
        let (kind, file, offset, length) = (word(0), word(4) as usize, long(8), long(16));
        let bytes = rest[HEAD..HEAD + length].to_vec();
        rest = &rest[HEAD + length..];
        assert!(kind == ACKNOWLEDGED || file == BOOKS || file == WAL, "a file this test does not know");
        events.push(match kind {
            1 => Event::Write { file, offset, bytes },
            2 => Event::Truncate { file, length: offset },
            3 => Event::Synced { file },
            4 => Event::NotSynced { file },
            ACKNOWLEDGED => Event::Acknowledged(String::from_utf8(bytes).unwrap()),
            _ => panic!("event {kind} has no place in this test"),
        });
    }
    events
}

/// A sync of the log that is followed by a write to the books: the log is being copied.
fn begins_checkpoint(pair: &[Event]) -> bool {
    matches!(pair, [Event::Synced { file: WAL }, Event::Write { file: BOOKS, .. }])
}

/// Makes images of moments drawn from `seed` and looks at each.
fn examine(base: &[u8], events: &[Event], syncs: Syncs, images: usize, seed: u64) -> Findings {
    let mut chance = Chance::new(seed);
    let mut moments: Vec<usize> = (0..images).map(|_| chance.below(events.len())).collect();
    moments.sort_unstable();
    let halves = moments.split_at(images / 2);
    let found: Vec<Findings> = thread::scope(|scope| {
        let workers = [(halves.0, chance.next()), (halves.1, chance.next())].map(|(moments, seed)| {
            scope.spawn(move || examine_moments(base, events, syncs, moments, Chance::new(seed)))
        });
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    Findings {
        images,
        lossy: found.iter().map(|half| half.lossy).sum(),
        broken: found.iter().map(|half| half.broken).sum(),
        first: found.into_iter().find_map(|half| half.first),
    }
}

fn examine_moments(
    base: &[u8],
    events: &[Event],
    syncs: Syncs,
    moments: &[usize],
    mut chance: Chance,
) -> Findings {
    let place = Place::file("image");
    let mut platter = Platter::new(base);
    let mut acknowledged = BTreeSet::new();
    let mut found = Findings::default();
    let mut now = 0;
    for moment in moments {
        for at in now..*moment {
            match &events[at] {
                Event::Acknowledged(number) => {
                    acknowledged.insert(number.as_str());
                }
                event => platter.take(event, counts(syncs, events, at)),
            }
        }
        now = *moment;
        // The next one may just be happening.
        let image = platter.image(&events[now], &mut chance);
        write_image(&place.folder.0, &image);
        let problem = match Books::read(&place.database) {
            Err(error) => Err(error),
            Ok(books) if !books.faults.is_empty() => Err(books.faults.join("; ")),
            Ok(books) => Ok(acknowledged.iter().filter(|number| !books.credited_once(number)).count()),
        };
        let first = match problem {
            Ok(0) => None,
            Ok(lost) => {
                found.lossy += 1;
                Some(format!("before event {now}: {lost} acknowledged and lost"))
            }
            Err(error) => {
                found.broken += 1;
                Some(format!("before event {now}: {error}"))
            }
        };
        found.first = found.first.or(first);
    }
    found
}

fn counts(syncs: Syncs, events: &[Event], at: usize) -> bool {
    match syncs {
        Syncs::All => true,
        Syncs::None => false,
        Syncs::CheckpointsOnly => {
            let next = events[at + 1..].iter().find(|event| !matches!(event, Event::Acknowledged(_)));
            !matches!(events[at], Event::Synced { file: WAL })
                || matches!(next, Some(Event::Write { file: BOOKS, .. }))
        }
    }
}

/// What is surely on the disk, and what may be, by file.
struct Platter<'a> {
    sure: [Vec<u8>; 3],
    perhaps: [Vec<&'a Event>; 3],
}

impl<'a> Platter<'a> {
    fn new(base: &[u8]) -> Platter<'a> {
        Platter { sure: [vec![], base.to_vec(), vec![]], perhaps: Default::default() }
    }

    fn take(&mut self, event: &'a Event, counts: bool) {
        match event {
            Event::Write { file, .. } | Event::Truncate { file, .. } => self.perhaps[*file].push(event),
            Event::Synced { file } if counts => {
                for event in self.perhaps[*file].drain(..) {
                    apply(&mut self.sure[*file], event, |_| true);
                }
            }
            Event::NotSynced { file } => {
                self.perhaps[*file].clear();
            }
            Event::Synced { .. } | Event::Acknowledged(_) => {}
        }
    }

    /// One disk as it could be found now, while `next` is happening.
    fn image(&self, next: &'a Event, chance: &mut Chance) -> [Vec<u8>; 3] {
        let mut image = self.sure.clone();
        // From nothing of it to all of it.
        let kept = [0, 30, 60, 90, 100][chance.below(5)];
        for file in [BOOKS, WAL] {
            let next = Some(next).filter(
                |next| matches!(next, Event::Write { file: of, .. } | Event::Truncate { file: of, .. } if *of == file),
            );
            for event in self.perhaps[file].iter().copied().chain(next) {
                if chance.percent(kept) {
                    let torn = chance.percent(20);
                    apply(&mut image[file], event, |_| !torn || chance.percent(50));
                }
            }
        }
        image
    }
}

/// Does to a file what `event` did; `reaches` says of each sector whether it got to the disk.
fn apply(file: &mut Vec<u8>, event: &Event, mut reaches: impl FnMut(usize) -> bool) {
    match event {
        Event::Truncate { length, .. } => file.resize(*length, 0),
        Event::Write { offset, bytes, .. } => {
            let end = offset + bytes.len();
            let mut from = *offset;
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                if reaches(from / SECTOR) {
                    if file.len() < to {
                        file.resize(to, 0);
                    }
                    file[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
                }
                from = to;
            }
        }
        Event::Synced { .. } | Event::NotSynced { .. } | Event::Acknowledged(_) => {}
    }
}

/// The index of the log is made anew by recovery, so it is not part of an image.
fn write_image(folder: &Path, image: &[Vec<u8>; 3]) {
    for name in ["books.db-shm", "books.db-wal"] {
        fs::remove_file(folder.join(name)).ok();
    }
    fs::write(folder.join("books.db"), &image[BOOKS]).unwrap();
    fs::write(folder.join("books.db-wal"), &image[WAL]).unwrap();
}
