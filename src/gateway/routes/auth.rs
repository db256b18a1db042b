//! `basicauth`: who may come in.

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

use super::{Answer, State, World};
use crate::config::routes::action::{BasicAuth, Who};

/// Asks for a password, unless somebody was let in before; `None`: the request goes on.
pub(super) fn ask(wanted: &BasicAuth, state: &mut State, world: &dyn World) -> Option<Answer> {
    if state.request.get(b"REMOTE_USER").is_some_and(|user| !user.is_empty()) {
        return None;
    }
    let Some(credentials) = credentials(state.request.get(b"HTTP_AUTHORIZATION").unwrap_or_default()) else {
        return Some(unauthorized(&wanted.realm));
    };
    let user = match &wanted.who {
        Who::Nobody => None,
        Who::Pair(pair) => same(&credentials, pair.as_bytes()).then(|| name(&credentials)).flatten(),
        Who::File(path) => world.passwords(path).and_then(|text| in_file(&text, &credentials)),
    };
    match user {
        Some(user) => {
            let user = user.to_vec();
            state.request.set(b"REMOTE_USER", user);
            None
        }
        None if wanted.next && wanted.who != Who::Nobody => None,
        None => Some(unauthorized(&wanted.realm)),
    }
}

fn unauthorized(realm: &str) -> Answer {
    Answer {
        status: "401 Authorization Required".to_owned(),
        fields: vec![("WWW-Authenticate".to_owned(), format!("Basic realm=\"{realm}\"").into_bytes())],
        body: b"Unauthorized".to_vec(),
    }
}

/// `user:password` of `Authorization`.
fn credentials(field: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii()).ok()
}

fn name(credentials: &[u8]) -> Option<&[u8]> {
    credentials.split(|byte| *byte == b':').next().filter(|name| !name.is_empty())
}

/// The user, if a line of the file has the user with this password. Whoever is not let in has waited as long as everybody
/// else, so that the time does not tell which users there are.
fn in_file<'a>(text: &str, credentials: &'a [u8]) -> Option<&'a [u8]> {
    let user = name(credentials)?;
    let password = credentials.get(user.len() + 1..)?;
    let Verdict { is_right, left } = judge(text, user, password);
    for cost in left {
        std::hint::black_box(bcrypt::hash_with_salt(password, cost, [0; 16]).is_ok());
    }
    is_right.then_some(user)
}

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    is_right: bool,
    /// The costs of the hashes that are still to be computed for nothing.
    left: Vec<u32>,
}

fn judge(text: &str, user: &[u8], password: &[u8]) -> Verdict {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha1::digest(password));
    let (mut most, mut spent) = (0, 0);
    for (known, hash) in text.lines().filter_map(|line| line.split_once(':')) {
        let hash = hash.trim_end();
        let work = cost(hash).map_or(0, |cost| 1_u64 << cost);
        most = work.max(most);
        if known.as_bytes() != user {
            continue;
        }
        if is_password(password, &digest, hash) {
            return Verdict { is_right: true, left: Vec::new() };
        }
        spent += work;
    }
    let left = most.saturating_sub(spent);
    Verdict { is_right: false, left: COSTS.filter(|cost| left & 1 << cost != 0).collect() }
}

/// The costs that bcrypt has; each is twice the work of the one before. A file that asks for more makes those users wait
/// alone.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// The cost of a hash, if it is one of bcrypt.
fn cost(hash: &str) -> Option<u32> {
    let cost = hash.strip_prefix("$2")?.split('$').nth(1)?.parse().ok()?;
    COSTS.contains(&cost).then_some(cost)
}

/// Whether a hash of htpasswd is that of the password: `{SHA}`, as this digest, or bcrypt; any other is nobody's.
fn is_password(password: &[u8], digest: &str, hash: &str) -> bool {
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        return same(digest.as_bytes(), encoded.as_bytes());
    }
    hash.starts_with("$2") && bcrypt::verify(password, hash).unwrap_or(false)
}

/// Compares in a time that tells neither how much is right nor how long it is.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let (ours, theirs) = (Sha1::digest(ours), Sha1::digest(theirs));
    let differing =
        ours.iter().zip(&theirs).fold(0, |differing, (a, b)| std::hint::black_box(differing | (a ^ b)));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_let_in_costs_the_same() {
        let hash = |cost| bcrypt::hash_with_salt("secret", cost, [7; 16]).unwrap().to_string();
        let sha = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
        let mixed = format!("low:{}\nmiddle:{}\nhigh:{}\nsha:{sha}\nodd:$1$x\n", hash(4), hash(5), hash(7));
        let twice = format!("two:{}\ntwo:{}\n", hash(5), hash(6));
        for (text, user, password, is_right, left) in [
            (&mixed, "nobody", "secret", false, &[7][..]),
            (&mixed, "sha", "wrong", false, &[7]),
            (&mixed, "odd", "wrong", false, &[7]),
            (&mixed, "low", "wrong", false, &[4, 5, 6]),
            (&mixed, "middle", "wrong", false, &[5, 6]),
            (&mixed, "high", "wrong", false, &[]),
            (&mixed, "high", "secret", true, &[]),
            (&mixed, "low", "secret", true, &[]),
            (&mixed, "sha", "secret", true, &[]),
            (&twice, "two", "wrong", false, &[]),
            (&twice, "nobody", "wrong", false, &[6]),
            (&format!("sha:{sha}\n"), "nobody", "wrong", false, &[]),
            // Nobody else has to wait for what would take minutes.
            (&"slow:$2y$31$abcdefghijklmnopqrstuu\n".to_owned(), "nobody", "wrong", false, &[]),
        ] {
            let expected = Verdict { is_right, left: left.to_vec() };
            assert_eq!(judge(text, user.as_bytes(), password.as_bytes()), expected, "{user} {password}");
        }
    }

    #[test]
    fn only_what_is_equal_is_the_same() {
        for (one, other, expected) in
            [("a", "a", true), ("", "", true), ("a", "ab", false), ("ab", "ac", false)]
        {
            assert_eq!(same(one.as_bytes(), other.as_bytes()), expected);
        }
    }
}
