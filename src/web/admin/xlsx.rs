//! Rows as an Office Open XML workbook, written as a stream: a row is forgotten once it is compressed, however many
//! there are. Amounts are decimal text from whole fen to the file, so that no float comes near them.

use super::export::{Cell, Sheet};
use crate::domain::money::yuan_text;
use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions, write::StreamWriter};

const DAY_MS: i64 = 24 * 3_600_000;
const BEIJING_MS: i64 = 8 * 3_600_000;
/// 1970-01-01 as Excel counts days.
const EPOCH: i64 = 25_569;

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";

/// Styles by their place in `styles`: plain, bold heads, money, moments, text that stays text.
const HEAD: u8 = 1;
const MONEY: u8 = 2;
const MOMENT: u8 = 3;
const TEXT: u8 = 4;

/// The workbook, taken away piece by piece.
pub struct Xlsx {
    zip: Option<ZipWriter<StreamWriter<Pipe>>>,
    pipe: Pipe,
    rows: u64,
}

/// What was written and not yet taken.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Xlsx {
    fn default() -> Xlsx {
        let pipe = Pipe::default();
        Xlsx { zip: Some(ZipWriter::new_stream(pipe.clone())), pipe, rows: 0 }
    }
}

impl Xlsx {
    fn zip(&mut self) -> io::Result<&mut ZipWriter<StreamWriter<Pipe>>> {
        self.zip.as_mut().ok_or_else(|| io::Error::other("the workbook has ended"))
    }

    fn part(&mut self, name: &str, text: &str) -> io::Result<()> {
        let zip = self.zip()?;
        zip.start_file(name, options()).map_err(io::Error::other)?;
        zip.write_all(XML.as_bytes())?;
        zip.write_all(text.as_bytes())
    }

    fn write_row(&mut self, cells: impl Iterator<Item = String>) -> io::Result<()> {
        self.rows = self.rows.saturating_add(1);
        let row = format!("<row r=\"{}\">{}</row>", self.rows, cells.collect::<String>());
        self.zip()?.write_all(row.as_bytes())
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

impl Sheet for Xlsx {
    fn head(&mut self, titles: &[&str]) -> io::Result<()> {
        self.part("[Content_Types].xml", &types())?;
        self.part("_rels/.rels", &root_relations())?;
        self.part("xl/workbook.xml", &workbook())?;
        self.part("xl/_rels/workbook.xml.rels", &relations())?;
        self.part("xl/styles.xml", &styles())?;
        let columns = "<col min=\"1\" max=\"3\" width=\"34\" customWidth=\"1\"/><col min=\"4\" max=\"17\" width=\"20\" customWidth=\"1\"/>";
        self.part(
            "xl/worksheets/sheet1.xml",
            &format!(
                "<worksheet xmlns=\"{MAIN}\"><sheetViews><sheetView workbookViewId=\"0\"><pane ySplit=\"1\" \
                 topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/></sheetView></sheetViews>\
                 <cols>{columns}</cols><sheetData>"
            ),
        )?;
        self.write_row(titles.iter().map(|title| text(title, HEAD)))
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.write_row(cells.iter().map(written))
    }

    /// Ends the rows and writes a second sheet with their sums.
    fn end(&mut self, sums: &[(&str, Cell)]) -> io::Result<()> {
        self.zip()?.write_all(b"</sheetData></worksheet>")?;
        self.part(
            "xl/worksheets/sheet2.xml",
            &format!(
                "<worksheet xmlns=\"{MAIN}\"><cols><col min=\"1\" max=\"1\" width=\"24\" customWidth=\"1\"/>\
                 <col min=\"2\" max=\"2\" width=\"60\" customWidth=\"1\"/></cols><sheetData>"
            ),
        )?;
        self.rows = 0;
        for (title, cell) in sums {
            self.write_row([text(title, HEAD), written(cell)].into_iter())?;
        }
        self.zip()?.write_all(b"</sheetData></worksheet>")?;
        match self.zip.take() {
            Some(zip) => zip.finish().map(|_| ()).map_err(io::Error::other),
            None => Ok(()),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        mem::take(&mut *self.pipe.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn written(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => "<c/>".to_owned(),
        Cell::Text(value) | Cell::Number(value) => text(value, TEXT),
        Cell::Fen(fen) => format!("<c s=\"{MONEY}\"><v>{}</v></c>", yuan_text(*fen)),
        Cell::At(at) => format!("<c s=\"{MOMENT}\"><v>{}</v></c>", days(at.0)),
    }
}

/// A text is a text whatever it begins with: nothing in it is computed.
fn text(value: &str, style: u8) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML has no place for the others, and a whole file would not open for one of them.
            '\t' | '\n' | '\r' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    format!("<c t=\"inlineStr\" s=\"{style}\"><is><t xml:space=\"preserve\">{escaped}</t></is></c>")
}

/// A moment on Beijing's wall clock as Excel counts: days since the end of 1899, with nine decimals.
fn days(at_ms: i64) -> String {
    let local = at_ms.saturating_add(BEIJING_MS);
    let day = local.div_euclid(DAY_MS).saturating_add(EPOCH);
    let billionths = local.rem_euclid(DAY_MS).saturating_mul(1_000_000_000) / DAY_MS;
    format!("{day}.{billionths:09}")
}

fn types() -> String {
    let sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml";
    format!(
        "<Types xmlns=\"{PACKAGE}/content-types\">\
         <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
         <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
         <Override PartName=\"/xl/workbook.xml\" \
         ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/>\
         <Override PartName=\"/xl/styles.xml\" \
         ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml\"/>\
         <Override PartName=\"/xl/worksheets/sheet1.xml\" ContentType=\"{sheet}\"/>\
         <Override PartName=\"/xl/worksheets/sheet2.xml\" ContentType=\"{sheet}\"/></Types>"
    )
}

fn root_relations() -> String {
    format!(
        "<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"rId1\" \
         Type=\"{RELATIONS}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    )
}

fn workbook() -> String {
    format!(
        "<workbook xmlns=\"{MAIN}\" xmlns:r=\"{RELATIONS}\"><sheets>\
         <sheet name=\"充值记录\" sheetId=\"1\" r:id=\"rId1\"/><sheet name=\"汇总\" sheetId=\"2\" r:id=\"rId2\"/>\
         </sheets></workbook>"
    )
}

fn relations() -> String {
    format!(
        "<Relationships xmlns=\"{PACKAGE}/relationships\">\
         <Relationship Id=\"rId1\" Type=\"{RELATIONS}/worksheet\" Target=\"worksheets/sheet1.xml\"/>\
         <Relationship Id=\"rId2\" Type=\"{RELATIONS}/worksheet\" Target=\"worksheets/sheet2.xml\"/>\
         <Relationship Id=\"rId3\" Type=\"{RELATIONS}/styles\" Target=\"styles.xml\"/></Relationships>"
    )
}

fn styles() -> String {
    // 4 is "#,##0.00" and 49 is text in every Excel.
    let plain = "fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\"";
    let formats = format!(
        "<xf numFmtId=\"0\" {plain}/><xf numFmtId=\"49\" fontId=\"1\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyFont=\"1\"/>\
         <xf numFmtId=\"4\" {plain} applyNumberFormat=\"1\"/><xf numFmtId=\"164\" {plain} applyNumberFormat=\"1\"/>\
         <xf numFmtId=\"49\" {plain} applyNumberFormat=\"1\"/>"
    );
    format!(
        "<styleSheet xmlns=\"{MAIN}\"><numFmts count=\"1\"><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\\ hh:mm:ss\"/></numFmts>\
         <fonts count=\"2\"><font><sz val=\"11\"/><name val=\"Calibri\"/></font><font><b/><sz val=\"11\"/><name val=\"Calibri\"/></font></fonts>\
         <fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills>\
         <borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
         <cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs>\
         <cellXfs count=\"5\">{formats}</cellXfs></styleSheet>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::UnixMs;
    use std::io::Read;

    fn workbook_of(rows: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut sheet = Xlsx::default();
        sheet.head(&["订单号", "金额"]).unwrap();
        let mut pieces = vec![sheet.take()];
        for _ in 0..rows / 1000 {
            for nth in 0..1000 {
                sheet.row(&[Cell::Number(format!("{nth:032}")), Cell::Fen(990)]).unwrap();
            }
            pieces.push(sheet.take());
        }
        sheet.row(&[Cell::Text("=1+1 <&>\u{0}".to_owned()), Cell::At(UnixMs(1_555_331_440_000))]).unwrap();
        sheet.end(&[("实收", Cell::Fen(-5))]).unwrap();
        pieces.push(sheet.take());
        let whole = pieces.concat();
        (pieces, whole)
    }

    fn part(whole: &[u8], name: &str) -> String {
        let mut zip = zip::ZipArchive::new(io::Cursor::new(whole)).unwrap();
        let mut text = String::new();
        zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn numbers_are_text_amounts_are_numbers_moments_are_days_and_nothing_is_a_formula() {
        let (_, whole) = workbook_of(1000);
        let sheet = part(&whole, "xl/worksheets/sheet1.xml");
        assert!(sheet.contains("<t xml:space=\"preserve\">00000000000000000000000000000999</t>"));
        assert!(sheet.contains("<c s=\"2\"><v>9.90</v></c>"));
        assert!(sheet.contains("=1+1 &lt;&amp;&gt;</t>") && !sheet.contains("<f>"));
        // 2019-04-15 20:30:40 in Beijing.
        assert!(sheet.contains("<v>43570.854629629</v>"));
        assert!(part(&whole, "xl/worksheets/sheet2.xml").contains("<v>-0.05</v>"));
        for name in [
            "[Content_Types].xml",
            "_rels/.rels",
            "xl/workbook.xml",
            "xl/_rels/workbook.xml.rels",
            "xl/styles.xml",
        ] {
            let text = part(&whole, name);
            let mut reader = quick_xml::Reader::from_str(&text);
            while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
        }
    }

    #[test]
    fn a_hundred_thousand_rows_are_never_held_at_once() {
        let (pieces, whole) = workbook_of(100_000);
        let largest = pieces.iter().map(Vec::len).max().unwrap();
        assert!(pieces.len() > 100 && largest < 200_000, "{} pieces, the largest of {largest}", pieces.len());
        assert!(whole.len() > 3 * largest, "{} bytes came in pieces of up to {largest}", whole.len());
    }
}
