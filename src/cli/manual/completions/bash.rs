//! Completions for GNU Bash.

use std::fmt::Write;

use super::super::verbs::Verb;
use super::{
    further_places, name_of, names_of_verbs, naming, options, places, topics, verbs_with_options,
    with_argument,
};
use crate::config::table::Row;

/// Finds the command, which may stand behind where its emperor is, and asks for names there.
///
/// The shell takes words apart at `:` and `=`, as in `http://HOST:PORT`: here they are whole, and of what completes one
/// only the end is given back. Names are data: nothing of them is expanded, whatever a file is called.
const START: &str = r#"_liege() {
    local line=$COMP_LINE part word head verb options name n last at=1
    local -a words=() access=()
    for ((n = 0; n <= COMP_CWORD; n++)); do
        part=${COMP_WORDS[n]}
        if ((n == 0)) || [[ $line == [[:space:]]* ]]; then words+=("$part"); else words[${#words[@]} - 1]+=$part; fi
        line=${line#"${line%%[![:space:]]*}"}
        line=${line#"$part"}
    done
    last=$((${#words[@]} - 1))
    for ((n = 0; n <= last; n++)); do
        words[n]=${words[n]//[\\\"\']/}
        words[n]=${words[n]/#\~\//$HOME/}
    done
    word=${words[last]} head=
    [[ $COMP_WORDBREAKS == *:* ]] && head=${word%"${word##*[:=]}"}
    for ((n = 1; n < last; n++)); do
        case ${words[n]} in
            --EACH) access+=("${words[n]}" "${words[n + 1]}") ;;
            --VALUED=*) access+=("${words[n]}") ;;
        esac
    done
    while ((at < last)) && [[ ${words[at]} == --@(PLACES)?(=*) ]]; do
        [[ ${words[at]} == *=* ]] && ((at += 1)) || ((at += 2))
    done
    verb=${words[at]}
    COMPREPLY=()
"#;

/// Of several hosts each name stands behind its host's.
const NAMES: &str = r#"        while IFS= read -r name; do
            [[ " ${access[*]}" == *" --hosts"* ]] && name=${name#* }
            [[ $name == "$word"* ]] && COMPREPLY+=("${name#"$head"}")
        done < <(liege status --names "${access[@]}" 2>/dev/null)
"#;

pub(super) fn script() -> String {
    let mut text = "# bash completion of liege; made by `liege completions bash`\n\n".to_owned();
    text.push_str(
        &START
            .replace("PLACES", &places("|"))
            .replace("EACH", &places("|--"))
            .replace("VALUED", &places("=*|--")),
    );
    text.push_str("    case $verb in\n");
    for verb in verbs_with_options() {
        let _ = writeln!(text, "        {}) options='{}' ;;", verb.name, flags(verb));
    }
    let all = options().map(Row::name).chain(further_places().map(|(name, _)| name));
    let all: Vec<_> = all.map(|name| format!("--{name}")).collect();
    let _ =
        writeln!(text, "        help|completions) ;;\n        *) options='{}' ;;\n    esac", all.join(" "));
    text.push_str("    if ((at > last)) || [[ ${words[last - 1]} == --@(");
    text.push_str(&with_argument("|"));
    text.push_str(
        ") || $word == -*=* ]]; then\n        COMPREPLY=($(compgen -f -- \"${word#\"$head\"}\"))\n",
    );
    text.push_str(
        "    elif [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n",
    );
    let _ = writeln!(
        text,
        "    elif ((at == last)); then\n        COMPREPLY=($(compgen -W '{}' -- \"$word\") $(compgen -f -X '!*.@(ini|json|yaml|yml|xml)' -- \"$word\"))",
        names_of_verbs()
    );
    let _ = writeln!(
        text,
        "    elif [[ $verb == completions ]]; then\n        COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$word\"))\n    elif [[ $verb == help ]]; then\n        COMPREPLY=($(compgen -W '{}' -- \"$word\"))",
        topics()
    );
    let _ = writeln!(text, "    elif [[ $verb == @({}) ]]; then\n{NAMES}    else", naming("|"));
    text.push_str("        COMPREPLY=($(compgen -f -- \"${word#\"$head\"}\"))\n    fi\n}\n\ncomplete -o filenames -F _liege liege");
    text
}

/// Its options without their arguments.
fn flags(verb: &Verb) -> String {
    verb.options().map(|(option, _)| format!("--{}", name_of(option))).collect::<Vec<_>>().join(" ")
}
