//! The certificates of `https`: read once by whoever may, and kept in memory files, from which every router gets them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use crate::config::address::Address;
use crate::config::instance::InstanceSpec;
use crate::config::router::TlsSpec;
use crate::proto::tls::{Authorities, Material, Unusable};
use crate::sys::{file, memfd, own};
use crate::wire::failure::Failure;

/// The longest file that is read; a bundle of all authorities of the world has a fifth of it.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// What the addresses of `https` need, each in a sealed memory file.
#[derive(Clone, Debug, Default)]
pub(super) struct Certificates(Vec<(Address, Rc<OwnedFd>)>);

/// Why there is nothing.
#[derive(Debug)]
pub(super) struct Unread {
    /// For people.
    pub(super) failure: Failure,
    /// Whether it is a right that is missing, which a new instance has until it drops privileges.
    pub(super) denied: bool,
}

/// What was read for each address, and not looked at yet.
pub(super) type Unchecked<'a> = Vec<(&'a TlsSpec, Material)>;

/// Reads the files that `spec` names. Done before privileges drop, so nothing in them is interpreted.
///
/// # Errors
/// One that cannot be read.
pub(super) fn read(spec: &InstanceSpec) -> Result<Unchecked<'_>, Unread> {
    let at = |tls: &TlsSpec, unread: Unread| Unread {
        failure: unread.failure.at(spec.place_of_address(&tls.address)),
        ..unread
    };
    spec.router.tls.iter().map(|tls| Ok((tls, read_files(tls).map_err(|unread| at(tls, unread))?))).collect()
}

/// What is wrong with the files of each address, and whether only the right to read them is missing.
#[must_use]
pub fn look(spec: &InstanceSpec) -> Vec<(&Address, Failure, bool)> {
    let read = spec.router.tls.iter().map(|tls| match read_files(tls) {
        Ok(material) => check(&vec![(tls, material)]).err().map(|failure| (&tls.address, failure, false)),
        Err(unread) => Some((&tls.address, unread.failure, unread.denied)),
    });
    read.flatten().collect()
}

fn read_files(tls: &TlsSpec) -> Result<Material, Unread> {
    let certificate = read_file(tls, "certificate", &tls.certificate)?;
    let key = read_file(tls, "key", &tls.key)?;
    let client_ca = match &tls.client_ca {
        None => None,
        Some(ca) => Some(Authorities {
            certificates: read_file(tls, "certificates for clients", &ca.file)?,
            is_mandatory: ca.is_mandatory,
        }),
    };
    Ok(Material { certificate, key, ciphers: tls.ciphers.clone(), client_ca })
}

fn read_file(tls: &TlsSpec, what: &str, path: &Path) -> Result<String, Unread> {
    let read = file::open_untrusted(path).and_then(|file| {
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if what == "key" && facts.permissions().mode() & 0o004 != 0 {
            tracing::warn!("everybody on this host can read the key {}", path.display());
        }
        read_text(file)
    });
    read.map_err(|error| Unread {
        denied: error.kind() == io::ErrorKind::PermissionDenied,
        failure: Failure::new(format!(
            "https = {}: cannot read the {what} {}: {error}",
            tls.address,
            path.display()
        ))
        .with_hint("the files are read by whoever starts the instance, before it drops privileges"),
    })
}

/// PEM is ASCII; what stands around it does not matter.
fn read_text(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(io::Error::other(format!("longer than {FILE_LIMIT_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether connections can be accepted with what was read.
///
/// # Errors
/// What cannot be used, and where it is.
pub(super) fn check(unchecked: &Unchecked<'_>) -> Result<(), Failure> {
    for (tls, material) in unchecked {
        if let Err(reason) = material.server_config() {
            return Err(unusable(tls, &reason));
        }
    }
    Ok(())
}

fn unusable(tls: &TlsSpec, reason: &Unusable) -> Failure {
    let (what, where_it_is) = match reason {
        Unusable::Certificate(_) => ("certificate", Some(&tls.certificate)),
        Unusable::Key(_) => ("key", Some(&tls.key)),
        Unusable::Ciphers => ("ciphers", None),
        Unusable::ClientCa(_) => ("certificates for clients", tls.client_ca.as_ref().map(|ca| &ca.file)),
    };
    let place = match where_it_is {
        Some(path) => path.display().to_string(),
        None => tls.ciphers.clone().unwrap_or_default(),
    };
    Failure::new(format!("https = {}: cannot use the {what} {place}: {reason}", tls.address))
}

impl Certificates {
    /// Keeps what was read, if it can be used.
    ///
    /// # Errors
    /// It cannot, or there is no memory for it.
    pub(super) fn keep(unchecked: &Unchecked<'_>) -> Result<Self, Failure> {
        check(unchecked)?;
        let sealed = unchecked.iter().map(|(tls, material)| {
            let file = memfd::sealed("liege-tls", &serde_json::to_vec(material)?)?;
            Ok((tls.address.clone(), Rc::new(file)))
        });
        let kept: io::Result<Vec<_>> = sealed.collect();
        kept.map(Self::new).map_err(|error| Failure::new(format!("cannot keep a certificate: {error}")))
    }

    /// What another process kept.
    pub(super) fn of_files(files: impl IntoIterator<Item = (Address, OwnedFd)>) -> Self {
        Self::new(files.into_iter().map(|(address, file)| (address, Rc::new(file))).collect())
    }

    fn new(all: Vec<(Address, Rc<OwnedFd>)>) -> Self {
        // Workers are of the same user: they must not find the keys in this process.
        if !all.is_empty()
            && let Err(error) = own::hide_memory()
        {
            tracing::warn!("others of the same user could read the keys of `https`: {error}");
        }
        Self(all)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Address, BorrowedFd<'_>)> {
        self.0.iter().map(|(address, file)| (address, file.as_fd()))
    }

    /// That of an address.
    pub(super) fn find(&self, address: &Address) -> Option<BorrowedFd<'_>> {
        self.all().find(|(found, _)| *found == address).map(|(_, file)| file)
    }

    /// Those of an earlier configuration for the addresses of `tls`, where that said the same of them.
    pub(super) fn kept_for(&self, tls: &[TlsSpec], earlier: &[TlsSpec]) -> Option<Self> {
        let kept = tls.iter().map(|wanted| {
            let found = self.0.iter().find(|(address, _)| *address == wanted.address);
            found.filter(|_| earlier.contains(wanted)).cloned()
        });
        kept.collect::<Option<Vec<_>>>().map(Self)
    }
}
