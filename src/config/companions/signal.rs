//! A signal as configuration files name it: by number, or by name.

const NAMES: [(&str, i32); 15] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("WINCH", 28),
];

/// Its number; `None`: there is no such signal.
pub(super) fn parse(text: &str) -> Option<i32> {
    let text = text.trim();
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok().filter(|number| (1..=64).contains(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_understood() {
        for (text, number) in [
            ("15", Some(15)),
            ("SIGINT", Some(2)),
            ("USR1", Some(10)),
            ("0", None),
            ("65", None),
            ("x", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
