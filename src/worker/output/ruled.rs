//! What the rules of `route` and its like make of a response.

use std::io;

use super::{AnyHead, ItemError, Output, Way};
use crate::gateway::draft::{Draft, Text};
use crate::gateway::head::{Fault, Form, Head};
use crate::gateway::response::StartFault;
use crate::gateway::routes;
use crate::worker::host::Host;
use crate::worker::routes::Ruled;
use crate::worker::start_response::STATUS_LINE_BYTES;

/// What rules send in place of what was to be sent.
#[derive(Debug, Default)]
pub(super) enum Instead {
    #[default]
    Nothing,
    /// The body of another answer, whose head was started.
    Body(Vec<u8>),
    /// No answer.
    Silence,
    /// It is out.
    Over,
}

impl Output {
    /// The same for a head that goes past the rules first.
    pub(super) fn start_by_rules(
        &mut self,
        head: Head<Draft>,
        with_exc_info: bool,
    ) -> Result<(), StartFault> {
        if self.is_sending() || matches!(self.instead, Instead::Over) {
            return Err(if with_exc_info { StartFault::HeadSent } else { StartFault::Twice });
        }
        if self.is_started() && !with_exc_info {
            return Err(StartFault::Twice);
        }
        let Some(routing) = self.routing.clone() else { return Err(StartFault::HeadSent) };
        let status = head.status();
        self.instead = Instead::Nothing;
        let text = match routing.answered(head.into_text(), status) {
            Ruled::Head(text) => text,
            Ruled::Instead(answer) => {
                let text = routing.text_of(&answer);
                self.instead = Instead::Body(answer.body);
                text
            }
            Ruled::Silence => {
                self.instead = Instead::Silence;
                Text { status: b"500 Internal Server Error".to_vec(), ..Text::default() }
            }
        };
        let (fields, bytes) = (text.fields.len(), text.status.len() + STATUS_LINE_BYTES + text.bytes());
        let head = match &self.way {
            Way::Http(..) => AnyHead::Http(ruled(text)?),
            Way::Routed(..) => AnyHead::Packed(ruled(text)?),
            Way::Socket(..) => AnyHead::Wire(ruled(text)?),
            // Frameworks answer a websocket's request as any other.
            Way::Switched(_) => return Ok(()),
        };
        self.start(head, true, fields, bytes)
    }

    /// Sends the answer of a rule for requests.
    pub(in crate::worker) fn answer(&mut self, answer: &routes::Answer) -> Result<(), ItemError> {
        let gone = |fault: Fault| ItemError::Gone(io::Error::other(fault));
        let mut head = AnyHead::new(self.medium(), answer.status.as_bytes()).map_err(gone)?;
        for (name, value) in &answer.fields {
            head.field(name.as_bytes(), value).map_err(gone)?;
        }
        for (name, value) in Host::get().iter().flat_map(|host| &host.spec.app.add_headers) {
            head.field(name.as_bytes(), value.as_bytes()).map_err(gone)?;
        }
        // Nothing was started before.
        let _ = self.start(head, false, 0, 0);
        self.item(&answer.body, true)?;
        self.end()
    }

    /// Whether `start_response` was called.
    fn is_started(&self) -> bool {
        match &self.way {
            Way::Http(response, ..) => response.is_started(),
            Way::Routed(response, _) => response.is_started(),
            Way::Socket(response, _) => response.is_started(),
            Way::Switched(_) => true,
        }
    }

    /// Sends what rules have put in the place of what was to be sent; whether there is such.
    pub(super) fn send_instead(&mut self) -> Result<bool, ItemError> {
        match std::mem::replace(&mut self.instead, Instead::Over) {
            Instead::Nothing => {
                self.instead = Instead::Nothing;
                return Ok(false);
            }
            Instead::Body(body) => {
                self.send(&body, true)?;
                self.finish()?;
            }
            Instead::Silence => self.break_off(),
            Instead::Over => {}
        }
        Ok(true)
    }
}

/// A head out of what the rules left of it.
fn ruled<F: Form>(text: Text) -> Result<Head<F>, StartFault> {
    // With what rules added it may be too long.
    text.into_head().or_else(|_| Head::new(b"500 Internal Server Error")).map_err(|_| StartFault::HeadSent)
}
