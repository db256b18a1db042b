//! The form in which an answer goes to a front end.

use crate::proto::fastcgi;

/// What a head of ours begins with, …
const HTTP: &[u8] = b"HTTP/1.1 ";
/// … and what it begins with in CGI.
const CGI: &[u8] = b"Status: ";

/// The form in which an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// As it is.
    Uwsgi,
    /// With the status as CGI has it.
    Scgi,
    /// The same, in records.
    Fastcgi {
        /// The request's number.
        id: u16,
        /// Another request may follow.
        keeps: bool,
    },
}

impl Outlet {
    /// A part of the answer as the pieces of each record: what stands before it, the beginning of its head, the rest of
    /// that, and of the body.
    pub(super) fn pieces<'a>(
        &self,
        head: &'a [u8],
        body: &'a [u8],
        mut send: impl FnMut([&[u8]; 4]) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let (start, head) = match (self, head.strip_prefix(HTTP)) {
            (Self::Scgi | Self::Fastcgi { .. }, Some(rest)) => (CGI, rest),
            _ => (&b""[..], head),
        };
        let Self::Fastcgi { id, .. } = *self else { return send([b"", start, head, body]) };
        let length = start.len() + head.len() + body.len();
        if length == 0 {
            return Ok(());
        }
        if length <= fastcgi::CONTENT_BYTES {
            return send([&fastcgi::stdout(id, length), start, head, body]);
        }
        for part in [start, head, body].into_iter().flat_map(|all| all.chunks(fastcgi::CONTENT_BYTES)) {
            send([&fastcgi::stdout(id, part.len()), part, b"", b""])?;
        }
        Ok(())
    }

    /// What tells that an answer is complete.
    pub(super) fn end(&self) -> Vec<u8> {
        match self {
            Self::Uwsgi | Self::Scgi => Vec::new(),
            Self::Fastcgi { id, .. } => fastcgi::end(*id),
        }
    }

    /// A whole answer.
    pub(super) fn whole(&self, response: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Nothing fails here.
        let _ = self.pieces(response, b"", |pieces| {
            bytes.extend(pieces.concat());
            Ok(())
        });
        bytes.extend(self.end());
        bytes
    }

    /// Whether another request may follow.
    pub(super) const fn keeps(&self) -> bool {
        matches!(self, Self::Fastcgi { keeps: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_form_of_their_protocol() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let shown = |outlet: Outlet| outlet.whole(head).escape_ascii().to_string();
        assert_eq!(shown(Outlet::Uwsgi), "HTTP/1.1 200 OK\\r\\n\\r\\n");
        assert_eq!(shown(Outlet::Scgi), "Status: 200 OK\\r\\n\\r\\n");
        let records = Outlet::Fastcgi { id: 1, keeps: true }.whole(head);
        assert_eq!(records[..8], [1, 6, 0, 1, 0, 18, 0, 0]);
        assert_eq!(records[8..26], *b"Status: 200 OK\r\n\r\n");
        assert_eq!(records[26..], fastcgi::end(1));
    }

    #[test]
    fn long_answers_are_several_records() {
        let body = vec![b'x'; 200_000];
        let mut sent = Vec::new();
        let outlet = Outlet::Fastcgi { id: 1, keeps: false };
        outlet
            .pieces(b"HTTP/1.1 200 OK\r\n\r\n", &body, |pieces| {
                sent.push(pieces.concat().len() - 8);
                Ok(())
            })
            .unwrap();
        assert_eq!(sent, [8, 10, 65_528, 65_528, 65_528, 3416]);
    }
}
