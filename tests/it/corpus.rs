//! Every input that fuzzing found worth keeping, through the checks of its target. No compiler flags, no libFuzzer.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use checks::TARGETS;
use std::{collections::BTreeSet, fs, panic, path::Path};

/// All corpora together, in bytes.
const MOST: usize = 300_000;

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn corpora() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"))
}

#[test]
fn every_kept_input_passes_the_checks_of_its_target() {
    let (mut failed, mut size) = (Vec::new(), 0);
    for (target, check) in TARGETS {
        let folder = corpora().join(target);
        let inputs = names(&folder);
        for input in &inputs {
            let bytes = fs::read(folder.join(input)).unwrap();
            size += bytes.len();
            if panic::catch_unwind(|| check(&bytes)).is_err() {
                failed.push(format!("fuzz/corpus/{target}/{input}"));
            }
        }
        println!("{target}: {} inputs", inputs.len());
        assert!(inputs.len() >= 10, "{target} has hardly a corpus");
    }
    assert_eq!(failed, Vec::<String>::new());
    assert!(size <= MOST, "{size} bytes: keep the smallest inputs only");
}

#[test]
fn every_target_has_its_binary_and_its_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    assert_eq!(names(corpora()), targets);
    let binaries: BTreeSet<String> = names(&corpora().join("../fuzz_targets"))
        .iter()
        .map(|file| file.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(binaries, targets);
    let manifest = fs::read_to_string(corpora().join("../Cargo.toml")).unwrap();
    for target in &targets {
        let bin = format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"\n");
        assert!(manifest.contains(&bin), "{target} is not built");
        let source = fs::read_to_string(corpora().join(format!("../fuzz_targets/{target}.rs"))).unwrap();
        assert!(source.contains(&format!("checks::{target}::check(data)")), "{target}.rs runs other checks");
    }
}
