//! Values as uWSGI reads them: C-like numbers, flags that are on unless told off, modes of three octal digits.

/// Off only for `false`, `off`, `no` (in any case) and `0`; everything else is on, the empty text included.
#[must_use]
pub fn flag(text: &str) -> bool {
    text != "0" && !["false", "off", "no"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

/// Whether a value switches its option off, whatever the option's kind.
#[must_use]
pub fn is_off(text: &str) -> bool {
    text.is_empty() || matches!(text, "''" | "\"\"") || !flag(text)
}

/// The number that a text begins with, as C's `atoi` reads it, and whether that was the whole text.
#[must_use]
pub fn integer(text: &str) -> (i64, bool) {
    let start = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let (negative, digits) = match start.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, start.strip_prefix('+').unwrap_or(start)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).unwrap_or((digits, ""));
    // Digits only: the one way to fail is to be too large.
    let size = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i64::MAX) };
    (if negative { size.saturating_neg() } else { size }, !digits.is_empty() && rest.trim().is_empty())
}

/// The mode that `chmod-socket` names: three octal digits, or `1` for 666.
#[must_use]
pub fn mode(text: &str) -> Option<u32> {
    match text {
        "1" => Some(0o666),
        _ if text.len() == 3 => octal(text),
        _ => None,
    }
}

/// An octal number such as a `umask`.
#[must_use]
pub fn octal(text: &str) -> Option<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && !text.starts_with('+') => Some(mode),
        Ok(_) | Err(_) => None,
    }
}

/// Whether the value ends in what looks like a comment: uWSGI has none behind values.
#[must_use]
pub fn has_trailing_comment(text: &str) -> bool {
    without_comment(text).len() < text.len()
}

/// The value up to what looks like a comment.
#[must_use]
pub fn without_comment(text: &str) -> &str {
    let start = text.as_bytes().windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#' | b';']));
    start.and_then(|start| text.get(..start)).map_or(text, |value| value.trim_end_matches([' ', '\t']))
}

/// The value without what looks like a comment, and without quotes around it.
#[must_use]
pub fn bare(text: &str) -> &str {
    let text = without_comment(text);
    if is_quoted(text) { text.get(1..text.len().saturating_sub(1)).unwrap_or(text) } else { text }
}

/// Whether the value stands in quotes: uWSGI takes them as part of it.
#[must_use]
pub fn is_quoted(text: &str) -> bool {
    text.len() > 1 && ['"', '\''].iter().any(|quote| text.starts_with(*quote) && text.ends_with(*quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_on_unless_told_off() {
        for text in ["true", "True", "1", "", "yes", "tue", "n", "none", "00", "false ; c"] {
            assert!(flag(text), "{text}");
        }
        for text in ["false", "False", "off", "NO", "0"] {
            assert!(!flag(text), "{text}");
        }
        assert!(is_off("") && is_off("''") && is_off("false") && !is_off("dir"));
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, number, whole) in [
            ("4", 4, true),
            ("4 # four", 4, false),
            ("2.9", 2, false),
            ("0x2", 0, false),
            ("1k", 1, false),
            ("true", 0, false),
            ("\"4\"", 0, false),
            ("", 0, false),
            ("-5", -5, true),
            (" 7 ", 7, true),
            ("99999999999999999999", i64::MAX, true),
        ] {
            assert_eq!(integer(text), (number, whole), "{text}");
        }
    }

    #[test]
    fn modes_have_three_octal_digits() {
        for (text, expected) in [
            ("666", Some(0o666)),
            ("1", Some(0o666)),
            ("0666", None),
            ("true", None),
            ("", None),
            ("689", None),
        ] {
            assert_eq!(mode(text), expected, "{text}");
        }
        assert_eq!(octal("022"), Some(0o22));
        assert_eq!(octal("+22"), None);
    }

    #[test]
    fn comments_behind_values_and_quotes_are_seen() {
        assert!(is_quoted("\"a\"") && is_quoted("'a'") && !is_quoted("\"") && !is_quoted("\"a\", \"b"));
        assert!(has_trailing_comment("4 # four") && has_trailing_comment("x\t; y"));
        assert!(!has_trailing_comment("a#b") && !has_trailing_comment("# x"));
        for (text, expected) in [
            ("4 # four", "4"),
            ("\"4\" \t; four", "4"),
            ("'a b'", "a b"),
            ("\"", "\""),
            ("é #", "é"),
            ("a", "a"),
        ] {
            assert_eq!(bare(text), expected, "{text}");
        }
    }
}
