//! Where values come from: the process environment over `.env`, and `NAME_FILE` for secrets.

use super::{
    Problem, VARIABLES,
    variables::{PREFIXES, Variable},
};
use std::{collections::BTreeMap, fs, path::Path};

/// Raw values by name. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Source {
    /// The process environment, over the file `.env` of the working directory if there is one.
    pub fn from_process() -> Source {
        let mut problems = Vec::new();
        let file: BTreeMap<String, String> = match dotenvy::from_filename_iter(".env") {
            Ok(lines) => lines
                .filter_map(|line| {
                    line.map_err(|error| problems.push(unreadable(".env", &line_of(&error)))).ok()
                })
                .collect(),
            Err(error) if error.not_found() => BTreeMap::new(),
            Err(_) => {
                problems.push(unreadable(".env", "cannot be read"));
                BTreeMap::new()
            }
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut source = Source::from_maps(&file, &environment);
        source.problems.extend(problems);
        source
    }

    /// `environment` wins over `file`. In the file every name must be known; in the environment only
    /// those that are plainly meant for this program.
    pub fn from_maps(file: &BTreeMap<String, String>, environment: &BTreeMap<String, String>) -> Source {
        let mut source = Source::default();
        for name in file.keys() {
            source.note_unknown(name, true);
        }
        for name in environment.keys() {
            source.note_unknown(name, false);
        }
        let lookup = |name: &str| environment.get(name).or_else(|| file.get(name)).cloned();
        for variable in VARIABLES {
            source.take(variable, &lookup);
        }
        source
    }

    /// A value that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).filter(|value| !value.is_empty()).cloned()
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.problems.clone()
    }

    fn take(&mut self, variable: &Variable, lookup: &impl Fn(&str) -> Option<String>) {
        let file_name = format!("{}_FILE", variable.name);
        let direct = lookup(variable.name).filter(|value| !value.is_empty());
        let path = if variable.secret { lookup(&file_name).filter(|value| !value.is_empty()) } else { None };
        let value = match (direct, path) {
            (Some(_), Some(_)) => {
                self.problems
                    .push(unreadable(&file_name, &format!("is set together with {}", variable.name)));
                None
            }
            (None, Some(path)) => match fs::read_to_string(Path::new(&path)) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.problems.push(unreadable(&file_name, &format!("cannot be read: {}", error.kind())));
                    None
                }
            },
            (direct, None) => direct,
        };
        if let Some(value) = value {
            self.values.insert(variable.name.to_owned(), value);
        }
    }

    fn note_unknown(&mut self, name: &str, in_file: bool) {
        let meant_for_us = in_file
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || near(name, name.len() / 5).is_some();
        if is_known(name) || !meant_for_us {
            return;
        }
        let hint = near(name, 5).map_or_else(String::new, |close| format!("; did you mean {close}?"));
        self.problems.push(Problem {
            name: name.to_owned(),
            what: format!("is not a variable of this program{hint}"),
            form: String::new(),
        });
    }
}

fn is_known(name: &str) -> bool {
    VARIABLES.iter().any(|variable| {
        variable.name == name || (variable.secret && name.strip_suffix("_FILE") == Some(variable.name))
    })
}

/// The closest name within `distance` edits. Short names such as LOG are too easily near to others.
fn near(name: &str, distance: usize) -> Option<&'static str> {
    VARIABLES
        .iter()
        .map(|variable| variable.name)
        .filter(|known| known.len() >= 8)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(edits, _)| *edits <= distance)
        .min()
        .map(|(_, known)| known)
}

fn unreadable(name: &str, what: &str) -> Problem {
    Problem { name: name.to_owned(), what: what.to_owned(), form: String::new() }
}

/// Says where a line of `.env` is wrong without repeating the line: it may hold a secret.
fn line_of(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(_, position) => {
            format!("has a line that is not NAME=value (near character {position})")
        }
        _ => "cannot be read".to_owned(),
    }
}
