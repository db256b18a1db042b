//! `Idempotency-Key`: what a request brings along so that it acts once, however often it is sent.

use http::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::emperor::once::Key;

/// The longest key.
const KEY_LIMIT: usize = 255;

/// The key of a request of somebody.
///
/// # Errors
/// It is none.
pub fn key_of(headers: &HeaderMap, who: &str) -> Result<Option<Key>, Box<Problem>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str().ok().filter(|text| is_key(text)) {
        Some(text) => Ok(Some(Key { who: who.to_owned(), text: text.to_owned() })),
        None => {
            let detail = format!("Idempotency-Key has 1 to {KEY_LIMIT} visible characters");
            Err(Problem::new(StatusCode::BAD_REQUEST, "bad-key", detail))
        }
    }
}

fn is_key(text: &str) -> bool {
    (1..=KEY_LIMIT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
