//! What of a configuration is nobody's business: values that are, or may hold, secrets.

use super::raw::Entry;
use super::text::reveal;

/// Words in names whose values are secrets.
const WORDS: [&str; 8] =
    ["password", "passwd", "secret", "token", "apikey", "api-key", "credential", "private"];

/// An entry as a line, its secrets left out.
#[must_use]
pub fn without(entry: &Entry) -> String {
    let key = reveal(&entry.key);
    match entry.value.as_deref().map(reveal) {
        Some(value) => format!("{key} = {}", shown(&key, &value)),
        None => format!("{key} = true"),
    }
}

/// What may be seen of the value of an option.
#[must_use]
pub fn shown(key: &str, value: &str) -> String {
    let lower = key.to_ascii_lowercase().replace('_', "-");
    if WORDS.iter().any(|word| lower.contains(word)) {
        "…".to_owned()
    } else if lower == "env" || lower.starts_with("hook-") && value.starts_with("putenv:") {
        value.split_once('=').map_or(value.to_owned(), |(name, _)| format!("{name}=…"))
    } else if lower.contains("route") {
        without_credentials(value)
    } else {
        // Many name commands, or values of other names.
        of_command(value)
    }
}

/// A command line without the values of words that are called like secrets, and without the passwords of addresses.
#[must_use]
pub fn of_command(command: &str) -> String {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase().replace('_', "-");
        // `/private=/srv/private` is a path.
        !name.starts_with('/') && WORDS.iter().any(|word| name.contains(word))
    };
    let closes = |word: &str, quote| word.strip_suffix(quote).is_some_and(|rest| !rest.ends_with('\\'));
    let mut shown = Vec::new();
    // What ends the value that is being left out: a quote, or the next space.
    let mut until: Option<char> = None;
    let mut is_next = false;
    for word in command.split(char::is_whitespace) {
        if let Some(quote) = until {
            until = (!closes(word, quote)).then_some(quote);
            continue;
        }
        if word.is_empty() {
            shown.push(String::new());
            continue;
        }
        let (name, value) = match word.split_once('=') {
            _ if std::mem::take(&mut is_next) => ("", Some(word)),
            Some((name, value)) if is_secret(name) => (name, Some(value)),
            _ => (word, None),
        };
        let Some(value) = value else {
            is_next = word.starts_with('-') && !word.contains('=') && is_secret(word);
            shown.push(without_password(word));
            continue;
        };
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        until = quote.filter(|quote| !closes(value.get(1..).unwrap_or_default(), *quote));
        shown.push(if name.is_empty() { "…".to_owned() } else { format!("{name}=…") });
    }
    shown.join(" ")
}

/// A rule of internal routing without the password that it asks for.
fn without_credentials(rule: &str) -> String {
    let asked = rule.find("basicauth").and_then(|at| Some((at, rule.get(at..)?.find(',')?)));
    let shown = asked.and_then(|(at, comma)| rule.get(..=at + comma));
    match shown {
        Some(shown) => format!("{shown}…"),
        None => without_password(rule),
    }
}

/// An address without the password before its host.
fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let end = rest.find(['/', ' ', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user.to_owned(), |(user, _)| format!("{user}:…"));
            format!("{scheme}://{user}@{host}{path}")
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::{Origin, Role};

    #[test]
    fn a_command_gives_no_secret_away() {
        for (command, expected) in [
            ("celery -A app worker", "celery -A app worker"),
            ("x --password=p -v", "x --password=… -v"),
            ("x --api_key p -v", "x --api_key … -v"),
            ("x --token 'a b' -v", "x --token … -v"),
            ("x --secret=\"a b\" -v", "x --secret=… -v"),
            ("DB_PASSWORD=p x", "DB_PASSWORD=… x"),
            ("x --broker=redis://u:p@h/0", "x --broker=redis://u:…@h/0"),
            ("x --broker redis://:p@h/0", "x --broker redis://:…@h/0"),
            ("x --token", "x --token"),
            ("x  y", "x  y"),
            ("x --token  p -v", "x --token  … -v"),
            ("x --token\tp -v", "x --token … -v"),
            (r#"x --secret="a\" b" -v"#, "x --secret=… -v"),
            ("x --secret=\" a\" -v", "x --secret=… -v"),
            ("sh -c 'x --token p'", "sh -c 'x --token …"),
        ] {
            assert_eq!(of_command(command), expected);
        }
    }

    #[test]
    fn secrets_are_left_out() {
        for (key, value, expected) in [
            ("processes", "4", "processes = 4"),
            ("env", "DATABASE_URL=postgres://u:p@h/d", "env = DATABASE_URL=…"),
            ("env", "EMPTY", "env = EMPTY"),
            (
                "hook-pre-app",
                "putenv:DATABASE_URL=postgres://u:p@h/d",
                "hook-pre-app = putenv:DATABASE_URL=…",
            ),
            ("hook-pre-app", "write:/x a=b", "hook-pre-app = write:/x a=b"),
            ("db_password", "x", "db_password = …"),
            ("set-api_key", "x", "set-api_key = …"),
            ("broker", "amqp://me:pw@host:1/v?x", "broker = amqp://me:…@host:1/v?x"),
            ("route", "^/ basicauth:Here,me:pw", "route = ^/ basicauth:Here,…"),
            ("route-run", "basicauth-next:Here,me:p,w", "route-run = basicauth-next:Here,…"),
            ("route", "^/a,b redirect:/x", "route = ^/a,b redirect:/x"),
            ("broker", "amqp://host/a@b", "broker = amqp://host/a@b"),
            ("attach-daemon", "x --password p --token=t -v", "attach-daemon = x --password … --token=… -v"),
            ("exec-asap", "PGPASSWORD=p psql", "exec-asap = PGPASSWORD=… psql"),
            ("set-placeholder", "api_token=t", "set-placeholder = api_token=…"),
            ("static-map", "/private=/srv/private", "static-map = /private=/srv/private"),
        ] {
            let entry = Entry {
                key: key.into(),
                value: Some(value.into()),
                origin: Origin::of("x"),
                role: Role::Ordinary,
                dressed: false,
            };
            assert_eq!(without(&entry), expected);
        }
    }
}
