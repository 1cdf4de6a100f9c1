//! The house rules as a test: floors, one home per side effect, no floats near money, clean templates.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What each module of the top level may import, besides itself.
const FLOORS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "app",
            "canary",
            "clock",
            "config",
            "domain",
            "failpoint",
            "flow",
            "gateway",
            "http",
            "jobs",
            "metrics",
            "prove",
            "simulator",
            "store",
            "token",
            "web",
        ],
    ),
    ("prove", &["app", "clock", "config", "domain", "flow", "gateway", "http", "jobs", "simulator", "store"]),
    (
        "web",
        &[
            "app",
            "canary",
            "config",
            "clock",
            "domain",
            "failpoint",
            "flow",
            "gateway",
            "metrics",
            "store",
            "token",
        ],
    ),
    ("jobs", &["app", "canary", "clock", "domain", "flow", "store"]),
    ("simulator", &["clock", "config", "domain", "gateway", "http"]),
    ("flow", &["app", "canary", "clock", "domain", "failpoint", "gateway", "store", "token"]),
    ("app", &["clock", "config", "domain", "gateway", "http", "metrics", "store"]),
    ("clock", &["domain", "gateway"]),
    ("config", &["domain", "gateway"]),
    ("http", &["config", "gateway"]),
    ("metrics", &[]),
    ("store", &["canary", "config", "domain", "failpoint", "gateway"]),
    ("token", &["domain"]),
    ("gateway", &["canary", "domain"]),
    ("domain", &[]),
    ("canary", &[]),
    ("failpoint", &[]),
];

/// Words that only these files may contain, with the reason.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("SystemTime::now", &["clock.rs"], "time is a value everywhere else"),
    ("Instant::now", &["clock.rs"], "time is a value everywhere else"),
    // RSA signing wants it for its blinding; the signature does not depend on it.
    ("SystemRandom", &["clock.rs", "gateway/rsa.rs"], "randomness is a value everywhere else"),
    ("diesel::", &["store/"], "SQL lives in the store"),
    ("std::env", &["config/"], "configuration is read once"),
    ("env::var", &["config/"], "configuration is read once"),
    ("reqwest::", &["http.rs"], "one sender, with its limits"),
    ("process::abort", &["failpoint.rs"], "only a test ends the process like that"),
    ("Status::Paid.number()", &["store/settlement.rs", "store/settle_together/"], "one door for money"),
    (
        "Entry::top_up",
        &["domain/ledger.rs", "store/settlement.rs", "store/settle_together/"],
        "one door for money",
    ),
    (
        "Entry::refund_",
        &["domain/ledger.rs", "store/refunds.rs", "store/refund_settlement.rs"],
        "one door for refunds",
    ),
    ("Entry::correction", &["domain/ledger.rs", "store/corrections.rs"], "one door for credits by hand"),
    ("Entry::adjustment", &["domain/ledger.rs", "store/adjustments.rs"], "one door for adjustments"),
    ("adjustments::make(", &["flow/adjust.rs"], "one door for adjustments"),
    ("corrections::insert(", &["flow/credit_by_hand.rs"], "one door for credits by hand"),
    ("refund_settlement::conclude(", &["flow/refund.rs"], "one door for refunds"),
    ("store.settle(", &["flow/settle.rs"], "one door for money"),
    ("settlement::settle(", &["store/writer.rs", "store/inline.rs"], "one door for money"),
    ("settle_together::settle(", &["store/writer.rs", "store/inline.rs"], "one door for money"),
    (
        "Md5",
        &[
            "gateway/wechat_v2/sign.rs",
            "gateway/wechat_v2/mod.rs",
            "gateway/alipay/cert_sn.rs",
            "config/",
            "cli/",
            "prove/",
            "simulator/",
        ],
        "MD5 signs for V2 alone, and names Alipay's certificates",
    ),
];

#[test]
fn imports_go_down_never_sideways_or_up() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = top_module(&path);
        if module == "lib" {
            continue;
        }
        let allowed = floors.get(module.as_str()).unwrap_or_else(|| panic!("{path} is on no floor"));
        for imported in imports(&production(&text)) {
            if imported != module && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{path} imports {imported}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn each_side_effect_has_one_home() {
    let mut wrong = Vec::new();
    // Files of tests are no part of the program, like the test modules that `production` cuts off.
    for (path, text) in sources().filter(|(path, _)| !path.ends_with("/tests.rs")) {
        for (word, homes, why) in HOMES {
            let at_home = homes.iter().any(|home| path.starts_with(home) || path == *home);
            if production(&text).contains(word) && !at_home {
                wrong.push(format!("{path} has {word}: {why}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_float_comes_near_money() {
    let floors = ["domain/", "gateway/", "flow/", "store/"];
    for (path, text) in sources().filter(|(path, _)| floors.iter().any(|floor| path.starts_with(floor))) {
        for float in ["f32", "f64"] {
            let found = words(&text).any(|word| word == float);
            assert!(!found, "{path} has {float}");
        }
    }
}

#[test]
fn no_flow_knows_which_gateway_it_speaks_to() {
    for (path, text) in sources().filter(|(path, _)| path.starts_with("flow/")) {
        let found = of_one_gateway(&text);
        assert_eq!(found, Vec::<String>::new(), "{path}: the Gateway trait lacks a method");
    }
}

/// What in this code is about one way to pay or one gateway: their names, variants that are named one by one, and a `match`
/// on which it is. Comments may tell of them.
fn of_one_gateway(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let modules = ["wechat_v2", "wechat_v3", "alipay"];
    let mut found: Vec<String> =
        words(&code).filter(|word| modules.contains(word)).map(str::to_owned).collect();
    for kind in ["Channel", "Provider", "Protocol"] {
        for rest in code.split(&format!("{kind}::")).skip(1) {
            let variant = identifier(rest);
            // Constants are in capitals, functions in small letters, and what is left are the variants, or all of them.
            let named = variant.chars().any(char::is_lowercase) && variant.starts_with(char::is_uppercase);
            if named || rest.starts_with(['*', '{']) {
                found.push(format!("{kind}::{variant}"));
            }
        }
    }
    for rest in code.split("match ").skip(1) {
        let matched = rest.split('{').next().unwrap().trim_end();
        let last = matched.trim_end_matches("()").rsplit(|c: char| !(c.is_alphanumeric() || c == '_'));
        if last.take(1).any(|word| ["channel", "provider", "protocol"].contains(&word)) {
            found.push(format!("match {matched}"));
        }
    }
    found
}

#[test]
fn the_guard_of_the_flows_sees_what_it_is_for_and_nothing_else() {
    for (code, seen) in [
        ("match attempt.channel {", "match attempt.channel"),
        ("match attempt.channel.provider() {", "match attempt.channel.provider()"),
        ("match *protocol {", "match *protocol"),
        ("Channel::AlipayQr | Channel::AlipayPage => {}", "Channel::AlipayQr"),
        ("if refund.provider == Provider::Alipay {", "Provider::Alipay"),
        ("matches!(gateway.protocol(), Protocol::WechatV3)", "Protocol::WechatV3"),
        ("use crate::domain::order::Channel::*;", "Channel::"),
        ("use crate::gateway::{wechat_v3::Account, Gateway};", "wechat_v3"),
        ("let alipay = app.config.alipay.as_ref();", "alipay"),
        ("/// Alipay says so there alone, see gateway::alipay and Channel::AlipayQr.", ""),
        ("Channel::ALL.iter().find_map(|channel| gateway.account(*channel))", ""),
        ("let protocol = Protocol::parse(&notice.provider)?;", ""),
        ("match gateway.account(channel) {", ""),
        ("wechat_oauth::token_request(&login.appid, &login.secret, code)", ""),
        ("app.gateway_of(attempt.channel.provider(), &attempt.account, attempt.environment)", ""),
    ] {
        assert_eq!(of_one_gateway(code).first().map_or("", String::as_str), seen, "{code}");
    }
}

#[test]
fn no_page_knows_a_provider_by_name() {
    // What providers are called, what is offered where, and a door for each protocol.
    let homes = ["web/providers.rs", "web/ways.rs", "web/notify.rs"];
    let pages = |path: &str| path.starts_with("web/") && !homes.contains(&path);
    for (path, text) in sources().filter(|(path, _)| pages(path)) {
        let named = of_one_gateway(&production(&text));
        let found: Vec<&String> = named
            .iter()
            .filter(|name| ["Provider::", "Protocol::"].iter().any(|kind| name.starts_with(kind)))
            .collect();
        assert_eq!(found, Vec::<&String>::new(), "{path}: a word of web/providers.rs is missing");
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources() {
        // The tests of a module may live in a file of their own beside it.
        assert!(path.ends_with("/tests.rs") || text.starts_with("//! "), "{path} does not open with //!");
    }
}

#[test]
fn templates_have_no_inline_style_script_or_unescaped_value() {
    for path in files(Path::new("templates"), "html") {
        let text = fs::read_to_string(&path).unwrap();
        for bad in ["style=\"", "onclick=", "onload=", "onerror=", "javascript:", "<style", "<script>"] {
            assert!(!text.contains(bad), "{} has {bad}", path.display());
        }
        let unescaped = text.matches("|safe").count();
        let drawn_by_us = text.matches("{{ qr_svg|safe }}").count();
        assert_eq!(unescaped, drawn_by_us, "{} prints a value unescaped", path.display());
    }
}

/// What end users read stands in `src/web/words/`, in every language at once.
#[test]
fn no_page_of_an_end_user_says_a_word_of_its_own() {
    let chinese =
        |text: &str| text.chars().any(|c| matches!(c, '\u{3000}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}'));
    let top = |folder: &str, extension: &str| -> Vec<PathBuf> {
        let all = files(Path::new(folder), extension);
        all.into_iter().filter(|path| path.parent() == Some(Path::new(folder))).collect()
    };
    for path in top("templates", "html").into_iter().chain(top("static", "js")) {
        let text = fs::read_to_string(&path).unwrap();
        // Of the shared pieces the last two are administrators'.
        let text = text.split("{%- macro sessions(").next().unwrap();
        assert!(!chinese(text), "{} is for src/web/words/", path.display());
    }
    for path in top("src/web", "rs") {
        let text = production(&fs::read_to_string(&path).unwrap());
        // What only administrators read; the macro shows how a sentence is written.
        let theirs = ["error", "rights", "browser", "log_in_code", "words"];
        let theirs = theirs.iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name));
        assert!(theirs || !chinese(&text), "{} is for src/web/words/", path.display());
    }
}

#[test]
fn every_post_form_carries_the_token() {
    for path in files(Path::new("templates"), "html") {
        let text = fs::read_to_string(&path).unwrap();
        // The simulator plays WeChat, which has no forms of ours.
        if path.starts_with("templates/simulator") {
            continue;
        }
        for form in text.split("<form").skip(1) {
            let form = form.split("</form>").next().unwrap();
            let post = form.split('>').next().unwrap().contains("method=\"post\"");
            assert!(!post || form.contains("token("), "{}: a form without its token", path.display());
        }
    }
}

#[test]
fn the_example_environment_names_exactly_the_variables_of_the_code() {
    let example = fs::read_to_string(".env.example").unwrap();
    let named: BTreeSet<String> = example
        .lines()
        .filter_map(|line| {
            let (name, _) = line.trim_start_matches("# ").split_once('=')?;
            let upper = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            upper.then(|| name.to_owned())
        })
        .collect();
    let read: BTreeSet<String> = shouyin::config::VARIABLES.iter().map(|v| v.name.to_owned()).collect();
    assert_eq!(named, read);
}

#[test]
fn the_example_environment_refuses_to_serve() {
    let values: BTreeMap<String, String> =
        dotenvy::from_filename_iter(".env.example").unwrap().map(Result::unwrap).collect();
    let source = shouyin::config::Source::from_maps(&values, &BTreeMap::new());
    let refused = shouyin::config::Config::read(&source).unwrap_err();
    for name in ["SECRET_KEY", "WECHAT_API_KEY", "WECHAT_APP_SECRET"] {
        assert!(refused.0.iter().any(|problem| problem.name == name), "{name} passes as it stands");
    }
}

/// A test named in the proof's tables exists; what ends with `…` begins so.
#[test]
fn every_test_the_proof_names_exists() {
    let text = fs::read_to_string("docs/proof.md").unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let tokens = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|token| token.contains("::"));
    let mut named = 0;
    for token in tokens {
        let (module, name) = token.rsplit_once("::").unwrap();
        let path = module.replace("::", "/");
        let homes = [
            format!("tests/it/{path}.rs"),
            format!("tests/it/{path}/mod.rs"),
            format!("tests/crash/{path}.rs"),
            format!("tests/{path}.rs"),
            format!("src/{path}.rs"),
        ];
        let begun = name.strip_suffix('…');
        let known = homes.iter().filter_map(|home| fs::read_to_string(home).ok()).any(|code| match begun {
            Some(begun) => code.contains(&format!("fn {begun}")),
            None => code.contains(&format!("fn {name}(")) || code.contains(&format!("    {name} => ")),
        });
        assert!(known, "docs/proof.md names {token}, and there is no such test");
        named += 1;
    }
    assert!(named > 80, "{named}: the tables are not read");
}

#[test]
fn every_act_in_the_audit_log_has_a_name_on_its_page() {
    let page = fs::read_to_string("src/web/admin/audit_log.rs").unwrap();
    let mut acts = BTreeSet::new();
    for (_, text) in sources() {
        for rest in production(&text).split("action: \"").skip(1) {
            acts.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    assert!(acts.len() > 15, "{acts:?}");
    let unnamed: Vec<_> = acts.iter().filter(|act| !page.contains(&format!("\"{act}\" => "))).collect();
    assert!(unnamed.is_empty(), "shown as something else: {unnamed:?}");
}

/// Permissive licences only, and none of the crates this project has reasons to avoid.
#[test]
fn every_dependency_is_permissive_and_wanted() {
    let output = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let permissive = [
        "MIT",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unlicense",
        "0BSD",
        "Unicode-3.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "MIT-0",
        "BSL-1.0",
        "PostgreSQL",
    ];
    // MIT or Apache-2.0 at our choice, beside a licence we would not choose.
    let also_permissive = ["r-efi"];
    let unwanted = ["rsa", "openssl", "openssl-sys", "native-tls", "actix-governor", "serde_yaml", "dotenv"];
    for package in metadata["packages"].as_array().unwrap() {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or(""));
        // Every licence of the expression, whether joined by AND or OR: stricter than needed, and simple.
        let fine = licence
            .split(|c: char| c.is_whitespace() || "()/".contains(c))
            .filter(|word| !matches!(*word, "" | "AND" | "OR" | "WITH" | "LLVM-exception"))
            .all(|one| permissive.contains(&one));
        let fine = fine || also_permissive.contains(&name);
        assert!(fine, "{name} is under {licence}");
        assert!(!unwanted.contains(&name), "{name} is not wanted here");
    }
}

/// Sizes are taste, not law: printed for whoever reads the test's output.
#[test]
fn the_longest_files_and_functions_are_printed() {
    let mut lengths: Vec<(usize, String)> =
        sources().map(|(path, text)| (text.lines().count(), path)).collect();
    let mut functions: Vec<(usize, String)> = sources()
        .flat_map(|(path, text)| {
            functions(&production(&text))
                .into_iter()
                .map(move |(name, length)| (length, format!("{path} {name}")))
        })
        .collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    functions.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, what) in lengths.iter().take(5).chain(functions.iter().take(5)) {
        println!("{lines:5} {what}");
    }
    assert!(lengths[0].0 <= 600, "{} is a sign to look again", lengths[0].1);
    assert!(functions[0].0 <= 100, "{} is a sign to look again", functions[0].1);
}

/// Every file of `src`, by its path below it.
fn sources() -> impl Iterator<Item = (String, String)> {
    files(Path::new("src"), "rs").into_iter().map(|path| {
        let name = path.strip_prefix("src").unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&path).unwrap())
    })
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn top_module(path: &str) -> String {
    path.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

/// The text before the file's own tests, without comments.
fn production(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Top-level modules named by `crate::…`, also inside `use crate::{a::…, b}`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for piece in text.split("crate::").skip(1) {
        let Some(group) = piece.strip_prefix('{') else {
            found.insert(identifier(piece));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    found.insert(identifier(&group[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// Name and length in lines of each function, by the indentation that rustfmt gives it.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let head = ["pub ", "pub(super) ", "pub(crate) ", "async ", "const "]
            .iter()
            .fold(trimmed, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
        let Some(rest) = head.strip_prefix("fn ") else { continue };
        let indent = line.len() - trimmed.len();
        let end = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| **line == end) {
            found.push((identifier(rest), length + 1));
        }
    }
    found
}
