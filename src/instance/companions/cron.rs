//! When a timed command runs next: local time, with the hours that the clock leaves out or shows twice.

use crate::config::companions::CronSpec;

const MINUTE: i64 = 60;
/// How far ahead a run is looked for: every date of the calendar comes within that time.
const HOURS: i64 = 24 * 366 * 9;
/// By how much clocks are set back.
const SHIFTS_S: [i32; 4] = [1800, 3600, 5400, 7200];

/// What the clock on the wall shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 1 to 31.
    pub day: i32,
    /// 1 to 12.
    pub month: i32,
    /// 0, Sunday, to 6.
    pub week: i32,
    /// How many seconds it is ahead of universal time.
    pub ahead_s: i32,
}

/// The first minute from `from` on in which the command runs, seconds since the epoch; `local` tells what the clock
/// shows then. `None`: it never does.
///
/// A command of a certain hour runs once a day: when the clock leaves its minute out, right after that; when it shows
/// it twice, the first time. One of every hour runs whenever the clock shows its minute.
pub fn next(cron: &CronSpec, from: u64, local: &dyn Fn(i64) -> Local) -> Option<u64> {
    let from = i64::try_from(from).ok()?;
    let mut at = from - from.rem_euclid(MINUTE);
    let end = at + HOURS * 60 * MINUTE;
    let mut shown = local(at);
    while at < end {
        if runs(cron, shown) && !(cron.hour >= 0 && is_second(at, shown, local)) {
            return u64::try_from(at).ok();
        }
        let whole = MINUTE * i64::from(60 - shown.minute);
        let matches_hour = is_day(cron, shown) && fits(cron.hour, shown.hour);
        let step = if matches_hour || local(at + whole).ahead_s != shown.ahead_s { MINUTE } else { whole };
        at += step;
        let before = std::mem::replace(&mut shown, local(at));
        if cron.hour >= 0 && left_out(before, shown).any(|minute| runs(cron, minute)) {
            return u64::try_from(at).ok();
        }
    }
    None
}

/// Whether the clock has shown the same before, and was set back.
fn is_second(at: i64, shown: Local, local: &dyn Fn(i64) -> Local) -> bool {
    SHIFTS_S.iter().any(|shift| local(at - i64::from(*shift)).ahead_s - shown.ahead_s == *shift)
}

/// The minutes that the clock has left out between two that follow each other.
fn left_out(before: Local, after: Local) -> impl Iterator<Item = Local> {
    let gap = (after.ahead_s - before.ahead_s).max(0) / 60;
    let end = after.hour * 60 + after.minute;
    // Of a gap over midnight only what belongs to the new day is made up for.
    ((end - gap).max(0)..end).map(move |minute| Local { hour: minute / 60, minute: minute % 60, ..after })
}

fn runs(cron: &CronSpec, shown: Local) -> bool {
    fits(cron.minute, shown.minute) && fits(cron.hour, shown.hour) && is_day(cron, shown)
}

fn is_day(cron: &CronSpec, shown: Local) -> bool {
    let week = if cron.week == 7 { 0 } else { cron.week };
    let (day, weekday) = (fits(cron.day, shown.day), fits(week, shown.week));
    let is_one = if cron.day >= 0 && cron.week >= 0 { day || weekday } else { day && weekday };
    is_one && fits(cron.month, shown.month)
}

/// -1 is any, -n every one that n divides.
fn fits(wanted: i32, shown: i32) -> bool {
    if wanted < 0 { shown.checked_rem(wanted.saturating_neg()) == Some(0) } else { wanted == shown }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The clock in Berlin in 2026: set forward on March 29 at 1:00 UTC, back on October 25 at 1:00 UTC.
    pub(crate) fn berlin(epoch_s: i64) -> Local {
        let summer = (SPRING..AUTUMN).contains(&epoch_s);
        shown(epoch_s, if summer { 7200 } else { 3600 })
    }

    const SPRING: i64 = 1_774_746_000;
    const AUTUMN: i64 = 1_792_890_000;

    fn shown(epoch_s: i64, ahead_s: i32) -> Local {
        let seconds = epoch_s + i64::from(ahead_s);
        let time = seconds;
        let days = time.div_euclid(86_400);
        // From the first of March of year 0, as leap days come last in such years.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let of_era = z.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let _ = era;
        let small = |n: i64| i32::try_from(n).unwrap();
        Local {
            minute: small(time.rem_euclid(3600) / 60),
            hour: small(time.rem_euclid(86_400) / 3600),
            day: small(of_year - (153 * month + 2) / 5 + 1),
            month: small(if month < 10 { month + 3 } else { month - 9 }),
            week: small((days + 4).rem_euclid(7)),
            ahead_s,
        }
    }

    fn epoch(text: &str) -> u64 {
        humantime::parse_rfc3339_weak(text).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }

    fn after(line: &str, from: &str) -> Option<String> {
        let cron = CronSpec::parse(&format!("{line} x"), false).unwrap();
        let at = next(&cron, epoch(from), &berlin)?;
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        Some(humantime::format_rfc3339_seconds(at).to_string())
    }

    #[test]
    fn the_next_minute_is_found() {
        for (line, from, expected) in [
            // Any, from this minute on; every fifth; of a certain hour (Berlin is ahead by one hour in winter).
            ("-1 -1 -1 -1 -1", "2026-01-01 00:00:59", Some("2026-01-01T00:00:00Z")),
            ("-5 -1 -1 -1 -1", "2026-01-01 00:01:00", Some("2026-01-01T00:05:00Z")),
            ("-5 -1 -1 -1 -1", "2026-01-01 00:56:00", Some("2026-01-01T01:00:00Z")),
            ("30 3 -1 -1 -1", "2026-01-01 00:00:00", Some("2026-01-01T02:30:00Z")),
            ("30 3 -1 -1 -1", "2026-01-01 02:31:00", Some("2026-01-02T02:30:00Z")),
            ("0 -6 -1 -1 -1", "2026-01-01 00:00:00", Some("2026-01-01T05:00:00Z")),
            // The month, the day of the month, the weekday; both days named: one is enough.
            ("0 0 1 3 -1", "2026-01-01 00:00:00", Some("2026-02-28T23:00:00Z")),
            ("0 12 -1 -1 7", "2026-01-01 00:00:00", Some("2026-01-04T11:00:00Z")),
            ("0 12 -1 -1 0", "2026-01-01 00:00:00", Some("2026-01-04T11:00:00Z")),
            ("0 12 13 -1 5", "2026-01-01 00:00:00", Some("2026-01-02T11:00:00Z")),
            ("0 12 13 -1 -1", "2026-01-01 00:00:00", Some("2026-01-13T11:00:00Z")),
            ("0 0 29 2 -1", "2026-01-01 00:00:00", Some("2028-02-28T23:00:00Z")),
            ("0 0 -7 -1 -1", "2026-01-01 00:00:00", Some("2026-01-06T23:00:00Z")),
            ("0 0 30 2 -1", "2026-01-01 00:00:00", None),
            ("60 0 -1 -1 -1", "2026-01-01 00:00:00", None),
            // The clock goes from 2:00 to 3:00: what it leaves out runs at 3:00, once.
            ("30 2 -1 -1 -1", "2026-03-28 12:00:00", Some("2026-03-29T01:00:00Z")),
            ("30 2 -1 -1 -1", "2026-03-29 01:01:00", Some("2026-03-30T00:30:00Z")),
            ("30 3 -1 -1 -1", "2026-03-28 12:00:00", Some("2026-03-29T01:30:00Z")),
            ("30 -1 -1 -1 -1", "2026-03-29 00:31:00", Some("2026-03-29T01:30:00Z")),
            // It goes from 3:00 back to 2:00: what it shows twice runs the first time, of every hour both times.
            ("30 2 -1 -1 -1", "2026-10-24 12:00:00", Some("2026-10-25T00:30:00Z")),
            ("30 2 -1 -1 -1", "2026-10-25 00:31:00", Some("2026-10-26T01:30:00Z")),
            ("30 -1 -1 -1 -1", "2026-10-25 00:31:00", Some("2026-10-25T01:30:00Z")),
        ] {
            assert_eq!(after(line, from).as_deref(), expected, "{line} from {from}");
        }
    }

    #[test]
    fn a_step_never_passes_a_minute_that_fits() {
        // Every minute of some days around both changes, by brute force.
        for line in [
            "7 -1 -1 -1 -1",
            "-7 -2 -1 -1 -1",
            "0 0 -1 -1 -1",
            "59 23 -1 -1 -1",
            "15 1 29 -1 -1",
            "0 4 -1 -1 0",
        ] {
            let cron = CronSpec::parse(&format!("{line} x"), false).unwrap();
            for change in [SPRING, AUTUMN] {
                let mut expected = None;
                for at in
                    (change - 2 * 86_400..change + 86_400).step_by(60).collect::<Vec<_>>().into_iter().rev()
                {
                    let from = u64::try_from(at).unwrap();
                    if runs(&cron, berlin(at)) && !(cron.hour >= 0 && is_second(at, berlin(at), &berlin)) {
                        expected = Some(from);
                    }
                    if let Some(expected) = expected {
                        assert_eq!(next(&cron, from, &berlin), Some(expected), "{line} at {at}");
                    }
                }
            }
        }
    }
}
