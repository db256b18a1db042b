//! Another program than ours, as the emperor tells the process that is to become it.

use serde::{Deserialize, Serialize};

/// A program of others that runs a vassal, started as uWSGI's emperor would start it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// By path or by a name for the `PATH`; the first that can be executed.
    pub programs: Vec<String>,
    /// Without the program's name.
    pub arguments: Vec<String>,
    /// Whether the vassal's own file names the program (`exec`).
    pub named_by_file: bool,
}
