//! The names that people give vassals: exactly, by the stem, or by a pattern.

use glob::Pattern;

use crate::api::views::{Vassal, VassalList};
use crate::trace::escaped;

/// The vassals that are meant, each once, in the order of the names.
///
/// # Errors
/// A name that nothing has, or that several have; a pattern that nothing matches.
pub fn resolve(list: &VassalList, names: &[String]) -> Result<Vec<Vassal>, String> {
    let mut meant: Vec<&Vassal> = Vec::new();
    for name in names {
        for vassal in find(list, name)? {
            if !meant.iter().any(|other| other.name == vassal.name) {
                meant.push(vassal);
            }
        }
    }
    Ok(meant.into_iter().cloned().collect())
}

/// Whether a name given on the command line means the vassal of this name.
#[must_use]
pub fn is_meant(given: &str, name: &str) -> bool {
    // As it is printed, and so as people copy it.
    given == name || given == escaped(name) || stem(name) == Some(given) || matches(given, name)
}

fn stem(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(stem, _)| stem)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn matches(pattern: &str, name: &str) -> bool {
    let pattern = is_pattern(pattern).then(|| Pattern::new(pattern).ok()).flatten();
    pattern.is_some_and(|pattern| pattern.matches(name) || stem(name).is_some_and(|s| pattern.matches(s)))
}

fn find<'a>(list: &'a VassalList, name: &str) -> Result<Vec<&'a Vassal>, String> {
    let exact = list.vassals.iter().find(|vassal| vassal.name == name || escaped(&vassal.name) == name);
    if let Some(exact) = exact {
        return Ok(vec![exact]);
    }
    let by_stem: Vec<&Vassal> = list.vassals.iter().filter(|v| stem(&v.name) == Some(name)).collect();
    let shown = escaped(name);
    match by_stem.as_slice() {
        [_] => Ok(by_stem),
        [] if is_pattern(name) => {
            Pattern::new(name).map_err(|error| format!("\"{shown}\" is no pattern: {error}"))?;
            let found: Vec<&Vassal> = list.vassals.iter().filter(|v| matches(name, &v.name)).collect();
            match found.is_empty() {
                true => Err(format!("no vassal matches \"{shown}\"{}", known(list))),
                false => Ok(found),
            }
        }
        [] => Err(not_started(list, name)
            .unwrap_or_else(|| format!("there is no vassal \"{shown}\"{}", known(list)))),
        several => {
            let names: Vec<_> = several.iter().map(|vassal| escaped(&vassal.name)).collect();
            Err(format!("\"{shown}\" could be {}", names.join(" or ")))
        }
    }
}

/// Why the file of this name is not started, where that is so.
fn not_started(list: &VassalList, name: &str) -> Option<String> {
    let asked = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file == name || stem(file) == Some(name)
    };
    let file = list.not_started.iter().find(|file| asked(&file.path))?;
    Some(format!("{} is not started: {}", escaped(&file.path), escaped(&file.reason)))
}

fn known(list: &VassalList) -> String {
    let names: Vec<_> = list.vassals.iter().take(10).map(|vassal| escaped(&vassal.name)).collect();
    let more = if list.vassals.len() > names.len() { ", …" } else { "" };
    match names.is_empty() {
        true => "; there is none at all".into(),
        false => format!("; there are {}{more}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> VassalList {
        let vassal = |name: &&str| {
            serde_json::json!({
                "name": name, "path": "/v", "link": "/v1/vassals/x", "state": "up", "serving": true,
                "sockets": [], "root": false, "restarts": 0, "reloads": 0, "attempts": 0,
                "totals": crate::api::views::Totals::default(),
            })
        };
        let emperor = serde_json::json!({
            "version": "0", "pid": 1, "phase": "running", "since": "", "reexecutions": 0, "directories": [],
        });
        serde_json::from_value(serde_json::json!({
            "emperor": emperor,
            "vassals": names.iter().map(vassal).collect::<Vec<_>>(),
            "not_started": [{"path": "/w/late.ini", "reason": "shadowed"}],
        }))
        .unwrap()
    }

    #[test]
    fn names_stems_and_patterns_find_vassals() {
        let list = list(&["a.ini", "a.yml", "b*.ini", "bc.ini", "e\u{1b}.ini", "web-1.ini", "web-2.ini"]);
        for (names, expected) in [
            ("a.ini", Ok("a.ini")),
            ("bc", Ok("bc.ini")),
            ("web-*", Ok("web-1.ini web-2.ini")),
            ("web-*.ini", Ok("web-1.ini web-2.ini")),
            ("web-[2-9] web-*", Ok("web-2.ini web-1.ini")),
            ("*.yml", Ok("a.yml")),
            ("?.ini bc.ini", Ok("a.ini bc.ini")),
            ("b*.ini", Ok("b*.ini")),
            ("b*", Ok("b*.ini")),
            ("e\\x1b.ini", Ok("e\u{1b}.ini")),
            ("a", Err("\"a\" could be a.ini or a.yml")),
            ("none", Err("there is no vassal \"none\"; there are a.ini, ")),
            ("\u{1b}[2J", Err("\\x1b[2J")),
            ("x*", Err("no vassal matches \"x*\"")),
            ("x[", Err("is no pattern")),
            ("late", Err("/w/late.ini is not started: shadowed")),
        ] {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            let found = resolve(&list, &names);
            match expected {
                Ok(expected) => {
                    let found: Vec<String> = found.unwrap().into_iter().map(|v| v.name).collect();
                    assert_eq!(found.join(" "), expected);
                }
                Err(part) => assert!(found.unwrap_err().contains(part), "{names:?}"),
            }
        }
        assert!(is_meant("web-?", "web-1.ini") && is_meant("a", "a.yml") && !is_meant("b", "bc.ini"));
    }
}
