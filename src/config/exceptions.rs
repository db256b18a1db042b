//! What becomes of a request, and of its worker, when the application raises an exception.

use serde::{Deserialize, Serialize};

/// What becomes of a request, and of its worker, when the application raises an exception.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExceptionSpec {
    /// `catch-exceptions`: the answer tells the exception, its traceback and the request's variables.
    pub shown: bool,
    /// `reload-on-exception`: any ends the worker.
    pub any: bool,
    /// `reload-on-exception-type`: names of classes that do, with their modules or without.
    pub types: Vec<String>,
    /// `reload-on-exception-value`: texts of exceptions that do.
    pub values: Vec<String>,
    /// `reload-on-exception-repr`: the same with the class before it: `ValueError: text`.
    pub reprs: Vec<String>,
}

impl ExceptionSpec {
    /// Whether nothing is to be done but to log it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The option by which the worker ends after an exception of this class, with its module, and this text.
    #[must_use]
    pub fn ends_worker(&self, class: &str, text: &str) -> Option<&'static str> {
        let bare = class.rsplit('.').next().unwrap_or(class);
        let names = [class, bare];
        let is_repr = |repr: &String| {
            names.iter().any(|name| {
                let rest = repr.strip_prefix(name);
                rest.and_then(|rest| rest.strip_prefix(": ")) == Some(text)
            })
        };
        if self.any {
            Some("reload-on-exception")
        } else if self.types.iter().any(|one| names.contains(&one.as_str())) {
            Some("reload-on-exception-type")
        } else if self.values.iter().any(|one| one == text) {
            Some("reload-on-exception-value")
        } else if self.reprs.iter().any(is_repr) {
            Some("reload-on-exception-repr")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_ends_the_worker_where_an_option_names_it() {
        let list = |text: &str| vec![text.to_owned()];
        let types = |text| ExceptionSpec { types: list(text), ..ExceptionSpec::default() };
        let values = |text| ExceptionSpec { values: list(text), ..ExceptionSpec::default() };
        let reprs = |text| ExceptionSpec { reprs: list(text), ..ExceptionSpec::default() };
        for (spec, by) in [
            (ExceptionSpec::default(), None),
            (ExceptionSpec { shown: true, ..ExceptionSpec::default() }, None),
            (ExceptionSpec { any: true, ..ExceptionSpec::default() }, Some("reload-on-exception")),
            (types("db.utils.Lost"), Some("reload-on-exception-type")),
            (types("Lost"), Some("reload-on-exception-type")),
            (types("utils.Lost"), None),
            (types("Los"), None),
            (values("gone: away"), Some("reload-on-exception-value")),
            (values("gone"), None),
            (reprs("db.utils.Lost: gone: away"), Some("reload-on-exception-repr")),
            (reprs("Lost: gone: away"), Some("reload-on-exception-repr")),
            (reprs("Lost: gone"), None),
            (reprs("gone: away"), None),
        ] {
            assert_eq!(spec.ends_worker("db.utils.Lost", "gone: away"), by, "{spec:?}");
        }
    }
}
