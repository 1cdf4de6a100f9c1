//! Rows as CSV that Excel opens as it is meant: marked as UTF-8, numbers of orders kept as text, and no cell read as a
//! formula.

use super::export::{Cell, Sheet};
use std::mem;

/// Excel takes a file without it for the local code page.
const MARK: &str = "\u{feff}";

/// The whole file, taken away piece by piece.
#[derive(Default)]
pub struct Csv {
    text: String,
}

impl Sheet for Csv {
    fn head(&mut self, titles: &[&str]) -> std::io::Result<()> {
        self.text.push_str(MARK);
        self.line(titles.iter().map(|title| quoted(title)));
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        self.line(cells.iter().map(written));
        Ok(())
    }

    fn end(&mut self, _: &[(&str, Cell)]) -> std::io::Result<()> {
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.text).into_bytes()
    }
}

impl Csv {
    fn line(&mut self, cells: impl Iterator<Item = String>) {
        for (nth, cell) in cells.enumerate() {
            if nth > 0 {
                self.text.push(',');
            }
            self.text.push_str(&cell);
        }
        self.text.push_str("\r\n");
    }
}

fn written(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Text(text) => quoted(&guarded(text)),
        // With a tab behind it Excel leaves the digits alone, as in Alipay's own files.
        Cell::Number(number) if number.is_empty() => String::new(),
        Cell::Number(number) => quoted(&format!("{}\t", guarded(number))),
        Cell::Fen(fen) => crate::domain::money::yuan_text(*fen),
        Cell::At(at) => at.beijing_text(),
    }
}

/// A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn guarded(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n', '\t', ' ', '\'', ';']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::UnixMs;

    fn line(cells: &[Cell]) -> String {
        let mut csv = Csv::default();
        csv.row(cells).unwrap();
        String::from_utf8(csv.take()).unwrap()
    }

    #[test]
    fn no_cell_is_read_as_a_formula() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            for cell in [Cell::Text(bad.to_owned()), Cell::Number(bad.to_owned())] {
                let text = line(&[cell]);
                assert!(text.starts_with("\"'") || text.starts_with('\''), "{bad:?}: {text:?}");
            }
        }
        assert_eq!(line(&[Cell::Text("a=1".to_owned())]), "a=1\r\n");
    }

    #[test]
    fn a_long_number_stays_text_and_commas_and_quotes_stay_inside_their_cell() {
        let number = "4200001234202611200000000001";
        assert_eq!(line(&[Cell::Number(number.to_owned()), Cell::Nothing]), format!("\"{number}\t\",\r\n"));
        assert_eq!(line(&[Cell::Text("a,\"b\"".to_owned())]), "\"a,\"\"b\"\"\"\r\n");
        assert_eq!(line(&[Cell::Fen(990), Cell::Fen(0)]), "9.90,0.00\r\n");
        assert_eq!(line(&[Cell::At(UnixMs(1_555_331_440_000))]), "2019-04-15 20:30:40\r\n");
    }

    #[test]
    fn the_file_begins_with_the_mark_of_utf_8_and_what_was_taken_is_gone() {
        let mut csv = Csv::default();
        csv.head(&["订单号", "金额"]).unwrap();
        assert_eq!(csv.take(), "\u{feff}订单号,金额\r\n".as_bytes());
        assert_eq!(csv.take(), b"");
    }
}
