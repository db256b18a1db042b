//! Texts with parts that each request fills in: `$1`, `${VARIABLE}`, `${function[argument]}`.

use serde::{Deserialize, Serialize};

/// A text that is filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template(pub Vec<Part>);

/// A part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// `$1`: what a group of the rule's pattern matched; `$0`: all that it matched.
    Group(usize),
    /// `${NAME}`: a variable of the request.
    Variable(String),
    /// `${cookie[name]}`.
    Cookie(String),
    /// `${qs[name]}`: a parameter of the query string.
    Query(String),
    /// `${mime[NAME]}`: the media type of the file that a variable names.
    MediaType(String),
    /// `${base64[NAME]}`: a variable, encoded.
    Base64(String),
    /// `${hex[NAME]}`: the same in hexadecimal digits.
    Hex(String),
    /// `${httptime[seconds]}`: the time in so many seconds, as HTTP writes it.
    HttpTime(u32),
    /// Something of the moment.
    Fact(Fact),
}

/// What is known of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// `${time[unix]}`: seconds since the epoch.
    UnixTime,
    /// `${time[micros]}`: microseconds since the epoch.
    Micros,
    /// `${uwsgi[wid]}`: the number of the worker.
    Worker,
    /// `${uwsgi[pid]}`: its process.
    Process,
    /// `${uwsgi[uuid]}`: a new random name.
    Uuid,
    /// `${uwsgi[status]}`: the status of the answer; 0 before there is one.
    Status,
    /// `${uwsgi[rtime]}`: how long the request took, in microseconds; 0 before it is over.
    Taken,
    /// `${uwsgi[rsize]}`: how many bytes of the body went out.
    Size,
    /// `${uwsgi[sor]}`: when the request began, in microseconds since the epoch.
    Started,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Parts::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            parts.text(before);
            let mut letters = after.chars();
            rest = letters.as_str();
            match letters.next() {
                Some('{') => match letters.as_str().split_once('}') {
                    Some((name, after)) => {
                        parts.0.push(part(name)?);
                        rest = after;
                    }
                    None => return Err(format!("`${after}` has no end: a `}}` is missing")),
                },
                Some(digit @ '0'..='9') => {
                    let group = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
                    parts.0.push(Part::Group(group.unwrap_or_default()));
                    rest = letters.as_str();
                }
                // As in uWSGI, what follows is no start of a part either.
                Some(other) => {
                    parts.text("$");
                    parts.text(other.encode_utf8(&mut [0; 4]));
                    rest = letters.as_str();
                }
                None => parts.text("$"),
            }
        }
        parts.text(rest);
        Ok(Self(parts.0))
    }

    /// The variable of this name.
    #[must_use]
    pub fn variable(name: &str) -> Self {
        Self(vec![Part::Variable(name.to_owned())])
    }

    /// The text itself, if nothing is filled in.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What it begins with, whatever is filled in.
    #[must_use]
    pub fn start(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The highest group it names.
    #[must_use]
    pub fn highest_group(&self) -> Option<usize> {
        let groups = self.0.iter().map(|part| match part {
            Part::Group(number) => Some(*number),
            _ => None,
        });
        groups.max().flatten()
    }
}

/// Parts, with texts that follow each other as one.
#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Part::Text(text.to_owned())),
        }
    }
}

/// What stands between the braces.
fn part(name: &str) -> Result<Part, String> {
    let Some((function, argument)) = name.split_once('[') else { return variable(name).map(Part::Variable) };
    let unknown = || format!("`${{{name}}}` is nothing that can be filled in");
    let argument = argument.strip_suffix(']').ok_or_else(unknown)?;
    Ok(match (function, argument) {
        ("cookie", _) => Part::Cookie(argument.to_owned()),
        ("qs", _) => Part::Query(argument.to_owned()),
        ("mime", _) => Part::MediaType(variable(argument)?),
        ("base64", _) => Part::Base64(variable(argument)?),
        ("hex", _) => Part::Hex(variable(argument)?),
        ("httptime", "") => Part::HttpTime(0),
        ("httptime", seconds) => Part::HttpTime(seconds.parse().map_err(|_| unknown())?),
        ("time", "unix") => Part::Fact(Fact::UnixTime),
        ("time", "micros") => Part::Fact(Fact::Micros),
        ("uwsgi", "wid") => Part::Fact(Fact::Worker),
        ("uwsgi", "pid") => Part::Fact(Fact::Process),
        ("uwsgi", "uuid") => Part::Fact(Fact::Uuid),
        ("uwsgi", "status") => Part::Fact(Fact::Status),
        ("uwsgi", "rtime") => Part::Fact(Fact::Taken),
        ("uwsgi", "rsize") => Part::Fact(Fact::Size),
        ("uwsgi", "sor") => Part::Fact(Fact::Started),
        _ => return Err(unknown()),
    })
}

/// A name that a variable of a request can have.
pub(super) fn variable(name: &str) -> Result<String, String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("`{name}` is no name of a variable"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_into_parts() {
        let text = |text: &str| Part::Text(text.to_owned());
        let name = str::to_owned;
        for (written, expected) in [
            ("", vec![]),
            ("a b", vec![text("a b")]),
            ("/x/$1?$0", vec![text("/x/"), Part::Group(1), text("?"), Part::Group(0)]),
            ("$12", vec![Part::Group(1), text("2")]),
            ("a$$1", vec![text("a$$1")]),
            ("$x$", vec![text("$x$")]),
            ("${A_B}c", vec![Part::Variable(name("A_B")), text("c")]),
            ("${cookie[a b]}", vec![Part::Cookie(name("a b"))]),
            ("${qs[x]}${mime[PATH_INFO]}", vec![Part::Query(name("x")), Part::MediaType(name("PATH_INFO"))]),
            ("${base64[A]}${hex[A]}", vec![Part::Base64(name("A")), Part::Hex(name("A"))]),
            ("${httptime[]}${httptime[60]}", vec![Part::HttpTime(0), Part::HttpTime(60)]),
            ("${time[unix]}${uwsgi[wid]}", vec![Part::Fact(Fact::UnixTime), Part::Fact(Fact::Worker)]),
        ] {
            assert_eq!(Template::parse(written), Ok(Template(expected)), "{written}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (written, part) in [
            ("${A", "a `}` is missing"),
            ("${}", "no name of a variable"),
            ("${a b}", "no name of a variable"),
            ("${metric[x]}", "nothing that can be filled in"),
            ("${uwsgi[lq2]}", "nothing that can be filled in"),
            ("${time[}", "nothing that can be filled in"),
            ("${httptime[-1]}", "nothing that can be filled in"),
        ] {
            assert!(Template::parse(written).unwrap_err().contains(part), "{written}");
        }
    }
}
