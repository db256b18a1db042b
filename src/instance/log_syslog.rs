//! Lines as messages of syslog.

use crate::config::log_encoder::Clock;

/// What RFC 3164 allows a message to have.
const PACKET_BYTES: usize = 1024;
/// What uWSGI leaves for the head.
const HEAD_BYTES: usize = 30;
/// Its severity: what is logged is information.
const INFORMATIONAL: u32 = 6;

/// A line for the daemon of this host, as the C library's `syslog` sends it.
pub(super) fn local(ident: &str, facility: u8, line: &[u8], clock: &dyn Clock) -> Vec<u8> {
    message(u32::from(facility) * 8 + INFORMATIONAL, ident, bare(line), clock)
}

/// A line for a daemon at an address: what is too long for a packet is cut off.
pub(super) fn remote(priority: u32, tag: &str, line: &[u8], clock: &dyn Clock) -> Vec<u8> {
    let line = bare(line);
    let line = line.get(..PACKET_BYTES - HEAD_BYTES).unwrap_or(line);
    let mut packet = message(priority, tag, line, clock);
    packet.truncate(PACKET_BYTES);
    packet
}

fn message(priority: u32, from: &str, line: &[u8], clock: &dyn Clock) -> Vec<u8> {
    let head = format!("<{priority}>{} {from}: ", clock.local("%b %e %H:%M:%S"));
    [head.as_bytes(), line].concat()
}

fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn epoch_us(&self) -> u64 {
            0
        }
        fn local(&self, _: &str) -> String {
            "Nov  6 01:02:03".to_owned()
        }
    }

    #[test]
    fn messages_have_uwsgis_form() {
        assert_eq!(local("uwsgi", 3, b"a\n", &Fixed), b"<30>Nov  6 01:02:03 uwsgi: a");
        assert_eq!(remote(29, "host uwsgi", b"a", &Fixed), b"<29>Nov  6 01:02:03 host uwsgi: a");
        let long = vec![b'x'; 5000];
        assert_eq!(remote(29, "t", &long, &Fixed).len(), 994 + "<29>Nov  6 01:02:03 t: ".len());
        assert_eq!(remote(29, &"t".repeat(2000), &long, &Fixed).len(), PACKET_BYTES);
    }
}
