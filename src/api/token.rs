//! The token file: the secrets that allow changes over TCP.

use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, header};

use super::guard::TokenCheck;
use crate::sys::file;

const FILE_LIMIT_BYTES: u64 = 64 * 1024;
/// Shorter ones could be guessed.
const TOKEN_MIN_BYTES: usize = 16;

/// The file with the tokens, one on each line; empty lines and lines that begin with `#` are passed over. It is
/// read for each request that carries a token, so a change counts at once.
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
pub fn compare(tokens: &[Vec<u8>], headers: &HeaderMap) -> TokenCheck {
    let Some(given) = bearer(headers) else { return TokenCheck::Missing };
    // All are compared: the time tells nothing.
    let right = tokens.iter().fold(false, |any, token| any | same(token, given));
    if right { TokenCheck::Right } else { TokenCheck::Wrong }
}

/// The token of `Authorization: Bearer TOKEN`; an empty one if the header says something else.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    Some(if scheme.eq_ignore_ascii_case(b"bearer ") { token.trim_ascii() } else { b"" })
}

fn read(path: &Path) -> io::Result<Vec<Vec<u8>>> {
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
        Ok(found) if found.mode() & 0o007 != 0 => {
            refuse("others may read or change it; make it chmod 600 or 640")
        }
        Ok(_) if tokens.is_empty() => refuse("it holds no token"),
        Ok(_) if tokens.iter().any(|token| token.len() < TOKEN_MIN_BYTES) => {
            refuse("a token is shorter than 16 bytes")
        }
        Ok(_) => Ok(tokens),
    }
}

/// The tokens of a file, one on each line; empty lines and comments are passed over.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Vec<u8>> {
    text.split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Equality in a time that depends on the given text's length only.
fn same(token: &[u8], given: &[u8]) -> bool {
    let difference = given.iter().enumerate().fold(token.len() ^ given.len(), |difference, (n, byte)| {
        let wanted = n.checked_rem(token.len()).and_then(|n| token.get(n)).copied().unwrap_or_default();
        black_box(difference | usize::from(wanted ^ byte))
    });
    black_box(difference) == 0
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

    fn ask(file: &TokenFile, value: &'static str) -> TokenCheck {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        file.check(&headers)
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
            ("Bearer 0123456789abcdef0123", TokenCheck::Right),
            ("bearer  0123456789abcdef0123 ", TokenCheck::Right),
            ("Bearer another-token-of-some-length", TokenCheck::Right),
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
        assert_eq!(ask(&file, "Bearer a-new-token-of-some-length"), TokenCheck::Right);
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
        assert!(TokenFile::new(directory.path().to_owned()).is_err());
        assert!(TokenFile::new(directory.path().join("none")).is_err());
    }
}
