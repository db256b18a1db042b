//! What the person at the keys has chosen: the order, the filter, the line, the page. Keys change it.

use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::sample::Row;
use crate::cli::names;

/// How many lines a page key moves, if the screen does not say.
const PAGE: usize = 10;
/// How long a filter may be.
const FILTER_MAX: usize = 40;

/// By what the lines are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// Those with trouble first.
    State,
    /// By busy workers.
    Busy,
    /// By requests in a second.
    Rate,
    /// By the average time of a request.
    Average,
    /// By exceptions in a second.
    Exceptions,
    /// By memory.
    Memory,
    /// The youngest first.
    Age,
}

/// The keys of the orders.
pub const ORDERS: [(char, Order); 8] = [
    ('n', Order::Name),
    ('s', Order::State),
    ('b', Order::Busy),
    ('r', Order::Rate),
    ('a', Order::Average),
    ('e', Order::Exceptions),
    ('m', Order::Memory),
    ('u', Order::Age),
];

/// A vassal among the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The host.
    pub host: String,
    /// The vassal.
    pub name: String,
    /// Its address in the API.
    pub link: String,
}

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By what the lines are ordered.
    pub order: Order,
    /// The other way round.
    pub reversed: bool,
    /// Only names that contain this, or match it as a pattern.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// The line under the cursor.
    pub chosen: Option<Choice>,
    /// The vassal whose page is shown.
    pub open: Option<Choice>,
    /// How far its page is scrolled.
    pub scroll: usize,
    /// The keys are explained.
    pub help: bool,
    /// Nothing new is shown.
    pub paused: bool,
    /// How many lines fit.
    pub page: usize,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Draw.
    Draw,
    /// End.
    Quit,
    /// Stop the process, as the shell expects of Control-Z.
    Suspend,
}

impl View {
    /// The lines to show, in their order.
    #[must_use]
    pub fn rows(&self, all: impl Iterator<Item = Row>) -> Vec<Row> {
        let mut rows: Vec<Row> = all.filter(|row| self.shows(row)).collect();
        rows.sort_by(|one, other| {
            let order = self.compare(one, other);
            let order = if self.reversed { order.reverse() } else { order };
            order.then_with(|| (&one.name, &one.host).cmp(&(&other.name, &other.host)))
        });
        rows
    }

    fn shows(&self, row: &Row) -> bool {
        let filter = self.filter.as_str();
        filter.is_empty()
            || row.name.contains(filter)
            || row.host.contains(filter)
            || row.state.word().contains(filter)
            || names::is_meant(filter, &row.name)
    }

    fn compare(&self, one: &Row, other: &Row) -> Ordering {
        let rate = |row: &Row, of: fn(&super::sample::Rates) -> f64| row.rates.as_ref().map_or(-1.0, of);
        match self.order {
            Order::Name => one.name.cmp(&other.name),
            Order::State => {
                (other.trouble, other.state.word() != "up").cmp(&(one.trouble, one.state.word() != "up"))
            }
            Order::Busy => other.totals.busy.cmp(&one.totals.busy),
            Order::Rate => rate(other, |r| r.requests).total_cmp(&rate(one, |r| r.requests)),
            Order::Average => {
                let of = |row: &Row| row.rates.map_or(0, |rates| rates.average_us);
                of(other).cmp(&of(one))
            }
            Order::Exceptions => rate(other, |r| r.exceptions).total_cmp(&rate(one, |r| r.exceptions)),
            Order::Memory => other.totals.rss_bytes.cmp(&one.totals.rss_bytes),
            // RFC 3339 times in UTC order as text.
            Order::Age => other.since.cmp(&one.since),
        }
    }

    /// The number of the line under the cursor.
    #[must_use]
    pub fn cursor(&self, rows: &[Row]) -> usize {
        let chosen = self.chosen.as_ref();
        let is_chosen = |row: &Row| chosen.is_some_and(|c| c.name == row.name && c.host == row.host);
        rows.iter().position(is_chosen).unwrap_or(0)
    }

    /// What a key changes.
    pub fn key(&mut self, key: KeyEvent, rows: &[Row]) -> After {
        if key.kind == KeyEventKind::Release {
            return After::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c' | 'd') => return After::Quit,
                KeyCode::Char('z') => return After::Suspend,
                _ => return After::Draw,
            }
        }
        if self.typing {
            self.type_filter(key.code);
            return After::Draw;
        }
        if std::mem::take(&mut self.help) {
            return After::Draw;
        }
        match key.code {
            KeyCode::Char('q') if self.open.is_none() => return After::Quit,
            KeyCode::Char('Q') => return After::Quit,
            KeyCode::Char('q' | 'h') | KeyCode::Esc | KeyCode::Backspace | KeyCode::Left
                if self.open.is_some() =>
            {
                self.open = None;
            }
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('/') if self.open.is_none() => self.typing = true,
            KeyCode::Enter | KeyCode::Right if self.open.is_none() => {
                self.open = rows.get(self.cursor(rows)).map(choice);
                self.scroll = 0;
            }
            KeyCode::Up | KeyCode::Char('k') => self.go(rows, -1),
            KeyCode::Down | KeyCode::Char('j') => self.go(rows, 1),
            KeyCode::PageUp => self.go(rows, -self.jump()),
            KeyCode::PageDown => self.go(rows, self.jump()),
            KeyCode::Home | KeyCode::Char('g') => self.go(rows, isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.go(rows, isize::MAX),
            KeyCode::Char(letter) if self.open.is_none() => self.sort(letter),
            _ => {}
        }
        After::Draw
    }

    fn sort(&mut self, letter: char) {
        let found = ORDERS.iter().find(|(key, _)| *key == letter);
        if let Some((_, order)) = found {
            self.reversed = *order == self.order && !self.reversed;
            self.order = *order;
        }
    }

    fn jump(&self) -> isize {
        isize::try_from(if self.page == 0 { PAGE } else { self.page }).unwrap_or(isize::MAX)
    }

    fn go(&mut self, rows: &[Row], by: isize) {
        if self.open.is_some() {
            self.scroll = self.scroll.saturating_add_signed(by);
            return;
        }
        let last = rows.len().saturating_sub(1);
        let place = self.cursor(rows).saturating_add_signed(by).min(last);
        self.chosen = rows.get(place).map(choice);
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_MAX => self.filter.push(letter),
            _ => {}
        }
    }
}

fn choice(row: &Row) -> Choice {
    Choice { host: row.host.clone(), name: row.name.clone(), link: row.link.clone() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::views::{State, Totals};
    use crate::cli::top::sample::Rates;

    pub(in crate::cli::top) fn row(name: &str, busy: u64, requests: f64) -> Row {
        Row {
            host: String::new(),
            name: name.into(),
            state: State::Up,
            trouble: false,
            totals: Totals { busy, workers: 4, requests: 10, rss_bytes: 40_000_000, ..Totals::default() },
            rates: Some(Rates { requests, exceptions: 0.0, average_us: 1_500 }),
            since: None,
            note: None,
            next_try: None,
            link: format!("/v1/vassals/{name}"),
        }
    }

    fn names(rows: &[Row]) -> String {
        rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn press(view: &mut View, rows: &[Row], keys: &str) -> After {
        let mut after = After::Draw;
        for word in keys.split(' ') {
            let code = match word {
                "down" => KeyCode::Down,
                "up" => KeyCode::Up,
                "end" => KeyCode::End,
                "home" => KeyCode::Home,
                "pgdn" => KeyCode::PageDown,
                "enter" => KeyCode::Enter,
                "esc" => KeyCode::Esc,
                "back" => KeyCode::Backspace,
                letter => KeyCode::Char(letter.chars().next().unwrap()),
            };
            after = view.key(KeyEvent::new(code, KeyModifiers::NONE), rows);
        }
        after
    }

    #[test]
    fn keys_order_and_filter() {
        let all = || [row("b", 1, 5.0), row("a", 0, 9.0), row("c", 3, 0.0)].into_iter();
        for (keys, expected) in [
            ("n", "c b a"),
            ("b", "c b a"),
            ("b b", "a b c"),
            ("r", "a b c"),
            ("r n", "a b c"),
            ("x", "a b c"),
            ("/ b enter", "b"),
            ("/ [ a - b ]", "a b"),
            ("/ b esc", "a b c"),
            ("/ b c back", "b"),
        ] {
            let mut view = View::default();
            press(&mut view, &[], keys);
            assert_eq!(names(&view.rows(all())), expected, "{keys}");
        }
    }

    #[test]
    fn the_cursor_stays_on_its_vassal() {
        let rows = View::default().rows([row("a", 0, 0.0), row("b", 0, 0.0), row("c", 0, 0.0)].into_iter());
        for (keys, expected) in
            [("down", "b"), ("down down down down", "c"), ("end up", "b"), ("end home", "a"), ("pgdn", "c")]
        {
            let mut view = View::default();
            press(&mut view, &rows, keys);
            assert_eq!(view.chosen.map(|chosen| chosen.name).as_deref(), Some(expected), "{keys}");
        }
        let mut view = View::default();
        press(&mut view, &rows, "down n");
        let rows = view.rows(rows.into_iter());
        assert_eq!(names(&rows), "c b a");
        assert_eq!(view.cursor(&rows), 1);
        press(&mut view, &rows, "enter");
        assert_eq!(view.open.as_ref().map(|open| open.name.as_str()), Some("b"));
        assert_eq!(press(&mut view, &rows, "q"), After::Draw, "back to the list");
        assert_eq!(view.open, None);
        assert_eq!(press(&mut view, &rows, "q"), After::Quit);
    }

    #[test]
    fn control_keys_end_and_suspend_everywhere() {
        for (letter, expected) in [('c', After::Quit), ('z', After::Suspend), ('x', After::Draw)] {
            for typing in [false, true] {
                let mut view = View { typing, ..View::default() };
                let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
                assert_eq!(view.key(key, &[]), expected);
            }
        }
    }
}
