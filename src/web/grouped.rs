//! Numbers as people read them: a comma between thousands. For pages alone: files, programs, fields of forms and what
//! somebody is asked to type have plain digits.

use std::fmt::Display;

/// `-1234567.80` as `-1,234,567.80`.
pub fn grouped(number: impl Display) -> String {
    let text = number.to_string();
    let (whole, cents) = match text.split_once('.') {
        Some((whole, cents)) => (whole, Some(cents)),
        None => (&*text, None),
    };
    let mut left = whole.chars().filter(char::is_ascii_digit).count();
    let mut grouped = String::new();
    for c in whole.chars() {
        grouped.push(c);
        if c.is_ascii_digit() {
            left = left.saturating_sub(1);
            if left > 0 && left.is_multiple_of(3) {
                grouped.push(',');
            }
        }
    }
    if let Some(cents) = cents {
        grouped.push('.');
        grouped.push_str(cents);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_stands_before_every_third_digit_of_the_whole_and_nowhere_else() {
        for (plain, shown) in [
            ("0.00", "0.00"),
            ("999.99", "999.99"),
            ("1000.00", "1,000.00"),
            ("-1234567.80", "-1,234,567.80"),
            ("+123456", "+123,456"),
            ("92233720368547758.08", "92,233,720,368,547,758.08"),
            ("", ""),
        ] {
            assert_eq!(grouped(plain), shown);
        }
        assert_eq!(grouped(12_345_i64), "12,345");
    }
}
