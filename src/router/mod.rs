//! The HTTP front of an instance: client connections, the central queue, dispatch to idle workers.
