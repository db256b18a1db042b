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
                let (other, name) = taken.iter().find(|(other, _)| other.meets(address))?;
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
