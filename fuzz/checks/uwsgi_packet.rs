//! A uwsgi packet: its variables are exactly its bytes, and an environ can be made of any of them.

use std::convert::Infallible;

use liege::gateway::packet::UwsgiRequest;
use liege::gateway::peer::Connection;
use liege::proto::limits::Limits;
use liege::proto::uwsgi::{Checked, HEAD_BYTES, Packet, read};

/// Reads the packet and makes its environ.
pub(crate) fn check(input: &[u8]) {
    let Ok(Packet::Request(length)) = read(input, &Limits::default()) else { return };
    let block = input.get(HEAD_BYTES..length).expect("a whole packet");
    let Ok(block) = Checked::new(block.to_vec()) else { return };
    let variables = block.variables();
    assert_eq!(length, HEAD_BYTES + variables.map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>());
    let Ok(request) = UwsgiRequest::new(variables) else { return };
    let connection = Connection::new(None, None);
    let Ok(()) = request.environ(&connection.peer("node"), |name, _| {
        let name = name.name();
        assert!(!name.contains('.') && name != "HTTP_PROXY", "{name}");
        Ok::<_, Infallible>(())
    });
}
