//! The master of one instance: sockets, zygotes, workers, reloads, the stats server.
