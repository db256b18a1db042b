//! What the vassal's interpreter is started with.

/// The program of `python -c`: loads the extension that `LIEGE_EXTENSION` names and becomes the zygote, with its
/// channel on the descriptor that `LIEGE_CHANNEL_FD` names. No `LIEGE_*` variable is left for the application.
pub const BOOT: &str = include_str!("boot.py");

/// The variable that names the extension's path.
pub const EXTENSION_VARIABLE: &str = "LIEGE_EXTENSION";

/// The variable that names the channel's descriptor.
pub const CHANNEL_VARIABLE: &str = "LIEGE_CHANNEL_FD";
