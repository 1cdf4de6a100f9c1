//! Amounts: a text is accepted exactly when it is the canonical one of the number it becomes.

use super::second;
use shouyin::domain::money::{Fen, yuan_text};

pub fn check(data: &[u8]) {
    text(&String::from_utf8_lossy(data));
    let mut number = [0; 8];
    number.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    integer(i64::from_le_bytes(number));
}

fn text(text: &str) {
    let fen = Fen::parse_fen(text).ok();
    assert_eq!(fen.map(Fen::get), second::fen(text), "fen {text:?}");
    if let Some(fen) = fen {
        assert_eq!(fen.get().to_string(), text);
    }
    let yuan = Fen::parse_yuan(text).ok();
    assert_eq!(yuan.map(Fen::get), second::yuan(text), "yuan {text:?}");
    if let Some(fen) = yuan {
        let written = fen.yuan();
        assert_eq!(Fen::parse_yuan(&written), Ok(fen), "{written}");
        let padded = [text.to_owned(), format!("{text}0"), format!("{text}.00")];
        assert!(padded.contains(&written), "{text:?} became {written}");
    }
}

fn integer(number: i64) {
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:03}", i128::from(number).abs());
    let (whole, cents) = digits.split_at(digits.len() - 2);
    assert_eq!(yuan_text(number), format!("{sign}{whole}.{cents}"));
    let fen = Fen::new(number);
    assert_eq!(fen.is_some(), (0..=Fen::MAX).contains(&number), "{number}");
    let Some(fen) = fen else { return };
    assert_eq!(Fen::parse_fen(&number.to_string()), Ok(fen));
    assert_eq!(Fen::parse_yuan(&fen.yuan()), Ok(fen));
    let sum = fen.checked_add(fen).map(Fen::get);
    assert_eq!(sum, Some(2 * number).filter(|sum| *sum <= Fen::MAX));
}
