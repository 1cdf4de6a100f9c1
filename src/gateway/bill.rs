//! A day's bill, whatever the gateway calls it: what is asked for it, and what a file holds once it is read.

use super::Untrusted;
use crate::domain::{
    bill::{BillDay, BillRow},
    ids::hex,
};
use aws_lc_rs::digest;
use flate2::read::GzDecoder;
use std::io::Read;

/// A bill, packed or unpacked, may be this large: a line takes some 400 bytes.
pub const LARGEST: usize = 64 * 1024 * 1024;

/// And may have this many lines, or reading it would take many times its size.
pub const MOST_LINES: usize = 300_000;

/// A whole bill that holds together: its structure, its sums, its merchant and its day were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub rows: Vec<BillRow>,
    /// Of the file as it was read, in hex.
    pub sha256: String,
}

/// What a gateway says when it is asked for a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Billed {
    Here(Bill),
    /// To be fetched there, at once: such an address lives for seconds.
    At(BillFile),
    /// Not made yet, or not now: the same again, later.
    NotYet {
        code: String,
    },
    /// Nothing happened that day, says the gateway. Believed when our books say so too.
    Nothing {
        code: String,
    },
}

/// Where a bill lies, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillFile {
    pub(super) day: BillDay,
    pub(super) place: String,
    /// In hex, when the gateway says it.
    pub(super) sha1: Option<String>,
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-1 in hex: V3 vouches for its files with nothing better.
pub(super) fn sha1(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}

/// Unpacks what begins like gzip and leaves everything else as it is.
///
/// # Errors
/// Broken, or larger than `LARGEST` when unpacked.
pub(super) fn gunzipped(body: &[u8]) -> Result<Vec<u8>, Untrusted> {
    if body.starts_with(&[0x1f, 0x8b]) { all_of(GzDecoder::new(body)) } else { Ok(body.to_vec()) }
}

/// Everything a reader gives, up to `LARGEST`.
///
/// # Errors
/// It breaks off or does not end.
pub(super) fn all_of(reader: impl Read) -> Result<Vec<u8>, Untrusted> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let read = reader.take(most.saturating_add(1)).read_to_end(&mut unpacked);
    read.map_err(|_| malformed("it cannot be unpacked"))?;
    if unpacked.len() > LARGEST { Err(malformed("it is larger than 64 MiB unpacked")) } else { Ok(unpacked) }
}

/// # Errors
/// This line would be one too many.
pub(super) fn room_after(lines: usize) -> Result<(), Untrusted> {
    if lines < MOST_LINES { Ok(()) } else { Err(malformed("it has more than 300000 lines")) }
}

pub(super) fn malformed(what: &str) -> Untrusted {
    Untrusted::Malformed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn zipped(bytes: usize) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&vec![b'a'; bytes]).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_file_that_swells_when_it_is_unpacked_is_refused() {
        let bomb = zipped(LARGEST + 1);
        assert!(bomb.len() < 1024 * 1024, "{}", bomb.len());
        assert_eq!(gunzipped(&bomb), Err(malformed("it is larger than 64 MiB unpacked")));
        assert_eq!(gunzipped(&zipped(1000)).unwrap().len(), 1000);
        assert_eq!(gunzipped(b"plain").unwrap(), b"plain");
        let whole = zipped(1000);
        assert!(gunzipped(&whole[..whole.len() - 9]).is_err());
    }

    #[test]
    fn of_lines_there_may_be_only_so_many() {
        assert!(room_after(MOST_LINES - 1).is_ok());
        assert_eq!(room_after(MOST_LINES), Err(malformed("it has more than 300000 lines")));
    }

    #[test]
    fn digests_are_the_published_ones() {
        assert_eq!(sha1(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
