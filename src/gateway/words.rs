//! A gateway's own words, as they are kept in the books, logged and shown to administrators.

/// Longest code, state or other word that is kept, in characters.
const LONGEST_WORD: usize = 64;
/// Longest text that explains a code, in characters.
const LONGEST_SENTENCE: usize = 120;

/// A code, a state, a currency. What cannot be printed is replaced and not left out, so that no word becomes another
/// one that means something; PostgreSQL refuses some of it.
pub fn word(text: &str) -> String {
    printable(text, LONGEST_WORD)
}

/// The text that explains a code.
pub fn sentence(text: &str) -> String {
    printable(text, LONGEST_SENTENCE)
}

/// A code with its text, which for some codes is all there is.
pub fn with_text(code: &str, text: &str) -> String {
    format!("{} {}", word(code), sentence(text)).trim_end().to_owned()
}

fn printable(text: &str, longest: usize) -> String {
    let shown = |c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER };
    text.chars().take(longest).map(shown).collect()
}

/// What `Debug` writes as it is: no control characters, no marks that change the direction or join what stands before
/// them.
fn is_printable(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_replaced_and_never_makes_a_known_word() {
        assert_eq!(word("ACQ.TRADE_NOT_EXIST"), "ACQ.TRADE_NOT_EXIST");
        assert_eq!(sentence("余额不足, \"请\\稍后\""), "余额不足, \"请\\稍后\"");
        for odd in ["CN\0Y", "CN\nY", "CN\u{202e}Y", "CN\u{200b}Y", "CN\u{2028}Y", "CN\u{feff}Y", "CN\u{7f}Y"]
        {
            assert_eq!(word(odd), "CN\u{fffd}Y", "{odd:?}");
        }
    }

    #[test]
    fn a_long_word_is_cut_at_64_characters_and_a_text_at_120() {
        assert_eq!(word(&"退".repeat(65)), "退".repeat(64));
        assert_eq!(sentence(&"退".repeat(121)), "退".repeat(120));
        let both = format!("{} {}", "A".repeat(64), "b".repeat(120));
        assert_eq!(with_text(&"A".repeat(65), &"b".repeat(121)), both);
        assert_eq!(
            (with_text("NOTENOUGH", ""), with_text("A\0B", "余额\n")),
            ("NOTENOUGH".to_owned(), "A\u{fffd}B 余额\u{fffd}".to_owned())
        );
    }
}
