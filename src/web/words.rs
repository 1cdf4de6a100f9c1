//! What end users read, in each language. A line of `words/` is one sentence in all of them, so that none can be
//! missing in one. Administrators read Chinese.

mod accounts;
mod errors;
mod frame;
mod pay;
mod records;
mod top_up;

/// A language pages are written in. Its methods are the sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    #[default]
    Zh,
    En,
}

impl Lang {
    /// The language of a tag such as `en`, `en-GB`, `zh_CN` or `zh-Hans`, if it is one of ours.
    pub fn parse(tag: &str) -> Option<Lang> {
        match tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "zh" => Some(Lang::Zh),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// As `?lang=` and the cookie write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lang::Zh => "zh",
            Lang::En => "en",
        }
    }

    /// The one to switch to.
    pub const fn other(self) -> Lang {
        match self {
            Lang::Zh => Lang::En,
            Lang::En => Lang::Zh,
        }
    }
}

/// A sentence kept until it is known who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    zh: String,
    en: String,
}

impl Sentence {
    pub fn of<T: Into<String>>(say: impl Fn(Lang) -> T) -> Sentence {
        Sentence { zh: say(Lang::Zh).into(), en: say(Lang::En).into() }
    }

    /// For administrators and for programs, who read Chinese whatever their browser prefers.
    pub fn chinese(text: &str) -> Sentence {
        Sentence::of(|_| text)
    }

    pub fn read_in(&self, lang: Lang) -> &str {
        match lang {
            Lang::Zh => &self.zh,
            Lang::En => &self.en,
        }
    }
}

/// Makes each line `key(values) = "中文", "English";` a method of `Lang`. Values stand in braces in both.
macro_rules! words {
    ($($(#[$doc:meta])* $key:ident $(($($value:ident),+))? = $zh:literal, $en:literal;)+) => {
        impl crate::web::words::Lang {
            $(super::words!{ @sentence [$(#[$doc])*] $key [$($($value),+)?] $zh, $en })+
        }
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($key), $zh, $en)),+];
    };
    (@sentence [$($doc:tt)*] $key:ident [] $zh:literal, $en:literal) => {
        $($doc)*
        pub const fn $key(self) -> &'static str {
            match self {
                Self::Zh => $zh,
                Self::En => $en,
            }
        }
    };
    (@sentence [$($doc:tt)*] $key:ident [$($value:ident),+] $zh:literal, $en:literal) => {
        $($doc)*
        pub fn $key(self, $($value: impl std::fmt::Display),+) -> String {
            match self {
                Self::Zh => format!($zh),
                Self::En => format!($en),
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        [accounts::ALL, errors::ALL, frame::ALL, pay::ALL, records::ALL, top_up::ALL].concat().into_iter()
    }

    fn is_chinese(c: char) -> bool {
        // Ideographs and the punctuation that goes with them.
        matches!(c, '\u{3000}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}' | '“' | '”')
    }

    #[test]
    fn no_sentence_is_left_in_the_wrong_language() {
        for (key, zh, en) in all() {
            assert!(!zh.trim().is_empty() && !en.trim().is_empty(), "{key} says nothing");
            // A switch names the other language in that language.
            if key != "other_name" {
                assert!(!en.chars().any(is_chinese), "{key} is Chinese in English: {en}");
                assert!(zh.chars().any(is_chinese) || key == "tag", "{key} is not Chinese: {zh}");
            }
        }
    }

    #[test]
    fn every_language_says_the_same_values() {
        let values = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
        };
        for (key, zh, en) in all() {
            assert_eq!(values(zh), values(en), "{key}");
        }
    }

    #[test]
    fn no_sentence_is_kept_that_no_page_says() {
        let mut said = String::new();
        for (folder, extension) in [("src/web", "rs"), ("src/web/admin", "rs"), ("templates", "html")] {
            for entry in fs::read_dir(Path::new(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|found| found == extension) {
                    said.push_str(&fs::read_to_string(path).unwrap());
                }
            }
        }
        let said: BTreeSet<&str> = said.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
        let mut seen = BTreeSet::new();
        for (key, ..) in all() {
            assert!(said.contains(key), "nobody says {key}");
            assert!(seen.insert(key), "{key} stands there twice");
        }
    }

    #[test]
    fn a_language_is_known_by_any_of_its_tags() {
        for (tag, lang) in [
            ("en", Some(Lang::En)),
            ("en-GB", Some(Lang::En)),
            ("EN_us", Some(Lang::En)),
            ("zh_CN", Some(Lang::Zh)),
            ("zh-Hans", Some(Lang::Zh)),
            ("enx", None),
            ("fr", None),
            ("", None),
        ] {
            assert_eq!(Lang::parse(tag), lang, "{tag}");
        }
        for lang in [Lang::Zh, Lang::En] {
            assert_eq!(Lang::parse(lang.as_str()), Some(lang));
            assert_eq!(lang.other().other(), lang);
        }
    }

    #[test]
    fn values_are_said_in_place() {
        assert_eq!(Lang::Zh.pay_before("20:30"), "请在 20:30 前完成支付");
        assert_eq!(Lang::En.pay_before("20:30"), "Please pay before 20:30");
    }
}
