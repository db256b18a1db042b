//! The head of a response in the form that its connection needs.

use crate::gateway::draft::Draft;
use crate::gateway::head::{Fault, Head, Http, Wire};
use crate::wire::packed::Packed;

/// A head in the form that the connection needs.
#[derive(Debug)]
pub(in crate::worker) enum AnyHead {
    Http(Head<Http>),
    Packed(Head<Packed>),
    Wire(Head<Wire>),
    /// For the rules.
    Draft(Head<Draft>),
}

/// What a response goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Medium {
    /// hyper.
    Http,
    /// The router.
    Routed,
    /// A socket.
    Socket,
    /// Rules, before any of them.
    Rules,
}

impl AnyHead {
    /// Starts a head from a WSGI status.
    pub(in crate::worker) fn new(medium: Medium, status: &[u8]) -> Result<Self, Fault> {
        Ok(match medium {
            Medium::Http => Self::Http(Head::new(status)?),
            Medium::Routed => Self::Packed(Head::new(status)?),
            Medium::Socket => Self::Wire(Head::new(status)?),
            Medium::Rules => Self::Draft(Head::new(status)?),
        })
    }

    /// With so many bytes of names and values at most.
    pub(in crate::worker) fn limited_to(self, limit: usize) -> Self {
        match self {
            Self::Http(head) => Self::Http(head.limited_to(limit)),
            Self::Packed(head) => Self::Packed(head.limited_to(limit)),
            Self::Wire(head) => Self::Wire(head.limited_to(limit)),
            Self::Draft(head) => Self::Draft(head.limited_to(limit)),
        }
    }

    /// Adds a field.
    pub(in crate::worker) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Http(head) => head.field(name, value),
            Self::Packed(head) => head.field(name, value),
            Self::Wire(head) => head.field(name, value),
            Self::Draft(head) => head.field(name, value),
        }
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Http(head) => head.status(),
            Self::Packed(head) => head.status(),
            Self::Wire(head) => head.status(),
            Self::Draft(head) => head.status(),
        }
    }
}
