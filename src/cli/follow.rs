//! An answer that goes on, taken up again where it was when the emperor comes back.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::client::{Client, ClientError, Lines};
use crate::api::views::Gap;

/// How long to wait before an emperor that is gone is looked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// A line of an answer without an end.
#[derive(Debug)]
pub enum News<T> {
    /// Something new.
    Item(T),
    /// Some of it is not kept any more.
    Gap(Gap),
}

impl<T: DeserializeOwned> News<T> {
    /// The line as read; `None`: another version says something that this one does not know.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        match line.starts_with(b"{\"gap\":") {
            true => serde_json::from_slice(line).ok().map(Self::Gap),
            false => serde_json::from_slice(line).ok().map(Self::Item),
        }
    }
}

/// What comes.
#[derive(Debug)]
pub enum Followed {
    /// A line of JSON.
    Line(Vec<u8>),
    /// The emperor is gone; it is looked for. Said once each time.
    Lost(ClientError),
}

/// Follows an answer without an end.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    lines: Option<Lines>,
    after: Option<String>,
    lost: bool,
}

impl Follower {
    /// One that begins at the beginning.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client, lines: None, after: None, lost: false }
    }

    /// The next thing that comes; `path` is asked for, with what was seen last.
    ///
    /// # Errors
    /// The emperor refuses.
    pub async fn next(&mut self, path: impl Fn(Option<&str>) -> String) -> Result<Followed, ClientError> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => match self.client.follow(&path(self.after.as_deref())).await {
                    Ok(lines) => {
                        self.lost = false;
                        self.lines.insert(lines)
                    }
                    Err(ClientError::Refused(problem)) => return Err(ClientError::Refused(problem)),
                    Err(error) => {
                        if !std::mem::replace(&mut self.lost, true) {
                            return Ok(Followed::Lost(error));
                        }
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            match lines.next().await {
                Ok(Some(line)) => return Ok(Followed::Line(line)),
                // A re-execution closes it: whether it is gone is told when it cannot be reached.
                Ok(None) | Err(_) => self.lines = None,
            }
        }
    }

    /// The mark of what was seen last.
    pub fn seen(&mut self, mark: String) {
        self.after = Some(mark);
    }
}
