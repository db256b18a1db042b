//! Where the statistics of an instance are pushed to: the words of `stats-push`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to push, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsPushSpec {
    /// `stats-push`: where to.
    pub to: Vec<Push>,
    /// `stats-pusher-default-freq`: seconds between two pushes.
    pub every_s: u32,
}

/// The form of the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsForm {
    /// `stats-minified`: without white space.
    pub minified: bool,
    /// `stats-no-cores`: without the threads of workers.
    pub no_cores: bool,
}

/// Which variables of running requests the statistics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestVars {
    /// `stats-request-vars`: all but credentials.
    pub shown: bool,
    /// `stats-request-query`: with query strings.
    pub queries: bool,
}

impl Default for StatsPushSpec {
    fn default() -> Self {
        Self { to: Vec::new(), every_s: 3 }
    }
}

/// A place that gets statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// A statsd server, by UDP.
    Statsd {
        /// Its host, to be looked up.
        host: String,
        /// Its port.
        port: u16,
        /// What the names begin with.
        prefix: String,
    },
    /// A file that grows by a document each time.
    File {
        /// The file.
        path: PathBuf,
        /// Seconds between two pushes, if others than usual.
        every_s: Option<u32>,
        /// What follows each document.
        separator: String,
    },
}

impl Push {
    /// `statsd:HOST:PORT[,PREFIX]`, or `file[:path=FILE,freq=SECONDS,separator=TEXT]`, as uWSGI's plugins read it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "statsd" => {
                let (address, prefix) = rest.split_once(',').unwrap_or((rest, "uwsgi"));
                let parts =
                    address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
                let (host, port) =
                    parts.ok_or_else(|| format!("{address}: no address of a statsd server"))?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self::Statsd { host, port, prefix: prefix.to_owned() })
            }
            "file" => {
                let (mut path, mut every_s, mut separator) =
                    (PathBuf::from("uwsgi.stats"), None, "\n\n".to_owned());
                for part in rest.split(',').filter(|part| !part.is_empty()) {
                    match part.split_once('=') {
                        Some(("path", value)) => path = value.into(),
                        Some(("separator", value)) => separator = value.to_owned(),
                        Some(("freq", value)) => {
                            let parsed = value.parse().ok().filter(|seconds| *seconds > 0);
                            every_s = Some(parsed.ok_or_else(|| format!("{part}: no number of seconds"))?);
                        }
                        _ => return Err(format!("{part}: not understood")),
                    }
                }
                Ok(Self::File { path, every_s, separator })
            }
            _ => Err(format!("{kind}: statistics are pushed to statsd and file only")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uwsgis_pushers_take_is_understood() {
        let statsd = |host: &str, prefix: &str| {
            Ok(Push::Statsd { host: host.to_owned(), port: 8125, prefix: prefix.to_owned() })
        };
        let file = |path: &str, every_s, separator: &str| {
            Ok(Push::File { path: path.into(), every_s, separator: separator.to_owned() })
        };
        for (text, expected) in [
            ("statsd:127.0.0.1:8125", statsd("127.0.0.1", "uwsgi")),
            ("statsd:stats.example:8125,my.app", statsd("stats.example", "my.app")),
            ("statsd:[::1]:8125", statsd("::1", "uwsgi")),
            ("file", file("uwsgi.stats", None, "\n\n")),
            ("file:path=/tmp/s,freq=10,separator=---", file("/tmp/s", Some(10), "---")),
            ("statsd:nowhere", Err("nowhere: no address of a statsd server".to_owned())),
            ("file:freq=0", Err("freq=0: no number of seconds".to_owned())),
            ("file:/tmp/s", Err("/tmp/s: not understood".to_owned())),
            ("mongodb:x", Err("mongodb: statistics are pushed to statsd and file only".to_owned())),
        ] {
            assert_eq!(Push::parse(text), expected, "{text}");
        }
    }
}
