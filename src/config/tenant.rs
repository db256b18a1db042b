//! Who a vassal runs as under an emperor that goes by the owners of its files (`emperor-tyrant`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The owner of a vassal's file, and the file's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl fmt::Display for Tenant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "uid {} and gid {}", self.uid, self.gid)
    }
}

/// How an emperor goes by the owners of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tyrant {
    /// Of a file that is a symbolic link the link's owner counts (`emperor-tyrant-nofollow`).
    pub nofollow: bool,
    /// Tenants have the further groups of their users (`emperor-tyrant-initgroups`).
    pub initgroups: bool,
}
