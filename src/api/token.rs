//! The token file: the secrets that allow changes over TCP.

use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use glob::Pattern;
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use super::guard::{Access, Grant, TokenCheck};
use crate::config::role::Role;
use crate::sys::file;
use crate::sys::user::current_uid;

const FILE_LIMIT_BYTES: u64 = 64 * 1024;
/// Shorter ones could be guessed.
const TOKEN_MIN_BYTES: usize = 16;

/// The file with the tokens (see [`parse`]). It is read for each request that carries a token, so a change counts at once.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    /// Whether the last reading failed, so that each failure is logged once.
    failing: AtomicBool,
}

impl TokenFile {
    /// Takes the file after a first reading.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it holds no token, or one that is too short.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        read(&path)?;
        Ok(Self { path, failing: AtomicBool::new(false) })
    }

    /// Compares the token that a request carries.
    #[must_use]
    pub fn check(&self, headers: &HeaderMap) -> TokenCheck {
        if bearer(headers).is_none() {
            return TokenCheck::Missing;
        }
        match read(&self.path) {
            Ok(tokens) => {
                self.failing.store(false, Ordering::Relaxed);
                compare(&tokens, headers)
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!("API token file: {error}");
                }
                TokenCheck::Unusable
            }
        }
    }
}

/// Compares the token that a request carries with these.
#[must_use]
pub fn compare(tokens: &[Token], headers: &HeaderMap) -> TokenCheck {
    let Some(given) = bearer(headers) else { return TokenCheck::Missing };
    let given: [u8; 32] = Sha256::digest(given).into();
    // All are compared, and hashes of equal length: the time tells nothing.
    let right = tokens.iter().filter(|token| same(&token.hash, &given)).fold(None, |_, token| Some(token));
    right.map_or(TokenCheck::Wrong, |token| TokenCheck::Right(token.access.clone()))
}

/// A token, as its hash, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    hash: [u8; 32],
    access: Access,
}

/// The token of `Authorization: Bearer TOKEN`; an empty one if the header says something else.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    Some(if scheme.eq_ignore_ascii_case(b"bearer ") { token.trim_ascii() } else { b"" })
}

fn read(path: &Path) -> io::Result<Vec<Token>> {
    let mut bytes = Vec::new();
    let metadata = file::open_untrusted(path).and_then(|file| {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes)?;
        }
        Ok(metadata)
    });
    let tokens = parse(&bytes);
    let refuse = |reason: &str| Err(io::Error::other(format!("{}: {reason}", path.display())));
    match metadata {
        Err(error) => refuse(&error.to_string()),
        Ok(found) if !found.is_file() => refuse("it is not a regular file"),
        Ok(found) if ![0, current_uid()].contains(&found.uid()) => {
            refuse("it is neither root's nor the emperor's user's: whose it is could give himself any role")
        }
        Ok(found) if found.mode() & 0o007 != 0 => {
            refuse("others may read or change it; make it chmod 600 or 640")
        }
        Ok(_) => match tokens {
            Ok(tokens) if tokens.is_empty() => refuse("it holds no token"),
            Ok(tokens) => Ok(tokens),
            Err(reason) => refuse(&reason),
        },
    }
}

/// The tokens of a file: on each line a role (`operate` where there is none), the token or `sha256:` and its hash in
/// hexadecimal digits, and patterns of the vassals that it may operate. Empty lines and comments are passed over.
///
/// # Errors
/// A line that means nothing, by its number.
pub fn parse(text: &[u8]) -> Result<Vec<Token>, String> {
    let lines = text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii).zip(1_u32..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    lines.map(|(line, number)| token(line).map_err(|reason| format!("line {number}: {reason}"))).collect()
}

fn token(line: &[u8]) -> Result<Token, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut words = text.split_ascii_whitespace().peekable();
    let role = words.peek().and_then(|word| Role::named(word));
    if role.is_some() {
        words.next();
    }
    let grant = role.unwrap_or(Grant::Operate);
    let secret = words.next().ok_or("there is no token after the role")?;
    let hash = match secret.strip_prefix("sha256:") {
        Some(digits) => unhex(digits).ok_or("sha256: takes 64 hexadecimal digits")?,
        None if secret.len() < TOKEN_MIN_BYTES => return Err("a token is shorter than 16 bytes".to_owned()),
        None => Sha256::digest(secret).into(),
    };
    let scope = words.map(Pattern::new).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let token = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Ok(Token { hash, access: Access { grant, scope, token: Some(token) } })
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let digits = digits.as_bytes();
    let fits = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)).filter(|_| fits) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    fits.then_some(hash)
}

/// Whether two hashes are equal, in a time that depends on neither.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    black_box(one.iter().zip(other).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    const TOKEN: &str = "0123456789abcdef0123";

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn right(grant: Grant) -> TokenCheck {
        TokenCheck::Right(Access { grant, scope: Vec::new(), token: None })
    }

    fn ask(file: &TokenFile, value: &'static str) -> TokenCheck {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        match file.check(&headers) {
            TokenCheck::Right(access) => TokenCheck::Right(Access { token: None, ..access }),
            other => other,
        }
    }

    #[test]
    fn only_the_token_itself_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(
            &path,
            "# for the deploy job\n\n  0123456789abcdef0123  \nanother-token-of-some-length\n",
            0o600,
        );
        let file = TokenFile::new(path.clone()).unwrap();
        for (value, expected) in [
            ("", TokenCheck::Missing),
            ("Bearer 0123456789abcdef0123", right(Grant::Operate)),
            ("bearer  0123456789abcdef0123 ", right(Grant::Operate)),
            ("Bearer another-token-of-some-length", right(Grant::Operate)),
            ("Bearer 0123456789abcdef012", TokenCheck::Wrong),
            ("Bearer 0123456789abcdef01234", TokenCheck::Wrong),
            ("Bearer 0123456789abcdef01230123456789abcdef0123", TokenCheck::Wrong),
            ("Bearer # for the deploy job", TokenCheck::Wrong),
            ("Bearer ", TokenCheck::Wrong),
            ("Basic 0123456789abcdef0123", TokenCheck::Wrong),
        ] {
            assert_eq!(ask(&file, value), expected, "{value:?}");
        }
        write(&path, "a-new-token-of-some-length\n", 0o600);
        assert_eq!(ask(&file, "Bearer 0123456789abcdef0123"), TokenCheck::Wrong);
        assert_eq!(ask(&file, "Bearer a-new-token-of-some-length"), right(Grant::Operate));
        write(&path, "a-new-token-of-some-length\n", 0o604);
        assert_eq!(ask(&file, "Bearer a-new-token-of-some-length"), TokenCheck::Unusable);
        fs::remove_file(&path).unwrap();
        assert_eq!(ask(&file, "Bearer a-new-token-of-some-length"), TokenCheck::Unusable);
    }

    #[test]
    fn a_file_that_others_read_or_that_holds_nothing_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, mode, accepted) in [
            (TOKEN, 0o600, true),
            (TOKEN, 0o640, true),
            (TOKEN, 0o644, false),
            (TOKEN, 0o602, false),
            ("", 0o600, false),
            ("# nothing\n", 0o600, false),
            ("short\n", 0o600, false),
        ] {
            write(&path, text, mode);
            assert_eq!(TokenFile::new(path.clone()).is_ok(), accepted, "{text:?} {mode:o}");
        }
        write(&path, TOKEN, 0o600);
        if current_uid() == 0 {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            assert!(TokenFile::new(path).is_err(), "another's");
        }
        assert!(TokenFile::new(directory.path().to_owned()).is_err());
        assert!(TokenFile::new(directory.path().join("none")).is_err());
    }

    #[test]
    fn a_token_has_a_role_a_scope_and_need_not_stand_there_itself() {
        // printf %s 0123456789abcdef0123 | sha256sum
        let hash = "sha256:1bd8fd47297046f993e608e398d5905b00a33e163c6b1172dd38887fed05ed6a";
        let access = |text: &str| match compare(&parse(text.as_bytes()).unwrap(), &headers()) {
            TokenCheck::Right(access) => Some((access.grant, access.scope.len())),
            _ => None,
        };
        fn headers() -> HeaderMap {
            let value = HeaderValue::from_static("Bearer 0123456789abcdef0123");
            HeaderMap::from_iter([(header::AUTHORIZATION, value)])
        }
        assert_eq!(Sha256::digest(TOKEN).to_vec(), unhex(&hash[7..]).unwrap());
        for (line, expected) in [
            (hash.to_owned(), Some((Grant::Operate, 0))),
            (format!("read {hash}"), Some((Grant::Read, 0))),
            (format!("admin {TOKEN}"), Some((Grant::Admin, 0))),
            (format!("operate {hash} blog.ini shop-*"), Some((Grant::Operate, 2))),
            ("admin another-token-of-some-length".to_owned(), None),
        ] {
            assert_eq!(access(&line), expected, "{line}");
        }
        for (wrong, reason) in [
            ("read", "line 1: there is no token after the role"),
            ("# a comment\nshort", "line 2: a token is shorter than 16 bytes"),
            ("sha256:12", "line 1: sha256: takes 64 hexadecimal digits"),
            ("0123456789abcdef0123 ***", "line 1: "),
        ] {
            let error = parse(wrong.as_bytes()).unwrap_err();
            assert!(error.starts_with(reason), "{wrong}: {error}");
        }
    }
}
