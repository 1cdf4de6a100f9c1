//! Names and values of one V2 message.

use std::{fmt, ops::Range};

/// Sorted as the signature sorts them, each name once. All lie in one text: a message has dozens, and a string for each
/// would be what reading it costs most.
#[derive(Clone, Default)]
pub struct Fields {
    text: String,
    /// In the byte order of the names.
    places: Vec<Place>,
}

#[derive(Clone)]
struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

impl Fields {
    /// For a message of so many bytes.
    pub(super) fn of_bytes(bytes: usize) -> Fields {
        Fields { text: String::with_capacity(bytes), places: Vec::with_capacity(32) }
    }

    /// A value that is present and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.find(name).ok().and_then(|nth| self.places.get(nth))?;
        Some(self.part(&place.value)).filter(|value| !value.is_empty())
    }

    pub fn set(&mut self, name: &str, value: &str) {
        let place = Place { name: self.keep(name), value: self.keep(value) };
        match self.find(name) {
            Ok(nth) => self.places.splice(nth..=nth, [place]).for_each(drop),
            Err(nth) => self.places.insert(nth, place),
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Ok(nth) = self.find(name) {
            self.places.remove(nth);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|place| (self.part(&place.name), self.part(&place.value)))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    pub(super) const fn count(&self) -> usize {
        self.places.len()
    }

    /// Where it is, or where it would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.places.binary_search_by(|place| self.part(&place.name).cmp(name))
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    fn keep(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Fields {
        let mut fields = Fields::default();
        pairs.into_iter().for_each(|(name, value)| fields.set(name, value));
        fields
    }
}

/// What they say, wherever it lies.
impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn pairs(fields: &Fields) -> Vec<(&str, &str)> {
        fields.iter().collect()
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes_and_each_is_there_once() {
        let mut fields: Fields =
            [("b", "1"), ("a_b", "2"), ("a", "3"), ("B", "4"), ("b", "5"), ("中", "6"), ("", "7")]
                .into_iter()
                .collect();
        let sorted = [("", "7"), ("B", "4"), ("a", "3"), ("a_b", "2"), ("b", "5"), ("中", "6")];
        assert_eq!(pairs(&fields), sorted);
        let tree: BTreeMap<&str, &str> = sorted.into_iter().collect();
        assert_eq!(pairs(&fields), tree.into_iter().collect::<Vec<_>>());
        fields.remove("a");
        fields.remove("nobody");
        assert_eq!(
            (fields.get("a"), fields.get("b"), fields.has("a"), fields.count()),
            (None, Some("5"), false, 5)
        );
    }

    #[test]
    fn an_empty_value_is_there_and_says_nothing() {
        let fields: Fields = [("a", "")].into_iter().collect();
        assert_eq!((fields.get("a"), fields.has("a")), (None, true));
        assert_eq!(pairs(&fields), [("a", "")]);
    }

    #[test]
    fn two_are_equal_when_they_say_the_same_and_show_what_they_say() {
        let mut one: Fields = [("a", "1"), ("b", "2")].into_iter().collect();
        one.set("a", "3");
        let mut other: Fields = [("b", "2")].into_iter().collect();
        assert_ne!(one, other);
        other.set("a", "3");
        assert_eq!(one, other);
        assert_eq!(format!("{one:?}"), r#"{"a": "3", "b": "2"}"#);
        assert_ne!(one, [("a", "3b"), ("", "2")].into_iter().collect());
    }
}
