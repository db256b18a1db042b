//! `key=value,key=value`, as uWSGI reads it: a backslash takes the meaning from the character after it.

/// The pairs in order; a part without an equals sign has no value.
#[must_use]
pub fn parse(text: &str) -> Vec<(String, Option<String>)> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match (c, escaped) {
            ('\\', false) => escaped = true,
            (',', false) => parts.push(String::new()),
            (c, _) => {
                escaped = false;
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    let pair = |part: String| match part.split_once('=') {
        Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
        None => (part, None),
    };
    parts.into_iter().filter(|part| !part.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_unless_escaped() {
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        for (text, pairs) in [
            ("cmd=a b,freq=3", vec![pair("cmd", Some("a b")), pair("freq", Some("3"))]),
            (r"cmd=a\,b=c", vec![pair("cmd", Some("a,b=c"))]),
            ("cmd=a --x=y", vec![pair("cmd", Some("a --x=y"))]),
            ("cmd=a,b", vec![pair("cmd", Some("a")), pair("b", None)]),
            ("cmd=,", vec![pair("cmd", Some(""))]),
            ("", vec![]),
        ] {
            assert_eq!(parse(text), pairs, "{text}");
        }
    }
}
