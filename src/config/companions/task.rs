//! Commands that run once at a time: `cron` and its relatives, `touch-exec`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::keyval;
use crate::config::value;

/// A command that runs at certain times of the local clock. In every field -1 stands for any value, -n for every
/// value that n divides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CronSpec {
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 23.
    pub hour: i32,
    /// The day of the month, from 1.
    pub day: i32,
    /// 1 to 12.
    pub month: i32,
    /// The day of the week: 0 and 7 are Sunday. Where the day of the month is named too, one of both is enough.
    pub week: i32,
    /// What the shell runs.
    pub command: String,
    /// `unique-cron`, `unique`: it does not start while it runs.
    pub unique: bool,
    /// `harakiri`: seconds that it may run; 0: as long as it likes; `None`: as `cron-harakiri` says.
    pub harakiri_s: Option<u32>,
}

/// A command that runs when a file changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchExec {
    /// The file.
    pub file: PathBuf,
    /// What the shell runs.
    pub command: String,
}

impl CronSpec {
    /// `minute hour day month weekday command`.
    ///
    /// # Errors
    /// It is not that.
    pub fn parse(text: &str, unique: bool) -> Result<Self, String> {
        let mut rest = text;
        let mut fields = [0; 5];
        for field in &mut fields {
            let start = rest.trim_start();
            let end = start.find(char::is_whitespace).ok_or("invalid cron syntax")?;
            let (word, after) = start.split_at_checked(end).ok_or("invalid cron syntax")?;
            *field = word.parse().map_err(|_| "invalid cron syntax")?;
            rest = after;
        }
        let [minute, hour, day, month, week] = fields;
        let command = rest.trim().to_owned();
        Self { minute, hour, day, month, week, command, unique, harakiri_s: None }.checked()
    }

    /// `[key=value,…] command`; also answers what is not understood, and so ignored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn keyval(text: &str) -> Result<(Self, Vec<String>), String> {
        let first = text.split_once(' ').filter(|(first, _)| first.contains('='));
        let (pairs, command) = match first {
            Some((pairs, command)) => (pairs, command.trim()),
            None if text.contains('=') && !text.contains(' ') => return Err("there is no command".to_owned()),
            None => ("", text.trim()),
        };
        let mut spec = Self {
            minute: -1,
            hour: -1,
            day: -1,
            month: -1,
            week: -1,
            command: command.to_owned(),
            unique: false,
            harakiri_s: None,
        };
        let mut ignored = Vec::new();
        for (key, value) in keyval::parse(pairs) {
            let number = || {
                let (number, whole) = value::integer(value.as_deref().unwrap_or_default());
                i32::try_from(number).ok().filter(|_| whole).ok_or_else(|| format!("{key}: no number"))
            };
            match key.as_str() {
                "minute" => spec.minute = number()?,
                "hour" => spec.hour = number()?,
                "day" => spec.day = number()?,
                "month" => spec.month = number()?,
                "week" => spec.week = number()?,
                "unique" => spec.unique = number()? != 0,
                "harakiri" => spec.harakiri_s = Some(u32::try_from(number()?).unwrap_or(0)),
                "legion" => return Err("legion: there are no legions".to_owned()),
                _ => ignored.push(format!("`{key}`")),
            }
        }
        spec.checked().map(|spec| (spec, ignored))
    }

    fn checked(self) -> Result<Self, String> {
        // uWSGI would divide by it.
        if self.command.is_empty() {
            return Err("there is no command".to_owned());
        }
        Ok(self)
    }

    /// Which field holds a value that the clock never shows, so that the command would never run.
    #[must_use]
    pub fn never(&self) -> Option<String> {
        [
            ("minute", self.minute, 0..=59),
            ("hour", self.hour, 0..=23),
            ("day", self.day, 1..=31),
            ("month", self.month, 1..=12),
            ("weekday", self.week, 0..=7),
        ]
        .into_iter()
        .find(|(_, number, possible)| *number >= 0 && !possible.contains(number))
        .map(|(field, number, _)| format!("there is no {field} {number}: it would never run"))
    }
}

impl TouchExec {
    /// `FILE COMMAND`, or a file that is itself the command.
    #[must_use]
    pub fn parse(text: &str, directory: &Path) -> Self {
        let (file, command) = text.split_once(' ').unwrap_or((text, text));
        Self { file: directory.join(file), command: command.trim().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_keys_are_read_as_uwsgi_reads_them() {
        let spec = CronSpec::parse("59 2 -1  -1 -1 /bin/x  y 5 ", true).unwrap();
        assert_eq!((spec.minute, spec.hour, spec.day, spec.command.as_str()), (59, 2, -1, "/bin/x  y 5"));
        assert!(spec.unique && spec.never().is_none());
        for broken in ["59 2 -1 -1 /bin/x", "* * * * * x", "1 2 3 4 5", "1 2 3 4 5 ", ""] {
            assert!(CronSpec::parse(broken, false).is_err(), "{broken}");
        }
        assert!(CronSpec::parse("60 2 -1 -1 -1 x", false).unwrap().never().unwrap().contains("minute 60"));
        let (spec, ignored) =
            CronSpec::keyval("minute=-5,week=7,unique=1,harakiri=0,x=1 /bin/a b=c").unwrap();
        assert_eq!(
            (spec.minute, spec.hour, spec.week, spec.unique, spec.harakiri_s),
            (-5, -1, 7, true, Some(0))
        );
        assert_eq!((spec.command.as_str(), ignored), ("/bin/a b=c", vec!["`x`".to_owned()]));
        assert_eq!(CronSpec::keyval("/bin/a b=c").unwrap().0.command, "/bin/a b=c");
        for broken in ["minute=1", "minute=x /bin/a", "legion=a /bin/a", "minute=1 "] {
            assert!(CronSpec::keyval(broken).is_err(), "{broken}");
        }
        let touch = TouchExec::parse("x /bin/a b", Path::new("/srv"));
        assert_eq!((touch.file, touch.command.as_str()), ("/srv/x".into(), "/bin/a b"));
        assert_eq!(TouchExec::parse("/x", Path::new("/srv")).command, "/x");
    }
}
