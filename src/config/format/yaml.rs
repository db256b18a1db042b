//! YAML as uWSGI reads it: a mapping `uwsgi` of scalars, and lists of them for repeated options.
//!
//! Scalars are texts as they stand there: `yes` is not a boolean. Aliases are refused: what a file stands for must
//! not be more than what is in it.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{DEPTH_MAX, Mistake, Section};
use crate::config::text::{reveal_shielded, shield};

pub(super) fn read(text: &str, section: &str) -> Result<Option<Section>, Mistake> {
    // No scalar of YAML may begin with these two, but uWSGI's own reader does not mind.
    let text = shield(text, |c, next| matches!(c, '%' | '@') && next == Some('('));
    let mut reading = Reading { events: Parser::new_from_str(&text), read: Section::default() };
    while let Some((event, _)) = reading.next()? {
        match event {
            Event::MappingStart(..) if reading.find(section)? => return Ok(Some(reading.read)),
            Event::SequenceStart(..) => reading.skip(1)?,
            _ => {}
        }
    }
    Ok(None)
}

struct Reading<'a> {
    events: Parser<'a, StrInput<'a>>,
    read: Section,
}

impl<'a> Reading<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, u32)>, Mistake> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, line(span)))),
            Some(Err(error)) => Err(mistake(&error)),
        }
    }

    /// Whether the section was among the keys of the mapping that begins here, and so was read.
    fn find(&mut self, section: &str) -> Result<bool, Mistake> {
        while let Some((event, line)) = self.next()? {
            let is_it = match &event {
                Event::MappingEnd => return Ok(false),
                Event::Scalar(key, ..) => reveal_shielded(key) == section,
                _ => {
                    self.skip(depth(&event))?;
                    false
                }
            };
            let Some((event, _)) = self.next()? else { break };
            match event {
                Event::MappingStart(..) if is_it => return self.mapping(1).map(|()| true),
                Event::Scalar(value, ..) if is_it && value.is_empty() => return Ok(true),
                _ if is_it => return Err(Mistake::at(line, format!("{section}: is not a mapping"))),
                event => self.skip(depth(&event))?,
            }
        }
        Ok(false)
    }

    /// Takes the entries of a mapping whose start was seen.
    fn mapping(&mut self, deep: usize) -> Result<(), Mistake> {
        while let Some((event, line)) = self.next()? {
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => reveal_shielded(&key),
                Event::Alias(_) => return Err(alias(line)),
                _ => return Err(Mistake::at(line, "a list or mapping cannot be the name of an option")),
            };
            let Some((event, _)) = self.next()? else { break };
            self.value(&key, event, line, deep)?;
        }
        Ok(())
    }

    /// Takes the value of a key, or of an item of its list.
    fn value(&mut self, key: &str, event: Event<'a>, line: u32, deep: usize) -> Result<(), Mistake> {
        if deep > DEPTH_MAX {
            return Err(Mistake::at(line, format!("lists and mappings nest more than {DEPTH_MAX} deep")));
        }
        match event {
            Event::Scalar(value, ScalarStyle::Plain, ..) if value.is_empty() => {
                self.read.doubt(line, format!("{key}: has no value and says nothing: write true"));
            }
            Event::Scalar(value, ..) => self.read.push(key, reveal_shielded(&value), line)?,
            Event::Alias(_) => return Err(alias(line)),
            Event::SequenceStart(..) => {
                while let Some((event, line)) = self.next()? {
                    if event == Event::SequenceEnd {
                        break;
                    }
                    self.value(key, event, line, deep.saturating_add(1))?;
                }
            }
            Event::MappingStart(..) => {
                self.read.doubt(line, format!("{key}: what is below it counts as if it stood beside it"));
                self.mapping(deep.saturating_add(1))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Passes over the rest of a node in which so many lists and mappings are open.
    fn skip(&mut self, mut open: usize) -> Result<(), Mistake> {
        while open > 0 {
            let Some((event, _)) = self.next()? else { break };
            open = match event {
                Event::SequenceEnd | Event::MappingEnd => open.saturating_sub(1),
                event => open.saturating_add(depth(&event)),
            };
        }
        Ok(())
    }
}

fn depth(event: &Event<'_>) -> usize {
    usize::from(matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)))
}

fn alias(line: u32) -> Mistake {
    Mistake::at(line, "an alias is not read: write the value itself, or use a placeholder such as %(name)")
}

fn mistake(error: &ScanError) -> Mistake {
    let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
    Mistake::at(line, format!("error parsing YAML file: {}", error.info()))
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, section: &str) -> String {
        let read = read(text, section).unwrap().unwrap();
        let items = read.items.iter().map(|item| format!("{}:{}={}", item.line, item.key, item.value));
        items.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn scalars_and_lists_become_options() {
        for (text, section, expected) in [
            ("uwsgi:\n  a: b  # c\n  d: \"q # 'x'\"\n", "uwsgi", "2:a=b|3:d=q # 'x'"),
            (
                "x:\n  - y: [1]\nuwsgi:\n  env: [A=1, B=2]\n  l:\n    - 1\n    - two\n",
                "uwsgi",
                "4:env=A=1|4:env=B=2|6:l=1|7:l=two",
            ),
            ("uwsgi: {a: yes, n: ~}", "uwsgi", "1:a=yes|1:n=~"),
            ("uwsgi:\n  p: %(x)/@(y)%(z)\n", "uwsgi", "2:p=%(x)/@(y)%(z)"),
            ("uwsgi:\n  m: |\n    one\n    two\n  z: 1\n", "uwsgi", "2:m=one\ntwo\n|5:z=1"),
            ("---\nx: 1\n---\nweb:\n  a: 1\n  a: 2\n", "web", "5:a=1|6:a=2"),
            ("uwsgi:\r\n  a: b\r\n", "uwsgi", "2:a=b"),
            ("uwsgi:\n", "uwsgi", ""),
        ] {
            assert_eq!(items(text, section), expected, "{text}");
        }
        assert_eq!(read("web:\n  a: 1\n", "uwsgi"), Ok(None));
        assert_eq!(read("- uwsgi:\n    a: 1\n", "uwsgi"), Ok(None));
    }

    #[test]
    fn what_has_no_meaning_is_told() {
        let odd = read("uwsgi:\n  n:\n  m:\n    a: 1\n  e: ''\n", "uwsgi").unwrap().unwrap();
        assert_eq!(odd.doubts.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(odd.items.len(), 2);
        for (text, line) in [
            ("uwsgi:\n  a: b: c\n", 2),
            ("uwsgi: x\n", 1),
            ("uwsgi:\n  - a: 1\n", 1),
            ("x: &x 1\nuwsgi:\n  a: *x\n", 3),
            ("uwsgi:\n  a: \"b\n", 2),
            ("uwsgi:\n  [a]: b\n", 2),
        ] {
            let mistake = read(text, "uwsgi").unwrap_err();
            assert_eq!(mistake.line, Some(line), "{text}: {mistake}");
        }
        let deep = format!("uwsgi:\n  a: {}", "[".repeat(100));
        assert!(read(&deep, "uwsgi").unwrap_err().message.contains("nest more than"));
    }
}
