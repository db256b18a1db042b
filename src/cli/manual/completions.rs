//! Completions for shells.

use std::fmt::Write;

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
        Shell::Bash => bash(),
        Shell::Zsh => zsh(),
        Shell::Fish => fish(),
    }
}

/// The options that are worth completing: those that take effect, by their first name.
fn options() -> impl Iterator<Item = &'static Row> {
    table::rows().filter(|row| {
        matches!(row.standing, Standing::Obeyed(_) | Standing::Always)
            && (row.kind != Kind::Language || matches!(row.name(), "ini" | "include" | "set"))
    })
}

fn names_of_verbs() -> String {
    VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ")
}

/// What `liege help` tells of.
fn topics() -> String {
    let names: Vec<_> = options().map(Row::name).collect();
    format!("{} {}", names_of_verbs(), names.join(" "))
}

/// Its options without their arguments.
fn flags(verb: &Verb) -> String {
    verb.flags().map(|(name, _)| format!("--{name}")).collect::<Vec<_>>().join(" ")
}

/// The commands that are told names of vassals: the running emperor is asked for them.
fn naming() -> Vec<&'static str> {
    VERBS.iter().filter(|verb| verb.takes_names()).map(Verb::name).collect()
}

/// Asks for the names. They are data: nothing of them is expanded, whatever a file is called.
const BASH_NAMES: &str = r#"_liege_names() {
    local name n api=()
    for ((n = 1; n < COMP_CWORD; n++)); do
        [[ ${COMP_WORDS[n]} == --api ]] && api=(--api "${COMP_WORDS[n + 1]}")
    done
    while IFS= read -r name; do
        [[ $name == "$1"* ]] && COMPREPLY+=("$name")
    done < <(liege status --names "${api[@]}" 2>/dev/null)
}

"#;

fn bash() -> String {
    let mut text =
        format!("# bash completion of liege; made by `liege completions bash`\n\n{BASH_NAMES}_liege() {{\n");
    text.push_str("    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} first=1 options=\n");
    text.push_str("    COMPREPLY=()\n");
    // The API may be told before the command.
    text.push_str("    [[ $verb == --@(api|token-file|ca-file|cert|hosts) ]] && ((COMP_CWORD > 2)) && first=3 verb=${COMP_WORDS[3]}\n");
    text.push_str("    case $verb in\n");
    for verb in VERBS.iter().filter(|verb| verb.options().next().is_some()) {
        let _ = writeln!(text, "        {}) options='{}' ;;", verb.name, flags(verb));
    }
    text.push_str("        help|completions) ;;\n        *) options='");
    text.push_str(&options().map(|row| format!("--{}", row.name())).collect::<Vec<_>>().join(" "));
    text.push_str("' ;;\n    esac\n");
    let _ = writeln!(
        text,
        "    if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n    elif [[ $COMP_CWORD -eq $first ]]; then\n        COMPREPLY=($(compgen -W '{}' -- \"$word\") $(compgen -f -X '!*.@(ini|json|yaml|yml|xml)' -- \"$word\"))",
        names_of_verbs()
    );
    let all: Vec<_> = options().map(Row::name).collect();
    let _ = writeln!(
        text,
        "    elif [[ $verb == completions ]]; then\n        COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\"))\n    elif [[ $verb == help ]]; then\n        COMPREPLY=($(compgen -W '{} {}' -- \"$word\"))\n    elif [[ ${{COMP_WORDS[COMP_CWORD - 1]}} != --* && $verb == @({}) ]]; then\n        _liege_names \"$word\"\n    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}}\n\ncomplete -o filenames -F _liege liege",
        names_of_verbs(),
        all.join(" "),
        naming().join("|")
    );
    text
}

/// The same for the Z shell.
const ZSH_NAMES: &str = r#"    local -a names api
    (( ${words[(I)--api]} )) && api=(--api ${(Q)words[${words[(I)--api]} + 1]})
    names=(${(f)"$(liege status --names $api 2>/dev/null)"})
    compadd -a names
"#;

fn zsh() -> String {
    let mut text =
        "#compdef liege\n# made by `liege completions zsh`\n\nlocal -a verbs options\nverbs=(\n".to_owned();
    for verb in VERBS {
        let doc = verb.usages.first().map_or("", |usage| usage.doc);
        let _ = writeln!(text, "    '{}:{}'", verb.name, quoted(doc));
    }
    text.push_str(")\ncase ${words[2]} in\n");
    for verb in VERBS.iter().filter(|verb| verb.options().next().is_some()) {
        let _ = writeln!(text, "    {}) options=(", verb.name);
        for (option, doc) in verb.options() {
            let name = option.split(' ').next().unwrap_or_default();
            let _ = writeln!(text, "        '{name}:{}'", quoted(doc));
        }
        text.push_str("    ) ;;\n");
    }
    text.push_str("    *) options=(\n");
    for row in options() {
        let _ = writeln!(text, "        '--{}:{}'", row.name(), quoted(row.doc));
    }
    text.push_str("    ) ;;\nesac\n");
    text.push_str("if [[ ${words[CURRENT]} == -* ]]; then\n    _describe option options\n");
    text.push_str("elif (( CURRENT == 2 )); then\n    _describe command verbs\n    _files -g '*.(ini|json|yaml|yml|xml)'\n");
    let _ = writeln!(
        text,
        "elif [[ ${{words[2]}} == completions ]]; then\n    compadd bash zsh fish\nelif [[ ${{words[2]}} == help ]]; then\n    compadd {}\nelif [[ ${{words[CURRENT - 1]}} != --* && ${{words[2]}} == ({}) ]]; then",
        topics(),
        naming().join("|")
    );
    text.push_str(ZSH_NAMES);
    text.push_str("else\n    _files\nfi\n");
    text
}

fn fish() -> String {
    let mut text = "# made by `liege completions fish`\n\n".to_owned();
    for verb in VERBS {
        let doc = verb.usages.first().map_or("", |usage| usage.doc);
        let _ = writeln!(
            text,
            "complete -c liege -n __fish_use_subcommand -a {} -d '{}'",
            verb.name,
            fish_quoted(doc)
        );
        for ((name, has_argument), (_, doc)) in verb.flags().zip(verb.options()) {
            let takes = if has_argument { " -r" } else { "" };
            let _ = writeln!(
                text,
                "complete -c liege -n '__fish_seen_subcommand_from {}' -l {name}{takes} -d '{}'",
                verb.name,
                fish_quoted(doc)
            );
        }
    }
    let _ = writeln!(
        text,
        "complete -c liege -n '__fish_seen_subcommand_from {}' -f -a '(liege status --names 2>/dev/null)'",
        naming().join(" ")
    );
    text.push_str("complete -c liege -n '__fish_seen_subcommand_from completions' -f -a 'bash zsh fish'\n");
    let _ = writeln!(text, "complete -c liege -n '__fish_seen_subcommand_from help' -f -a '{}'", topics());
    for row in options() {
        let short = row.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let takes = if row.kind == Kind::Flag || row.optional { "" } else { " -r" };
        let _ = writeln!(
            text,
            "complete -c liege -n __fish_use_subcommand -l {}{short}{takes} -d '{}'",
            row.name(),
            fish_quoted(row.doc)
        );
    }
    text
}

/// Inside of single quotes of the Z shell, before a colon.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:")
}

/// Inside of single quotes of fish.
fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
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
            (Shell::Zsh, "${words[2]} == help ]]"),
            (Shell::Fish, "__fish_seen_subcommand_from help'"),
        ] {
            let text = completions(shell);
            let topics = text.split(line).nth(1).unwrap().lines().take(2).collect::<String>();
            assert!(topics.contains("status") && topics.contains("wsgi-file"), "{shell:?}: {topics}");
        }
        assert_eq!(Shell::of("tcsh"), None);
    }
}
