//! Completions for the Z shell.

use std::fmt::Write;

use super::super::verbs::VERBS;
use super::{further_places, name_of, naming, options, places, topics, verbs_with_options, with_argument};

/// Finds the command, which may stand behind where its emperor is.
const START: &str = r"local -a verbs options names access
local -i at=2 n
local verb
for (( n = 2; n < CURRENT; n++ )); do
    case ${words[n]} in
        --(PLACES)) access+=(${words[n]} ${${(Q)words[n + 1]}/#\~\//$HOME/}) ;;
        --(PLACES)=*) access+=(${(Q)words[n]}) ;;
    esac
done
while (( at < CURRENT )) && [[ ${words[at]} == --(PLACES)(|=*) ]]; do
    if [[ ${words[at]} == *=* ]]; then (( at += 1 )); else (( at += 2 )); fi
done
verb=${words[at]}
";

/// Asks for the names. They are data: nothing of them is expanded, whatever a file is called. Of several hosts each
/// stands behind its host's.
const NAMES: &str = r#"    names=("${(@f)$(liege status --names $access 2>/dev/null)}")
    [[ " $access" == *" --hosts"* ]] && names=("${(@)names#* }")
    compadd -a names
else
    _files
fi
"#;

pub(super) fn script() -> String {
    let mut text = "#compdef liege\n# made by `liege completions zsh`\n\n".to_owned();
    text.push_str(&START.replace("PLACES", &places("|")));
    text.push_str("verbs=(\n");
    for verb in VERBS {
        let doc = verb.usages.first().map_or("", |usage| usage.doc);
        let _ = writeln!(text, "    '{}:{}'", verb.name, quoted(doc));
    }
    text.push_str(")\ncase $verb in\n");
    for verb in verbs_with_options() {
        let _ = writeln!(text, "    {}) options=(", verb.name);
        for (option, doc) in verb.options() {
            let _ = writeln!(text, "        '--{}:{}'", name_of(option), quoted(doc));
        }
        text.push_str("    ) ;;\n");
    }
    text.push_str("    *) options=(\n");
    for (name, doc) in options().map(|row| (row.name(), row.doc)).chain(further_places()) {
        let _ = writeln!(text, "        '--{name}:{}'", quoted(doc));
    }
    text.push_str("    ) ;;\nesac\n");
    let _ = writeln!(
        text,
        "if (( at > CURRENT )) || [[ ${{words[CURRENT - 1]}} == --({}) ]]; then\n    _files\nelif [[ ${{words[CURRENT]}} == -* ]]; then\n    _describe option options",
        with_argument("|")
    );
    text.push_str("elif (( at == CURRENT )); then\n    _describe command verbs\n    _files -g '*.(ini|json|yaml|yml|xml)'\n");
    let _ = writeln!(
        text,
        "elif [[ $verb == completions ]]; then\n    compadd bash zsh fish\nelif [[ $verb == help ]]; then\n    compadd {}\nelif [[ $verb == ({}) ]]; then",
        topics(),
        naming("|")
    );
    text.push_str(NAMES);
    text
}

/// Inside of single quotes, before a colon.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:")
}
