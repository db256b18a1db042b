//! The protocol of uWSGI's emperor: one byte is one message, in both directions, and bytes that mean nothing are
//! passed over. With it come the packets that carry a vassal's configuration.

use std::io;

use serde::{Deserialize, Serialize};

/// The longest configuration that a packet carries.
pub const CONFIG_LIMIT_BYTES: usize = 65_535;
/// The first byte of such a packet.
const CONFIG_MARK: u8 = 115;
const CONFIG_HEAD_BYTES: usize = 4;

/// Emperor → vassal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ToVassal {
    /// End now.
    Stop = 0,
    /// Read the configuration again, in the same process.
    Reload = 1,
    /// End when the running requests are done.
    GracefulStop = 2,
}

/// Vassal → emperor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum FromVassal {
    /// The master is set up; said once in the life of a process.
    Spawned = 1,
    /// It is about to read its configuration again from the packets.
    WantsConfig = 2,
    /// Its first worker accepts requests; said again after every reload and whenever that worker was replaced.
    Accepting = 5,
    /// A worker has answered its first request.
    Loyal = 17,
    /// It has nothing to do, and waits for its stop.
    VoluntaryStop = 22,
    /// It lives.
    Heartbeat = 26,
    /// It has more requests than workers.
    Reinforcements = 30,
}

impl ToVassal {
    /// What a byte means.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Stop),
            1 => Some(Self::Reload),
            2 => Some(Self::GracefulStop),
            _ => None,
        }
    }

    /// Its byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

impl FromVassal {
    /// What a byte means.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Spawned),
            2 => Some(Self::WantsConfig),
            5 => Some(Self::Accepting),
            17 => Some(Self::Loyal),
            22 => Some(Self::VoluntaryStop),
            26 => Some(Self::Heartbeat),
            30 => Some(Self::Reinforcements),
            _ => None,
        }
    }

    /// Its byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// What was said in some bytes, each thing once, in the order in which it was said first: a flood says no more than
    /// its first bytes.
    #[must_use]
    pub fn all_of(bytes: &[u8]) -> Vec<Self> {
        let mut said = Vec::new();
        for word in bytes.iter().filter_map(|byte| Self::of(*byte)) {
            if !said.contains(&word) {
                said.push(word);
            }
        }
        said
    }
}

/// Packets with configurations, as they come: from uWSGI's emperor of 2.0 more of them than were asked for, of which
/// the last one counts.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
}

impl Packets {
    /// Takes in what was read.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The text of the next packet that is whole.
    ///
    /// # Errors
    /// It is empty, which ends a vassal of uWSGI too.
    pub fn next_text(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some([_, low, high, _]) = self.bytes.first_chunk::<CONFIG_HEAD_BYTES>().copied() else {
            return Ok(None);
        };
        let end = CONFIG_HEAD_BYTES + usize::from(u16::from_le_bytes([low, high]));
        if end == CONFIG_HEAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the emperor sent an empty configuration",
            ));
        }
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let packet = std::mem::replace(&mut self.bytes, rest);
        Ok(packet.get(CONFIG_HEAD_BYTES..).map(<[u8]>::to_vec))
    }
}

/// A packet with a configuration.
///
/// # Errors
/// The text is empty, or longer than [`CONFIG_LIMIT_BYTES`]: uWSGI cuts the number then, and the stream is lost.
pub fn packet(text: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(text.len()).ok().filter(|length| *length > 0).ok_or_else(|| {
        let reason = format!("a configuration of {} bytes fits into no packet", text.len());
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    })?;
    let [low, high] = length.to_le_bytes();
    Ok([&[CONFIG_MARK, low, high, 0], text].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_mean_what_uwsgi_means() {
        for byte in 0..=u8::MAX {
            assert!(ToVassal::of(byte).is_none_or(|word| word.byte() == byte), "{byte}");
            assert!(FromVassal::of(byte).is_none_or(|word| word.byte() == byte), "{byte}");
        }
        let known = (0..=u8::MAX).filter(|byte| FromVassal::of(*byte).is_some()).collect::<Vec<u8>>();
        assert_eq!(known, [1, 2, 5, 17, 22, 26, 30]);
        let flood = [[26; 200].as_slice(), &[0, 99, 5, 26, 255, 17]].concat();
        let said = [FromVassal::Heartbeat, FromVassal::Accepting, FromVassal::Loyal];
        assert_eq!(FromVassal::all_of(&flood), said);
    }

    #[test]
    fn packets_are_read_wherever_they_were_cut() {
        let long = vec![b'x'; CONFIG_LIMIT_BYTES];
        let texts: [&[u8]; 3] = [b"[uwsgi]\n", &long, b"a"];
        let stream: Vec<u8> = texts.iter().flat_map(|text| packet(text).unwrap()).collect();
        for size in [1, 3, 4096, stream.len()] {
            let mut packets = Packets::default();
            let mut found = Vec::new();
            for part in stream.chunks(size) {
                packets.extend(part);
                while let Some(text) = packets.next_text().unwrap() {
                    found.push(text);
                }
            }
            assert!(found.iter().eq(&texts), "{size}");
        }
        assert!(packet(b"").is_err());
        assert!(packet(&vec![0; CONFIG_LIMIT_BYTES + 1]).is_err());
        let mut empty = Packets::default();
        empty.extend(&[CONFIG_MARK, 0, 0, 0]);
        assert!(empty.next_text().is_err());
    }
}
