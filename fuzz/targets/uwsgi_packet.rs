//! A uwsgi packet: its variables are exactly its bytes, and an environ can be made of any of them.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use liege::gateway::environ::UwsgiRequest;
use liege::gateway::peer::Connection;
use liege::proto::limits::Limits;
use liege::proto::uwsgi::{HEAD_BYTES, Packet, read};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Packet::Request(variables, length)) = read(bytes, &Limits::default()) else { return };
    assert!(length <= bytes.len());
    assert_eq!(length, HEAD_BYTES + variables.map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>());
    let Ok(request) = UwsgiRequest::new(variables, true) else { return };
    let connection = Connection::new(None, None);
    let Ok(()) = request.environ(&connection.peer("node"), |name, _| {
        let name = name.name();
        assert!(!name.contains('.') && name != "HTTP_PROXY", "{name}");
        Ok::<_, Infallible>(())
    });
});
