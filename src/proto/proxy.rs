//! The PROXY protocol, versions 1 and 2: who a proxy's client is, said before anything else on the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, its CRLF included.
const LINE_LIMIT_BYTES: usize = 107;
const LINE_BEGIN: &[u8] = b"PROXY ";
/// What version 2 begins with: nothing that any other protocol begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, length.
const PREFIX_BYTES: usize = 16;
/// The most of a header of version 2 that is taken: addresses, and what proxies add to them.
const BLOCK_LIMIT_BYTES: usize = 2048;
/// The longest header: so much has to be held until it is complete.
pub const LIMIT_BYTES: usize = PREFIX_BYTES + BLOCK_LIMIT_BYTES;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Part of a header perhaps: more bytes are needed to know.
    Incomplete,
    /// No header: they belong to the protocol that is spoken.
    Absent,
    /// A header of so many bytes.
    Header {
        /// How long it is.
        length: usize,
        /// The client, as the proxy says; `None`: the proxy speaks for itself, or its client has no internet address.
        client: Option<SocketAddr>,
    },
}

/// The bytes begin as a header does and are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed header of the PROXY protocol: {0}")]
pub struct Malformed(&'static str);

/// Looks at all bytes that have come on a connection so far.
///
/// # Errors
/// They are malformed: nothing after them can be believed.
pub fn read(bytes: &[u8]) -> Result<Beginning, Malformed> {
    if begins(bytes, LINE_BEGIN) {
        return read_line(bytes);
    }
    if begins(bytes, SIGNATURE) {
        return read_block(bytes);
    }
    Ok(Beginning::Absent)
}

/// Whether the bytes begin so, as far as they go.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let shorter = bytes.len().min(with.len());
    bytes.get(..shorter) == with.get(..shorter)
}

fn read_line(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let seen = bytes.get(..LINE_LIMIT_BYTES).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return match seen.len() {
            LINE_LIMIT_BYTES => Err(Malformed("the line is too long")),
            _ => Ok(Beginning::Incomplete),
        };
    };
    let line = seen.get(LINE_BEGIN.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed("no line of text"))?;
    Ok(Beginning::Header { length: end + 1, client: read_words(line)? })
}

fn read_words(line: &str) -> Result<Option<SocketAddr>, Malformed> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // What follows it is not to be looked at.
        return Ok(None);
    }
    let rest: [Option<&str>; 5] = std::array::from_fn(|_| words.next());
    let [Some(source), Some(destination), Some(source_port), Some(destination_port), None] = rest else {
        return Err(Malformed("not six words"));
    };
    let (source, destination) = match family {
        "TCP4" => (source.parse().map(IpAddr::V4), destination.parse().map(IpAddr::V4)),
        "TCP6" => (source.parse().map(IpAddr::V6), destination.parse().map(IpAddr::V6)),
        _ => return Err(Malformed("an unknown family")),
    };
    let (Ok(source), Ok(_)) = (source, destination) else {
        return Err(Malformed("no address of its family"));
    };
    let (Some(port), Some(_)) = (port(source_port), port(destination_port)) else {
        return Err(Malformed("no port"));
    };
    Ok(Some(SocketAddr::new(source, port)))
}

/// Digits only, and no zero in front of others.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn read_block(bytes: &[u8]) -> Result<Beginning, Malformed> {
    let Some((prefix, rest)) = bytes.split_at_checked(PREFIX_BYTES) else {
        return Ok(Beginning::Incomplete);
    };
    let Some(&[command, family, high, low]) = prefix.last_chunk() else {
        return Ok(Beginning::Incomplete);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("an unknown version or command")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BLOCK_LIMIT_BYTES {
        return Err(Malformed("it is too long"));
    }
    // What stands behind the addresses is for those who know more of the proxy.
    let Some(block) = rest.get(..length) else { return Ok(Beginning::Incomplete) };
    let client = if is_local { None } else { read_addresses(family, block)? };
    Ok(Beginning::Header { length: PREFIX_BYTES + length, client })
}

/// Source, destination, their ports.
fn read_addresses(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    const SHORT: Malformed = Malformed("shorter than its addresses");
    match family {
        0x11 => {
            let (source, rest) = block.split_first_chunk::<4>().ok_or(SHORT)?;
            let [_, _, _, _, high, low, _, _] = *rest.first_chunk::<8>().ok_or(SHORT)?;
            Ok(Some((Ipv4Addr::from(*source), u16::from_be_bytes([high, low])).into()))
        }
        0x21 => {
            let (source, rest) = block.split_first_chunk::<16>().ok_or(SHORT)?;
            let (_, ports) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
            let [high, low, _, _] = *ports.first_chunk::<4>().ok_or(SHORT)?;
            Ok(Some((Ipv6Addr::from(*source), u16::from_be_bytes([high, low])).into()))
        }
        // A unix socket in front of the proxy, or nothing that it wants to tell.
        0x31 if block.len() < 216 => Err(SHORT),
        0x00 | 0x31 => Ok(None),
        _ => Err(Malformed("an unknown family")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    fn block(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, content].concat()
    }

    /// Every part of a header is incomplete, and what follows it does not matter.
    fn assert_read(header: &[u8], expected: Option<SocketAddr>) {
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Ok(Beginning::Incomplete), "{header:?} up to {end}");
        }
        for more in [&b""[..], b"GET / HTTP/1.1\r\n", b"\n", b"\0"] {
            let all = [header, more].concat();
            let expected = Beginning::Header { length: header.len(), client: expected };
            assert_eq!(read(&all), Ok(expected), "{header:?}");
        }
    }

    #[test]
    fn headers_are_read() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", client("192.0.2.7:4711")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", client("255.255.255.255:65535")),
            ("PROXY TCP6 2001:db8::1 ::1 0 80\r\n", client("[2001:db8::1]:0")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ] {
            assert_read(line.as_bytes(), expected);
        }
        let four = [&[192, 0, 2, 7][..], &[10, 0, 0, 1], &[0x12, 0x67], &[1, 187]].concat();
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 80], &[1, 187]].concat();
        assert_read(&block(0x21, 0x11, &four), client("192.0.2.7:4711"));
        assert_read(&block(0x21, 0x11, &[&four[..], &[4, 0, 1, 9]].concat()), client("192.0.2.7:4711"));
        assert_read(&block(0x21, 0x21, &six), client("[2001:db8::1]:80"));
        assert_read(&block(0x21, 0x31, &[0; 216]), None);
        assert_read(&block(0x21, 0, b""), None);
        assert_read(&block(0x20, 0x11, &four), None);
        assert_read(&block(0x20, 0, &[0; BLOCK_LIMIT_BYTES]), None);
        assert_eq!(LIMIT_BYTES, block(0x20, 0, &[0; BLOCK_LIMIT_BYTES]).len());
    }

    #[test]
    fn what_begins_otherwise_is_left_alone() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"PROPFIND / HTTP/1.1\r\n", b"\x16\x03\x01", b"\r\n\r\nGET", b"P U"]
        {
            assert_eq!(read(bytes), Ok(Beginning::Absent), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for line in [
            "PROXY \n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +4711 443\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n",
            "PROXY TCP4 ::1 10.0.0.1 1 443\r\n",
            "PROXY TCP6 192.0.2.7 ::1 1 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 443\r\n",
            "PROXY tcp4 192.0.2.7 10.0.0.1 1 443\r\n",
            "PROXY TCP4 \u{e9} 10.0.0.1 1 443\r\n",
            &format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)),
            &format!("PROXY {}", "x".repeat(101)),
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line:?}");
        }
        for (command, family, length) in [
            (0x11, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x12, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
            (0x21, 0x31, 215),
            (0x21, 0x41, 12),
            (0x20, 0x11, BLOCK_LIMIT_BYTES + 1),
        ] {
            assert!(read(&block(command, family, &vec![0; length])).is_err(), "{command} {family} {length}");
        }
    }
}
