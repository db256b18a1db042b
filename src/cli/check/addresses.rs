//! Two configurations on one address.

use crate::cli::subject::Reading;
use crate::config::address::Address;
use crate::instance::host;

/// Tells of every address that an earlier configuration has already.
pub(super) fn compare(readings: &mut [Reading]) {
    let mut taken: Vec<(Address, String)> = Vec::new();
    for reading in readings {
        let Some(spec) = &reading.instance else { continue };
        let found = host::taken(&reading.raw, spec, &taken);
        let found: Vec<_> = found.into_iter().map(|told| reading.placed(told)).collect();
        let mine = spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats);
        taken.extend(mine.map(|address| (address.clone(), reading.name.clone())));
        reading.diagnostics.extend(found);
    }
}
