//! `if-…`, `for…`, `else` and `end…`: which entries count, how often, and what `%(_)` is in each.
//!
//! A block is the list of contexts in which its entries count: none where a condition does not hold, one for each
//! item of a loop. Blocks nest: an inner one is made of the contexts of the outer.

use super::format::VALUE_MAX;
use super::raw::Origin;

/// One way in which an entry counts: the value of `%(_)` there.
pub(super) type Context = Option<String>;

/// The contexts that a block may have at most.
pub(super) const CONTEXTS_MAX: usize = 10_000;

/// The blocks that are open.
#[derive(Debug)]
pub(super) struct Logic {
    blocks: Vec<Block>,
    outermost: Vec<Context>,
}

#[derive(Debug)]
struct Block {
    opened_by: (String, Origin),
    holds: Vec<Context>,
    otherwise: Vec<Context>,
    has_else: bool,
    /// The option, and its value, that ends an `if-not-opt` once it is said.
    until: Option<(String, Option<String>)>,
    /// That option was said: what follows in the block does not count.
    cut: bool,
}

impl Default for Logic {
    fn default() -> Self {
        Self { blocks: Vec::new(), outermost: vec![None] }
    }
}

/// What a key means to the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `for`, `for-glob`, `for-times`, `for-readline`.
    Loop(Loop),
    /// `if-…`, and whether it is negated.
    If(Condition, bool),
    /// `else`.
    Else,
    /// `end`, `endif`, `end-for` ….
    End,
}

/// The kinds of loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    Items,
    Glob,
    Times,
    Lines,
}

/// The kinds of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Env,
    Opt,
    Exists,
    File,
    Directory,
    Reload,
    Hostname,
    HostnameMatch,
    Plugin,
}

impl Word {
    /// The meaning of a key, if it has one.
    pub(super) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "for" => Self::Loop(Loop::Items),
            "for-glob" => Self::Loop(Loop::Glob),
            "for-times" => Self::Loop(Loop::Times),
            "for-readline" => Self::Loop(Loop::Lines),
            "else" => Self::Else,
            "end" | "endif" | "end-if" | "endfor" | "end-for" => Self::End,
            "ifenv" => Self::If(Condition::Env, false),
            "ifexists" => Self::If(Condition::Exists, false),
            "ifdir" | "if-directory" => Self::If(Condition::Directory, false),
            "ifplugin" => Self::If(Condition::Plugin, false),
            _ => {
                let condition = key.strip_prefix("if-")?;
                let (negated, condition) = match condition.strip_prefix("not-") {
                    Some(condition) => (true, condition),
                    None => (false, condition),
                };
                let condition = match condition {
                    "env" => Condition::Env,
                    "opt" => Condition::Opt,
                    "exists" => Condition::Exists,
                    "file" => Condition::File,
                    "dir" => Condition::Directory,
                    "reload" => Condition::Reload,
                    "hostname" => Condition::Hostname,
                    "hostname-match" => Condition::HostnameMatch,
                    "plugin" => Condition::Plugin,
                    _ => return None,
                };
                Self::If(condition, negated)
            }
        })
    }
}

impl Logic {
    /// The contexts in which the next entry counts.
    pub(super) fn contexts(&self) -> &[Context] {
        self.blocks.last().map_or(&self.outermost, |block| &block.holds)
    }

    /// Whether a block is open.
    pub(super) fn is_open(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// The words that opened the blocks which are still open, and where.
    pub(super) fn unclosed(&self) -> Vec<(String, Origin)> {
        self.blocks.iter().map(|block| block.opened_by.clone()).collect()
    }

    /// Opens a block: `holds` are the contexts of the enclosing one in which it counts (or a loop's items), and
    /// `otherwise` those in which it does not.
    pub(super) fn open(&mut self, word: &str, origin: &Origin, holds: Vec<Context>, otherwise: Vec<Context>) {
        let opened_by = (word.to_owned(), origin.clone());
        self.blocks.push(Block { opened_by, holds, otherwise, has_else: false, until: None, cut: false });
    }

    /// The innermost block counts only until that option is said (with that value): uWSGI asks at every line anew.
    pub(super) fn end_at(&mut self, name: &str, value: Option<&str>) {
        if let Some(block) = self.blocks.last_mut() {
            block.until = Some((name.to_owned(), value.map(str::to_owned)));
        }
    }

    /// An option was said for the first time.
    pub(super) fn said(&mut self, name: &str, value: &str) {
        let waits = |block: &Block| block.until.as_ref().is_some_and(|(until, _)| until == name);
        while let Some(at) = self.blocks.iter().position(waits) {
            let until = self.blocks.get_mut(at).and_then(|block| block.until.take());
            if until.is_some_and(|(_, wanted)| wanted.is_none_or(|wanted| wanted == value)) {
                for block in self.blocks.iter_mut().skip(at) {
                    block.holds.clear();
                    block.cut = true;
                }
            }
        }
    }

    /// The word of the block that was cut off, if what follows does not count for that reason; answered once.
    pub(super) fn take_cut(&mut self) -> Option<String> {
        let block = self.blocks.last_mut().filter(|block| block.cut)?;
        block.cut = false;
        Some(block.opened_by.0.clone())
    }

    /// From here on the entries count where those before did not.
    ///
    /// # Errors
    /// Outside of a block, and a second time in the same one.
    pub(super) fn turn(&mut self) -> Result<(), &'static str> {
        match self.blocks.last_mut() {
            None => Err("no block is open here"),
            Some(block) if block.has_else => Err("this block had its else already"),
            Some(block) => {
                block.has_else = true;
                std::mem::swap(&mut block.holds, &mut block.otherwise);
                Ok(())
            }
        }
    }

    /// Closes the innermost block; a stray end does nothing.
    pub(super) fn close(&mut self) {
        self.blocks.pop();
    }
}

/// Puts the context's value where `%(_)` stands; a value that would grow beyond [`VALUE_MAX`] stays as it is.
pub(super) fn fill(value: &str, context: &Context) -> String {
    let Some(item) = context else { return value.to_owned() };
    let grown = value.matches("%(_)").count().saturating_mul(item.len()).saturating_add(value.len());
    if grown > VALUE_MAX { value.to_owned() } else { value.replace("%(_)", item) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_recognised() {
        for (key, word) in [
            ("if-env", Some(Word::If(Condition::Env, false))),
            ("ifenv", Some(Word::If(Condition::Env, false))),
            ("if-not-dir", Some(Word::If(Condition::Directory, true))),
            ("ifdir", Some(Word::If(Condition::Directory, false))),
            ("if-not-hostname-match", Some(Word::If(Condition::HostnameMatch, true))),
            ("for-glob", Some(Word::Loop(Loop::Glob))),
            ("endfor", Some(Word::End)),
            ("else", Some(Word::Else)),
            ("if-directory", Some(Word::If(Condition::Directory, false))),
            // Names that uWSGI does not have: the entries behind them count whatever is so.
            ("iffile", None),
            ("ifopt", None),
            ("if-not-directory", None),
            ("ifconfig", None),
            ("format", None),
        ] {
            assert_eq!(Word::of(key), word, "{key}");
        }
    }

    #[test]
    fn blocks_nest_and_turn() {
        let (mut logic, origin) = (Logic::default(), Origin::of("test"));
        assert_eq!(logic.contexts(), [None]);
        logic.open("if-env", &origin, vec![], vec![None]);
        assert!(logic.contexts().is_empty());
        logic.turn().unwrap();
        assert_eq!(logic.contexts(), [None]);
        assert!(logic.turn().is_err());
        logic.open("for", &origin, vec![Some("a".into()), Some("b".into())], vec![]);
        assert_eq!(logic.contexts().len(), 2);
        logic.close();
        logic.close();
        logic.close();
        assert!(!logic.is_open());
        assert!(logic.turn().is_err());
    }
}
