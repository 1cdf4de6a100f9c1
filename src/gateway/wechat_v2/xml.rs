//! The one reader and writer of V2 XML: a flat `<xml>` of unique elements, read the same for the
//! signature and for the business, so that what was verified is what is used.

use crate::canary::{self, Canary};
use quick_xml::{Reader, events::Event};

pub use super::fields::Fields;

/// Why bytes are not a V2 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    #[error("not UTF-8")]
    Encoding,
    #[error("not well formed")]
    NotWellFormed,
    #[error("DOCTYPE, comment or processing instruction")]
    Forbidden,
    #[error("another root than expected, or more than one")]
    Root,
    #[error("an element inside a value")]
    Nested,
    #[error("an attribute, a prefix or an unusual name")]
    Name,
    #[error("the same element twice")]
    Duplicate,
    #[error("text between elements")]
    StrayText,
    #[error("an unknown entity or character")]
    Entity,
    #[error("too many or too long fields")]
    TooLarge,
}

/// Three for each coupon besides some thirty.
const MAX_FIELDS: usize = 200;
const MAX_NAME: usize = 64;
/// `promotion_detail` has up to 6,000 characters, of three bytes or four each.
const MAX_VALUE: usize = 24 * 1024;

impl Fields {
    /// Writes the message, every value in CDATA; `]]>` inside a value is split over two sections.
    pub fn to_xml(&self) -> String {
        let mut text = String::with_capacity(1024);
        text.push_str("<xml>");
        for (name, value) in self.iter() {
            let value = value.replace("]]>", "]]]]><![CDATA[>");
            text.push_str(&format!("<{name}><![CDATA[{value}]]></{name}>"));
        }
        text.push_str("</xml>");
        text
    }

    /// Reads a message. White space around CDATA is layout and dropped, CDATA is kept verbatim,
    /// plain text is decoded and trimmed.
    ///
    /// # Errors
    /// Anything but one flat `<xml>` document within 200 fields and 24 KiB a value.
    pub fn parse(bytes: &[u8]) -> Result<Fields, XmlFault> {
        Fields::parse_root(bytes, "xml")
    }

    /// As `parse`, with another name of the root element: the secret part of a refund notify is a `<root>`.
    ///
    /// # Errors
    /// As `parse`.
    pub fn parse_root(bytes: &[u8], root: &'static str) -> Result<Fields, XmlFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| XmlFault::Encoding)?;
        if !is_allowed(text) {
            return Err(XmlFault::Entity);
        }
        // The reader drops a byte order mark by itself.
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        let mut document = Document { fields: Fields::of_bytes(text.len()), ..Document::default() };
        let mut first = true;
        loop {
            match reader.read_event().map_err(|_| XmlFault::NotWellFormed)? {
                Event::Eof => return document.finish(),
                Event::Decl(decl) if first => declaration(&decl, text.is_ascii())?,
                Event::Decl(_) => return Err(XmlFault::NotWellFormed),
                Event::DocType(_) | Event::Comment(_) | Event::PI(_) => return Err(XmlFault::Forbidden),
                Event::Start(tag) => document.open(plain_name(&tag)?, root)?,
                Event::Empty(tag) => {
                    document.open(plain_name(&tag)?, root)?;
                    document.close()?;
                }
                Event::End(_) => document.close()?,
                Event::Text(text) => document.text(&text, false)?,
                Event::CData(text) => document.text(&text, true)?,
                Event::GeneralRef(reference) => document.character(resolve(&reference)?)?,
            }
            first = false;
        }
    }
}

/// Where the reader stands: before the root, in it, in a value, or after it.
#[derive(Default)]
struct Document {
    fields: Fields,
    root: Root,
    /// The one that is read, or was last: its strings are used for all.
    value: Value,
}

#[derive(Default, PartialEq)]
enum Root {
    #[default]
    Before,
    Inside,
    After,
}

#[derive(Default)]
struct Value {
    /// Whether its element is open.
    open: bool,
    name: String,
    /// What is certain to belong to the value, and whether CDATA is in it.
    text: String,
    cdata: bool,
    /// Plain text since then: layout, if it is white space beside CDATA.
    plain: String,
}

impl Document {
    fn open(&mut self, name: &str, root: &str) -> Result<(), XmlFault> {
        match self.root {
            Root::Before if name == root => {
                self.root = Root::Inside;
                Ok(())
            }
            Root::Inside if self.value.open => Err(XmlFault::Nested),
            Root::Inside if self.fields.has(name) && !canary::sings(Canary::LastDuplicateWins) => {
                Err(XmlFault::Duplicate)
            }
            Root::Inside if self.fields.count() >= MAX_FIELDS => Err(XmlFault::TooLarge),
            Root::Inside => {
                self.value.begin(name);
                Ok(())
            }
            Root::Before | Root::After => Err(XmlFault::Root),
        }
    }

    fn close(&mut self) -> Result<(), XmlFault> {
        if !self.value.open {
            self.root = Root::After;
            return Ok(());
        }
        self.value.open = false;
        let (name, text) = self.value.finish();
        if text.len() > MAX_VALUE {
            return Err(XmlFault::TooLarge);
        }
        self.fields.set(name, text);
        Ok(())
    }

    fn text(&mut self, text: &str, cdata: bool) -> Result<(), XmlFault> {
        match self.value.open {
            // XML forbids it outside CDATA, where it would look like an end of one.
            _ if !cdata && text.contains("]]>") => return Err(XmlFault::NotWellFormed),
            true => self.value.push(text, cdata),
            false if !cdata && is_blank(text) => {}
            false => return Err(XmlFault::StrayText),
        }
        Ok(())
    }

    /// One written as a reference: part of a value or out of place, never layout.
    fn character(&mut self, character: char) -> Result<(), XmlFault> {
        if !self.value.open {
            return Err(XmlFault::StrayText);
        }
        self.value.push(character.encode_utf8(&mut [0; 4]), false);
        Ok(())
    }

    fn finish(self) -> Result<Fields, XmlFault> {
        if self.root == Root::After { Ok(self.fields) } else { Err(XmlFault::NotWellFormed) }
    }
}

impl Value {
    fn begin(&mut self, name: &str) {
        (self.open, self.cdata) = (true, false);
        for text in [&mut self.name, &mut self.text, &mut self.plain] {
            text.clear();
        }
        self.name.push_str(name);
    }

    /// Plain text arrives in several events around references; they are one run until CDATA comes.
    fn push(&mut self, text: &str, cdata: bool) {
        if cdata {
            self.cdata = true;
            self.keep_plain();
            self.text.push_str(text);
        } else {
            self.plain.push_str(text);
        }
    }

    fn keep_plain(&mut self) {
        if !is_blank(&self.plain) {
            self.text.push_str(&self.plain);
        }
        self.plain.clear();
    }

    fn finish(&mut self) -> (&str, &str) {
        if !self.cdata {
            return (&self.name, self.plain.trim_matches(is_space));
        }
        self.keep_plain();
        (&self.name, &self.text)
    }
}

/// `version`, perhaps `encoding`, perhaps `standalone`, written without needless blanks.
fn declaration(text: &str, ascii: bool) -> Result<(), XmlFault> {
    let mut parts =
        text.strip_prefix("xml ").ok_or(XmlFault::NotWellFormed)?.split_ascii_whitespace().peekable();
    let mut next = |name| parts.next_if(|part| part.starts_with(name)).map(|part| quoted(part, name));
    let (version, encoding, standalone) = (next("version"), next("encoding"), next("standalone"));
    let plain = version == Some(Some("1.0"))
        && matches!(standalone, None | Some(Some("yes" | "no")))
        && parts.next().is_none();
    match encoding {
        _ if !plain => Err(XmlFault::NotWellFormed),
        None => Ok(()),
        // Python's own writer calls it so.
        Some(Some(name)) if ["utf-8", "utf8"].iter().any(|known| name.eq_ignore_ascii_case(known)) => Ok(()),
        // In ASCII all of them write the same bytes.
        Some(Some(name))
            if ascii && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) =>
        {
            Ok(())
        }
        Some(_) => Err(XmlFault::Encoding),
    }
}

/// The value of `name="value"` or `name='value'`.
fn quoted<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let value = part.strip_prefix(name)?.strip_prefix('=')?;
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))
}

fn plain_name(tag: &str) -> Result<&str, XmlFault> {
    // Blanks before the end of a tag belong to nothing: many writers put one into an empty element.
    let name = tag.trim_end_matches(is_space);
    let plain = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    // With attributes the tag's text is longer than a plain name: the blank in it fails the test above.
    if plain { Ok(name) } else { Err(XmlFault::Name) }
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<char, XmlFault> {
    let name: &str = reference;
    match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => {}
    }
    match reference.resolve_char_ref() {
        Ok(Some(c)) if is_character(c) => Ok(c),
        _ => Err(XmlFault::Entity),
    }
}

/// Looks through bytes where that is enough: it is quicker, and nearly all of a message is ASCII.
fn is_allowed(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().all(|byte| is_character(byte.into()));
    }
    text.chars().all(is_character)
}

/// What XML allows in a document, less the control characters U+007F to U+009F.
fn is_character(c: char) -> bool {
    if c.is_control() { matches!(c, '\t' | '\r' | '\n') } else { !matches!(c, '\u{FFFE}' | '\u{FFFF}') }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Result<&str, XmlFault>) {
        let body = format!("<xml><t>{input}</t></xml>");
        let read =
            Fields::parse(body.as_bytes()).map(|f| f.iter().map(|(_, v)| v.to_owned()).collect::<String>());
        assert_eq!(read.as_deref().map_err(|fault| *fault), expected, "{input:?}");
    }

    #[test]
    fn a_blank_before_the_end_of_a_tag_belongs_to_nothing_and_an_attribute_is_still_refused() {
        let read = |text: &str| {
            let pairs = |fields: Fields| {
                fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<String>()
            };
            Fields::parse(text.as_bytes()).map(pairs)
        };
        for text in ["<xml><a /></xml>", "<xml ><a\t/></xml\n>", "<xml><a\r\n></a ></xml>"] {
            assert_eq!(read(text).as_deref(), Ok("a="), "{text:?}");
        }
        assert_eq!(read("<xml><a >1</a ></xml>").as_deref(), Ok("a=1"));
        for text in
            ["<xml><a b/></xml>", "<xml><a b=\"\" /></xml>", "<xml x=\"1\" ><a /></xml>", "<xml>< a/></xml>"]
        {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert_eq!(read("<xml><a /><a /></xml>"), Err(XmlFault::Duplicate));
        assert_eq!(read("<?xml version='1.0' encoding='utf8'?><xml><a>中</a></xml>"), Ok("a=中".to_owned()));
        assert_eq!(read("<?xml version='1.0' encoding='gbk'?><xml><a>中</a></xml>"), Err(XmlFault::Encoding));
    }

    #[test]
    fn a_value_is_read_as_the_gateway_meant_it() {
        check("\n<![CDATA[APP]]>", Ok("APP"));
        check("<![CDATA[ a ]]>", Ok(" a "));
        check("\n 20 \n", Ok("20"));
        check("<![CDATA[a]]]]><![CDATA[>b]]>", Ok("a]]>b"));
        check("a&amp;b &lt; &gt; &quot; &apos; &#20013; &#x4E2D;", Ok("a&b < > \" ' 中 中"));
        check("x<![CDATA[y]]>z", Ok("xyz"));
        check("<![CDATA[]]>", Ok(""));
        check("", Ok(""));
        check("<![CDATA[&amp;]]>", Ok("&amp;"));
        check("]]&gt;", Ok("]]>"));
    }

    #[test]
    fn a_value_that_two_readers_could_read_differently_is_refused() {
        check("2<!--x-->0", Err(XmlFault::Forbidden));
        check("<b>1</b>", Err(XmlFault::Nested));
        check("&nbsp;", Err(XmlFault::Entity));
        check("&#0;", Err(XmlFault::Entity));
        check("&#xD800;", Err(XmlFault::Entity));
        check("<?php ?>", Err(XmlFault::Forbidden));
        check("\u{1}", Err(XmlFault::Entity));
        check("a & b", Err(XmlFault::NotWellFormed));
        check("a]]>b", Err(XmlFault::NotWellFormed));
        check("\u{FFFE}", Err(XmlFault::Entity));
        check("&#xFFFF;", Err(XmlFault::Entity));
    }

    #[test]
    fn a_document_that_is_not_one_flat_xml_is_refused() {
        let deep = "<xml>".repeat(8000);
        let wide = format!("<xml>{}</xml>", (0..201).map(|i| format!("<f{i}>1</f{i}>")).collect::<String>());
        let cases: &[(&str, XmlFault)] = &[
            ("", XmlFault::NotWellFormed),
            ("{\"a\":1}", XmlFault::StrayText),
            ("<html><body>502</body></html>", XmlFault::Root),
            ("<xml><a>1</a>", XmlFault::NotWellFormed),
            ("<xml><a>1</a></xml><xml></xml>", XmlFault::Root),
            ("<xml><a>1</a></xml>x", XmlFault::StrayText),
            ("<xml><a>1</a><a>2</a></xml>", XmlFault::Duplicate),
            ("<xml><p:a>1</p:a></xml>", XmlFault::Name),
            ("<xml><a b=\"1\">1</a></xml>", XmlFault::Name),
            ("<xml a=\"1\"><a>1</a></xml>", XmlFault::Name),
            ("<xml>stray<a>1</a></xml>", XmlFault::StrayText),
            ("<xml><![CDATA[x]]></xml>", XmlFault::StrayText),
            ("<!DOCTYPE xml><xml><a>1</a></xml>", XmlFault::Forbidden),
            (
                "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><xml><a>&e;</a></xml>",
                XmlFault::Forbidden,
            ),
            ("<?xml version=\"1.0\" encoding=\"gbk\"?><xml><a>中</a></xml>", XmlFault::Encoding),
            ("<xml><a>1</b></xml>", XmlFault::NotWellFormed),
            ("&#32;<xml><a>1</a></xml>", XmlFault::StrayText),
            ("<xml>&#32;<a>1</a></xml>", XmlFault::StrayText),
            ("<xml><a>1</a></xml>&#10;", XmlFault::StrayText),
            ("\u{FEFF}\u{FEFF}<xml><a>1</a></xml>", XmlFault::StrayText),
            (&deep, XmlFault::Nested),
            (&wide, XmlFault::TooLarge),
        ];
        for (body, fault) in cases {
            assert_eq!(Fields::parse(body.as_bytes()), Err(*fault), "{}", body.get(..60).unwrap_or(body));
        }
        assert_eq!(Fields::parse(b"\xFF\xFE<xml/>"), Err(XmlFault::Encoding));
    }

    #[test]
    fn the_limits_themselves_are_within_the_limits() {
        let long = "x".repeat(24_576);
        check(&long, Ok(&long));
        check(&format!("{long}x"), Err(XmlFault::TooLarge));
        let wide = (0..200).map(|i| format!("<f{i}/>")).collect::<String>();
        assert_eq!(Fields::parse(format!("<xml>{wide}</xml>").as_bytes()).map(|f| f.iter().count()), Ok(200));
        let named = |length| Fields::parse(format!("<xml><{}/></xml>", "n".repeat(length)).as_bytes());
        assert_eq!((named(64).is_ok(), named(65)), (true, Err(XmlFault::Name)));
    }

    #[test]
    fn a_byte_order_mark_and_a_declaration_are_harmless() {
        let body = "\u{FEFF}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n<a>中</a>\n</xml>\n";
        assert_eq!(Fields::parse(body.as_bytes()).unwrap().get("a"), Some("中"));
    }

    #[test]
    fn a_declaration_is_the_usual_one_at_the_very_start() {
        let read = |declaration: &str| Fields::parse(format!("{declaration}<xml><a>1</a></xml>").as_bytes());
        for usual in [
            "<?xml version=\"1.0\"?>",
            "<?xml version='1.0' encoding='utf-8' standalone='no' ?>\n",
            "<?xml version=\"1.0\" encoding=\"gbk\"?>",
            "<?xml version=\"1.0\" standalone=\"yes\"?>",
        ] {
            assert!(read(usual).is_ok(), "{usual}");
        }
        for (odd, fault) in [
            ("<?xml?>", XmlFault::NotWellFormed),
            ("<?xml version=\"2.0\"?>", XmlFault::NotWellFormed),
            ("<?xml version=\"1.0'?>", XmlFault::NotWellFormed),
            ("<?xml encoding=\"utf-8\"?>", XmlFault::NotWellFormed),
            ("<?xml encoding=\"utf-8\" version=\"1.0\"?>", XmlFault::NotWellFormed),
            ("<?xml version=\"1.0\" standalone=\"maybe\"?>", XmlFault::NotWellFormed),
            ("<?xml version=\"1.0\" a=\"b\"?>", XmlFault::NotWellFormed),
            ("<?xml version=\"1.0\" encoding=utf-8?>", XmlFault::Encoding),
            ("<?xml version=\"1.0\" encoding=\"<gbk>\"?>", XmlFault::Encoding),
            ("<?xml\tversion=\"1.0\"?>", XmlFault::NotWellFormed),
            ("\n<?xml version=\"1.0\"?>", XmlFault::NotWellFormed),
            ("<?xml version=\"1.0\"?><?xml version=\"1.0\"?>", XmlFault::NotWellFormed),
        ] {
            assert_eq!(read(odd), Err(fault), "{odd}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let value = "]]><total_fee>1</total_fee><![CDATA[ & <x> \u{4e2d} ]]]]>>";
        let fields: Fields = [("body", value), ("total_fee", "100")].into_iter().collect();
        assert_eq!(Fields::parse(fields.to_xml().as_bytes()), Ok(fields));
    }
}
