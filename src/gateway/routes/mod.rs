//! Internal routing: a request goes past the rules, and what comes of it is decided. Nothing is read, sent or written
//! here: the world is asked through [`World`].

mod auth;
mod fill;
mod request;
mod test;

pub use request::{Request, State};

use crate::config::routes::action::{Action, FileAnswer};
use crate::config::routes::condition::FileTest;
use crate::config::routes::pattern::{Groups, Pattern};
use crate::config::routes::template::{Fact, Template};
use crate::config::routes::{Chain, RouteSpec, When};
use crate::gateway::environ;
use crate::proto::refusal::phrase;

/// What rules ask of the world.
pub trait World {
    /// Microseconds since the epoch.
    fn epoch_us(&self) -> u64;
    /// Something of the moment that the state does not know.
    fn fact(&self, fact: Fact) -> String;
    /// A test of a file.
    fn file(&self, test: FileTest, path: &[u8]) -> bool;
    /// The text of a file of passwords; `None`: it cannot be read.
    fn passwords(&self, path: &std::path::Path) -> Option<String>;
    /// The media type of a file of this name.
    fn media_type(&self, name: &[u8]) -> String;
}

/// The rules, ready to be used.
#[derive(Debug)]
pub struct Program {
    spec: RouteSpec,
    patterns: [Vec<Option<Pattern>>; 4],
}

/// What the rules of a kind came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// On as usual.
    Continue,
    /// This is the answer.
    Answer(Answer),
    /// A file is the answer, if it is there.
    File {
        /// How.
        file: FileAnswer,
        /// Its name.
        path: Vec<u8>,
        /// Where the rules go on if it is not there.
        next: Option<usize>,
    },
    /// There is no answer: the connection ends.
    Silence,
}

/// An answer that no application gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status and words.
    pub status: String,
    /// Fields.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How it goes on behind a rule.
enum Step {
    Next,
    Jump(usize),
    End(End),
}

impl Program {
    /// The rules; `None`: there are none.
    #[must_use]
    pub fn new(spec: &RouteSpec) -> Option<Self> {
        // What is no pattern was refused when the configuration was read.
        let compile = |chain: Chain| {
            let patterns = spec.chain(chain).iter().map(|rule| match &rule.when {
                When::Matches { pattern, .. } => Pattern::new(pattern).ok(),
                _ => None,
            });
            patterns.collect()
        };
        let patterns = [Chain::Request, Chain::Error, Chain::Response, Chain::Last].map(compile);
        (!spec.is_empty()).then(|| Self { spec: spec.clone(), patterns })
    }

    /// Takes the request past the rules of a kind, from this one on.
    pub fn run(&self, chain: Chain, from: usize, state: &mut State, world: &dyn World) -> End {
        let patterns = match (chain, &self.patterns) {
            (Chain::Request, [patterns, ..])
            | (Chain::Error, [_, patterns, ..])
            | (Chain::Response, [_, _, patterns, _])
            | (Chain::Last, [.., patterns]) => patterns,
        };
        let rules = self.spec.chain(chain).iter().zip(patterns).enumerate();
        let mut least = from;
        for (at, (rule, pattern)) in rules {
            if at < least {
                continue;
            }
            let step = match applies(&rule.when, pattern.as_ref(), state, world) {
                Ok(Some(groups)) => Turn { state, world, groups }.act(&rule.act, at),
                Ok(None) => Ok(Step::Next),
                Err(refused) => Err(refused),
            };
            match step {
                Ok(Step::Next) => {}
                Ok(Step::Jump(to)) => least = to,
                Ok(Step::End(end)) => return end,
                // Whoever cannot be told apart from those that are kept out stays out.
                Err(Refused(status)) => return End::Answer(Answer::of(status)),
            }
        }
        End::Continue
    }
}

/// The request is not served: this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused(u16);

impl Answer {
    /// A status with its words as the body.
    #[must_use]
    pub fn of(status: u16) -> Self {
        let words = phrase(status);
        let fields = vec![("Content-Type".to_owned(), b"text/plain".to_vec())];
        Self { status: format!("{status} {words}"), fields, body: words.as_bytes().to_vec() }
    }
}

/// Whether a rule applies; what the groups of its pattern matched.
fn applies(
    when: &When,
    pattern: Option<&Pattern>,
    state: &State,
    world: &dyn World,
) -> Result<Option<Groups>, Refused> {
    let nothing = Groups::new();
    Ok(match when {
        When::Always => Some(nothing),
        When::Status(status) => (state.status == *status).then_some(nothing),
        When::Test { test, negate } => {
            let holds = test::holds(test, state, world)?;
            (holds != *negate).then_some(nothing)
        }
        When::Matches { of, negate, .. } => {
            let text = fill::fill(of, &nothing, state, world)?;
            let found = pattern.ok_or(Refused(500))?.find(&text).map_err(|_| Refused(500))?;
            match found {
                Some(groups) if !negate => Some(groups),
                None if *negate => Some(nothing),
                _ => None,
            }
        }
    })
}

/// One action and what it works on.
struct Turn<'a> {
    state: &'a mut State,
    world: &'a dyn World,
    groups: Groups,
}

impl Turn<'_> {
    fn filled(&self, text: &Template) -> Result<Vec<u8>, Refused> {
        fill::fill(text, &self.groups, self.state, self.world)
    }

    fn act(&mut self, act: &Action, at: usize) -> Result<Step, Refused> {
        match act {
            Action::Continue => return Ok(Step::End(End::Continue)),
            Action::Break(None) => return Ok(Step::End(End::Silence)),
            Action::Break(Some(status)) => {
                let fields = [("Connection", "close"), ("Content-Type", "text/plain")];
                let fields =
                    fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
                return Ok(answer(Answer { status: status.clone(), fields, body: Vec::new() }));
            }
            Action::Return(status) => return Ok(answer(Answer::of(*status))),
            Action::Goto(to) => return Ok(Step::Jump(*to)),
            Action::Log(text) => {
                let line = self.filled(text)?;
                self.state.log(&line);
            }
            Action::LogVariable(name, text) => {
                let value = self.filled(text)?;
                self.state.set_log_variable(name, value);
            }
            Action::DoNotLog => self.state.is_quiet = true,
            Action::Nothing => {}
            Action::AddHeader(name, text) => {
                let value = self.filled(text)?;
                self.state.added.push((name.clone(), value));
            }
            Action::RemoveHeader(text) => {
                let name = self.filled(text)?;
                self.state.removed.push(name);
            }
            Action::SetVariable(name, text) => {
                let value = self.filled(text)?;
                self.state.request.set(name.as_bytes(), value);
            }
            Action::SetUser(text) => {
                let mut value = self.filled(text)?;
                value.truncate(value.iter().position(|byte| *byte == b':').unwrap_or(value.len()));
                self.state.request.set(b"REMOTE_USER", value);
            }
            Action::FixPathInfo => {
                let start = self.state.request.get(b"SCRIPT_NAME").map_or(0, <[u8]>::len);
                let path = self.state.request.get(b"PATH_INFO").unwrap_or_default();
                if let Some(rest) = path.get(start..).filter(|_| start > 0).map(<[u8]>::to_vec) {
                    self.state.request.set(b"PATH_INFO", rest);
                }
            }
            Action::Rewrite { to, last } => {
                self.rewrite(to)?;
                if *last {
                    return Ok(Step::End(End::Continue));
                }
            }
            Action::Redirect { status, to } => {
                let words: &[u8] = if *status == 301 { b"Moved Permanently" } else { b"Moved" };
                let location = self.filled(to)?;
                // Bytes that would end the field are nobody's address.
                if location.iter().any(u8::is_ascii_control) {
                    return Err(Refused(400));
                }
                let fields = vec![("Location".to_owned(), location)];
                let status = format!("{status} {}", phrase(*status));
                return Ok(answer(Answer { status, fields, body: words.to_vec() }));
            }
            Action::BasicAuth(wanted) => {
                return Ok(auth::ask(wanted, self.state, self.world).map_or(Step::Next, answer));
            }
            Action::File(file) => {
                let path = self.filled(&file.path)?;
                let next = file.next.then_some(at + 1);
                return Ok(Step::End(End::File { file: file.clone(), path, next }));
            }
            Action::Expires(expires) => {
                let from = test::number(&self.filled(&expires.from)?);
                let seconds = test::number(&self.filled(&expires.seconds)?);
                let date = fill::http_date(from.saturating_add(seconds));
                self.state.added.push(("Expires".to_owned(), date.into_bytes()));
            }
            Action::Harakiri(seconds) => self.state.harakiri_s = Some(*seconds),
        }
        Ok(Step::Next)
    }

    fn rewrite(&mut self, to: &Template) -> Result<(), Refused> {
        let target = self.filled(to)?;
        let request = &mut self.state.request;
        let old = request.get(b"QUERY_STRING").unwrap_or_default().to_vec();
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        let path = parts.next().unwrap_or_default();
        let query = match parts.next() {
            Some(new) if old.is_empty() => new.to_vec(),
            Some(new) => [new, b"&", &old].concat(),
            None => old,
        };
        request.set(b"PATH_INFO", environ::decoded(path));
        request.set(b"QUERY_STRING", query);
        Ok(())
    }
}

fn answer(answer: Answer) -> Step {
    Step::End(End::Answer(answer))
}

#[cfg(test)]
mod tests;
