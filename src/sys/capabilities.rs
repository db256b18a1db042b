//! Capabilities: parts of root's power that a process has without being root.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

/// Some capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(CapsHashSet);

impl Capabilities {
    /// From names as uWSGI has them: `net_bind_service,kill`; also with `cap_` in front, in any case.
    ///
    /// # Errors
    /// The name that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| named(name).ok_or_else(|| name.to_owned())).collect::<Result<_, _>>().map(Self)
    }

    /// From several such texts; what is no name is left out.
    #[must_use]
    pub fn of(texts: &[String]) -> Self {
        Self(texts.iter().flat_map(|text| text.split(',')).filter_map(|name| named(name.trim())).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it lets bind ports below 1024.
    #[must_use]
    pub fn bind_low_ports(&self) -> bool {
        self.0.contains(&Capability::CAP_NET_BIND_SERVICE)
    }

    /// Whether these let a process become any user.
    #[must_use]
    pub fn change_users(&self) -> bool {
        self.0.contains(&Capability::CAP_SETUID)
    }
}

/// Which of these this process could not use now.
#[must_use]
pub fn missing(wanted: &Capabilities) -> Vec<String> {
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    let mut missing: Vec<String> = wanted.0.difference(&have).map(ToString::to_string).collect();
    missing.sort_unstable();
    missing
}

/// Whether this process can give files to other users.
#[must_use]
pub fn may_give_files_away() -> bool {
    missing(&Capabilities([Capability::CAP_CHOWN].into())).is_empty()
}

/// What keeps this process from [`bound_to`]; `None`: nothing.
#[must_use]
pub fn unable_to_bound_to(kept: &Capabilities) -> Option<String> {
    let bounded = caps::read(None, CapSet::Bounding).unwrap_or_default();
    let has_spare = bounded.iter().any(|one| is_spare(kept, *one));
    missing(&Capabilities([Capability::CAP_SETPCAP].into())).pop().filter(|_| has_spare)
}

fn is_spare(kept: &Capabilities, one: Capability) -> bool {
    !kept.0.contains(&one) && one != Capability::CAP_SETPCAP
}

/// Whether this process can become other users.
#[must_use]
pub fn may_change_users() -> bool {
    missing(&Capabilities([Capability::CAP_SETUID, Capability::CAP_SETGID].into())).is_empty()
}

/// Has this process keep what it is permitted when it becomes another user than root, until [`reduce_to`].
///
/// # Errors
/// `prctl`.
pub fn keep_over_change() -> io::Result<()> {
    caps::securebits::set_keepcaps(true).map_err(io::Error::other)
}

/// Leaves this process these capabilities and no others, in every set; programs that it executes have them too, unless
/// it is root.
///
/// # Errors
/// It does not have one of them.
pub fn reduce_to(kept: &Capabilities) -> io::Result<()> {
    let all = || -> Result<(), caps::errors::CapsError> {
        caps::securebits::set_keepcaps(false)?;
        // What is effective and inheritable must be permitted at every step.
        caps::set(None, CapSet::Effective, &kept.0)?;
        caps::set(None, CapSet::Inheritable, &kept.0)?;
        caps::set(None, CapSet::Permitted, &kept.0)?;
        // A kernel without ambient sets has none to clear.
        match caps::read(None, CapSet::Ambient) {
            Ok(ambient) if ambient == kept.0 => Ok(()),
            Ok(_) => caps::set(None, CapSet::Ambient, &kept.0),
            Err(_) if kept.0.is_empty() => Ok(()),
            Err(error) => Err(error),
        }
    };
    all().map_err(io::Error::other)
}

/// Takes all others away from what this process, and all that it starts, can ever gain; but it can still do this again.
///
/// # Errors
/// `prctl`: it may not (`CAP_SETPCAP`).
pub fn bound_to(kept: &Capabilities) -> io::Result<()> {
    let bounded = caps::read(None, CapSet::Bounding).map_err(io::Error::other)?;
    for one in bounded.into_iter().filter(|one| is_spare(kept, *one)) {
        caps::drop(None, CapSet::Bounding, one)
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))?;
    }
    Ok(())
}

/// Leaves this process no more than what [`bound_to`] lets it gain.
///
/// # Errors
/// `capset`.
pub fn forget_beyond_bounds() -> io::Result<()> {
    let forget = || -> Result<(), caps::errors::CapsError> {
        let bounds = caps::read(None, CapSet::Bounding)?;
        for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
            let has = caps::read(None, set)?;
            caps::set(None, set, &has.intersection(&bounds).copied().collect())?;
        }
        Ok(())
    };
    forget().map_err(io::Error::other)
}

fn named(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_uwsgi() {
        let parsed = Capabilities::parse("setuid, CAP_KILL,Net_Bind_Service,").unwrap();
        let expected = [Capability::CAP_SETUID, Capability::CAP_KILL, Capability::CAP_NET_BIND_SERVICE];
        assert_eq!(parsed, Capabilities(expected.into()));
        assert!(parsed.change_users() && Capabilities::parse("").unwrap().is_empty());
        assert_eq!(Capabilities::parse("kill,fly"), Err("fly".to_owned()));
        assert_eq!(Capabilities::of(&["kill,fly".to_owned()]), Capabilities([Capability::CAP_KILL].into()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let have = caps::read(None, CapSet::Effective).unwrap();
        let all = Capabilities(caps::all());
        assert_eq!(missing(&all).len(), caps::all().difference(&have).count());
        assert!(missing(&Capabilities(have)).is_empty());
    }
}
