//! A FastCGI connection: the events are the same however its bytes are cut, and each request has a block of uwsgi.

use liege::proto::fastcgi::{Event, Receiver};
use liege::proto::limits::Limits;
use liege::proto::uwsgi::Checked;

/// What came, bodies in one piece, and whether the connection is to be closed.
type Told = (Vec<Event>, Vec<u8>, bool);

/// Reads the bytes at once, and one after the other.
pub(crate) fn check(input: &[u8]) {
    let told = tell(input.chunks(input.len().max(1)));
    assert_eq!(told, tell(input.chunks(1)));
    let (events, body, _) = told;
    assert!(body.len() <= input.len());
    for event in events {
        if let Event::Request(request) = event {
            assert!(Checked::new(request.block.bytes().to_vec()).is_ok() && request.id > 0);
        }
    }
}

fn tell<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Told {
    let (mut receiver, mut events, mut body) = (Receiver::default(), Vec::new(), Vec::new());
    for piece in pieces {
        receiver.push(piece);
        loop {
            match receiver.next(&Limits::default()) {
                Ok(Some(Event::Body(bytes))) => body.extend(bytes),
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, body, true),
            }
        }
    }
    (events, body, false)
}
