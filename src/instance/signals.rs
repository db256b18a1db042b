//! What a signal to the master means.

use super::event::Event;
use super::master::Master;
use crate::config::hook::{self, Meaning, Number};
use crate::sys::signals::Received as Signal;

impl Master {
    pub(super) fn signal(&mut self, signal: Signal) {
        let number = match signal {
            Signal::Child => return self.reap(),
            Signal::Hup => Number::Hup,
            Signal::Int => Number::Int,
            Signal::Quit => Number::Quit,
            Signal::Term => Number::Term,
            Signal::Tstp => return self.pause_or_resume(),
            Signal::Usr1 => Number::Usr1,
        };
        match hook::meaning(&self.current.said.spec.hooks, number) {
            Some(Meaning::Stop) => self.handle(Event::Stop { mercy: None }),
            Some(Meaning::Reload) => self.hang_up(),
            Some(Meaning::Statistics) => self.log_statistics(),
            None => self.usual(number),
        }
    }

    /// What a signal means where nobody says another meaning.
    pub(super) fn usual(&mut self, number: Number) {
        match number {
            Number::Hup => self.hang_up(),
            Number::Term => self.handle(Event::Stop { mercy: None }),
            Number::Int | Number::Quit => {
                tracing::info!("SIGINT/SIGTERM received...killing workers...");
                let again = std::mem::replace(&mut self.interrupted, true);
                self.handle(if again { Event::StopNow } else { Event::Stop { mercy: None } });
            }
            Number::Usr1 => self.log_statistics(),
        }
    }

    pub(super) fn hang_up(&mut self) {
        if self.reload_by_itself("SIGHUP".to_owned(), Some(true)) {
            tracing::info!("...gracefully killing workers...");
        }
    }
}
