//! What an event says.

use std::fmt::{self, Write as _};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::OUTPUT;

/// An event's text: `[vassal] message key=value`.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) vassal: Option<String>,
    pub(super) message: String,
    pub(super) fields: String,
    /// The message is a line that the vassal wrote.
    pub(super) is_output: bool,
}

impl Parts {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut parts = Self { is_output: event.metadata().target() == OUTPUT, ..Self::default() };
        event.record(&mut parts);
        parts
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            "vassal" => self.vassal = Some(value.to_owned()),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "vassal" => self.vassal = Some(format!("{value:?}")),
            name => {
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }
}
