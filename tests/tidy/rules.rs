//! The rules of `docs/architecture.md`, read from its tables, and what breaks them.

use std::collections::BTreeMap;

use crate::source::Source;

/// Words that must not stand in a file at all: what would be forgotten, and what only its author can see.
const FORBIDDEN: &[(&str, &str)] = &[
    ("TODO", "finish it, or refuse it with a message"),
    ("FIXME", "finish it, or refuse it with a message"),
    ("todo!(", "finish it, or refuse it with a message"),
    ("unimplemented!(", "finish it, or refuse it with a message"),
    ("#[ignore", "a test runs, or it is not there"),
    ("#[allow(", "use #[expect(…, reason = …)]"),
    ("#![allow(", "use #![expect(…, reason = …)]"),
    ("../shared", "the project stands alone"),
    ("/work/", "the project stands alone"),
];

/// Names of files and folders that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "common", "misc", "base"];

/// The rules.
pub(crate) struct Rules {
    imports: BTreeMap<String, Vec<String>>,
    places: Vec<(String, Vec<String>)>,
    longer: Vec<String>,
}

impl Rules {
    /// Reads the tables of the page.
    pub(crate) fn parse(page: &str) -> Result<Self, String> {
        let imports: BTreeMap<String, Vec<String>> = table(page, "| folder | may import |")?
            .into_iter()
            .map(|row| (row[0].clone(), list(&row[1])))
            .collect();
        let places = table(page, "| what | where |")?
            .into_iter()
            .map(|row| (row[0].trim_matches('`').to_owned(), list(&row[1])))
            .collect();
        let longer = table(page, "| longer file |")?.into_iter().map(|row| row[0].clone()).collect();
        for (folder, imported) in &imports {
            if let Some(unknown) = imported.iter().find(|name| !imports.contains_key(*name)) {
                return Err(format!("{folder} may import {unknown}, which has no row"));
            }
        }
        Ok(Self { imports, places, longer })
    }

    /// The folders that the page names.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.imports.keys().map(String::as_str)
    }

    /// What a folder may import.
    pub(crate) fn imports_of(&self, folder: &str) -> &[String] {
        self.imports.get(folder).map_or(&[], Vec::as_slice)
    }

    /// What in this file breaks a rule, a line for each.
    pub(crate) fn check(&self, source: &Source) -> Vec<String> {
        let mut broken = Vec::new();
        self.check_shape(source, &mut broken);
        if let Some(folder) = source.folder().filter(|folder| *folder != "lib") {
            self.check_layers(source, folder, &mut broken);
            self.check_places(source, &mut broken);
        }
        broken.into_iter().map(|what| format!("{}: {what}", source.path)).collect()
    }

    fn check_shape(&self, source: &Source, broken: &mut Vec<String>) {
        if !source.text.starts_with("//! ") {
            broken.push("begins with `//!` and says what lives in it".to_owned());
        }
        if source.lines > 400 && source.path.starts_with("src/") && !self.longer.contains(&source.path) {
            broken.push(format!("{} lines: split it", source.lines));
        }
        for part in source.path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                broken.push(format!("`{part}` says nothing"));
            }
        }
        for (word, advice) in FORBIDDEN {
            if source.text.contains(word) {
                broken.push(format!("`{word}`: {advice}"));
            }
        }
    }

    fn check_layers(&self, source: &Source, folder: &str, broken: &mut Vec<String>) {
        let Some(allowed) = self.imports.get(folder) else {
            broken.push(format!("the architecture page has no row for `{folder}`"));
            return;
        };
        for name in imported(source) {
            // What is no row is an item of the crate's root: there is none, or the compiler would not find it.
            if name != folder && self.imports.contains_key(&name) && !allowed.contains(&name) {
                broken.push(format!("{folder} imports {name}"));
            }
        }
    }

    fn check_places(&self, source: &Source, broken: &mut Vec<String>) {
        let path = source.path.trim_start_matches("src/").trim_end_matches(".rs");
        for (what, places) in &self.places {
            let here = places.iter().any(|place| path == place || path.starts_with(&format!("{place}/")));
            if !here && uses(&source.code, what) {
                broken.push(format!("`{what}` belongs to {}", places.join(", ")));
            }
        }
    }
}

/// Whether code uses a crate, a keyword, a macro or a call, as the table writes it.
fn uses(code: &str, what: &str) -> bool {
    match what {
        "unsafe" => words(code, "unsafe").any(|rest| !rest.starts_with("_code")),
        "println!" => code.contains("println!") || code.contains("print!"),
        _ if what.contains("::") => words(code, what).next().is_some(),
        _ => words(code, what).any(|rest| rest.starts_with("::") || rest.starts_with(';')),
    }
}

/// What follows each place where `word` begins a word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let inside = code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        (!inside).then(|| &code[at + word.len()..])
    })
}

/// The names after `crate::` (or after as many `super::` as lead to the root), also in braces.
fn imported(source: &Source) -> Vec<String> {
    let depth = source.path.trim_end_matches("/mod.rs").split('/').count() - 1;
    let supers = "super::".repeat(depth);
    let mut names = Vec::new();
    for root in ["crate::", supers.as_str()] {
        for rest in words(&source.code, root) {
            match rest.strip_prefix('{') {
                Some(group) => names.extend(group_names(group)),
                None => names.push(leading_name(rest)),
            }
        }
    }
    names
}

/// The first name of each entry of a `use` group, up to its closing brace.
fn group_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (0_usize, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && depth == 0 && character.is_alphabetic() => {
                names.push(leading_name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// The rows below the header that begins with `header`, each split into its cells.
fn table(page: &str, header: &str) -> Result<Vec<Vec<String>>, String> {
    let start = page.find(header).ok_or_else(|| format!("no table {header}"))?;
    Ok(page[start..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect())
}

fn list(cell: &str) -> Vec<String> {
    cell.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
