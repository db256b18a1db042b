//! One instance: the master of a vassal, which owns its sockets, its scoreboard and all its processes.

mod bind;
mod black_box;
mod board;
mod burial;
mod busyness;
mod carry;
pub mod certificates;
pub mod cheaper;
mod children;
pub mod decide;
pub mod event;
mod foreign;
mod hear;
#[cfg(test)]
mod histories;
mod inbox;
pub mod interpreter;
mod jail;
mod launch;
mod link;
mod log_datagrams;
mod log_file;
mod log_hub;
mod log_rules;
mod log_syslog;
mod log_trouble;
mod loggers;
mod logs;
mod master;
mod memory;
mod orphan;
mod passage;
mod perform;
mod reexec;
pub mod rehearse;
mod reload;
mod rest;
pub mod roster;
mod routing;
pub mod run;
mod scale;
#[cfg(test)]
mod scenarios;
mod settle;
mod source;
mod start;
mod stats_document;
mod stats_push;
mod stats_socket;
mod touch;
pub mod trial;
pub mod uwsgi_emperor;
pub mod validate;
mod watch;
#[cfg(test)]
mod world;
mod zygotes;
