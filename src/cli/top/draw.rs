//! The screen as lines of pieces: all hosts with their vassals, or one vassal with its workers. Pure.

use std::time::{Instant, SystemTime};

use super::page;
use super::sample::{HostSight, Row};
use super::view::{Order, View};
use crate::api::views::{State, VassalDetail};
use crate::cli::paper::{age, clipped, length, number, span};
use crate::trace::escaped;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// Plain.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It passes.
    Passing,
    /// Something is broken.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Bold,
    /// Under the cursor.
    Reverse,
}

/// A line: pieces side by side.
pub type Line = Vec<(Look, String)>;

/// What there is to draw.
#[derive(Debug)]
pub struct Picture<'a> {
    /// The hosts.
    pub hosts: &'a [HostSight],
    /// What was chosen.
    pub view: &'a View,
    /// The lines of the list.
    pub rows: &'a [Row],
    /// The open vassal: what is known of it, or why nothing is.
    pub detail: Option<&'a Result<VassalDetail, String>>,
    /// The clock on the wall.
    pub now: SystemTime,
    /// The monotonic clock.
    pub at: Instant,
}

/// The narrowest and the widest column of names.
const NAMES: (usize, usize) = (8, 40);
/// From which width on the last column tells what is the matter.
const NOTE_WIDTH: usize = 100;
/// How many hosts that do not answer are told in a line of their own.
const LOST_SHOWN: usize = 4;

/// The screen, as many lines as it has rows, none wider than it.
#[must_use]
pub fn screen(picture: &Picture<'_>, width: usize, height: usize) -> Vec<Line> {
    let mut lines = head(picture);
    let foot = foot(picture, width);
    let room = height.saturating_sub(lines.len() + foot.len());
    let body = match &picture.view.open {
        _ if picture.view.help => help(),
        Some(open) => page::body(picture, open, width, room),
        None => list(picture, width, room),
    };
    lines.extend(body.into_iter().take(room));
    let filled = height.saturating_sub(foot.len());
    lines.resize(filled.max(lines.len()), Line::new());
    lines.extend(foot);
    // A screen of three lines still ends with the keys.
    let surplus = lines.len().saturating_sub(height);
    lines.drain(..surplus);
    lines.into_iter().map(|line| fitted(line, width)).collect()
}

/// How many lines of the list a screen of this height has room for.
#[must_use]
pub fn room(picture: &Picture<'_>, width: usize, height: usize) -> usize {
    height.saturating_sub(head(picture).len() + foot(picture, width).len() + 1)
}

/// The list as plain text, for where there is no screen.
#[must_use]
pub fn text(picture: &Picture<'_>) -> String {
    let widest = picture.rows.iter().map(|row| length(&escaped(&row.name))).max().unwrap_or(0);
    let mut lines = head(picture);
    lines.push(heading(picture, widest, true));
    lines.extend(picture.rows.iter().map(|row| line(picture, row, widest, true)));
    let plain = |line: &Line| line.iter().map(|(_, text)| text.as_str()).collect::<String>();
    lines.iter().map(|line| plain(line).trim_end().to_owned() + "\n").collect()
}

fn fitted(line: Line, width: usize) -> Line {
    let mut left = width;
    let mut out = Line::new();
    for (look, text) in line {
        let text = clipped(&text, left);
        left = left.saturating_sub(length(&text));
        if !text.is_empty() {
            out.push((look, text));
        }
        if left == 0 {
            break;
        }
    }
    out
}

fn head(picture: &Picture<'_>) -> Vec<Line> {
    let here: Vec<_> = picture.hosts.iter().filter_map(|host| host.here.as_ref()).collect();
    let mut first = match (here.as_slice(), picture.hosts) {
        ([one], [_]) => {
            let (host, emperor) = (&one.body.host, &one.body.emperor);
            let load: Vec<String> = host.load.iter().map(|load| format!("{load:.2}")).collect();
            let used = host.memory_bytes.saturating_sub(host.memory_available_bytes);
            vec![
                (Look::Bold, escaped(&host.name)),
                (
                    Look::Plain,
                    format!(
                        "  liege {}, {} {}  load {}  memory {} of {}",
                        escaped(&emperor.version),
                        if emperor.phase == "running" { "up" } else { &emperor.phase },
                        age(Some(&emperor.since), picture.now),
                        load.join(" "),
                        size(used),
                        size(host.memory_bytes)
                    ),
                ),
            ]
        }
        (_, [_]) => vec![(Look::Bold, "liege".to_owned())],
        (here, all) => {
            vec![
                (Look::Bold, format!("{} hosts", all.len())),
                (Look::Plain, format!(", {} answer", here.len())),
            ]
        }
    };
    if picture.view.paused {
        first.push((Look::Reverse, " paused ".to_owned()));
    }
    let mut lines = vec![first, summary(picture)];
    let lost: Vec<Line> = picture.hosts.iter().filter_map(|host| lost(host, picture.at)).collect();
    let more = lost.len().saturating_sub(LOST_SHOWN);
    lines.extend(lost.into_iter().take(LOST_SHOWN));
    if more > 0 {
        lines.push(vec![(Look::Bad, format!("{more} more do not answer"))]);
    }
    lines
}

fn lost(host: &HostSight, at: Instant) -> Option<Line> {
    let (why, since) = host.lost.as_ref()?;
    let name = if host.name.is_empty() { String::new() } else { format!("{}: ", escaped(&host.name)) };
    let span = span(at.duration_since(*since));
    Some(vec![
        (Look::Bad, format!("{name}no answer for {span}")),
        (Look::Plain, format!(": {}", escaped(why))),
    ])
}

fn summary(picture: &Picture<'_>) -> Line {
    let vassals = || picture.hosts.iter().filter_map(|host| host.here.as_ref()).flat_map(|h| &h.body.vassals);
    let all: Vec<Row> = picture.hosts.iter().flat_map(HostSight::rows).collect();
    let serving = vassals().filter(|v| v.vassal.serving && v.vassal.state != State::NoApp).count();
    let sum = |of: fn(&Row) -> u64| all.iter().map(of).sum::<u64>();
    let rate: f64 = all.iter().filter_map(|row| row.rates).map(|rates| rates.requests).sum();
    let mut line = vec![(
        Look::Plain,
        format!(
            "{serving} of {} serve, {} requests/s, {} of {} workers busy, {}",
            all.len(),
            rounded(rate),
            sum(|row| row.totals.busy),
            sum(|row| row.totals.workers),
            size(sum(|row| row.totals.rss_bytes)),
        ),
    )];
    let trouble = all.iter().filter(|row| row.trouble).count();
    if trouble > 0 {
        line.push((Look::Bad, format!("  {trouble} in trouble")));
    }
    line
}

fn list(picture: &Picture<'_>, width: usize, room: usize) -> Vec<Line> {
    let widest = picture.rows.iter().map(|row| length(&escaped(&row.name))).max().unwrap_or(0);
    let mut lines = vec![heading(picture, widest, width >= NOTE_WIDTH)];
    let cursor = picture.view.cursor(picture.rows);
    let fits = room.saturating_sub(1).max(1);
    // The cursor is in the middle, except near the ends.
    let first = cursor.saturating_sub(fits / 2).min(picture.rows.len().saturating_sub(fits));
    for (place, row) in picture.rows.iter().enumerate().skip(first).take(fits) {
        let mut line = line(picture, row, widest, width >= NOTE_WIDTH);
        if place == cursor {
            let text: String = line.iter().map(|(_, text)| text.as_str()).collect();
            let space = " ".repeat(width.saturating_sub(length(&text)));
            line = vec![(Look::Reverse, text + &space)];
        }
        lines.push(line);
    }
    if picture.rows.is_empty() {
        let (waits, here) = (
            picture.hosts.iter().any(|host| host.here.is_none() && host.lost.is_none()),
            picture.hosts.iter().any(|host| host.here.is_some()),
        );
        let text = match (waits, here, picture.view.filter.is_empty()) {
            (true, ..) => "asking …",
            // That nobody answers stands above.
            (_, false, _) => "",
            (.., true) => "no vassals",
            (.., false) => "nothing matches the filter",
        };
        lines.push(vec![(Look::Faint, text.to_owned())]);
    }
    lines
}

fn names_width(widest: usize) -> usize {
    widest.clamp(NAMES.0, NAMES.1)
}

fn hosts_width(picture: &Picture<'_>) -> usize {
    let names = picture.hosts.iter().map(|host| length(&escaped(&host.name)));
    names.max().unwrap_or(0).min(NAMES.1)
}

fn heading(picture: &Picture<'_>, widest: usize, notes: bool) -> Line {
    let order = picture.view.order;
    let piece = |this: Order, text: String| match this == order {
        true => (Look::Good, text),
        false => (Look::Bold, text),
    };
    let hosts = hosts_width(picture);
    let mut line = Line::new();
    if hosts > 0 {
        line.push((Look::Bold, padded("HOST", hosts) + " "));
    }
    let mark = if picture.view.reversed { "▴" } else { "▾" };
    let title =
        |this: Order, text: &str| if this == order { format!("{text}{mark}") } else { text.to_owned() };
    line.push(piece(Order::Name, padded(&title(Order::Name, "NAME"), names_width(widest))));
    line.push(piece(Order::State, format!(" {}", padded(&title(Order::State, "STATE"), 9))));
    for (this, text, wide) in [
        (Order::Busy, "BUSY", 7),
        (Order::Rate, "REQ/S", 8),
        (Order::Average, "AVG", 8),
        (Order::Exceptions, "EXC/S", 6),
        (Order::Memory, "MEM", 7),
        (Order::Age, "UP", 7),
    ] {
        line.push(piece(this, format!(" {}", right(&title(this, text), wide))));
    }
    if notes {
        line.push((Look::Bold, "  NOTE".to_owned()));
    }
    line
}

fn line(picture: &Picture<'_>, row: &Row, widest: usize, notes: bool) -> Line {
    let hosts = hosts_width(picture);
    let mut line = Line::new();
    if hosts > 0 {
        line.push((Look::Faint, padded(&escaped(&row.host), hosts) + " "));
    }
    let wide = names_width(widest);
    line.push((Look::Plain, padded(&clipped(&escaped(&row.name), wide), wide)));
    line.push((look(row), format!(" {}", padded(row.state.word(), 9))));
    let totals = &row.totals;
    let busy = if totals.busy > 0 && totals.busy == totals.workers { Look::Bad } else { Look::Plain };
    line.push((busy, format!(" {}", right(&format!("{}/{}", totals.busy, totals.workers), 7))));
    let rates = row.rates;
    let rate = rates.map_or("-".to_owned(), |rates| rounded(rates.requests));
    line.push((Look::Plain, format!(" {}", right(&rate, 8))));
    let average = average(rates.map_or(0, |rates| rates.average_us));
    line.push((Look::Plain, format!(" {}", right(&average, 8))));
    let exceptions = rates.map_or(0.0, |rates| rates.exceptions);
    let bad = if exceptions > 0.0 { Look::Bad } else { Look::Plain };
    line.push((bad, format!(" {}", right(&rates.map_or("-".to_owned(), |_| rounded(exceptions)), 6))));
    line.push((Look::Plain, format!(" {}", right(&size(totals.rss_bytes), 7))));
    line.push((Look::Plain, format!(" {}", right(&age(row.since.as_deref(), picture.now), 7))));
    if notes {
        line.push((Look::Faint, format!("  {}", row.told(picture.now).unwrap_or_default())));
    }
    line
}

/// How a state looks.
const fn look(row: &Row) -> Look {
    match (row.trouble, row.state) {
        (true, _) => Look::Bad,
        (false, State::Up) => Look::Good,
        (false, _) => Look::Passing,
    }
}

fn foot(picture: &Picture<'_>, width: usize) -> Vec<Line> {
    let view = picture.view;
    let keys = match (&view.open, view.help) {
        (_, true) => "any key: back",
        (Some(_), _) => "q back  ↑↓ scroll  space pause  ? keys",
        (None, _) => "q quit  enter open  / filter  n s b r a e m u order  space pause  ? keys",
    };
    let mut lines = Vec::new();
    if view.open.is_none() && !view.help {
        let row = picture.rows.get(view.cursor(picture.rows));
        let note = row.and_then(|row| row.told(picture.now)).filter(|_| width < NOTE_WIDTH);
        let text = match (view.typing, note) {
            (true, _) => format!("/{}▏", escaped(&view.filter)),
            (false, Some(note)) => note,
            (false, None) => String::new(),
        };
        lines.push(vec![(if view.typing { Look::Bold } else { Look::Faint }, text)]);
    }
    let filter = match view.filter.is_empty() || view.typing || view.open.is_some() {
        true => String::new(),
        false => format!("filter {} (esc clears)  ", escaped(&view.filter)),
    };
    lines.push(vec![(Look::Passing, filter), (Look::Faint, keys.to_owned())]);
    lines
}

fn help() -> Vec<Line> {
    [
        "",
        "↑ ↓ k j, page keys, home end g G  another line",
        "enter →                           the vassal's workers, requests and log",
        "esc ← q                           back to the list",
        "/                                 only names that contain this or match web-*",
        "n s b r                           order: name, state, busy, rate,",
        "a e m u                           average, exceptions, memory, uptime;",
        "                                  the same key again: the other way round",
        "space                             pause",
        "q  Control-C                      end",
        "",
        "BUSY   workers inside a request, of all",
        "AVG    average time of the requests since the last look",
        "MEM    resident memory of the workers, what they share counted more than once",
    ]
    .map(|text| vec![(Look::Plain, text.to_owned())])
    .to_vec()
}

/// At least so wide.
pub(super) fn padded(text: &str, wide: usize) -> String {
    format!("{text}{}", " ".repeat(wide.saturating_sub(length(text))))
}

/// The same, flush right.
pub(super) fn right(text: &str, wide: usize) -> String {
    format!("{}{text}", " ".repeat(wide.saturating_sub(length(text))))
}

/// A number of things in a second.
pub(super) fn rounded(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no rate is negative or that great"
    )]
    match rate {
        rate if rate < 0.05 => "0".to_owned(),
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => number(rate.round() as u64),
    }
}

/// A time in the unit that fits.
pub(super) fn time(us: u64) -> String {
    match us {
        0..=9_999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..=999_999 => format!("{} ms", us / 1000),
        1_000_000..=99_999_999 => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// The average of so many requests that there may be none.
pub(super) fn average(us: u64) -> String {
    if us == 0 { "-".to_owned() } else { time(us) }
}

/// Bytes in the unit that fits.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        1..=999_999_999 => format!("{} MB", bytes.div_ceil(1_000_000)),
        1_000_000_000..=99_999_999_999 => {
            format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000)
        }
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::view::Choice;
    use crate::cli::top::view::tests::row;

    fn drawn(view: &View, rows: &[Row], width: usize, height: usize) -> Vec<String> {
        let hosts = [HostSight::new(String::new())];
        let (now, at) = (SystemTime::now(), Instant::now());
        let picture = Picture { hosts: &hosts, view, rows, detail: None, now, at };
        let lines = screen(&picture, width, height);
        lines.iter().map(|line| line.iter().map(|(_, text)| text.as_str()).collect()).collect()
    }

    #[test]
    fn every_screen_fits_the_terminal() {
        let rows: Vec<Row> =
            (0..200).map(|n| row(&format!("日本語-{n}-{}", "x".repeat(n)), 1, 5e6)).collect();
        let open = Choice { host: String::new(), name: "a".into(), link: String::new() };
        for view in [
            View::default(),
            View { help: true, ..View::default() },
            View { typing: true, filter: "x".repeat(200), ..View::default() },
            View { open: Some(open), ..View::default() },
        ] {
            for (width, height) in [(80, 24), (200, 60), (40, 10), (10, 3), (1, 1), (0, 0)] {
                let lines = drawn(&view, &rows, width, height);
                assert_eq!(lines.len(), height, "{width}x{height}");
                let widest = lines.iter().map(|line| length(line)).max().unwrap_or(0);
                assert!(widest <= width, "{width}x{height}: {widest}");
            }
        }
    }

    #[test]
    fn a_terminal_of_80_columns_shows_all_of_the_help() {
        for line in help() {
            let text: String = line.iter().map(|(_, text)| text.as_str()).collect();
            assert!(length(&text) <= 80, "{text}");
        }
    }

    #[test]
    fn who_rests_says_until_when() {
        let now = humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        let next_try = Some("2026-01-01T00:00:30Z".to_owned());
        let resting = Row { note: Some("exit status 7".into()), next_try, ..row("a.ini", 0, 0.0) };
        assert_eq!(resting.told(now).unwrap(), "next try in 30 s: exit status 7");
        assert_eq!(row("a.ini", 0, 0.0).told(now), None);
    }

    #[test]
    fn the_line_under_the_cursor_is_always_there() {
        let rows: Vec<Row> = (0..200).map(|n| row(&format!("app-{n:03}.ini"), 0, 0.0)).collect();
        for name in ["app-000.ini", "app-100.ini", "app-199.ini"] {
            let chosen = Some(Choice { host: String::new(), name: name.into(), link: String::new() });
            let lines = drawn(&View { chosen, ..View::default() }, &rows, 80, 24);
            assert!(lines.iter().any(|line| line.starts_with(name)), "{name}: {lines:#?}");
        }
    }

    #[test]
    fn a_host_that_does_not_answer_has_not_no_vassals() {
        let (now, at) = (SystemTime::now(), Instant::now());
        for (lost, expected) in [(false, Some("asking …")), (true, None)] {
            let mut host = HostSight::new(String::new());
            if lost {
                host.silent("nobody listens".into(), at);
            }
            let (hosts, view) = ([host], View::default());
            let picture = Picture { hosts: &hosts, view: &view, rows: &[], detail: None, now, at };
            let body: Vec<String> =
                list(&picture, 80, 10).iter().flatten().map(|(_, text)| text.clone()).collect();
            assert_eq!(body.iter().any(|text| text == "asking …"), expected.is_some(), "{body:?}");
            assert!(!body.iter().any(|text| text == "no vassals"), "{body:?}");
        }
    }

    #[test]
    fn names_steer_no_terminal() {
        let lines = drawn(&View::default(), &[row("e\u{1b}[2J\u{202e}", 0, 0.0)], 80, 24);
        assert!(lines.iter().all(|line| !line.contains(['\u{1b}', '\u{202e}'])), "{lines:?}");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (rate, expected) in [(0.0, "0"), (0.25, "0.2"), (99.9, "99.9"), (1234.5, "1,235")] {
            assert_eq!(rounded(rate), expected);
        }
        for (us, expected) in [
            (0, "0.0 ms"),
            (1_500, "1.5 ms"),
            (12_000, "12 ms"),
            (61_060_000, "61.0 s"),
            (100_000_000, "100 s"),
        ] {
            assert_eq!(time(us), expected);
        }
        for (bytes, expected) in [
            (0, "-"),
            (1, "1 MB"),
            (40_000_000, "40 MB"),
            (2_340_000_000, "2.3 GB"),
            (200_000_000_000, "200 GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
