//! What one instance was told, as meant: typed, with every default filled in, comparable.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::{Address, Listen};
use super::cache::CacheSpec;
use super::cheaper::CheaperSpec;
use super::companions::CompanionSpec;
use super::cores::GeventSpec;
use super::exceptions::ExceptionSpec;
use super::exchange::ExchangeSpec;
use super::guard::GuardSpec;
use super::hook::{Hook, Place};
use super::logging::LogSpec;
use super::namespaces::Namespaces;
use super::patch::PatchSpec;
pub use super::process::{
    FilesSpec, IdentitySpec, InterpreterSpec, LimitSpec, LockSpec, Ownership, TitleSpec,
};
pub use super::router::RouterSpec;
use super::routes::RouteSpec;
use super::socket::{SocketMap, SocketSpec};
use super::static_files::StaticSpec;
use super::stats_push::{RequestVars, StatsForm, StatsPushSpec};
use super::websocket::WebsocketSpec;

/// What one instance was told, as meant. Paths are absolute; times are in the unit of the field's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// The name for logs and titles: the vassal's file name, or the app's.
    pub name: String,
    /// The sockets, in the order written (`socket`, `uwsgi-socket`, `http-socket`, `http`).
    pub listen: Vec<Listen>,
    /// `shared-socket`: which of them are bound before privileges drop.
    #[serde(default)]
    pub shared: Vec<Address>,
    /// `listen`: the backlog.
    pub backlog: u32,
    /// `freebind`, `reuse-port`, `so-keepalive` and the like.
    #[serde(default)]
    pub sockets: SocketSpec,
    /// Which workers serve which socket.
    #[serde(default)]
    pub socket_map: SocketMap,
    /// `chmod-socket`: mode of unix sockets; `None`: 0666 & !umask, never world-writable by default.
    pub chmod_socket: Option<u32>,
    /// `chown-socket`: owner and group of unix sockets.
    pub chown_socket: Option<Ownership>,
    /// What is said about the application.
    pub app: AppSpec,
    /// The workers.
    pub workers: WorkerSpec,
    /// Who the instance runs as.
    pub identity: IdentitySpec,
    /// The interpreter.
    pub interpreter: InterpreterSpec,
    /// `env`, `unenv`: changes to the environment, in order; `None` removes.
    pub env: Vec<(String, Option<String>)>,
    /// `stats`: addresses of the JSON stats server.
    pub stats: Vec<super::address::Address>,
    /// `stats-http`: its answers begin with a head of HTTP.
    #[serde(default)]
    pub stats_http: bool,
    /// Static files.
    #[serde(default)]
    pub static_files: StaticSpec,
    /// Internal routing.
    #[serde(default)]
    pub routes: RouteSpec,
    /// What the document has.
    #[serde(default)]
    pub stats_form: StatsForm,
    /// The variables of running requests in it.
    #[serde(default)]
    pub request_vars: RequestVars,
    /// Where it is pushed to.
    #[serde(default)]
    pub stats_push: StatsPushSpec,
    /// Files that are written.
    pub files: FilesSpec,
    /// Logging.
    pub log: LogSpec,
    /// `touch-reload`: files whose change reloads the instance.
    pub touch_reload: Vec<PathBuf>,
    /// `cache2`, `cache`.
    #[serde(default)]
    pub caches: Vec<CacheSpec>,
    /// What lives beside the workers.
    #[serde(default)]
    pub companions: CompanionSpec,
    /// What the processes may use.
    #[serde(default)]
    pub limits: LimitSpec,
    /// `vacuum`: remove sockets and pid files at exit.
    pub vacuum: bool,
    /// `die-on-term`: `SIGTERM` stops (it always does here; kept for `uwsgi.opt`).
    pub die_on_term: bool,
    /// `auto-procname`, implied by `procname-prefix`.
    pub auto_procname: bool,
    /// `procname-prefix`, with its trailing space if `procname-prefix-spaced`.
    pub procname_prefix: String,
    /// The rest of the titles.
    #[serde(default)]
    pub titles: TitleSpec,
    /// `fs-reload`: files and directories whose change reloads the instance at once.
    #[serde(default)]
    pub fs_reload: Vec<PathBuf>,
    /// `exit-on-reload`: it ends where it would reload.
    #[serde(default)]
    pub exit_on_reload: bool,
    /// `fallback-config`: what is started where this configuration cannot.
    #[serde(default)]
    pub fallback: Option<PathBuf>,
    /// `privileged-binary-patch` and its like: what it becomes in the place of itself.
    #[serde(default)]
    pub patches: PatchSpec,
    /// `unshare`: namespaces of its own, where root starts it.
    #[serde(default)]
    pub unshare: Namespaces,
    /// `emperor = DIR` inside the file: the instance is an emperor.
    pub emperor: Vec<PathBuf>,
    /// What a request and its response may cost.
    #[serde(default)]
    pub exchange: ExchangeSpec,
    /// The router of `http`.
    #[serde(default)]
    pub router: RouterSpec,
    /// Websockets.
    #[serde(default)]
    pub websockets: WebsocketSpec,
    /// What is done around its start, its workers and its end, in the order said.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// `honour-stdin`: workers keep the standard input of whoever started the instance.
    #[serde(default)]
    pub honour_stdin: bool,
    /// Every option as said, for `uwsgi.opt`: name and text, in order.
    pub said: Vec<(String, String)>,
    /// Where each of them was said.
    #[serde(default)]
    pub places: Vec<Place>,
}

/// The application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// What to load; `None`: nothing was named.
    pub load: Option<AppSource>,
    /// `mount`: where further applications are, and what to load for each.
    #[serde(default)]
    pub mounts: Vec<(String, AppSource)>,
    /// `manage-script-name`: the path of a request chooses among them, and loses what it begins with.
    #[serde(default)]
    pub manage_script_name: bool,
    /// `callable`: name of the callable where the source names none; default `application`.
    pub callable: Option<String>,
    /// `need-app`: end with status 22 instead of answering 500 when the application does not load.
    pub need_app: bool,
    /// `chdir`: where the app runs.
    pub chdir: Option<PathBuf>,
    /// `chdir2`: where workers go once it is loaded.
    #[serde(default)]
    pub chdir2: Option<PathBuf>,
    /// `pythonpath`, as given: the last one comes first on `sys.path`.
    pub pythonpath: Vec<PathBuf>,
    /// `import`: modules, or files, that are loaded before it; a failure is only logged.
    #[serde(default)]
    pub imports: Vec<String>,
    /// `add-header`: name and value of headers that every response gets.
    #[serde(default)]
    pub add_headers: Vec<(String, String)>,
    /// `disable-write-exception`: an application that writes to a client that is gone is not told.
    #[serde(default)]
    pub no_write_exception: bool,
    /// `wsgi-disable-file-wrapper`: there is no `wsgi.file_wrapper`.
    #[serde(default)]
    pub no_file_wrapper: bool,
    /// `pyargv`: `sys.argv`; empty: as it is.
    #[serde(default)]
    pub argv: Vec<String>,
    /// `py-autoreload`, in seconds: how often changed modules are looked for; 0 is never.
    #[serde(default)]
    pub autoreload_s: u32,
    /// `py-auto-reload-ignore`: modules whose changes do not matter.
    #[serde(default)]
    pub autoreload_ignore: Vec<String>,
    /// `shared-import`: the same, once for all workers.
    #[serde(default)]
    pub shared_imports: Vec<String>,
    /// `pymodule-alias`: names, and the module or file that each is.
    #[serde(default)]
    pub aliases: Vec<(String, String)>,
    /// `post-pymodule-alias`: the same after the imports.
    #[serde(default)]
    pub post_aliases: Vec<(String, String)>,
    /// What is said of an application that PasteDeploy loads.
    #[serde(default)]
    pub paste: PasteSpec,
    /// `py-tracebacker`: where who connects gets the stacks of a worker whose number is behind it.
    #[serde(default)]
    pub tracebacker: Option<PathBuf>,
    /// `locks`: the highest number of a lock between the workers.
    #[serde(default)]
    pub locks: u32,
    /// What becomes of a request, and of its worker, when it raises an exception.
    #[serde(default)]
    pub exceptions: ExceptionSpec,
    /// `skip-atexit`: a worker ends without what was registered for its end.
    #[serde(default)]
    pub skip_atexit: bool,
    /// `skip-atexit-teardown`: a worker ends after `uwsgi.atexit`, without what Python does at its end.
    #[serde(default)]
    pub skip_teardown: bool,
}

/// What to load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppSource {
    /// `wsgi-file`: a Python file.
    File(PathBuf),
    /// `module`: `pkg.mod`, `pkg.mod:callable` or `pkg.mod:factory()`, as written.
    Module(String),
    /// `paste`: what PasteDeploy loads, `config:/path.ini` or `egg:name`.
    Paste(String),
}

/// What is said of an application that PasteDeploy loads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasteSpec {
    /// `paste-name`: which of its applications; `None`: `main`.
    pub name: Option<String>,
    /// `paste-logger`: its file sets the loggers up.
    pub logger: bool,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// `processes` / `workers`.
    pub processes: u32,
    /// `threads`: requests each worker runs at the same time, at least 1.
    pub threads: u32,
    /// What runs requests as greenlets.
    #[serde(default)]
    pub gevent: GeventSpec,
    /// `lazy-apps`: every worker loads the application itself.
    pub lazy_apps: bool,
    /// `harakiri`, in seconds; 0 is off.
    pub harakiri_s: u32,
    /// `harakiri-no-arh`: it does not count the hook after a request.
    #[serde(default)]
    pub harakiri_no_hook: bool,
    /// `max-requests`; 0 is off.
    pub max_requests: u64,
    /// `max-requests-delta`.
    pub max_requests_delta: u64,
    /// `min-worker-lifetime`, in seconds.
    pub min_lifetime_s: u32,
    /// `max-worker-lifetime`, in seconds; 0 is off.
    #[serde(default)]
    pub max_lifetime_s: u64,
    /// `max-worker-lifetime-delta`, in seconds.
    #[serde(default)]
    pub max_lifetime_delta_s: u64,
    /// `reload-on-rss`, in MiB; 0 is off.
    #[serde(default)]
    pub reload_on_rss_mib: u64,
    /// `reload-on-as`, in MiB; 0 is off.
    #[serde(default)]
    pub reload_on_as_mib: u64,
    /// `buffer-size`, in bytes: the longest head of a request.
    pub buffer_size_bytes: u32,
    /// `socket-timeout`, in seconds: an incomplete uwsgi packet, a stalled read or write.
    pub socket_timeout_s: u32,
    /// `worker-reload-mercy`, in seconds: what running requests get on reload and stop.
    pub reload_mercy_s: u32,
    /// Seconds without a request after which it may be put to sleep (`idle`); 0: never.
    #[serde(default)]
    pub idle_s: u32,
    /// `limit-post`, in bytes: what the body of a request may have; 0: any size.
    #[serde(default)]
    pub limit_post_bytes: u64,
    /// Seconds between signs of life to the emperor (`heartbeat`); 0: none.
    #[serde(default)]
    pub heartbeat_s: u32,
    /// `reload-mercy`, in seconds; 0: as `worker-reload-mercy`.
    pub instance_mercy_s: u32,
    /// `startup-timeout`, in seconds: what a new generation gets to be ready; 0 is off.
    #[serde(default)]
    pub startup_timeout_s: u32,
    /// How many there are when their number follows the load.
    #[serde(default)]
    pub cheaper: CheaperSpec,
    /// What the master holds them to.
    #[serde(default)]
    pub guard: GuardSpec,
    /// `reaper`: children that ended are reaped after each request.
    #[serde(default)]
    pub reaper: bool,
    /// `cpu-affinity`: how many CPUs each of them has for itself; 0: all.
    #[serde(default)]
    pub cpus: u32,
}

impl Default for InstanceSpec {
    /// An instance of which nothing was said.
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: Vec::new(),
            shared: Vec::new(),
            sockets: SocketSpec::default(),
            socket_map: SocketMap::default(),
            backlog: 100,
            chmod_socket: None,
            chown_socket: None,
            app: AppSpec::default(),
            workers: WorkerSpec::default(),
            identity: IdentitySpec::default(),
            interpreter: InterpreterSpec::default(),
            env: Vec::new(),
            stats: Vec::new(),
            stats_http: false,
            static_files: StaticSpec::default(),
            routes: RouteSpec::default(),
            stats_form: StatsForm::default(),
            request_vars: RequestVars::default(),
            stats_push: StatsPushSpec::default(),
            files: FilesSpec::default(),
            log: LogSpec { requests: true, ..LogSpec::default() },
            touch_reload: Vec::new(),
            caches: Vec::new(),
            companions: CompanionSpec::default(),
            limits: LimitSpec::default(),
            vacuum: false,
            die_on_term: true,
            auto_procname: false,
            procname_prefix: String::new(),
            titles: TitleSpec::default(),
            fs_reload: Vec::new(),
            exit_on_reload: false,
            fallback: None,
            patches: PatchSpec::default(),
            unshare: Namespaces::default(),
            emperor: Vec::new(),
            exchange: ExchangeSpec::default(),
            router: RouterSpec::default(),
            websockets: WebsocketSpec::default(),
            hooks: Vec::new(),
            honour_stdin: false,
            said: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            processes: 1,
            threads: 1,
            gevent: GeventSpec::default(),
            lazy_apps: false,
            harakiri_s: 0,
            harakiri_no_hook: false,
            max_requests: 0,
            max_requests_delta: 0,
            min_lifetime_s: 10,
            max_lifetime_s: 0,
            max_lifetime_delta_s: 0,
            reload_on_rss_mib: 0,
            reload_on_as_mib: 0,
            buffer_size_bytes: 4096,
            socket_timeout_s: 4,
            reload_mercy_s: 60,
            idle_s: 0,
            limit_post_bytes: 0,
            heartbeat_s: 0,
            instance_mercy_s: 0,
            startup_timeout_s: 300,
            cheaper: CheaperSpec::default(),
            guard: GuardSpec::default(),
            reaper: false,
            cpus: 0,
        }
    }
}
