//! The emperor's HTTP door: views, control, events, authorisation.
