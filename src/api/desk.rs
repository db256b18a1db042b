//! What the routes work with: the fleet to read, the emperor to ask, and what is kept between requests.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;

use super::connection::Aside;
use super::events::Feed;
use super::guard::{Access, Peer, TokenCheck};
use super::idempotency::key_of;
use super::problem::Problem;
use super::roles::Roles;
use super::show::{self, Moment};
use super::sizes::Sizes;
use super::snapshot::Snapshots;
use super::stream::Streams;
use super::token::TokenFile;
use super::views;
use crate::emperor::validation::Validator;
use crate::emperor::{Handle, Refusal, Request as Wish};
use crate::proto::rate::Rate;
use crate::sys::clock;
use crate::trace::{self, escaped};

/// What a handler answers.
pub type Answer = Result<Response, Box<Problem>>;

/// What the routes work with.
#[derive(Clone, Debug)]
pub struct Desk {
    /// The emperor.
    pub handle: Handle,
    /// The tokens for TCP.
    pub tokens: Option<Arc<TokenFile>>,
    /// Names besides the loopback ones by which the API may be called.
    pub hosts: Arc<[String]>,
    /// Whether the emperor runs as root.
    pub root: bool,
    /// What users of the unix socket may do.
    pub roles: Arc<Roles>,
    /// Whether files of vassals may be written.
    pub writes: bool,
    /// Looks at texts.
    pub validator: Validator,
    /// How many refused requests are logged.
    pub refusals: Arc<Rate>,
    /// What is kept between requests.
    pub kept: Arc<Kept>,
}

/// What is kept between requests, for all doors.
#[derive(Debug, Default)]
pub struct Kept {
    /// How large processes are.
    pub sizes: Sizes,
    /// The last snapshot.
    pub snapshots: Snapshots,
    /// The events, ready to be sent.
    pub feed: Feed,
    /// Places for those who listen.
    pub streams: Streams,
    /// Held by who writes a file.
    pub writing: Arc<tokio::sync::Mutex<()>>,
    /// Places for reading files of vassals.
    pub readers: super::configuration::Readers,
}

impl Desk {
    /// Now, for this reader.
    #[must_use]
    pub fn moment<'a>(&'a self, reader: &'a Access) -> Moment<'a> {
        Moment {
            now: clock::now(),
            now_us: clock::monotonic_us(),
            epoch_ms: clock::epoch_ms(),
            pid: std::process::id(),
            root: self.root,
            reader,
            sizes: &self.kept.sizes,
            countdown: true,
        }
    }

    /// Asks the emperor, who logs who asked for what, and what became of it; with an idempotency key that this identity
    /// has used for it, only looks up what it became then.
    ///
    /// # Errors
    /// The refusal.
    pub async fn ask_once(
        &self,
        who: String,
        identity: &str,
        wish: Wish,
        headers: &HeaderMap,
    ) -> Result<u64, Box<Problem>> {
        let key = key_of(headers, identity)?;
        let asked = self.handle.request_once(who, wish.clone(), key).await;
        asked.map_err(|refusal| self.explain(refusal, &wish))
    }

    /// Tells the log of something that was asked for and refused; of a flood of them, the first.
    pub fn tell_refusal(&self, asked: impl Display, problem: &Problem) {
        if self.refusals.allows(clock::now()) {
            tracing::warn!(target: trace::AUDIT, "{asked}: refused: {}", problem.detail);
        }
    }

    /// The answer about an operation that began.
    ///
    /// # Errors
    /// It is not known any more.
    pub async fn tell(&self, id: u64, wait: Duration, aside: Aside) -> Answer {
        self.tell_as(id, wait, aside, |operation| operation).await
    }

    /// The same, with more.
    ///
    /// # Errors
    /// As [`Desk::tell`].
    pub async fn tell_as<T: Serialize>(
        &self,
        id: u64,
        wait: Duration,
        aside: Aside,
        with_more: impl FnOnce(views::Operation) -> T,
    ) -> Answer {
        let Some(operation) = self.wait_for(id, wait, aside).await else {
            return Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "lost",
                format!("operation {id} is lost"),
            ));
        };
        let status = if operation.ended.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
        let location = [(header::LOCATION, operation.link.clone())];
        Ok((status, location, Json(with_more(operation))).into_response())
    }

    /// An operation, when it has ended or the time is over.
    pub async fn wait_for(&self, id: u64, wait: Duration, aside: Aside) -> Option<views::Operation> {
        let now = || self.handle.fleet().operation(id).map(show::operation);
        if !wait.is_zero() {
            let ended = self.handle.until(|fleet| fleet.operation(id).is_none_or(|o| o.ending.is_some()));
            let place = aside.step();
            tokio::select! {
                _ = tokio::time::timeout(wait, ended) => {}
                () = place.until_recalled() => {}
            }
        }
        now()
    }

    /// Tells whether who has got this access by a token has it still: the file may have changed.
    pub fn may_still(
        &self,
        peer: Peer,
        access: Access,
        headers: HeaderMap,
    ) -> impl Fn() -> bool + Send + 'static {
        let tokens = self.tokens.clone().filter(|_| matches!(peer, Peer::Remote { .. }));
        move || match &tokens {
            Some(tokens) if access.token.is_some() => {
                tokens.check(&headers) == TokenCheck::Right(access.clone())
            }
            _ => true,
        }
    }

    fn explain(&self, refusal: Refusal, wish: &Wish) -> Box<Problem> {
        match (refusal, wish.vassal()) {
            (Refusal::UnknownVassal(name), _) => self.unknown(&name),
            (refusal, Some(vassal)) => {
                let fleet = self.handle.fleet();
                let broken = fleet.vassals.get(vassal).and_then(|vassal| match vassal.serves() {
                    true => vassal.config_error.as_ref(),
                    false => vassal.config_error.as_ref().or(vassal.last_failure.as_ref()),
                });
                let problem = Box::<Problem>::from(refusal);
                broken.map_or(problem.clone(), |failure| problem.because_of(failure))
            }
            (refusal, _) => refusal.into(),
        }
    }

    /// There is no such vassal: says what may have been meant, and why a file of that name does not count.
    #[must_use]
    pub fn unknown(&self, name: &str) -> Box<Problem> {
        let fleet = self.handle.fleet();
        let problem =
            Problem::new(StatusCode::NOT_FOUND, "no-such-vassal", format!("no vassal {:?}", escaped(name)));
        if let Some(file) = fleet.not_started.iter().find(|file| file.name == name) {
            return problem
                .suggesting(format!("the file is there and not started: {}", escaped(&file.reason)));
        }
        match fleet.vassals.keys().find(|id| id.rsplit_once('.').is_some_and(|(stem, _)| stem == name)) {
            Some(id) => problem.suggesting(format!("did you mean {id:?}?")),
            None => problem,
        }
    }
}
