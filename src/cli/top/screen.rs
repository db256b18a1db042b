//! The terminal while `top` has it: taken over, drawn on where something changed, and given back on every way out.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;

use crossterm::terminal::{
    self, BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue};

use super::draw::{Line, Look};

/// The terminal, taken over. It is given back when this goes, and when the process panics.
#[derive(Debug)]
pub struct Screen {
    colour: bool,
    /// What is there.
    shown: Vec<String>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It is none, or does not obey.
    pub fn open(colour: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                before(info);
            }));
        });
        let screen = Self { colour, shown: Vec::new() };
        take_over()?;
        Ok(screen)
    }

    /// Columns and lines.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        (columns.into(), lines.into())
    }

    /// Draws these lines: only those that differ from what is there.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let lines: Vec<String> = lines.iter().map(|line| self.styled(line)).collect();
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        if lines.len() != self.shown.len() {
            queue!(out, terminal::Clear(terminal::ClearType::All))?;
            self.shown.clear();
        }
        for (place, line) in lines.iter().enumerate() {
            if self.shown.get(place) != Some(line) {
                queue!(out, cursor::MoveTo(0, u16::try_from(place).unwrap_or(u16::MAX)))?;
                // Erased before: a line that fills the screen leaves the cursor on its last cell.
                queue!(out, terminal::Clear(terminal::ClearType::UntilNewLine))?;
                out.write_all(line.as_bytes())?;
            }
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()?;
        self.shown = lines;
        Ok(())
    }

    /// The terminal was resized, or something else drew on it: all of it is drawn anew.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    /// Lets somebody else have the terminal meanwhile.
    ///
    /// # Errors
    /// It does not obey.
    pub fn lend(&mut self, meanwhile: impl FnOnce()) -> io::Result<()> {
        give_back();
        meanwhile();
        self.forget();
        take_over()
    }

    fn styled(&self, line: &Line) -> String {
        let piece = |(look, text): &(Look, String)| {
            let code = match look {
                Look::Good if self.colour => "32",
                Look::Passing if self.colour => "33",
                Look::Bad if self.colour => "31",
                Look::Faint if self.colour => "2",
                Look::Bold => "1",
                Look::Reverse => "7",
                _ => return text.clone(),
            };
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        };
        line.iter().map(piece).collect()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_over() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)
}

/// Does all of it, whatever of it fails: the terminal may be gone.
fn give_back() {
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}
