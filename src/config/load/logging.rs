//! The options about where log lines go: `logger` and its like.

use std::path::Path;

use super::sift::{Said, Sift};
use crate::config::diagnostic::Severity;
use crate::config::log_encoder::Encoder;
use crate::config::logger::{self, LINE_BYTES_BOUNDS, Logger, LoggingSpec, MOST, Mistake, Route};
use crate::config::logging::{LogSpec, UWSGI_DATE};
use crate::config::value;

/// Obeys them; whether it was one. Relative paths start from `chdir`.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, chdir: &Path, log: &mut LogSpec) -> bool {
    let to = &mut log.routing;
    match said.name() {
        "log-date" => log.date = date(said.text()),
        "logger" => logger(sift, said, &mut to.loggers, said.text(), chdir),
        "log-syslog" => {
            logger(sift, said, &mut to.loggers, &format!("syslog:{}", said.text_or("")), chdir);
        }
        "log-socket" => logger(sift, said, &mut to.loggers, &format!("socket:{}", said.text()), chdir),
        "req-logger" => logger(sift, said, &mut to.request_loggers, said.text(), chdir),
        "log-route" => add(sift, said, &mut to.routes, Route::parse(said.text())),
        "log-req-route" => add(sift, said, &mut to.request_routes, Route::parse(said.text())),
        "log-drain" => add(sift, said, &mut to.drain, pattern(said.text())),
        "log-filter" => add(sift, said, &mut to.filter, pattern(said.text())),
        "log-encoder" => add(sift, said, &mut to.encoders, Encoder::parse(said.text())),
        "log-req-encoder" => add(sift, said, &mut to.request_encoders, Encoder::parse(said.text())),
        "log-master-bufsize" => {
            let (least, most) = LINE_BYTES_BOUNDS;
            let wanted = sift.count(said);
            to.line_bytes = wanted.clamp(least, most);
            if to.line_bytes != wanted {
                sift.warn(said, format!("{wanted} is read as {}", to.line_bytes), None);
            }
        }
        _ => return false,
    }
    true
}

/// What the options do not do together.
pub(super) fn doubt(sift: &mut Sift<'_>, to: &LoggingSpec) {
    if to.request_loggers.is_empty() && !to.request_encoders.is_empty() {
        let message = "log-req-encoder has no effect without req-logger";
        sift.report_whole(Severity::Warning, message, None);
    }
    let has =
        |name: &str| to.loggers.iter().chain(&to.request_loggers).any(|l| l.name.as_deref() == Some(name));
    let routed = to.routes.iter().chain(&to.request_routes).map(|route| route.to.as_str());
    let encoded =
        to.encoders.iter().chain(&to.request_encoders).filter_map(|encoder| encoder.only.as_deref());
    for name in routed.chain(encoded).filter(|name| !has(name)) {
        let message = format!("there is no logger of the name {name}");
        sift.report_whole(Severity::Warning, &message, Some("say logger = NAME file:PATH"));
    }
}

/// A flag, or a format of `strftime`.
pub(super) fn date(text: &str) -> Option<String> {
    match text {
        _ if ["true", "1", "on", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on)) => {
            Some(UWSGI_DATE.to_owned())
        }
        _ if !value::flag(text) => None,
        format => Some(format.to_owned()),
    }
}

fn pattern(text: &str) -> Result<String, Mistake> {
    logger::check(text).map(|()| text.to_owned())
}

fn logger(sift: &mut Sift<'_>, said: Said<'_>, all: &mut Vec<Logger>, text: &str, chdir: &Path) {
    let parsed = Logger::parse(text, chdir).map(|(logger, doubt)| {
        doubt.into_iter().for_each(|doubt| sift.warn(said, doubt, None));
        logger
    });
    add(sift, said, all, parsed);
}

fn add<T>(sift: &mut Sift<'_>, said: Said<'_>, all: &mut Vec<T>, parsed: Result<T, Mistake>) {
    match parsed {
        Ok(_) if all.len() >= MOST => sift.error(said, format!("there are more than {MOST} of them"), None),
        Ok(one) => all.push(one),
        Err(mistake) => sift.error(said, mistake.message, mistake.hint.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_flag_or_a_format() {
        for (text, expected) in [
            ("true", Some(UWSGI_DATE)),
            ("1", Some(UWSGI_DATE)),
            ("YES", Some(UWSGI_DATE)),
            ("%Y-%m-%d", Some("%Y-%m-%d")),
            ("", Some("")),
            ("false", None),
            ("0", None),
        ] {
            assert_eq!(date(text).as_deref(), expected, "{text}");
        }
    }
}
