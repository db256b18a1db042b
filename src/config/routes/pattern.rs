//! The regular expressions of rules: those of PCRE, as far as they mean the same here; anything else is refused.
//!
//! Most are matched in a time proportional to the text. Lookaround, references to groups and the like need
//! backtracking; it is bounded, and a match that would take longer is told apart from none.

use std::fmt;

use regex::bytes;

/// What a compiled pattern may take.
const PATTERN_BYTES: usize = 1024 * 1024;
/// The longest pattern, in bytes, and how deep its groups may be in each other.
const LONGEST: usize = 4096;
const DEEPEST: usize = 64;
/// How far a match may go back.
const BACKTRACKS: usize = 100_000;

/// A regular expression over bytes.
#[derive(Debug)]
pub struct Pattern(Kind);

#[derive(Debug)]
enum Kind {
    Linear(bytes::Regex),
    /// Over text whose letters are the bytes.
    Backtracking(fancy_regex::Regex),
}

/// What the groups of a pattern matched, the whole match first.
pub type Groups = Vec<Option<Vec<u8>>>;

/// Whether a text matches could not be found out in the time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooHard;

impl Pattern {
    /// Compiles one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let pattern = translate(text)?;
        if !pattern.backtracks {
            let linear =
                bytes::RegexBuilder::new(&pattern.text).unicode(false).size_limit(PATTERN_BYTES).build();
            if let Ok(linear) = linear {
                return Ok(Self(Kind::Linear(linear)));
            }
        }
        let letters = |text: &str| text.bytes().map(char::from).collect::<String>();
        fancy_regex::RegexBuilder::new(&letters(&pattern.text))
            .backtrack_limit(BACKTRACKS)
            .delegate_size_limit(PATTERN_BYTES)
            .build()
            .map(|regex| Self(Kind::Backtracking(regex)))
            .map_err(|error| error.to_string())
    }

    /// How many groups it has.
    #[must_use]
    pub fn groups(&self) -> usize {
        let all = match &self.0 {
            Kind::Linear(regex) => regex.captures_len(),
            Kind::Backtracking(regex) => regex.captures_len(),
        };
        all.saturating_sub(1)
    }

    /// What matches anywhere in the text.
    ///
    /// # Errors
    /// It takes too long.
    pub fn find(&self, text: &[u8]) -> Result<Option<Groups>, TooHard> {
        match &self.0 {
            Kind::Linear(regex) => Ok(regex.captures(text).map(|found| {
                found.iter().map(|group| group.map(|group| group.as_bytes().to_vec())).collect()
            })),
            Kind::Backtracking(regex) => {
                let letters: String = text.iter().copied().map(char::from).collect();
                let bytes =
                    |text: &str| text.chars().filter_map(|letter| u8::try_from(letter).ok()).collect();
                let found = regex.captures(&letters).map_err(|_| TooHard)?;
                Ok(found.map(|found| {
                    found.iter().map(|group| group.map(|group| bytes(group.as_str()))).collect()
                }))
            }
        }
    }
}

/// A pattern in the words of the engines here.
struct Translated {
    text: String,
    /// It has what only backtracking can do, and what the other engine would read differently.
    backtracks: bool,
}

/// What a letter behind a backslash may be, besides digits.
const ESCAPES: &str = "dDwWsSbBAzZnrtfaexkpP";

fn translate(pattern: &str) -> Result<Translated, String> {
    if pattern.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let mut depth = 0_usize;
    let mut out = Translated { text: String::with_capacity(pattern.len() + 8), backtracks: false };
    let mut letters = pattern.chars().peekable();
    let mut in_class = false;
    // Whether the letter before repeats something.
    let mut repeats = false;
    while let Some(letter) = letters.next() {
        let repeated = std::mem::replace(&mut repeats, false);
        match letter {
            '\\' => match letters.next() {
                None => return Err("it ends with a backslash".to_owned()),
                // These would be the borders of words.
                Some(letter @ ('<' | '>')) => out.text.push(letter),
                // Also before a newline at the end.
                Some('Z') if !in_class => out.text.push_str("(?:\\n?\\z)"),
                Some(letter) if letter.is_ascii_alphanumeric() => {
                    let is_border = in_class && matches!(letter, 'b' | 'B' | 'A' | 'z' | 'Z');
                    if is_border || !letter.is_ascii_digit() && !ESCAPES.contains(letter) {
                        return Err(format!("`\\{letter}` is not supported"));
                    }
                    out.text.extend(['\\', letter]);
                }
                Some(letter) => out.text.extend(['\\', letter]),
            },
            '[' if !in_class => {
                in_class = true;
                out.text.push('[');
                out.text.extend(letters.next_if_eq(&'^'));
                if letters.next_if_eq(&']').is_some() {
                    out.text.push_str("\\]");
                }
            }
            '[' if letters.peek() == Some(&':') => {
                let rest: String = letters.clone().collect();
                let class = rest.split_once(":]").map(|(class, _)| class);
                match class.filter(|class| {
                    class.trim_start_matches([':', '^']).chars().all(|l| l.is_ascii_lowercase())
                }) {
                    Some(class) => {
                        out.text.push('[');
                        out.text.push_str(class);
                        out.text.push_str(":]");
                        letters.nth(class.chars().count() + 1);
                    }
                    None => out.text.push_str("\\["),
                }
            }
            '[' | '&' | '~' if in_class => out.text.extend(['\\', letter]),
            '-' if in_class && letters.peek() == Some(&'-') => {
                return Err("`--` in a class is not supported".to_owned());
            }
            ']' if in_class => {
                in_class = false;
                out.text.push(']');
            }
            _ if in_class => out.text.push(letter),
            // Also before a newline at the end.
            '$' => out.text.push_str("(?:\\n?$)"),
            ')' => {
                depth = depth.saturating_sub(1);
                out.text.push(')');
            }
            '(' => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(format!("more than {DEEPEST} groups are in each other"));
                }
                out.text.push('(');
                let rest: String = letters.clone().take(16).collect();
                if let Some(rest) = rest.strip_prefix('?') {
                    check_group(rest)?;
                    // The mark is no repetition.
                    out.text.extend(letters.next());
                } else if rest.starts_with('*') {
                    return Err("`(*` is not supported".to_owned());
                }
            }
            '*' | '+' | '?' | '}' => {
                // Twice: it never gives back what it took.
                out.backtracks |= repeated && letter == '+';
                repeats = !repeated;
                out.text.push(letter);
            }
            _ => out.text.push(letter),
        }
    }
    if in_class { Err("a class has no end: a `]` is missing".to_owned()) } else { Ok(out) }
}

/// What follows `(?`.
fn check_group(rest: &str) -> Result<(), String> {
    if rest.starts_with([':', '=', '!', '>', '<', '#', '('])
        || rest.starts_with("P<")
        || rest.starts_with("P=")
    {
        return Ok(());
    }
    let end = rest.find([':', ')']).unwrap_or(rest.len());
    let flags = rest.get(..end).unwrap_or_default();
    if flags.chars().all(|flag| "imsxU-".contains(flag)) && end < rest.len() {
        return Ok(());
    }
    Err(format!("`(?{}` is not supported", flags.chars().take(4).collect::<String>()))
}

impl fmt::Display for TooHard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("matching takes too long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_pcre() {
        for (pattern, text, expected) in [
            ("^/a(.*)b", "/axxb", Some(vec!["/axxb", "xx"])),
            ("a", "xxaxx", Some(vec!["a"])),
            ("^a", "xa", None),
            ("", "x", Some(vec![""])),
            ("^/admin$", "/admin", Some(vec!["/admin"])),
            ("^/admin$", "/admin\n", Some(vec!["/admin\n"])),
            ("^/admin$", "/admin\n\n", None),
            ("^/admin\\Z", "/admin\n", Some(vec!["/admin\n"])),
            ("^/admin\\z", "/admin\n", None),
            ("^(.*)$", "a\n", Some(vec!["a\n", "a"])),
            ("^/(?!static|media)(.+)", "/app", Some(vec!["/app", "app"])),
            ("^/(?!static|media)(.+)", "/static/a", None),
            ("(?<=/)x", "/x", Some(vec!["x"])),
            ("(.)\\1", "abb", Some(vec!["bb", "b"])),
            ("a++a", "aaa", None),
            ("[[:alpha:]_]+", "12ab_3", Some(vec!["ab_"])),
            ("[[a]", "[", Some(vec!["["])),
            ("[]a]+", "]a", Some(vec!["]a"])),
            ("[a&&b]+", "&&", Some(vec!["&&"])),
            ("a\\<b", "a<b", Some(vec!["a<b"])),
            ("(?i)ABC", "abc", Some(vec!["abc"])),
            ("(?P<n>x)(y)?", "x", Some(vec!["x", "x", "-"])),
            ("\\.(png|jpe?g)$", "/a.jpg", Some(vec![".jpg", "jpg"])),
            ("\\w+", "\u{e9}a", Some(vec!["a"])),
            ("a{2,3}", "aaaa", Some(vec!["aaa"])),
            ("a{3", "a{3", Some(vec!["a{3"])),
        ] {
            let found = Pattern::new(pattern).unwrap().find(text.as_bytes()).unwrap();
            let told = found.map(|groups| {
                let text =
                    |group: Option<Vec<u8>>| group.map_or("-".into(), |g| String::from_utf8(g).unwrap());
                groups.into_iter().map(text).collect::<Vec<_>>()
            });
            assert_eq!(
                told,
                expected.map(|groups| groups.into_iter().map(str::to_owned).collect()),
                "{pattern}"
            );
        }
        let deep = |depth| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Pattern::new(&deep(60)).is_ok());
        assert!(Pattern::new(&deep(100_000)).is_err() && Pattern::new(&deep(65)).is_err());
        assert!(Pattern::new("^.$").unwrap().find(b"\xff").unwrap().is_some());
        assert!(Pattern::new("^(?!a).$").unwrap().find(b"\xff").unwrap().is_some());
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for pattern in [
            "(", "[a", "a\\", "\\h", "\\Qa\\E", "\\R", "\\K", "[\\b]", "[a--b]", "(?R)", "(?u)a", "(?|a)",
            "(*FAIL)", "*a", "\\g1", "(?1)", "(?J)a",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_takes_too_long_is_told_apart_from_no_match() {
        let pattern = Pattern::new("^(?!b)(a|aa)+\\1c$").unwrap();
        assert_eq!(pattern.find(&b"a".repeat(200)), Err(TooHard));
        assert!(Pattern::new("(a*)*b").unwrap().find(&b"a".repeat(10_000)).unwrap().is_none());
    }
}
