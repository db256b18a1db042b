//! The product as its users meet it: the real binary with real files, clients, signals and interpreters.
//!
//! Nothing here sleeps for a state: every wait is for an event, with a deadline that only a hang reaches.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

mod support;

mod activation;
mod adaptive;
mod api_tls;
mod application;
mod below_uwsgi;
mod cache_metrics;
mod caches;
mod check;
mod combinations;
mod commands;
mod companions;
mod completion;
mod counts;
mod crash;
mod emperor_hooks;
mod engines;
mod examples;
mod exceptions;
mod exchange;
mod fastcgi;
mod fifo;
mod files;
mod foreign;
mod forwarding;
mod greenlets;
mod gzip;
mod harakiri;
mod hooks;
mod https;
mod inherit;
mod journal;
mod lifecycle;
mod lines;
mod locks;
mod logging;
mod monitoring;
mod mounts;
mod mules;
mod nginx;
mod options;
mod pid_files;
mod places;
mod processes;
mod python;
mod reload;
mod router;
mod routing;
mod serve;
mod shortage;
mod sockets;
mod static_files;
mod store;
mod stuck;
mod systemd;
mod telegraf;
mod top;
mod uwsgitop;
mod websockets;
