//! Whether the emperor's rights are enough for what its options ask for. Otherwise it does not start: each vassal would
//! fail by itself, again and again.

use crate::config::emperor::EmperorSpec;
use crate::sys::capabilities::{self, Capabilities};
use crate::sys::user;
use crate::wire::failure::Failure;

/// Looks at what this process may, once it is who it will be.
///
/// # Errors
/// An option that it cannot obey.
pub(super) fn prove(spec: &EmperorSpec) -> Result<(), Failure> {
    if spec.tyrant.is_some() {
        prove_tyrant()?;
    }
    if !spec.namespaces.is_empty() {
        prove_namespaces()?;
    }
    if let Some(kept) = &spec.capabilities {
        prove_bounds(&Capabilities::of(kept))?;
    }
    Ok(())
}

/// A tyrant can become its tenants, and end what they run.
fn prove_tyrant() -> Result<(), Failure> {
    let missing = capabilities::missing(&Capabilities::of(&["setuid,setgid,kill".to_owned()]));
    if missing.is_empty() {
        return Ok(());
    }
    let (missing, uid) = (missing.join(", "), user::current_uid());
    Err(Failure::new(format!("emperor-tyrant cannot be obeyed by uid {uid} without {missing}"))
        .with_hint("start it as root, with `cap = setuid,setgid,kill` beside its `uid`, or with AmbientCapabilities= in its unit"))
}

/// What `emperor-use-clone` asks for can be had.
fn prove_namespaces() -> Result<(), Failure> {
    let missing = capabilities::missing(&Capabilities::of(&["sys_admin".to_owned()]));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new("emperor-use-clone cannot be obeyed without CAP_SYS_ADMIN")
        .with_hint("start the emperor as root"))
}

/// Vassals can give up what `emperor-cap` does not leave them.
fn prove_bounds(kept: &Capabilities) -> Result<(), Failure> {
    let Some(missing) = capabilities::unable_to_bound_to(kept) else { return Ok(()) };
    Err(Failure::new(format!("emperor-cap cannot be obeyed without {missing}")).with_hint(
        "add setpcap to `cap`, start the emperor as root, or say CapabilityBoundingSet= in its unit",
    ))
}
