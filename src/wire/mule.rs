//! What is said of mules between a master and its zygote.

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// A mule that is to be forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MuleOrder {
    /// The mule's number, from 1.
    pub number: u32,
    /// Names the run; never used twice.
    pub life: u64,
    /// It loads the application itself: this zygote does not have it, though that was wanted.
    pub load: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MuleBirth {
    /// The run.
    pub life: u64,
    /// Its pid, or why there is none.
    pub pid: Result<u32, Failure>,
}
