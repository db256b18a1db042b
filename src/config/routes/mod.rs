//! Internal routing: the rules that each request goes past, as `route` and its like say them.

pub mod action;
pub mod condition;
pub mod pattern;
pub mod read;
pub mod template;

use serde::{Deserialize, Serialize};

pub use action::Action;
pub use condition::When;

/// How many rules of one kind there may be: a request goes past them all.
pub const MOST: usize = 1000;

/// The rules, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// `route…`: before a file or the application answers.
    pub request: Vec<Rule>,
    /// `error-route…`: when the status of an answer is known, whatever it is.
    pub error: Vec<Rule>,
    /// `response-route…`: when the head of an answer goes out.
    pub response: Vec<Rule>,
    /// `final-route…`: when the answer is out.
    pub last: Vec<Rule>,
}

/// Which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// `route…`.
    Request,
    /// `error-route…`.
    Error,
    /// `response-route…`.
    Response,
    /// `final-route…`.
    Last,
}

/// What is done when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// When.
    pub when: When,
    /// What.
    pub act: Action,
}

impl RouteSpec {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.request.is_empty() && self.error.is_empty() && self.response.is_empty() && self.last.is_empty()
    }

    /// The rules of a kind.
    #[must_use]
    pub const fn chain(&self, chain: Chain) -> &Vec<Rule> {
        match chain {
            Chain::Request => &self.request,
            Chain::Error => &self.error,
            Chain::Response => &self.response,
            Chain::Last => &self.last,
        }
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        [&self.request, &self.error, &self.response, &self.last].into_iter().flatten()
    }
}
