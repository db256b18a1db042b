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

/// The user, if a line of the file has the user with this password.
fn in_file<'a>(text: &str, credentials: &'a [u8]) -> Option<&'a [u8]> {
    let user = name(credentials)?;
    let password = credentials.get(user.len() + 1..)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let is_right =
        lines.any(|(known, hash)| known.as_bytes() == user && is_password(password, hash.trim_end()));
    is_right.then_some(user)
}

/// Whether a hash of htpasswd is that of the password: `{SHA}` or bcrypt; any other is nobody's.
fn is_password(password: &[u8], hash: &str) -> bool {
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        let digest = base64::engine::general_purpose::STANDARD.encode(Sha1::digest(password));
        return same(digest.as_bytes(), encoded.as_bytes());
    }
    hash.starts_with("$2") && bcrypt::verify(password, hash).unwrap_or(false)
}

/// Compares in a time that does not tell how much is right.
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    let differing = ours.iter().zip(theirs).fold(0, |differing, (a, b)| differing | (a ^ b));
    ours.len() == theirs.len() && std::hint::black_box(differing) == 0
}
