//! A request as rules see and change it, and what they have said of it.

use crate::proto::uwsgi::{Checked, Variables, to_block};

/// The variables of a request, as CGI names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    is_changed: bool,
}

/// What rules have said of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The request.
    pub request: Request,
    /// The status of the answer; 0 before there is one.
    pub status: u16,
    /// How long it took, in microseconds, when it is over.
    pub taken_us: u64,
    /// Bytes of the body that went out.
    pub body_bytes: u64,
    /// Fields that the answer gets.
    pub added: Vec<(String, Vec<u8>)>,
    /// Names of fields that it loses.
    pub removed: Vec<Vec<u8>>,
    /// Names for `log-format`, and what they stand for.
    pub log_variables: Vec<(String, Vec<u8>)>,
    /// Lines for the log, not yet written.
    pub lines: Vec<String>,
    /// It leaves no line in the log.
    pub is_quiet: bool,
    /// How many seconds it may take.
    pub harakiri_s: Option<u32>,
}

/// The longest line of a rule in the log.
const LINE_LETTERS: usize = 2048;

impl Request {
    /// Adds a variable that came with it.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.variables.push((name.to_vec(), value.to_vec()));
    }

    /// The value of a variable; of a repeated one the last.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.variables.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Gives a variable this value only.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_vec(), value));
        self.is_changed = true;
    }

    /// The variables as a front end would send them, if rules have changed some.
    ///
    /// # Errors
    /// They have become too long: a status.
    pub fn changed(&self) -> Result<Option<Checked>, u16> {
        if !self.is_changed {
            return Ok(None);
        }
        let pairs = self.variables.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        to_block(pairs).map(Some).ok_or(431)
    }
}

impl<'a> From<Variables<'a>> for Request {
    fn from(variables: Variables<'a>) -> Self {
        let mut request = Self::default();
        variables.for_each(|(name, value)| request.push(name, value));
        request
    }
}

impl State {
    /// A request that begins.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { request, ..Self::default() }
    }

    pub(super) fn log(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        self.lines.push(text.chars().take(LINE_LETTERS).collect());
    }

    pub(super) fn set_log_variable(&mut self, name: &str, value: Vec<u8>) {
        self.log_variables.retain(|(known, _)| known != name);
        self.log_variables.push((name.to_owned(), value));
    }

    /// What `log-format` finds under this name.
    #[must_use]
    pub fn log_variable(&self, name: &str) -> Option<&[u8]> {
        self.log_variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}
