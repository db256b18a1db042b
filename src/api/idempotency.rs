//! `Idempotency-Key`: a request that is sent again, because its answer was lost, acts once.

use std::collections::VecDeque;

use http::{HeaderMap, StatusCode};
use tokio::sync::{Mutex, MutexGuard};

use super::problem::Problem;
use crate::emperor::Request as Wish;

/// How many keys are remembered.
const KEYS: usize = 1000;
/// The longest key.
const KEY_LIMIT: usize = 255;

/// The keys that were used, with what was asked for and the operation that it became.
#[derive(Debug, Default)]
pub struct Keys {
    used: Mutex<VecDeque<Used>>,
}

#[derive(Debug)]
struct Used {
    who: String,
    key: String,
    wish: Wish,
    operation: u64,
}

/// Whether a key was used. Nobody else uses one while the answer is held.
#[derive(Debug)]
pub enum Key<'a> {
    /// There is none.
    Absent,
    /// It was used for the same: this is the operation.
    Known(u64),
    /// It is new.
    New(NewKey<'a>),
}

/// A key that is to be remembered with its operation.
#[derive(Debug)]
pub struct NewKey<'a> {
    used: MutexGuard<'a, VecDeque<Used>>,
    who: String,
    key: String,
    wish: Wish,
}

impl Keys {
    /// Looks up the key of a request of somebody.
    ///
    /// # Errors
    /// It is none, or was used for something else.
    pub async fn look(&self, headers: &HeaderMap, who: &str, wish: &Wish) -> Result<Key<'_>, Box<Problem>> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(Key::Absent) };
        let key = value.to_str().ok().filter(|key| is_key(key));
        let Some(key) = key else {
            let detail = format!("Idempotency-Key has 1 to {KEY_LIMIT} visible characters");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-key", detail));
        };
        let used = self.used.lock().await;
        match used.iter().find(|known| known.who == who && known.key == key) {
            Some(known) if known.wish == *wish => Ok(Key::Known(known.operation)),
            Some(_) => {
                let detail = "this Idempotency-Key was used for something else";
                Err(Problem::new(StatusCode::CONFLICT, "key-reused", detail))
            }
            None => {
                Ok(Key::New(NewKey { used, who: who.to_owned(), key: key.to_owned(), wish: wish.clone() }))
            }
        }
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_LIMIT).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

impl NewKey<'_> {
    /// Remembers what it became.
    pub fn remember(mut self, operation: u64) {
        if self.used.len() >= KEYS {
            self.used.pop_front();
        }
        let Self { who, key, wish, .. } = &mut self;
        let used = Used { who: std::mem::take(who), key: std::mem::take(key), wish: wish.clone(), operation };
        self.used.push_back(used);
    }
}
