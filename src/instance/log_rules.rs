//! Which loggers get a line: what `log-drain`, `log-filter` and `log-route` say, and what is left for the others.

use regex_lite::Regex;

use crate::config::logger::{Backend, Logger, LoggingSpec, Route, compile};

/// Which of the two kinds of lines it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// What is printed and told.
    General,
    /// Lines of requests that have a way of their own.
    Requests,
}

/// The rules of one configuration. Loggers are places in [`Rules::loggers`].
#[derive(Debug)]
pub(super) struct Rules {
    /// All loggers, after one for standard error.
    pub(super) loggers: Vec<Logger>,
    drain: Vec<Regex>,
    filter: Vec<Regex>,
    general: Chain,
    requests: Chain,
}

/// The way of the lines of one kind.
#[derive(Debug)]
struct Chain {
    /// Patterns of lines that go to one logger only.
    routes: Vec<(Regex, usize)>,
    /// What takes all others.
    rest: Vec<usize>,
}

impl Rules {
    /// The rules that a configuration makes.
    pub(super) fn new(spec: &LoggingSpec) -> Self {
        let stderr = Logger { name: None, to: Backend::Stdio };
        let loggers: Vec<Logger> =
            std::iter::once(&stderr).chain(&spec.loggers).chain(&spec.request_loggers).cloned().collect();
        let requests_from = spec.loggers.len() + 1;
        // Patterns were compiled once when they were read.
        let all = |patterns: &[String]| patterns.iter().filter_map(|pattern| compile(pattern).ok()).collect();
        Self {
            drain: all(&spec.drain),
            filter: all(&spec.filter),
            general: Chain::new(&loggers, &spec.routes, 1..requests_from),
            requests: Chain::new(&loggers, &spec.request_routes, requests_from..loggers.len()),
            loggers,
        }
    }

    /// The loggers that get a line, which is given without its end.
    pub(super) fn takers(&self, stream: Stream, line: &str) -> Vec<usize> {
        match stream {
            Stream::Requests => self.requests.takers(line),
            Stream::General => {
                let matches = |pattern: &Regex| pattern.is_match(line);
                let is_shown = self.filter.is_empty() || self.filter.iter().any(matches);
                match is_shown && !self.drain.iter().any(matches) {
                    true => self.general.takers(line),
                    false => Vec::new(),
                }
            }
        }
    }
}

impl Chain {
    fn new(loggers: &[Logger], routes: &[Route], own: std::ops::Range<usize>) -> Self {
        let find = |name: &str| loggers.iter().position(|logger| logger.name.as_deref() == Some(name));
        let routes =
            routes.iter().filter_map(|route| Some((compile(&route.pattern).ok()?, find(&route.to)?)));
        let is_nameless = |place: &usize| loggers.get(*place).is_some_and(|logger| logger.name.is_none());
        let mut rest: Vec<usize> = own.filter(is_nameless).collect();
        if rest.is_empty() {
            rest.push(0);
        }
        Self { routes: routes.collect(), rest }
    }

    fn takers(&self, line: &str) -> Vec<usize> {
        let mut takers = Vec::new();
        for (_, place) in self.routes.iter().filter(|(pattern, _)| pattern.is_match(line)) {
            if !takers.contains(place) {
                takers.push(*place);
            }
        }
        if takers.is_empty() {
            takers.clone_from(&self.rest);
        }
        takers
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn rules(words: &[(&str, &str)]) -> Rules {
        let mut spec = LoggingSpec::default();
        for (option, text) in words {
            let logger = || Logger::parse(text, Path::new("/")).unwrap().0;
            match *option {
                "logger" => spec.loggers.push(logger()),
                "req-logger" => spec.request_loggers.push(logger()),
                "log-route" => spec.routes.push(Route::parse(text).unwrap()),
                "log-req-route" => spec.request_routes.push(Route::parse(text).unwrap()),
                "log-drain" => spec.drain.push((*text).to_owned()),
                "log-filter" => spec.filter.push((*text).to_owned()),
                other => panic!("{other}"),
            }
        }
        Rules::new(&spec)
    }

    #[test]
    fn lines_go_where_uwsgi_sends_them() {
        let a = ("logger", "file:/a");
        let named = ("logger", "err file:/e");
        let requests = ("req-logger", "file:/r");
        let route = ("log-route", "err ERROR$");
        let none: &[&str] = &[];
        for (words, stream, line, expected) in [
            (&[][..], Stream::General, "x", &["stdio"][..]),
            (&[a], Stream::General, "x", &["file:/a"]),
            (&[a, ("logger", "stdio")], Stream::General, "x", &["file:/a", "stdio"]),
            (&[named], Stream::General, "x", &["stdio"]),
            (&[a, named, route], Stream::General, "an ERROR", &["file:/e"]),
            (&[a, named, route], Stream::General, "ERRORs", &["file:/a"]),
            (&[a, route], Stream::General, "an ERROR", &["file:/a"]),
            (&[a, named, route, ("log-route", "err an")], Stream::General, "an ERROR", &["file:/e"]),
            (&[a, requests], Stream::General, "x", &["file:/a"]),
            (&[a, requests], Stream::Requests, "GET /", &["file:/r"]),
            (&[a, requests, ("log-drain", "GET")], Stream::Requests, "GET /", &["file:/r"]),
            (&[a, named, ("log-req-route", "err GET")], Stream::Requests, "GET /", &["file:/e"]),
            (&[a, named, ("log-req-route", "err GET")], Stream::Requests, "PUT /", &["stdio"]),
            (&[("req-logger", "q file:/q"), ("log-route", "q x")], Stream::General, "x", &["file:/q"]),
            (&[a, ("log-drain", "(?i)health")], Stream::General, "GET /Health", none),
            (&[a, ("log-filter", "^y"), ("log-filter", "^x")], Stream::General, "x", &["file:/a"]),
            (&[a, ("log-filter", "^y")], Stream::General, "x", none),
            (&[a, ("log-filter", "^x"), ("log-drain", "x$")], Stream::General, "x", none),
        ] {
            let rules = rules(words);
            let takers = rules.takers(stream, line);
            let takers: Vec<String> = takers.iter().map(|at| rules.loggers[*at].to.to_string()).collect();
            assert_eq!(takers, expected, "{words:?} {line}");
        }
    }
}
