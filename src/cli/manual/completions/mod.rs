//! Completions for shells.

mod bash;
mod fish;
mod zsh;

use super::verbs::{VERBS, Verb};
use crate::config::table::{self, Kind, Row, Standing};

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// The shell of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }
}

/// The completions of liege for that shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
    }
}

/// The options that are worth completing: those that take effect, by their first name.
fn options() -> impl Iterator<Item = &'static Row> {
    table::rows().filter(|row| {
        matches!(row.standing, Standing::Obeyed(_) | Standing::Always)
            && (row.kind != Kind::Language || matches!(row.name(), "ini" | "include" | "set"))
    })
}

/// What may stand before a command: how an emperor is found, each with an argument.
fn places(between: &str) -> String {
    Verb::PLACES.map(|(option, _)| name_of(option)).join(between)
}

/// What may stand before a command and is no option of uWSGI's command line, with what it does.
fn further_places() -> impl Iterator<Item = (&'static str, &'static str)> {
    let places = Verb::PLACES.into_iter().map(|(option, doc)| (name_of(option), doc));
    places.filter(|(name, _)| options().all(|row| row.name() != *name))
}

/// An option without its dashes and its argument.
fn name_of(option: &'static str) -> &'static str {
    option.trim_start_matches('-').split(' ').next().unwrap_or_default()
}

fn names_of_verbs() -> String {
    VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ")
}

/// What `liege help` tells of.
fn topics() -> String {
    let names: Vec<_> = options().map(Row::name).collect();
    format!("{} {}", names_of_verbs(), names.join(" "))
}

/// The commands that have options.
fn verbs_with_options() -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().filter(|verb| verb.options().next().is_some())
}

/// The options of all commands that have an argument: what follows one is no name of a vassal.
fn with_argument(between: &str) -> String {
    let all = VERBS.iter().flat_map(Verb::flags).filter(|(_, has_argument)| *has_argument);
    let mut names: Vec<_> = all.map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(between)
}

/// The commands that are told names of vassals: the running emperor is asked for them.
fn naming(between: &str) -> String {
    let verbs = VERBS.iter().filter(|verb| verb.takes_names());
    verbs.map(Verb::name).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_options_are_completed() {
        for shell in ["bash", "zsh", "fish"] {
            let text = completions(Shell::of(shell).unwrap());
            for verb in VERBS {
                assert!(text.contains(verb.name), "{shell}: {}", verb.name);
            }
            for name in ["wsgi-file", "http-socket", "chmod-socket", "import", "liege status --names"] {
                assert!(text.contains(name), "{shell}: {name}");
            }
        }
        for (shell, line) in [
            (Shell::Bash, "$verb == help ]]"),
            (Shell::Zsh, "$verb == help ]]"),
            (Shell::Fish, "__liege_is help'"),
        ] {
            let text = completions(shell);
            let topics = text.split(line).nth(1).unwrap().lines().take(2).collect::<String>();
            assert!(topics.contains("status") && topics.contains("wsgi-file"), "{shell:?}: {topics}");
        }
        assert_eq!(Shell::of("tcsh"), None);
        assert!(with_argument(" ").contains("workers") && !with_argument(" ").contains("wait"));
    }
}
