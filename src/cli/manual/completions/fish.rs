//! Completions for fish.

use std::fmt::Write;

use super::super::verbs::VERBS;
use super::{further_places, name_of, naming, options, places, topics};
use crate::config::table::Kind;

/// Finds the command, which may stand behind where its emperor is, and asks for names there. Of several hosts each stands
/// behind its host's.
const START: &str = r#"function __liege_rest
    set -l words (commandline -opc)
    set -e words[1]
    while string match -qr -- '^--(PLACES)(=|$)' "$words[1]"
        string match -q -- '*=*' $words[1]; or set -e words[1]
        set -e words[1]
    end
    printf '%s\n' $words
end
function __liege_begins
    not string length -q -- (__liege_rest)
end
function __liege_is
    set -l words (__liege_rest)
    contains -- "$words[1]" $argv
end
function __liege_names
    set -l words (commandline -opc)
    set -l access
    for n in (seq 2 (count $words))
        if string match -qr -- '^--(PLACES)$' $words[$n]
            set -a access $words[$n] $words[(math $n + 1)]
        else if string match -qr -- '^--(PLACES)=' $words[$n]
            set -a access $words[$n]
        end
    end
    if string match -q -- '* --hosts*' " $access"
        liege status --names $access 2>/dev/null | string replace -r '^\S+ ' ''
    else
        liege status --names $access 2>/dev/null
    end
end

"#;

pub(super) fn script() -> String {
    let mut text = "# made by `liege completions fish`\n\n".to_owned();
    text.push_str(&START.replace("PLACES", &places("|")));
    for verb in VERBS {
        let doc = verb.usages.first().map_or("", |usage| usage.doc);
        let _ = writeln!(text, "complete -c liege -n __liege_begins -a {} -d '{}'", verb.name, quoted(doc));
        for ((name, has_argument), (_, doc)) in verb.flags().zip(verb.options()) {
            let takes = if has_argument { " -r" } else { "" };
            let _ = writeln!(
                text,
                "complete -c liege -n '__liege_is {}' -l {name}{takes} -d '{}'",
                verb.name,
                quoted(doc)
            );
        }
    }
    let _ = writeln!(text, "complete -c liege -n '__liege_is {}' -f -a '(__liege_names)'", naming(" "));
    text.push_str("complete -c liege -n '__liege_is completions' -f -a 'bash zsh fish'\n");
    let _ = writeln!(text, "complete -c liege -n '__liege_is help' -f -a '{}'", topics());
    for (name, doc) in further_places() {
        let name = name_of(name);
        let _ = writeln!(text, "complete -c liege -n __liege_begins -l {name} -r -d '{}'", quoted(doc));
    }
    for row in options() {
        let short = row.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let takes = if row.kind == Kind::Flag || row.optional { "" } else { " -r" };
        let _ = writeln!(
            text,
            "complete -c liege -n __liege_begins -l {}{short}{takes} -d '{}'",
            row.name(),
            quoted(row.doc)
        );
    }
    text
}

/// Inside of single quotes.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
