//! A client of the uwsgi protocol, as nginx speaks it.

use std::io;

use super::http::Door;

/// Sends one request and returns all that comes back until the server closes.
pub(crate) fn ask(door: &Door, variables: &[(&str, &str)], body: &[u8]) -> io::Result<String> {
    let mut connection = door.connect()?;
    let mut packet = packet(variables);
    packet.extend_from_slice(body);
    connection.send(&packet)?;
    Ok(String::from_utf8_lossy(&connection.rest()?).into_owned())
}

/// The variables of a GET of `path`.
pub(crate) fn get(path: &str) -> Vec<(&str, &str)> {
    vec![
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", path),
        ("PATH_INFO", path),
        ("QUERY_STRING", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("HTTP_HOST", "localhost"),
        ("REMOTE_ADDR", "127.0.0.1"),
    ]
}

/// A request as bytes.
pub(crate) fn packet(variables: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(key, value)| [key, value]) {
        block.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0];
    packet.extend_from_slice(&u16::try_from(block.len()).unwrap().to_le_bytes());
    packet.push(0);
    packet.extend(block);
    packet
}
