//! Whoever started an instance that goes to the background once it serves (`daemonize2`), and waits for that.

use std::io;

use super::event::Event;
use super::log_file;
use super::master::{Master, Report};
use crate::sys::reactor;

impl Master {
    /// Listens for the end of whoever waits in the foreground.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn heed_foreground(&self) -> io::Result<()> {
        let Some(foreground) = &self.foreground else { return Ok(()) };
        let end = reactor::register_readable(foreground.end_of_it().try_clone()?)?;
        let reports = self.reports.clone();
        tokio::task::spawn_local(async move {
            if end.readable().await.is_ok() {
                let _ = reports.send(Report::Left).await;
            }
        });
        Ok(())
    }

    /// It serves: whoever waited in the foreground ends, and the log goes to its place (`daemonize2`).
    pub(super) fn go_to_background(&mut self) {
        let log = &self.current.said.spec.log;
        if let Some(path) = &log.daemonize2 {
            match log_file::log_to(path, &log.file) {
                // The first line in the file; also, what was standard error is left with it.
                Ok(()) => tracing::info!("*** daemonizing uWSGI ***"),
                Err(failure) => self.tell(failure.to_string()),
            }
            self.output.let_go_of_stderr();
        }
        if let Some(foreground) = self.foreground.take() {
            foreground.end(0);
        }
    }

    /// Nobody waits any more: an instance that does not serve yet ends.
    pub(super) fn left_in_foreground(&mut self) {
        if self.foreground.take().is_some() {
            tracing::info!("who started this instance waits for it no more");
            self.handle(Event::Stop { mercy: None });
        }
    }
}
