//! JSON as uWSGI reads it: an object `uwsgi` of strings, numbers, booleans, and lists of them for repeated options.
//!
//! serde_json reads; we keep the order, repeated keys and, by where each value stands in the text, line numbers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Mistake, Section};

pub(super) fn read(text: &str, section: &str) -> Result<Option<Section>, Mistake> {
    let root: Object<'_> = serde_json::from_str(text).map_err(|error| mistake(&error, 0))?;
    let Some((_, object)) = root.0.iter().find(|(key, _)| key == section) else { return Ok(None) };
    let lines = Lines::of(text);
    let line = lines.at(object);
    if !object.get().starts_with('{') {
        return Err(Mistake::at(line, format!("\"{section}\" is not an object")));
    }
    let object: Object<'_> =
        serde_json::from_str(object.get()).map_err(|error| mistake(&error, line.saturating_sub(1)))?;
    let mut read = Section::default();
    for (key, value) in object.0 {
        let line = lines.at(value);
        if !value.get().starts_with('[') {
            entry(&mut read, &key, value, line)?;
            continue;
        }
        let list: Vec<&RawValue> =
            serde_json::from_str(value.get()).map_err(|error| mistake(&error, line.saturating_sub(1)))?;
        for value in list {
            entry(&mut read, &key, value, lines.at(value))?;
        }
    }
    Ok(Some(read))
}

fn entry(read: &mut Section, key: &str, value: &RawValue, line: u32) -> Result<(), Mistake> {
    let text = match value.get() {
        "true" => "1".to_owned(),
        "false" | "null" => "0".to_owned(),
        text if text.starts_with('"') => {
            serde_json::from_str(text).map_err(|error| mistake(&error, line.saturating_sub(1)))?
        }
        text if text.starts_with(['{', '[']) => {
            read.doubt(line, format!("{key}: only texts, numbers, booleans and lists of them are read"));
            return Ok(());
        }
        number => number.to_owned(),
    };
    read.push(key, text, line)
}

/// What serde_json found, without the place that it puts behind its words.
fn mistake(error: &serde_json::Error, lines_before: u32) -> Mistake {
    let text = error.to_string();
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX).saturating_add(lines_before);
    let what = text.split(" at line ").next().unwrap_or_default();
    Mistake::at(line, format!("error parsing JSON data: {what}"))
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, starts: memchr::memchr_iter(b'\n', text.as_bytes()).collect() }
    }

    /// The line of a value that is a part of the text.
    fn at(&self, value: &RawValue) -> u32 {
        let offset = (value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.starts.partition_point(|newline| *newline < offset);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// The members of an object in their order, repeated ones included.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let read = read(text, "uwsgi").unwrap().unwrap();
        read.items.iter().map(|item| format!("{}:{}={}", item.line, item.key, item.value)).collect()
    }

    #[test]
    fn values_keep_their_order_and_lines() {
        let text = "{\"x\": 1,\n \"uwsgi\": {\n  \"b\": true, \"a\": \"caf\\u00e9\\n\",\n  \"env\": [\"A=1\",\n \
                    \"B=2\", false],\n \"n\": null, \"i\": -7, \"f\": 1.50, \"a\": \"again\"\n}}";
        let expected = "3:b=1 3:a=café\n 4:env=A=1 5:env=B=2 5:env=0 6:n=0 6:i=-7 6:f=1.50 6:a=again";
        assert_eq!(lines(text).join(" "), expected);
    }

    #[test]
    fn what_has_no_meaning_is_told() {
        let section =
            read("{\"uwsgi\": {\"a\": 1,\n\"o\": {\"b\": 2}, \"l\": [[1], 3]}}", "uwsgi").unwrap().unwrap();
        assert_eq!(section.items.len(), 2);
        assert_eq!(section.doubts.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 2]);
        for (text, line, message) in [
            ("{\"uwsgi\": {\"a\": 1,}}", 1, "key must be a string"),
            ("{\"uwsgi\":\n\n\"x\"}", 3, "is not an object"),
            ("[1]", 1, "expected an object"),
            ("", 1, "EOF"),
            ("{\"uwsgi\": {}} x", 1, "trailing characters"),
        ] {
            let mistake = read(text, "uwsgi").unwrap_err();
            assert_eq!(mistake.line, Some(line), "{text}: {mistake}");
            assert!(mistake.message.contains(message), "{text}: {mistake}");
        }
        assert_eq!(read("{\"web\": {}}", "uwsgi"), Ok(None));
        assert_eq!(read("{\"web\": {}}", "web"), Ok(Some(Section::default())));
    }
}
