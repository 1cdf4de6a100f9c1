//! The session cookie: only the one pair of that very name, taken literally, can say who a browser is.

use shouyin::web::session::carried;

const NAME: &str = "__Host-shouyin";

/// The input is the lines of `Cookie` that came with one request.
pub fn check(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let found = carried(lines.iter().copied(), NAME);
    let values: Vec<&[u8]> = lines.iter().flat_map(|line| literal(line)).collect();
    let expected = match values.as_slice() {
        [one] if one.len() == 64 && one.iter().all(u8::is_ascii_hexdigit) => Some(*one),
        _ => None,
    };
    assert_eq!(found.as_deref().map(str::as_bytes), expected);
    let Some(secret) = found else { return };
    // Anybody who can plant a second one gets nowhere with it, before or behind.
    let planted = format!("{NAME}={}", "0".repeat(64));
    let behind = lines.iter().copied().chain([planted.as_bytes()]);
    assert_eq!(carried(behind, NAME), None);
    assert_eq!(carried([planted.as_bytes()].into_iter().chain(lines.iter().copied()), NAME), None);
    assert_eq!(carried([format!("{NAME}={secret}").as_bytes()].into_iter(), NAME), Some(secret));
}

/// Every value that follows `NAME=` at the start of a pair, found by looking for the name rather than by splitting.
fn literal(line: &[u8]) -> Vec<&[u8]> {
    let marked = format!("{NAME}=");
    let mut found = Vec::new();
    for (at, window) in line.windows(marked.len()).enumerate() {
        let (before, after) = line.split_at(at);
        let starts_a_pair = before.trim_ascii_end().last().is_none_or(|byte| *byte == b';');
        if window == marked.as_bytes() && starts_a_pair {
            let value = after.get(marked.len()..).unwrap_or_default();
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            found.push(value.get(..end).unwrap_or_default().trim_ascii_end());
        }
    }
    found
}
