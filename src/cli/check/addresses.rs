//! Two configurations on one address.

use crate::cli::subject::Reading;
use crate::config::address::Address;
use crate::config::diagnostic::{Diagnostic, Severity};

/// Tells of every address that an earlier configuration has already.
pub(super) fn compare(readings: &mut [Reading]) {
    let mut taken: Vec<(Address, String)> = Vec::new();
    for reading in readings {
        let mine = addresses(reading);
        let found: Vec<Diagnostic> = mine
            .iter()
            .filter_map(|address| {
                let (other, name) = taken.iter().find(|(other, _)| meet(other, address))?;
                let message = match other == address {
                    true => format!("{address} is also an address of {name}"),
                    false => format!("{address} meets {other} of {name}"),
                };
                let advice = "one of the two cannot start: give it another address";
                Some(reading.told_of_address(address, Severity::Error, message, advice))
            })
            .collect();
        taken.extend(mine.into_iter().map(|address| (address, reading.name.clone())));
        reading.diagnostics.extend(found);
    }
}

fn addresses(reading: &Reading) -> Vec<Address> {
    let instance = reading.instance.iter();
    instance
        .flat_map(|spec| spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats))
        .filter(|address| !matches!(address, Address::Tcp { port: 0, .. }))
        .cloned()
        .collect()
}

/// Whether only one of both can be listened on.
fn meet(one: &Address, other: &Address) -> bool {
    let is_every = |host: &str| matches!(host, "" | "0.0.0.0" | "::");
    match (one, other) {
        (Address::Tcp { host, port }, Address::Tcp { host: second, port: also }) => {
            port == also && (host == second || is_every(host) || is_every(second))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_meet() {
        for (one, other, expected) in [
            (":80", ":80", true),
            (":80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("10.0.0.1:80", "127.0.0.1:80", false),
            (":80", ":81", false),
            ("a.sock", "a.sock", true),
            ("a.sock", "@a.sock", false),
        ] {
            let read = |text| Address::parse(text, Path::new("/srv")).unwrap().0;
            assert_eq!(meet(&read(one), &read(other)), expected, "{one} {other}");
            assert_eq!(meet(&read(other), &read(one)), expected, "{other} {one}");
        }
    }
}
