//! What an emperor was told, as meant.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::hook::Hook;
use super::instance::{IdentitySpec, Ownership};
use super::limits::Rule;
use super::namespaces::Namespaces;
use super::role::{Holder, Role};
use super::tenant::Tyrant;
use super::vassals::{Programs, VassalOptions};

/// What a stopping vassal gets where nothing is said, in milliseconds.
const MERCY_MS: u64 = 30_000;

/// What `liege --emperor DIR …` was told, as meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmperorSpec {
    /// Where vassals are looked for (`emperor`), in order: of two files with one name the first is started.
    pub sources: Vec<Source>,
    /// More names of vassal files, by their ends (`emperor-extra-extension`).
    #[serde(default)]
    pub extra_extensions: Vec<String>,
    /// Whether a symbolic link counts by itself, not by what it leads to (`emperor-nofollow`).
    #[serde(default)]
    pub nofollow: bool,
    /// What is said to all vassals.
    #[serde(default)]
    pub vassals: VassalOptions,
    /// Keys of the section `[emperor]` of a vassal's file that are kept (`emperor-attr`).
    #[serde(default)]
    pub attributes: Vec<String>,
    /// The API's unix socket (`--api`); `None`: `/run/liege/api.sock` for root, else below `$XDG_RUNTIME_DIR`.
    pub api_socket: Option<PathBuf>,
    /// The API's TCP address (`--api-http 127.0.0.1:PORT`), off by default.
    pub api_http: Option<(String, u16)>,
    /// The file with the API's token (`--api-token-file`); without it TCP is read-only.
    pub api_token_file: Option<PathBuf>,
    /// TLS at the API's TCP address (`--api-tls`); without it what is said there is plain.
    #[serde(default)]
    pub api_tls: Option<ApiTls>,
    /// Extra values accepted in `Host` (`--api-host`).
    pub api_hosts: Vec<String>,
    /// Owner and group of the API's unix socket (`--api-chown`).
    #[serde(default)]
    pub api_owner: Option<Ownership>,
    /// The mode of the API's unix socket (`--api-chmod`), 0660 by default.
    #[serde(default)]
    pub api_mode: Option<u32>,
    /// What users of the unix socket may do (`--api-role`); none: who may write to it may do everything.
    #[serde(default)]
    pub api_roles: Vec<(Role, Holder)>,
    /// Whether files of vassals can be written by the API (`--api-write`).
    #[serde(default)]
    pub api_write: bool,
    /// Whether API clients read the vassals' output without query strings (`--api-redact-queries`).
    #[serde(default)]
    pub api_redact_queries: bool,
    /// The key that names a vassal's program besides `exec` (`emperor-wrapper-attr`).
    #[serde(default)]
    pub program_attribute: Option<String>,
    /// The key that names the directory in which a vassal is started (`emperor-chdir-attr`).
    #[serde(default)]
    pub directory_attribute: Option<String>,
    /// `root-apps = deny`.
    pub deny_root_apps: bool,
    /// The slow rescan behind inotify, in milliseconds.
    pub rescan_ms: u64,
    /// First respawn delay in milliseconds (`emperor-throttle`).
    pub throttle_ms: u64,
    /// Longest respawn delay in milliseconds (`emperor-max-throttle`).
    pub max_throttle_ms: u64,
    /// Milliseconds a stopping vassal gets before it is killed, where that is said (`emperor-curse-tolerance`).
    #[serde(default)]
    pub curse_tolerance_ms: Option<u64>,
    /// The same where the emperor stops with all of them (`reload-mercy`).
    #[serde(default)]
    pub reload_mercy_ms: Option<u64>,
    /// Milliseconds without a sign of life after which a vassal that has given one is killed
    /// (`emperor-required-heartbeat`).
    #[serde(default = "required_heartbeat")]
    pub heartbeat_ms: u64,
    /// Which programs run vassals in place of ours.
    #[serde(default)]
    pub programs: Programs,
    /// How many vassals load at the same time (`emperor-concurrency`); 0: four times the CPUs, at least 8.
    pub concurrency: u32,
    /// The delay between starts does not grow (`emperor-no-blacklist`).
    #[serde(default)]
    pub constant_throttle: bool,
    /// Run after an instance has ended, with the vassal's id as its last argument (`vassals-stop-hook`).
    #[serde(default)]
    pub stop_hook: Option<String>,
    /// Run by an instance before it reads its configuration, the same way (`vassals-start-hook`).
    #[serde(default)]
    pub start_hook: Option<String>,
    /// Why these options count in the place of those that the emperor was started with.
    #[serde(skip)]
    pub instead: Option<String>,
    /// What is done around vassals and the emperor's start (`hook-as-vassal`, `exec-as-emperor` and the like).
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// Variables of all vassals (`putenv:` of `hook-as-vassal`).
    #[serde(default)]
    pub vassal_variables: Vec<(String, String)>,
    /// Where uWSGI's statistics of the fleet are served (`emperor-stats`).
    #[serde(default)]
    pub stats: Option<Address>,
    /// Whether their answers have a head of HTTP (`stats-http`).
    #[serde(default)]
    pub stats_http: bool,
    /// Whether they have no white space (`stats-minified`).
    #[serde(default)]
    pub stats_minified: bool,
    /// Where it is kept when each vassal served last, so that those that did are started first
    /// (`emperor-served-file`).
    #[serde(default)]
    pub served_file: Option<PathBuf>,
    /// The title of the process (`emperor-procname`).
    #[serde(default)]
    pub procname: Option<String>,
    /// Where the emperor's pid is written (`emperor-pidfile`, `pidfile`).
    pub pidfile: Option<PathBuf>,
    /// Where the log goes (`logto`, `daemonize`); `None`: standard error.
    pub logto: Option<PathBuf>,
    /// `log-date`: what its lines begin with, for `strftime`.
    pub log_date: Option<String>,
    /// Whether to go to the background (`daemonize`).
    pub daemonize: bool,
    /// The ending of the files that name on-demand sockets (`emperor-on-demand-extension`).
    #[serde(default)]
    pub on_demand_extension: Option<String>,
    /// The directory of on-demand sockets (`emperor-on-demand-directory`).
    #[serde(default)]
    pub on_demand_directory: Option<PathBuf>,
    /// The command that names on-demand sockets (`emperor-on-demand-exec`).
    #[serde(default)]
    pub on_demand_exec: Option<String>,
    /// How many connections wait for a vassal that sleeps on demand (`listen`).
    #[serde(default = "backlog")]
    pub backlog: u32,
    /// The mode of on-demand unix sockets, and of that of the statistics (`chmod-socket`); `None`: those of
    /// all sockets of liege.
    #[serde(default)]
    pub chmod_socket: Option<u32>,
    /// Whether instances outlive a dead emperor and are taken over by the next one (`adopt`); without it they end with
    /// their emperor, as uWSGI's do.
    #[serde(default = "yes")]
    pub adopt: bool,
    /// How long an instance serves on without an emperor, in milliseconds (`orphan-grace`); 0: it ends at once.
    #[serde(default)]
    pub orphan_grace_ms: u64,
    /// The private directory in which the emperor writes down what runs (`runtime-dir`); `None`: there is none, and
    /// instances end with their emperor.
    #[serde(default)]
    pub runtime_directory: Option<PathBuf>,
    /// Whether that directory was asked for, or is only the usual one.
    #[serde(default)]
    pub runtime_told: bool,
    /// Who the emperor, and so every vassal, runs as (`uid`, `gid`, `add-gid`, `no-initgroups`, `umask`).
    #[serde(default)]
    pub identity: IdentitySpec,
    /// Vassals run as the owners of their files (`emperor-tyrant`).
    #[serde(default)]
    pub tyrant: Option<Tyrant>,
    /// The only capabilities that vassals can ever have, as written (`emperor-cap`); `None`: all.
    #[serde(default)]
    pub capabilities: Option<Vec<String>>,
    /// What all processes of a vassal together may use (`vassals-limit`).
    #[serde(default)]
    pub limits: Vec<Rule>,
    /// Namespaces that each vassal has for itself (`emperor-use-clone`).
    #[serde(default)]
    pub namespaces: Namespaces,
    /// What vassals of a tyrant have in their environment besides the usual: names, or `NAME=value` (`vassals-env`).
    #[serde(default)]
    pub environment: Vec<String>,
}

/// Where vassals are looked for; paths as given, relative ones from the emperor's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Every file of a directory whose name is a vassal's.
    Directory(PathBuf),
    /// One file, or those that match a shell pattern.
    Pattern(PathBuf),
}

const fn yes() -> bool {
    true
}

const fn backlog() -> u32 {
    100
}

const fn required_heartbeat() -> u64 {
    30_000
}

/// The files of `api-tls`, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTls {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may sign certificates of clients; `None`: they have none.
    pub client_ca: Option<PathBuf>,
}

impl EmperorSpec {
    /// Milliseconds a stopping vassal gets before it is killed.
    #[must_use]
    pub fn mercy_ms(&self) -> u64 {
        self.curse_tolerance_ms.or(self.reload_mercy_ms).unwrap_or(MERCY_MS)
    }

    /// The same where the emperor stops with all of them.
    #[must_use]
    pub fn end_mercy_ms(&self) -> u64 {
        self.reload_mercy_ms.or(self.curse_tolerance_ms).unwrap_or(MERCY_MS)
    }
}

impl Default for EmperorSpec {
    /// An emperor of which nothing was said.
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            extra_extensions: Vec::new(),
            nofollow: false,
            vassals: VassalOptions::default(),
            attributes: Vec::new(),
            program_attribute: None,
            directory_attribute: None,
            api_socket: None,
            api_http: None,
            api_token_file: None,
            api_tls: None,
            api_hosts: Vec::new(),
            api_owner: None,
            api_mode: None,
            api_roles: Vec::new(),
            api_write: false,
            api_redact_queries: false,
            deny_root_apps: false,
            rescan_ms: 60_000,
            throttle_ms: 1000,
            max_throttle_ms: 180_000,
            curse_tolerance_ms: None,
            reload_mercy_ms: None,
            heartbeat_ms: required_heartbeat(),
            programs: Programs::default(),
            concurrency: 0,
            constant_throttle: false,
            stop_hook: None,
            start_hook: None,
            instead: None,
            hooks: Vec::new(),
            vassal_variables: Vec::new(),
            stats: None,
            stats_http: false,
            stats_minified: false,
            served_file: None,
            procname: None,
            pidfile: None,
            logto: None,
            log_date: None,
            daemonize: false,
            on_demand_extension: None,
            on_demand_directory: None,
            on_demand_exec: None,
            backlog: backlog(),
            chmod_socket: None,
            adopt: true,
            orphan_grace_ms: 60_000,
            runtime_directory: None,
            runtime_told: false,
            identity: IdentitySpec::default(),
            tyrant: None,
            limits: Vec::new(),
            namespaces: Namespaces::default(),
            capabilities: None,
            environment: Vec::new(),
        }
    }
}
