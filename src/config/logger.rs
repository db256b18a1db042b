//! Where log lines go: the words of `logger` and its like, as uWSGI reads them.

use std::fmt;
use std::path::{Path, PathBuf};

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::log_encoder::Encoder;

/// The options about where log lines go, and what becomes of them on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingSpec {
    /// `logger`: what takes all lines but those that `requests` take.
    pub loggers: Vec<Logger>,
    /// `req-logger`: what takes the lines of requests.
    pub request_loggers: Vec<Logger>,
    /// `log-route`: lines that go to a named logger.
    pub routes: Vec<Route>,
    /// `log-req-route`: the same for lines of requests.
    pub request_routes: Vec<Route>,
    /// `log-drain`: patterns of lines that are left out.
    pub drain: Vec<String>,
    /// `log-filter`: patterns of the lines that are not.
    pub filter: Vec<String>,
    /// `log-encoder`: what lines are turned into.
    pub encoders: Vec<Encoder>,
    /// `log-req-encoder`: the same for lines of requests.
    pub request_encoders: Vec<Encoder>,
    /// `log-master-bufsize`: bytes of a line that are kept together; 0: as many as usual.
    pub line_bytes: u32,
}

/// One `logger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logger {
    /// Its name: it takes only lines that are routed to it.
    pub name: Option<String>,
    /// What takes the lines.
    pub to: Backend,
}

/// What takes lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    /// `stdio`: where the log would go without a logger.
    Stdio,
    /// `file`.
    File {
        /// Its path.
        path: PathBuf,
        /// `maxsize`, in bytes: it is renamed when it is longer; default: as `log-maxsize` says.
        max_bytes: Option<u64>,
        /// `backupname`: what it is renamed to; default: the time in seconds behind its name.
        backup: Option<PathBuf>,
    },
    /// `fd`: a descriptor that the process was started with.
    Fd(i32),
    /// `syslog`: the syslog daemon of this host.
    Syslog {
        /// What the lines are said to come from.
        ident: String,
        /// The number of the facility.
        facility: u8,
    },
    /// `rsyslog`: a syslog daemon at an address.
    Rsyslog {
        /// Where.
        to: Peer,
        /// What the lines are said to come from; default: host name and `uwsgi`.
        tag: Option<String>,
        /// Facility and severity.
        priority: u32,
    },
    /// `socket`: datagrams to whoever listens there.
    Socket {
        /// Where.
        to: Peer,
        /// What each of them begins with.
        prefix: String,
    },
}

/// Where datagrams go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// A unix socket.
    Unix(PathBuf),
    /// A port of a host, to be looked up.
    Host(String, u16),
}

/// Lines that go to a named logger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The logger's name.
    pub to: String,
    /// A regular expression.
    pub pattern: String,
}

/// Why an option cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<&'static str>,
}

/// How many loggers, routes, patterns or encoders of one kind there may be: each line goes past them all.
pub const MOST: usize = 64;
/// A line beyond this is cut, if nothing else is said.
pub const LINE_BYTES: u32 = 8192;
/// The fewest and the most bytes of a line that may be kept together.
pub const LINE_BYTES_BOUNDS: (u32, u32) = (256, 65_536);
/// What a compiled pattern may take; matching takes time in proportion to it.
const PATTERN_BYTES: usize = 16 * 1024;

/// The facilities of syslog, by uWSGI's names for them.
const FACILITIES: [(&str, u8); 21] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("security", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl LoggingSpec {
    /// Whether lines take any other way than to standard error, as they are.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether lines of requests are told from others.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.request_loggers.is_empty() || !self.request_routes.is_empty()
    }
}

impl Logger {
    /// `[name ]backend[:arguments]`; relative paths start from `directory`. The second part is a doubt.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, directory: &Path) -> Result<(Self, Option<String>), Mistake> {
        let named = text.split_once(' ').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric()));
        let (name, backend) = named.map_or((None, text), |(name, rest)| (Some(name.to_owned()), rest));
        let (kind, arguments) = backend.split_once(':').unwrap_or((backend, ""));
        // Serving does not miss them.
        if ["redislog", "mongodblog", "zeromq", "zmq", "graylog2", "systemd"].contains(&kind) {
            let doubt = format!("liege has no logger `{kind}`: its lines go to standard error instead");
            return Ok((Self { name, to: Backend::Stdio }, Some(doubt)));
        }
        Ok((Self { name, to: Backend::parse(kind, arguments, directory)? }, None))
    }
}

impl Backend {
    fn parse(kind: &str, arguments: &str, directory: &Path) -> Result<Self, Mistake> {
        match kind {
            "stdio" => Ok(Self::Stdio),
            "file" => file(arguments, directory),
            "fd" => match arguments.parse() {
                Ok(number) if number > 0 => Ok(Self::Fd(number)),
                _ => Err(error(format!("`{arguments}` is no number of a descriptor"))),
            },
            "syslog" => {
                let (ident, facility) = arguments.split_once(',').unwrap_or((arguments, "daemon"));
                let known = FACILITIES.iter().find(|(name, _)| *name == facility);
                let Some((_, facility)) = known else {
                    return Err(error(format!("syslog has no facility `{facility}`")));
                };
                let ident = if ident.is_empty() { "uwsgi" } else { ident };
                Ok(Self::Syslog { ident: ident.to_owned(), facility: *facility })
            }
            "rsyslog" => {
                let mut parts = arguments.splitn(3, ',');
                let to = Peer::parse(parts.next().unwrap_or_default(), Some(514), directory)?;
                let tag = parts.next().map(str::to_owned);
                let priority = match parts.next().map(str::parse::<u32>) {
                    None => 29,
                    Some(Ok(priority @ 0..=191)) => priority,
                    Some(_) => {
                        return Err(error("a priority of syslog is a number from 0 to 191".to_owned()));
                    }
                };
                Ok(Self::Rsyslog { to, tag, priority })
            }
            "socket" => {
                let (to, prefix) = arguments.split_once(',').unwrap_or((arguments, ""));
                let to = Peer::parse(to, None, directory)?;
                Ok(Self::Socket { to, prefix: prefix.to_owned() })
            }
            "crypto" => Err(Mistake {
                message: "liege has no logger `crypto`".to_owned(),
                hint: Some("log to syslog, and let that send what it gets over TLS"),
            }),
            "pipe" => Err(Mistake {
                message: "liege starts no program for a logger".to_owned(),
                hint: Some("let the program read a FIFO, and say file:/path/of/the.fifo"),
            }),
            other => Err(Mistake {
                message: format!("unable to find logger {other}"),
                hint: Some("there are file, stdio, fd, syslog, rsyslog and socket"),
            }),
        }
    }
}

/// A path, or `logfile=PATH[,maxsize=BYTES][,backupname=PATH]`.
fn file(arguments: &str, directory: &Path) -> Result<Backend, Mistake> {
    let (mut path, mut max_bytes, mut backup) = (None, None, None);
    if arguments.contains('=') {
        for part in arguments.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some(("logfile", value)) => path = Some(value),
                Some(("backupname", value)) => backup = Some(directory.join(value)),
                Some(("maxsize", value)) => match value.parse() {
                    Ok(bytes) => max_bytes = Some(bytes),
                    Err(_) => return Err(error(format!("`{value}` is no number of bytes"))),
                },
                _ => return Err(error(format!("`{part}` is not logfile=, maxsize= or backupname="))),
            }
        }
    } else {
        path = Some(arguments);
    }
    match path.filter(|path| !path.is_empty()) {
        Some(path) => Ok(Backend::File { path: directory.join(path), max_bytes, backup }),
        None => Err(error("the path of the file is missing".to_owned())),
    }
}

impl Peer {
    fn parse(text: &str, usual: Option<u16>, directory: &Path) -> Result<Self, Mistake> {
        let is_host = |text: &str| !text.is_empty() && !text.contains('/');
        if let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains('/')) {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            return match port.parse() {
                Ok(port) => Ok(Self::Host(host.to_owned(), port)),
                Err(_) => Err(error(format!("`{port}` is no port"))),
            };
        }
        match usual {
            Some(port) if is_host(text) => Ok(Self::Host(text.to_owned(), port)),
            _ if text.is_empty() => Err(error("the address is missing".to_owned())),
            _ => Ok(Self::Unix(directory.join(text))),
        }
    }
}

impl Route {
    /// `name pattern`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let Some((to, pattern)) = text.split_once(' ') else {
            return Err(Mistake {
                message: "invalid custom regexp syntax: must be <custom> <regexp>".to_owned(),
                hint: Some("say the name of a logger and a regular expression"),
            });
        };
        check(pattern)?;
        Ok(Self { to: to.to_owned(), pattern: pattern.to_owned() })
    }
}

/// Whether a regular expression can be matched with.
///
/// # Errors
/// What is wrong with it.
pub fn check(pattern: &str) -> Result<(), Mistake> {
    compile(pattern).map(drop).map_err(|reason| Mistake {
        message: format!("`{pattern}` is not a regular expression: {reason}"),
        hint: Some("lookaround and back references are not supported"),
    })
}

/// The regular expression, within bounds.
///
/// # Errors
/// It is none, or too large.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().map_err(|error| error.to_string())
}

fn error(message: String) -> Mistake {
    Mistake { message, hint: None }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => write!(f, "stdio"),
            Self::File { path, .. } => write!(f, "file:{}", path.display()),
            Self::Fd(number) => write!(f, "fd:{number}"),
            Self::Syslog { ident, .. } => write!(f, "syslog:{ident}"),
            Self::Rsyslog { to, .. } => write!(f, "rsyslog:{to}"),
            Self::Socket { to, .. } => write!(f, "socket:{to}"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_at(path: &str, max_bytes: Option<u64>, backup: Option<&str>) -> Backend {
        Backend::File { path: path.into(), max_bytes, backup: backup.map(PathBuf::from) }
    }

    #[test]
    fn loggers_are_read_as_uwsgi_does() {
        let syslog = |ident: &str, facility| Backend::Syslog { ident: ident.to_owned(), facility };
        let rsyslog =
            |to, tag: Option<&str>, priority| Backend::Rsyslog { to, tag: tag.map(str::to_owned), priority };
        let socket = |to, prefix: &str| Backend::Socket { to, prefix: prefix.to_owned() };
        let host = |name: &str, port| Peer::Host(name.to_owned(), port);
        for (text, name, to) in [
            ("stdio", None, Backend::Stdio),
            ("file:a.log", None, file_at("/d/a.log", None, None)),
            ("file:/var/a b.log", None, file_at("/var/a b.log", None, None)),
            ("err file:/e.log", Some("err"), file_at("/e.log", None, None)),
            (
                "file:logfile=/l.log,maxsize=20971520,backupname=old",
                None,
                file_at("/l.log", Some(20_971_520), Some("/d/old")),
            ),
            ("fd:1", None, Backend::Fd(1)),
            ("syslog", None, syslog("uwsgi", 3)),
            ("syslog:app", None, syslog("app", 3)),
            ("syslog:app,local6", None, syslog("app", 22)),
            ("rsyslog:10.0.0.1", None, rsyslog(host("10.0.0.1", 514), None, 29)),
            ("rsyslog:h:1514,app,134", None, rsyslog(host("h", 1514), Some("app"), 134)),
            ("rsyslog:/dev/log,app", None, rsyslog(Peer::Unix("/dev/log".into()), Some("app"), 29)),
            ("socket:127.0.0.1:1717", None, socket(host("127.0.0.1", 1717), "")),
            ("x socket:/run/l.sock,P ", Some("x"), socket(Peer::Unix("/run/l.sock".into()), "P ")),
            ("socket:[::1]:9", None, socket(host("::1", 9), "")),
        ] {
            let parsed = Logger::parse(text, Path::new("/d"));
            assert_eq!(parsed, Ok((Logger { name: name.map(str::to_owned), to }, None)), "{text}");
        }
    }

    #[test]
    fn what_is_no_logger_is_refused_with_a_reason() {
        for (text, part) in [
            ("nosuch:x", "unable to find logger nosuch"),
            ("a-b file:x", "unable to find logger a-b file"),
            ("", "unable to find logger "),
            ("file:", "the path of the file is missing"),
            ("file:maxsize=1", "the path of the file is missing"),
            ("file:logfile=a,maxsize=1k", "`1k` is no number of bytes"),
            ("file:logfile=a,chmod=1", "`chmod=1` is not"),
            ("fd:x", "`x` is no number"),
            ("fd:0", "`0` is no number"),
            ("syslog:a,b", "no facility `b`"),
            ("rsyslog:", "the address is missing"),
            ("rsyslog:h,t,200", "0 to 191"),
            ("socket:", "the address is missing"),
            ("socket:h:port", "`port` is no port"),
            ("pipe:/bin/cat", "starts no program"),
            ("crypto:addr=a", "no logger `crypto`"),
        ] {
            let mistake = Logger::parse(text, Path::new("/d")).unwrap_err();
            assert!(mistake.message.contains(part), "{text}: {mistake:?}");
        }
        for text in ["redislog:127.0.0.1:6379", "systemd"] {
            let (logger, doubt) = Logger::parse(text, Path::new("/d")).unwrap();
            assert!(logger.to == Backend::Stdio && doubt.is_some(), "{text}");
        }
    }

    #[test]
    fn routes_are_a_name_and_a_pattern_of_bounded_size() {
        let route = Route { to: "errors".to_owned(), pattern: "(?i)error [0-9]".to_owned() };
        assert_eq!(Route::parse("errors (?i)error [0-9]"), Ok(route));
        for text in ["errors", "a (", r"a (?!b)", &format!("a {}", "(a{100}){100}")] {
            assert!(Route::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_spec_of_which_nothing_was_said_is_plain() {
        assert!(LoggingSpec::default().is_plain() && !LoggingSpec::default().has_requests());
        let route = Route { to: "a".to_owned(), pattern: "b".to_owned() };
        let routed = LoggingSpec { request_routes: vec![route], ..LoggingSpec::default() };
        assert!(!routed.is_plain() && routed.has_requests());
    }
}
