//! axe-core reads a page in the browser, where `tests/axe` has put it: an accessibility checker, and no part of this project.

use crate::webdriver::Window;
use serde_json::json;

/// What it calls serious or critical, of WCAG's rules and of its own practices.
const SERIOUS: &str = "axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations
    .filter((v) => ['serious', 'critical'].includes(v.impact))
    .flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 120)} ${n.failureSummary}`)))";

/// Its script, if there is one.
pub struct Axe(Option<String>);

impl Axe {
    /// Says so when nothing will be checked.
    pub fn at_hand() -> Axe {
        let file = std::env::var_os("SHOUYIN_AXE");
        if file.is_none() {
            eprintln!("SKIPPED: accessibility is not checked without SHOUYIN_AXE, see tests/axe");
        }
        Axe(file.map(|file| std::fs::read_to_string(file).unwrap()))
    }

    pub async fn finds_nothing_serious(&self, window: &Window, name: &str) {
        let Some(script) = &self.0 else { return };
        if window.eval("window.axe === undefined").await == json!(true) {
            window.run(script).await;
        }
        assert_eq!(window.eval_later(SERIOUS).await, json!([]), "{name}");
    }
}
