//! The strict reader: what it accepts, another XML parser reads the same, and writing it loses nothing.

use super::second::Message;
use shouyin::gateway::wechat_v2::xml::Fields;
use std::collections::BTreeMap;

pub fn check(body: &[u8]) {
    let Ok(fields) = Fields::parse(body) else { return };
    let read = Message::read(body).expect("accepted, and no well-formed flat XML to others");
    let ours: BTreeMap<String, String> =
        fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(ours, read.fields);
    assert!(ours.len() <= 200 && ours.iter().all(|(name, value)| name.len() <= 64 && value.len() <= 24_576));
    for name in ours.keys() {
        assert_eq!(fields.get(name), read.get(name), "{name}");
    }
    assert_eq!(Fields::parse(fields.to_xml().as_bytes()), Ok(fields), "written and read again");

    let trimmed = body.trim_ascii_end();
    let cut = trimmed.get(..trimmed.len() - 1).unwrap_or(b"");
    for other in [cut, &[body, body].concat(), &[body, b"1"].concat(), &[body, b"<a>1</a>"].concat()] {
        assert!(Fields::parse(other).is_err(), "cut, or with something after its end");
    }
}
