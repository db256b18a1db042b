//! A head that may still be changed before it takes the form in which it goes out.

use super::head::{Fault, Form, Head, check_name, check_value};

/// A head as text: words of the status, and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    reason: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Form for Draft {
    fn start(_: u16, reason: &[u8]) -> Self {
        Self { reason: reason.to_vec(), fields: Vec::with_capacity(8) }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        check_name(name)?;
        check_value(value)?;
        self.fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

impl Head<Draft> {
    /// Status, words and fields; one that closes the connection says so.
    #[must_use]
    pub fn into_text(self) -> Text {
        let (status, closes) = (self.status(), self.closes());
        let Draft { reason, mut fields } = self.into_form();
        if closes {
            fields.push((b"Connection".to_vec(), b"close".to_vec()));
        }
        Text { status: [status.to_string().as_bytes(), b" ", &reason].concat(), fields }
    }
}

/// The text of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Status and words.
    pub status: Vec<u8>,
    /// Fields.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Text {
    /// Takes fields of these names out, in any case of their letters, then adds these; one that cannot be is left out.
    pub fn change(&mut self, removed: &[Vec<u8>], added: &[(String, Vec<u8>)]) {
        let is_kept = |name: &[u8]| !removed.iter().any(|gone| gone.eq_ignore_ascii_case(name));
        self.fields.retain(|(name, _)| is_kept(name));
        let fit = added.iter().filter(|(name, value)| {
            is_kept(name.as_bytes()) && check_name(name.as_bytes()).is_ok() && check_value(value).is_ok()
        });
        self.fields.extend(fit.map(|(name, value)| (name.as_bytes().to_vec(), value.clone())));
    }

    /// A head with this text.
    ///
    /// # Errors
    /// The fault.
    pub fn into_head<F: Form>(self) -> Result<Head<F>, Fault> {
        let mut head = Head::new(&self.status)?;
        for (name, value) in &self.fields {
            head.field(name, value)?;
        }
        Ok(head)
    }

    /// How many bytes it has as lines, without the status line.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::head::Wire;

    #[test]
    fn fields_are_taken_out_and_added_before_a_head_goes_out() {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        for (removed, added, expected) in [
            (&[][..], &[][..], "X-A: 1|x-b: 2|Connection: close"),
            (&["x-A"], &[], "x-b: 2|Connection: close"),
            (&[], &[("X-C", "3"), ("X-A", "4")], "X-A: 1|x-b: 2|Connection: close|X-C: 3|X-A: 4"),
            (&["X-C"], &[("X-C", "3")], "X-A: 1|x-b: 2|Connection: close"),
            (&[], &[("X-C", "3\r\nX-D: 4"), ("X C", "5")], "X-A: 1|x-b: 2|Connection: close"),
        ] {
            let mut head = Head::<Draft>::new(b"200 Fine").unwrap();
            for (name, value) in [("X-A", "1"), ("x-b", "2"), ("Connection", "close")] {
                head.field(name.as_bytes(), value.as_bytes()).unwrap();
            }
            let mut text = head.into_text();
            let removed: Vec<_> = removed.iter().map(|name| name.as_bytes().to_vec()).collect();
            text.change(&removed, &added.iter().map(pair).collect::<Vec<_>>());
            let shown = text.fields.iter().map(|(name, value)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            });
            assert_eq!(shown.collect::<Vec<_>>().join("|"), expected);
            let bytes = text.into_head::<Wire>().unwrap().into_bytes();
            assert!(bytes.starts_with(b"HTTP/1.1 200 Fine\r\n"));
        }
        assert!(Head::<Draft>::new(b"200 OK").unwrap().field(b"X", b"\n").is_err());
    }
}
