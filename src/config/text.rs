//! Characters that must not act: moved to the last private-use plane while text is cut and expanded, and back.
//!
//! A file's own name may hold anything (`$(HOME).ini`, a newline). As data it passes unharmed through every stage
//! in this disguise. Nothing legitimate uses plane 16; characters of it in a file become U+FFFD.

const PLANE: u32 = 0x10_0000;
/// Beyond every white-space character of Unicode.
const LAST: u32 = 0x3001;

/// Bytes as text: a byte-order mark dropped, what is not UTF-8 and all of plane 16 replaced by U+FFFD.
pub(super) fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if u32::from(c) >= PLANE { '\u{fffd}' } else { c })
        .collect()
}

/// Disguises the characters that `acts` names.
pub(super) fn disguise(text: &str, acts: impl Fn(char) -> bool) -> String {
    text.chars()
        .map(|c| match u32::from(c) {
            code if code < LAST && acts(c) => char::from_u32(PLANE.saturating_add(code)).unwrap_or(c),
            _ => c,
        })
        .collect()
}

/// Takes every disguise off.
pub(super) fn reveal(text: &str) -> String {
    text.chars()
        .map(|c| match u32::from(c).checked_sub(PLANE) {
            Some(code) if code < LAST => char::from_u32(code).unwrap_or(c),
            _ => c,
        })
        .collect()
}

/// Disguises what an outside name could do inside a configuration: cut lines, start expansions.
pub(super) fn tame(name: &str) -> String {
    disguise(name, |c| matches!(c, '$' | '@' | '%' | '\n' | '\r' | '\0' | '=' | ';' | '#' | '[' | '"' | '\''))
}

/// In front of every character that [`shield`] disguised: so it says whose it is, and what an earlier stage
/// disguised stays so.
const SHIELD: char = '\u{10fffd}';

/// Disguises the characters that `acts` names (each with the one behind it) from a parser of somebody else's.
pub(super) fn shield(text: &str, acts: impl Fn(char, Option<char>) -> bool) -> String {
    let mut shielded = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match char::from_u32(PLANE.saturating_add(u32::from(c))) {
            Some(disguised) if u32::from(c) < LAST && acts(c, rest.peek().copied()) => {
                shielded.extend([SHIELD, disguised]);
            }
            _ => shielded.push(c),
        }
    }
    shielded
}

/// Takes off what [`shield`] put on, and nothing else.
pub(super) fn reveal_shielded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            SHIELD => plain.extend(rest.next().map(|c| reveal(c.encode_utf8(&mut [0; 4])))),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_disguised_comes_back() {
        for name in ["$(HOME).ini", "a\nb", "plain", "\u{3000}wide", "100% [x]; #"] {
            assert_eq!(reveal(&tame(name)), name);
            assert_eq!(reveal(&disguise(name, |_| true)), name);
        }
        assert!(!tame("$(X)\n").contains(['$', '\n']));
    }

    #[test]
    fn a_shield_leaves_other_disguises_on() {
        let text = format!("a: %(x) % {}", tame("$;"));
        let shielded = shield(&text, |c, next| c == '%' && next == Some('('));
        assert!(!shielded.contains("%(") && shielded.contains("% "));
        assert_eq!(reveal_shielded(&shielded), text);
    }

    #[test]
    fn bytes_become_text() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbf[uwsgi]"[..], "[uwsgi]"),
            (b"caf\xe9", "caf\u{fffd}"),
            ("\u{100041}".as_bytes(), "\u{fffd}"),
        ] {
            assert_eq!(decode(bytes), text);
        }
    }
}
