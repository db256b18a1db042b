//! How a response ends that cannot be what the application wished.

use std::sync::Arc;

use super::{AnyHead, Instead, Keeper, Output, Way};
use crate::gateway::response::StartFault;
use crate::proto::refusal::phrase;
use crate::worker::start_response::STATUS_LINE_BYTES;

impl Output {
    /// The application failed: `page`, or an answer of ours, where nothing was sent yet, otherwise the connection breaks
    /// visibly. Where it failed for the client's malformed body, the fault is the client's.
    pub(in crate::worker) fn fail(&mut self, page: Option<&[u8]>) {
        let refused = self.watch.refusal().map(|refusal| refusal.status);
        self.refuse(refused.unwrap_or(500), page.filter(|_| refused.is_none()));
    }

    /// The same, with this status where nothing was sent yet.
    pub(in crate::worker) fn refuse(&mut self, status: u16, page: Option<&[u8]>) {
        // Rules have answered, or said that nothing is.
        if matches!(self.instead, Instead::Over) {
            return;
        }
        if !self.is_sending() && self.start_error(status).is_ok() {
            let page = page.unwrap_or(phrase(status).as_bytes());
            let sent = self.item(page, true).and_then(|()| self.end());
            self.sent.is_cut |= sent.is_err();
            return;
        }
        self.break_off();
    }

    /// Ends the connection, whatever of an answer is out.
    pub(in crate::worker) fn break_off(&mut self) {
        match &mut self.way {
            Way::Http(_, sender, feed) => {
                *sender = None;
                if let Some(feed) = feed {
                    self.waiter.wake(feed.end(false));
                }
            }
            Way::Routed(_, answer) => self.sent.is_cut |= answer.end(false).is_err(),
            Way::Socket(_, socket) => Arc::clone(socket).end(false, &self.waiter),
            Way::Switched(keeper) => self.sent.is_cut |= keeper.take().is_some_and(Keeper::end),
        }
    }

    fn start_error(&mut self, status: u16) -> Result<(), StartFault> {
        const NAME: &[u8] = b"Content-Type";
        const VALUE: &[u8] = b"text/plain";
        let status = format!("{status} {}", phrase(status));
        let mut head = AnyHead::new(self.medium(), status.as_bytes()).map_err(|_| StartFault::Twice)?;
        let _ = head.field(NAME, VALUE);
        self.start(head, true, 1, STATUS_LINE_BYTES + status.len() + NAME.len() + VALUE.len() + 4)
    }
}
