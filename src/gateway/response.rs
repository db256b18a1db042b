//! The course of a PEP 3333 response: when the head goes out, how much of each item, and whether the end is sound.

use super::head::{Form, Head};

/// What goes out next.
#[derive(Debug)]
pub struct Step<F> {
    /// The head, when this is the moment, and what follows it.
    pub head: Option<(Head<F>, Body)>,
    /// How many bytes of the item go out, from its start.
    pub take: usize,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing, whatever the head says: the request is a HEAD, or the status has no body.
    None,
    /// Exactly that many bytes.
    Length(u64),
    /// Bytes until the end: chunked, or until the connection closes.
    Unknown,
}

/// How a response ended.
#[derive(Debug)]
pub struct End<F> {
    /// The head, when nothing was sent before.
    pub head: Option<(Head<F>, Body)>,
    /// Whether all announced bytes went out; otherwise the connection must be broken off.
    pub complete: bool,
}

/// Why `start_response` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFault {
    /// Called a second time without `exc_info`: an `AssertionError`.
    Twice,
    /// Called with `exc_info` after output: that exception is raised again.
    HeadSent,
}

/// Output, or the end, before `start_response` was called: a 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotStarted;

/// One response.
#[derive(Debug)]
pub struct Response<F> {
    for_head: bool,
    state: State<F>,
}

#[derive(Debug)]
enum State<F> {
    Silent,
    Started(Head<F>),
    /// The head is out; the bytes still to come where that is known.
    Sending(Body),
}

impl<F: Form> Response<F> {
    /// The response to a request, which may be a HEAD.
    #[must_use]
    pub const fn new(for_head: bool) -> Self {
        Self { for_head, state: State::Silent }
    }

    /// `start_response` was called.
    ///
    /// # Errors
    /// What it raises.
    pub fn start(&mut self, head: Head<F>, with_exc_info: bool) -> Result<(), StartFault> {
        match (&self.state, with_exc_info) {
            (State::Sending(_), true) => Err(StartFault::HeadSent),
            (State::Sending(_) | State::Started(_), false) => Err(StartFault::Twice),
            (State::Silent, _) | (State::Started(_), true) => {
                self.state = State::Started(head);
                Ok(())
            }
        }
    }

    /// The application gave `length` bytes, as an item or to `write()`. `only` says that no other item follows, so
    /// that a response without a length gets one. An empty item sends nothing.
    ///
    /// # Errors
    /// `start_response` was not called.
    pub fn item(&mut self, length: usize, only: bool) -> Result<Step<F>, NotStarted> {
        let head = match &self.state {
            State::Silent => return Err(NotStarted),
            _ if length == 0 => return Ok(Step { head: None, take: 0 }),
            _ => self.send_head(only.then_some(length)),
        };
        let take = match &mut self.state {
            State::Sending(Body::Length(left)) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
                *left -= u64::try_from(take).unwrap_or(0);
                take
            }
            State::Sending(Body::Unknown) => length,
            _ => 0,
        };
        Ok(Step { head, take })
    }

    /// The application's iterable is exhausted.
    ///
    /// # Errors
    /// `start_response` was not called.
    pub fn end(&mut self) -> Result<End<F>, NotStarted> {
        if matches!(self.state, State::Silent) {
            return Err(NotStarted);
        }
        let head = self.send_head(Some(0));
        Ok(End { head, complete: !matches!(self.state, State::Sending(Body::Length(1..))) })
    }

    /// Whether the head went out, so that an error can only break the response off.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending(_))
    }

    /// Whether `start_response` was called.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        !matches!(self.state, State::Silent)
    }

    /// Whether nothing that the application still gives will be sent.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self.state, State::Sending(Body::None | Body::Length(0)))
    }

    /// The status, once `start_response` was called and until the head is sent.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match &self.state {
            State::Started(head) => Some(head.status()),
            _ => None,
        }
    }

    fn send_head(&mut self, known_length: Option<usize>) -> Option<(Head<F>, Body)> {
        let State::Started(_) = self.state else { return None };
        let State::Started(mut head) = std::mem::replace(&mut self.state, State::Silent) else { return None };
        // Of a response to HEAD without a body of its own the length is not known: it is that of the GET.
        if let Some(length) = known_length.and_then(|length| u64::try_from(length).ok())
            && !(self.for_head && length == 0)
        {
            head.set_length(length);
        }
        let body = if self.for_head || head.is_bodyless() {
            Body::None
        } else {
            head.content_length().map_or(Body::Unknown, Body::Length)
        };
        self.state = State::Sending(body);
        Some((head, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::head::Wire;

    /// What an application does.
    enum Act {
        Start(&'static str, &'static [(&'static str, &'static str)]),
        StartExc(&'static str),
        Item(usize),
        Only(usize),
        End,
    }
    use Act::{End as Finish, Item, Only, Start, StartExc};

    /// What came of it, as text: the head's lines, bytes, faults.
    fn run(for_head: bool, acts: &[Act]) -> String {
        let mut response = Response::<Wire>::new(for_head);
        let mut seen = Vec::new();
        let show = |head: Option<(Head<Wire>, Body)>, seen: &mut Vec<String>| {
            if let Some((head, body)) = head {
                let text = String::from_utf8(head.into_bytes()).unwrap();
                seen.push(text.trim_end().replace("HTTP/1.1 ", "").replace("\r\n", "|"));
                seen.push(format!("{body:?}"));
            }
        };
        for act in acts {
            match *act {
                Start(status, fields) => {
                    let mut head = Head::new(status.as_bytes()).unwrap();
                    for (name, value) in fields {
                        head.field(name.as_bytes(), value.as_bytes()).unwrap();
                    }
                    if let Err(fault) = response.start(head, false) {
                        seen.push(format!("{fault:?}"));
                    }
                }
                StartExc(status) => {
                    if let Err(fault) = response.start(Head::new(status.as_bytes()).unwrap(), true) {
                        seen.push(format!("{fault:?}"));
                    }
                }
                Item(length) | Only(length) => match response.item(length, matches!(act, Only(_))) {
                    Ok(Step { head, take }) => {
                        show(head, &mut seen);
                        seen.push(take.to_string());
                    }
                    Err(fault) => seen.push(format!("{fault:?}")),
                },
                Finish => match response.end() {
                    Ok(End { head, complete }) => {
                        show(head, &mut seen);
                        seen.push(if complete { "complete" } else { "broken" }.to_owned());
                    }
                    Err(fault) => seen.push(format!("{fault:?}")),
                },
            }
        }
        seen.join(" ")
    }

    #[test]
    fn the_course_of_responses() {
        const TEN: &[(&str, &str)] = &[("Content-Length", "10")];
        let rows: [(&str, bool, &[Act], &str); 19] = [
            ("never started", false, &[Finish], "NotStarted"),
            ("item before start", false, &[Item(1)], "NotStarted"),
            ("empty item before start", false, &[Item(0)], "NotStarted"),
            ("head waits for bytes", false, &[Start("200 OK", &[]), Item(0), Item(3)], "0 200 OK Unknown 3"),
            (
                "one item gets a length",
                false,
                &[Start("200 OK", &[]), Only(3), Finish],
                "200 OK|Content-Length: 3 Length(3) 3 complete",
            ),
            (
                "nothing at all",
                false,
                &[Start("200 OK", &[]), Finish],
                "200 OK|Content-Length: 0 Length(0) complete",
            ),
            (
                "excess is cut",
                false,
                &[Start("200 OK", TEN), Item(8), Item(8), Item(1), Finish],
                "200 OK|Content-Length: 10 Length(10) 8 2 0 complete",
            ),
            (
                "short breaks off",
                false,
                &[Start("200 OK", TEN), Item(8), Finish],
                "200 OK|Content-Length: 10 Length(10) 8 broken",
            ),
            (
                "announced and nothing",
                false,
                &[Start("200 OK", TEN), Finish],
                "200 OK|Content-Length: 10 Length(10) broken",
            ),
            (
                "HEAD",
                true,
                &[Start("200 OK", TEN), Item(10), Finish],
                "200 OK|Content-Length: 10 None 0 complete",
            ),
            (
                "HEAD of one item",
                true,
                &[Start("200 OK", &[]), Only(7), Finish],
                "200 OK|Content-Length: 7 None 0 complete",
            ),
            ("HEAD of nothing", true, &[Start("200 OK", &[]), Finish], "200 OK None complete"),
            (
                "204",
                false,
                &[Start("204 No Content", TEN), Item(5), Finish],
                "204 No Content None 0 complete",
            ),
            ("304", false, &[Start("304 Not Modified", &[]), Finish], "304 Not Modified None complete"),
            (
                "twice",
                false,
                &[Start("200 OK", &[]), Start("201 Created", &[]), Only(1)],
                "Twice 200 OK|Content-Length: 1 Length(1) 1",
            ),
            (
                "exc_info first",
                false,
                &[StartExc("500 Error"), Only(1)],
                "500 Error|Content-Length: 1 Length(1) 1",
            ),
            (
                "exc_info replaces",
                false,
                &[Start("200 OK", TEN), StartExc("500 Error"), Only(1)],
                "500 Error|Content-Length: 1 Length(1) 1",
            ),
            (
                "exc_info after output",
                false,
                &[Start("200 OK", &[]), Item(1), StartExc("500 Error")],
                "200 OK Unknown 1 HeadSent",
            ),
            (
                "again after output",
                false,
                &[Start("200 OK", &[]), Item(1), Start("200 OK", &[])],
                "200 OK Unknown 1 Twice",
            ),
        ];
        for (name, for_head, acts, expected) in rows {
            assert_eq!(run(for_head, acts), expected, "{name}");
        }
    }
}
