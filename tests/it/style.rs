//! The styles, measured: the contrast of every pair of colours that meet, in every scheme, and the weight of what
//! stands between a payer and paying.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

type Rgb = [f64; 3];
type Tokens = BTreeMap<String, String>;

/// WCAG 2.2: 1.4.3 for text, 1.4.11 for what is no text; care mode keeps 1.4.6.
const TEXT: f64 = 4.5;
const TEXT_IN_CARE: f64 = 7.0;
const NO_TEXT: f64 = 3.0;

/// Raw and packed, in bytes.
const CSS_BUDGET: (usize, usize) = (25 * 1024, 7 * 1024);
const SCRIPT_BUDGET: usize = 3 * 1024;

fn css() -> String {
    let text = file("app.css");
    // Without comments.
    text.split("/*").map(|piece| piece.split_once("*/").map_or(piece, |(_, rest)| rest)).collect()
}

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("static/{name}")).unwrap()
}

/// Each rule: its selectors, its declarations, and whether it holds in the dark only.
fn rules(css: &str) -> Vec<(String, Tokens, bool)> {
    let mut found = Vec::new();
    let mut rest = css;
    while let Some((head, after)) = rest.split_once('{') {
        let (head, end) = (head.trim().to_owned(), closing(after));
        let body = &after[..end];
        rest = &after[end + 1..];
        if head.starts_with("@media") {
            let dark = head.contains("dark");
            found.extend(rules(body).into_iter().map(|(selectors, body, _)| (selectors, body, dark)));
        } else if !head.starts_with('@') {
            let pairs = body.split(';').filter_map(|line| line.split_once(':'));
            let body = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
            found.push((head, body.collect(), false));
        }
    }
    found
}

/// Where the brace that is open closes.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let at = text.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    });
    at.expect("every brace closes").0
}

/// The tokens of each scheme, as the cascade lays them over each other.
fn schemes(rules: &[(String, Tokens, bool)]) -> [(&'static str, Tokens, f64); 4] {
    let layers = |wanted: &[(&str, bool)]| {
        let mut tokens = Tokens::new();
        for (selectors, body, dark) in rules {
            if wanted.contains(&(selectors.as_str(), *dark)) {
                tokens.extend(body.clone());
            }
        }
        tokens
    };
    let (root, dark, care, care_dark) =
        ((":root", false), (":root", true), (".care", false), (".care", true));
    [
        ("light", layers(&[root]), TEXT),
        ("dark", layers(&[root, dark]), TEXT),
        ("care", layers(&[root, care]), TEXT_IN_CARE),
        ("care in the dark", layers(&[root, dark, care, care_dark]), TEXT_IN_CARE),
    ]
}

fn colour(value: &str, under: Rgb) -> Rgb {
    if let Some(hex) = value.strip_prefix('#') {
        let hex: String =
            if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
        return [0, 2, 4].map(|at| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()));
    }
    let inner =
        value.strip_prefix("rgba(").and_then(|v| v.strip_suffix(')')).unwrap_or_else(|| panic!("{value}"));
    let parts: Vec<f64> = inner.split(',').map(|part| part.trim().parse().unwrap()).collect();
    [0, 1, 2].map(|at| parts[at] * parts[3] + under[at] * (1.0 - parts[3]))
}

fn luminance(colour: Rgb) -> f64 {
    let linear = colour.map(|value| {
        let value = value / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(tokens: &Tokens, front: &str, back: &str) -> f64 {
    let back = colour(&tokens[back], [255.0; 3]);
    let (a, b) = (luminance(colour(&tokens[front], back)), luminance(back));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The token a declaration uses alone, as `--name`.
fn token(body: &Tokens, names: &[&str]) -> Option<String> {
    let value = names.iter().find_map(|name| body.get(*name))?;
    Some(value.strip_prefix("var(")?.strip_suffix(')')?.to_owned())
}

/// Every colour of text with every ground it stands on: those one rule names together, the rest on every ground a
/// page, a card or a quiet field has. What only meets by two rules is written down.
fn text_pairs(rules: &[(String, Tokens, bool)]) -> BTreeSet<(String, String)> {
    let mut pairs: BTreeSet<(String, String)> = [
        ("--green-on", "--green-press"),
        ("--blue-on", "--blue-press"),
        ("--green-text", "--second-press"),
        ("--fg", "--ok-bg"),
        ("--fg-2", "--ok-bg"),
    ]
    .map(|(front, back)| (front.to_owned(), back.to_owned()))
    .into();
    for (_, body, _) in rules {
        let Some(front) = token(body, &["color"]) else { continue };
        match token(body, &["background", "background-color"]) {
            Some(back) => drop(pairs.insert((front, back))),
            None => {
                let grounds = ["--bg", "--surface", "--surface-2"].map(str::to_owned);
                pairs.extend(grounds.map(|back| (front.clone(), back)));
            }
        }
    }
    pairs
}

#[test]
fn every_text_can_be_read_on_its_ground_in_every_scheme() {
    let rules = rules(&css());
    let pairs = text_pairs(&rules);
    assert!(pairs.len() > 20, "the styles were not understood: {pairs:?}");
    let mut faint = Vec::new();
    for (scheme, tokens, least) in schemes(&rules) {
        for (front, back) in &pairs {
            let found = contrast(&tokens, front, back);
            if found < least {
                faint.push(format!("{scheme}: {front} on {back} is {found:.2}"));
            }
        }
    }
    assert_eq!(faint, Vec::<String>::new());
}

#[test]
fn edges_marks_and_the_ring_of_the_focus_can_be_seen_in_every_scheme() {
    for (scheme, tokens, _) in schemes(&rules(&css())) {
        for front in ["--edge", "--focus", "--green-fill", "--green-text", "--info-fg", "--bad-fg"] {
            for back in ["--surface", "--surface-2", "--bg"] {
                let found = contrast(&tokens, front, back);
                assert!(
                    found >= NO_TEXT || (front, back) == ("--edge", "--bg"),
                    "{scheme}: {front} on {back}: {found:.2}"
                );
            }
        }
    }
}

#[test]
fn a_contrast_is_what_wcag_says_it_is() {
    let tokens = |front: &str| Tokens::from([("f".into(), front.into()), ("b".into(), "#FFF".into())]);
    for (front, expected) in [("#000", 21.0), ("#777", 4.48), ("#018942", 4.51), ("rgba(0, 0, 0, .5)", 3.95)]
    {
        let found = contrast(&tokens(front), "f", "b");
        assert!((found - expected).abs() < 0.03, "{front}: {found}");
    }
}

#[test]
fn the_styles_are_light() {
    let css = file("app.css");
    let packed = packed(css.as_bytes());
    println!("app.css: {} bytes, {packed} packed", css.len());
    assert!(css.len() <= CSS_BUDGET.0 && packed <= CSS_BUDGET.1, "{} bytes, {packed} packed", css.len());
}

#[test]
fn no_page_on_the_way_to_paying_loads_more_script_than_its_budget() {
    for scripts in [&["copy.js", "top_up.js"][..], &["pay.js"], &["copy.js", "watch.js"]] {
        let bytes: usize = scripts.iter().map(|name| file(name).len()).sum();
        println!("{scripts:?}: {bytes} bytes");
        assert!(bytes <= SCRIPT_BUDGET, "{scripts:?}: {bytes} bytes");
    }
}

/// Bytes after gzip, which every system that builds this has.
fn packed(bytes: &[u8]) -> usize {
    let mut gzip =
        Command::new("gzip").arg("-9c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    gzip.wait_with_output().unwrap().stdout.len()
}
