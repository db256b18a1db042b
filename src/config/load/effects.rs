//! Every option has an effect that is tested: rows of lines, and what they change in the spec.
//!
//! The last tests hold the table to it: an option that is in no row, or an alias that means something else than its
//! option, fails them. Options that are accepted without an effect or refused need no row: the table itself says what
//! they must be answered with.

mod processes;
mod routes;
mod sockets;

use serde_json::{Value, json};

use super::fake::Imagined;
use super::rows::{beside_workers, emperors, hooks};
use super::{emperor, vassal};
use crate::config::command_line;
use crate::config::diagnostic::{Cause, Severity};
use crate::config::table::{self, By, Kind, Row, Standing};

/// A line of an instance, the place in the spec that it changes, and the value there.
fn instances() -> Vec<(&'static str, &'static str, Value)> {
    let mut rows = sockets::rows();
    rows.extend(routes::rows());
    rows.extend([
        ("processes = 7", "/workers/processes", json!(7)),
        ("threads = 7", "/workers/threads", json!(7)),
        ("gevent = 7", "/workers/gevent/greenlets", json!(7)),
        ("gevent = 7", "/workers/socket_timeout_s", json!(30)),
        ("gevent-early-monkey-patch = true", "/workers/gevent/early_monkey_patch", json!(true)),
        ("gevent-monkey-patch = true\ngevent = 7", "/workers/gevent/monkey_patch", json!(true)),
        ("gevent-wait-for-hub = true\ngevent = 7", "/workers/gevent/wait_for_hub", json!(true)),
        ("lazy-apps = true", "/workers/lazy_apps", json!(true)),
        ("lazy = true", "/workers/lazy_apps", json!(true)),
        ("harakiri = 7", "/workers/harakiri_s", json!(7)),
        ("harakiri-graceful-timeout = 7", "/workers/guard/harakiri/grace_s", json!(7)),
        ("harakiri-graceful-signal = 7", "/workers/guard/harakiri/signal", json!(7)),
        ("harakiri-queue-threshold = 7", "/workers/guard/harakiri/threshold", json!(7)),
        ("harakiri-no-arh = true", "/workers/harakiri_no_hook", json!(true)),
        ("shared-import = x", "/app/shared_imports", json!(["x"])),
        ("pymodule-alias = x=y", "/app/aliases", json!([["x", "y"]])),
        ("post-pymodule-alias = x=/y.py", "/app/post_aliases", json!([["x", "/y.py"]])),
        ("paste = config:/x.ini", "/app/load", json!({"Paste": "config:/x.ini"})),
        ("paste-name = x", "/app/paste/name", json!("x")),
        ("paste-logger = true", "/app/paste/logger", json!(true)),
        ("ini-paste = paste.ini", "/app/load", json!({"Paste": "config:/srv/paste.ini"})),
        ("ini-paste = paste.ini", "/workers/harakiri_s", json!(9)),
        ("ini-paste-logged = paste.ini", "/app/paste/logger", json!(true)),
        ("locks = 7", "/app/locks", json!(7)),
        ("py-tracebacker = x", "/app/tracebacker", json!("/srv/x")),
        ("catch-exceptions = true", "/app/exceptions/shown", json!(true)),
        ("reload-on-exception = true", "/app/exceptions/any", json!(true)),
        ("reload-on-exception-type = x", "/app/exceptions/types", json!(["x"])),
        ("reload-on-exception-value = x", "/app/exceptions/values", json!(["x"])),
        ("reload-on-exception-repr = x", "/app/exceptions/reprs", json!(["x"])),
        ("max-requests = 7", "/workers/max_requests", json!(7)),
        ("max-requests-delta = 7", "/workers/max_requests_delta", json!(7)),
        ("min-worker-lifetime = 7", "/workers/min_lifetime_s", json!(7)),
        ("worker-reload-mercy = 7", "/workers/reload_mercy_s", json!(7)),
        ("reload-mercy = 7", "/workers/instance_mercy_s", json!(7)),
        ("startup-timeout = 7", "/workers/startup_timeout_s", json!(7)),
        ("cheaper = 2\nprocesses = 4", "/workers/cheaper/least", json!(2)),
        ("cheaper-initial = 3\ncheaper = 1\nprocesses = 9", "/workers/cheaper/initial", json!(3)),
        ("cheaper-step = 7\ncheaper = 1\nprocesses = 9", "/workers/cheaper/step", json!(7)),
        ("cheaper-overload = 7\ncheaper = 1\nprocesses = 9", "/workers/cheaper/overload", json!(7)),
        ("cheaper-idle = 7\ncheaper = 1\nprocesses = 9", "/workers/cheaper/idle_s", json!(7)),
        (
            "cheaper-rss-limit-soft = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/rss_soft_bytes",
            json!(7),
        ),
        (
            "cheaper-rss-limit-hard = 7\ncheaper-rss-limit-soft = 6\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/rss_hard_bytes",
            json!(7),
        ),
        (
            "cheaper-algo = busyness\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/algorithm",
            json!("busyness"),
        ),
        ("cheaper-busyness-max = 7\ncheaper = 1\nprocesses = 9", "/workers/cheaper/busyness/most", json!(7)),
        ("cheaper-busyness-min = 7\ncheaper = 1\nprocesses = 9", "/workers/cheaper/busyness/least", json!(7)),
        (
            "cheaper-busyness-multiplier = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/multiplier",
            json!(7),
        ),
        (
            "cheaper-busyness-penalty = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/penalty",
            json!(7),
        ),
        (
            "cheaper-busyness-backlog-alert = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/alert",
            json!(7),
        ),
        (
            "cheaper-busyness-backlog-step = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/alert_step",
            json!(7),
        ),
        (
            "cheaper-busyness-backlog-multiplier = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/alert_multiplier",
            json!(7),
        ),
        (
            "cheaper-busyness-backlog-nonzero = 7\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/nonzero_s",
            json!(7),
        ),
        (
            "cheaper-busyness-verbose = true\ncheaper = 1\nprocesses = 9",
            "/workers/cheaper/busyness/verbose",
            json!(true),
        ),
        ("cheap = true", "/workers/cheaper/cheap", json!(true)),
        ("evil-reload-on-rss = 7", "/workers/guard/evil_rss_mib", json!(7)),
        ("evil-reload-on-as = 7", "/workers/guard/evil_as_mib", json!(7)),
        ("mem-collector-freq = 7", "/workers/guard/collector_s", json!(7)),
        ("buffer-size = 8192", "/workers/buffer_size_bytes", json!(8192)),
        ("socket-timeout = 7", "/workers/socket_timeout_s", json!(7)),
        ("chdir = /x", "/app/chdir", json!("/x")),
        ("wsgi-file = a.py", "/app/load", json!({"File": "/srv/a.py"})),
        ("module = x.y", "/app/load", json!({"Module": "x.y"})),
        ("mount = /x=y:z", "/app/mounts", json!([["/x", {"Module": "y:z"}]])),
        ("mount = /x=y.py", "/app/mounts", json!([["/x", {"File": "/srv/y.py"}]])),
        ("manage-script-name = true", "/app/manage_script_name", json!(true)),
        ("so-send-timeout = 7", "/exchange/send_timeout_s", json!(7)),
        ("chunked-input-limit = 7", "/exchange/chunk_bytes", json!(7)),
        ("chunked-input-timeout = 7", "/exchange/chunk_timeout_s", json!(7)),
        ("response-headers-limit = 7", "/exchange/response_head_bytes", json!(7)),
        ("body-read-warning = 7", "/exchange/body_read_warning_mib", json!(7)),
        ("write-errors-tolerance = 7", "/exchange/write_errors_tolerance", json!(7)),
        ("wsgi-accept-buffer = true", "/exchange/accept_buffers", json!(true)),
        ("limit-post = 7", "/workers/limit_post_bytes", json!(7)),
        ("callable = x", "/app/callable", json!("x")),
        ("pythonpath = x", "/app/pythonpath", json!(["/srv/x"])),
        ("virtualenv = x", "/interpreter/virtualenv", json!("/srv/x")),
        ("python = ./x", "/interpreter/python", json!("/srv/./x")),
        ("extension = x", "/interpreter/extension", json!("/srv/x")),
        ("need-app = true", "/app/need_app", json!(true)),
        ("env = A=b", "/env", json!([["A", "b"]])),
        ("envdir = vars", "/env", json!([["A", "b c"], ["B", null]])),
        ("pyargv = a  b", "/app/argv", json!(["a", "b"])),
        ("unenv = A", "/env", json!([["A", null]])),
        ("uid = x", "/identity/uid", json!("x")),
        ("gid = x", "/identity/gid", json!("x")),
        ("add-gid = x", "/identity/add_gid", json!(["x"])),
        ("no-initgroups = true", "/identity/no_initgroups", json!(true)),
        ("cap = kill", "/identity/capabilities", json!(["kill"])),
        ("no-new-privileges = false", "/identity/new_privileges", json!(true)),
        ("umask = 027", "/identity/umask", json!(0o27)),
        ("root-apps = deny", "/identity/deny_root_apps", json!(true)),
        ("master-fifo = x", "/files/master_fifo", json!(["/srv/x"])),
        ("logto = x", "/log/logto", json!("/srv/x")),
        ("logto2 = x", "/log/logto2", json!("/srv/x")),
        ("daemonize = x", "/log/daemonize", json!(true)),
        ("disable-logging = true", "/log/requests", json!(false)),
        ("vacuum = true", "/vacuum", json!(true)),
        ("die-on-term = false", "/die_on_term", json!(false)),
        ("log-format = %(uri)", "/log/lines/format", json!("%(uri)")),
        ("log-format-strftime = true", "/log/lines/strftime", json!(true)),
        ("memory-report = true", "/log/lines/memory", json!(true)),
        ("log-x-forwarded-for = true", "/log/lines/forwarded_for", json!(true)),
        ("log-micros = true", "/log/lines/micros", json!(true)),
        ("log-4xx = true", "/log/lines/client_errors", json!(true)),
        ("log-5xx = true", "/log/lines/server_errors", json!(true)),
        ("log-zero = true", "/log/lines/empty", json!(true)),
        ("log-ioerror = true", "/log/lines/broken", json!(true)),
        ("log-slow = 7", "/log/lines/slow_ms", json!(7)),
        ("log-big = 7", "/log/lines/big_bytes", json!(7)),
        ("show-config = true", "/log/show_config", json!(true)),
        ("log-date = %%Y", "/log/date", json!("%Y")),
        ("logger = a file:x.log", "/log/routing/loggers/0/to/File/path", json!("/srv/x.log")),
        ("req-logger = stdio", "/log/routing/request_loggers/0/to", json!("Stdio")),
        ("log-syslog = me", "/log/routing/loggers/0/to/Syslog/ident", json!("me")),
        ("log-socket = h:1", "/log/routing/loggers/0/to/Socket/to/Host", json!(["h", 1])),
        ("log-route = a b", "/log/routing/routes/0/pattern", json!("b")),
        ("log-req-route = a b", "/log/routing/request_routes/0/to", json!("a")),
        ("log-drain = ^a", "/log/routing/drain/0", json!("^a")),
        ("log-filter = ^b", "/log/routing/filter/0", json!("^b")),
        ("log-encoder = prefix:a b", "/log/routing/encoders/0/only", json!("a")),
        ("log-req-encoder = nl", "/log/routing/request_encoders/0/change", json!("Newline")),
        ("log-master-bufsize = 300", "/log/routing/line_bytes", json!(300)),
        ("log-maxsize = 7", "/log/file/max_bytes", json!(7)),
        ("log-backupname = x", "/log/file/backup", json!("/srv/x")),
        ("log-reopen = true", "/log/file/reopen", json!(true)),
        ("log-truncate = true", "/log/file/truncate", json!(true)),
        ("logfile-chown = true", "/log/file/chown", json!(true)),
        ("logfile-chmod = 600", "/log/file/chmod", json!(0o600)),
        ("touch-logrotate = x", "/log/file/rotate_on", json!(["/srv/x"])),
        ("touch-logreopen = x", "/log/file/reopen_on", json!(["/srv/x"])),
        ("reload-on-rss = 7", "/workers/reload_on_rss_mib", json!(7)),
        ("reload-on-as = 7", "/workers/reload_on_as_mib", json!(7)),
        ("max-worker-lifetime = 70", "/workers/max_lifetime_s", json!(70)),
        ("max-worker-lifetime-delta = 7", "/workers/max_lifetime_delta_s", json!(7)),
        ("idle = 7", "/workers/idle_s", json!(7)),
        ("heartbeat = 7", "/workers/heartbeat_s", json!(7)),
        ("py-autoreload = 7", "/app/autoreload_s", json!(7)),
        ("py-auto-reload-ignore = x", "/app/autoreload_ignore", json!(["x"])),
        ("import = x", "/app/imports", json!(["x"])),
        ("add-header = X: y", "/app/add_headers", json!([["X", "y"]])),
        ("disable-write-exception = true", "/app/no_write_exception", json!(true)),
        ("stats-http = true", "/stats_http", json!(true)),
        ("stats-minified = true", "/stats_form/minified", json!(true)),
        ("stats-no-cores = true", "/stats_form/no_cores", json!(true)),
        ("stats-request-vars = true", "/request_vars/shown", json!(true)),
        ("stats-request-query = true", "/request_vars/queries", json!(true)),
        ("stats-pusher-default-freq = 9", "/stats_push/every_s", json!(9)),
        ("stats-push = statsd:h:1,p", "/stats_push/to/0/Statsd/prefix", json!("p")),
        ("optimize = 1", "/interpreter/optimize", json!(1)),
        ("wsgi-disable-file-wrapper = true", "/app/no_file_wrapper", json!(true)),
        ("touch-reload = x", "/touch_reload", json!(["/srv/x"])),
        ("stats = @a", "/stats", json!([{"Abstract": "a"}])),
        (
            "static-map = /s=x",
            "/static_files/places",
            json!([{"prefix": "/s", "path": "/srv/x", "keeps_prefix": false}]),
        ),
        (
            "static-map2 = /s=x",
            "/static_files/places",
            json!([{"prefix": "/s", "path": "/srv/x", "keeps_prefix": true}]),
        ),
        (
            "check-static = x",
            "/static_files/places",
            json!([{"prefix": "", "path": "/srv/x", "keeps_prefix": false}]),
        ),
        ("static-index = x", "/static_files/index", json!(["x"])),
        ("static-safe = x", "/static_files/safe", json!(["/srv/x"])),
        ("static-skip-ext = x", "/static_files/skip", json!(["x"])),
        ("mime-file = x", "/static_files/media_types", json!(["/srv/x"])),
        ("static-gzip-all = true", "/static_files/gzip", json!(["All"])),
        ("static-gzip-dir = x", "/static_files/gzip", json!([{"Below": "/srv/x"}])),
        ("static-gzip-ext = x", "/static_files/gzip", json!([{"Ending": "x"}])),
        ("static-gzip = x", "/static_files/gzip", json!([{"Matching": "x"}])),
        ("static-expires = x 7", "/static_files/expires/0", rule("File", false)),
        ("static-expires-mtime = x 7", "/static_files/expires/0", rule("File", true)),
        ("static-expires-type = x=7", "/static_files/expires/0", rule("MediaType", false)),
        ("static-expires-type-mtime = x=7", "/static_files/expires/0", rule("MediaType", true)),
        ("static-expires-uri = x 7", "/static_files/expires/0", rule("Uri", false)),
        ("static-expires-uri-mtime = x 7", "/static_files/expires/0", rule("Uri", true)),
        ("static-expires-path-info = x 7", "/static_files/expires/0", rule("PathInfo", false)),
        ("static-expires-path-info-mtime = x 7", "/static_files/expires/0", rule("PathInfo", true)),
        ("honour-range = true", "/static_files/ranges", json!(true)),
        ("file-serve-mode = nginx", "/static_files/mode", json!("AccelRedirect")),
        ("emperor = x", "/emperor", json!(["/srv/x"])),
    ]);
    rows.extend(processes::rows());
    rows.extend(hooks());
    rows.extend(beside_workers());
    rows
}

fn rule(of: &str, from_change: bool) -> Value {
    json!({"of": of, "pattern": "x", "seconds": 7, "from_change": from_change})
}

const PASTE: &str = "[app:main]\nuse = egg:x\nharakiri = 3\n[uwsgi]\nharakiri = 9\n";
const BASE: &str = "[uwsgi]\nhttp-socket = :8080\n";

fn instance_of(lines: &str) -> Option<Value> {
    let world = Imagined::new(&[("/srv/vars/A", "b c\n"), ("/srv/vars/B", ""), ("/srv/paste.ini", PASTE)]);
    let loaded = vassal("/srv/a.ini", format!("{BASE}{lines}\n").as_bytes(), &world);
    loaded.spec.map(|spec| {
        let mut value = serde_json::to_value(spec).unwrap();
        value["said"] = Value::Null;
        value["places"] = Value::Null;
        value
    })
}

fn emperor_of(lines: &str) -> Option<Value> {
    let world = Imagined::new(&[("/srv/e.ini", &format!("[uwsgi]\nemperor = /v\n{lines}\n"))]);
    let raw = command_line::read(&["--ini".into(), "e.ini".into()], &world).raw;
    emperor(raw, &world).spec.map(|spec| serde_json::to_value(spec).unwrap())
}

/// Reads lines as a spec; `None`: they are refused.
type Read = fn(&str) -> Option<Value>;

fn name_of(line: &str) -> &str {
    line.split(" = ").next().unwrap()
}

#[test]
fn every_line_changes_its_place() {
    let (plain, none) = (instance_of("").unwrap(), emperor_of("").unwrap());
    let instances = instances().into_iter().map(|row| (row, instance_of as Read, &plain));
    let emperors = emperors().into_iter().map(|row| (row, emperor_of as Read, &none));
    for ((lines, place, expected), read, plain) in instances.chain(emperors) {
        let spec = read(lines).unwrap_or_else(|| panic!("{lines} is refused"));
        assert_eq!(spec.pointer(place), Some(&expected), "{lines}");
        assert_ne!(plain.pointer(place), Some(&expected), "{lines} changes nothing");
    }
}

#[test]
fn aliases_mean_what_their_options_mean() {
    let instances = instances().into_iter().map(|row| (row.0, instance_of as Read));
    let emperors = emperors().into_iter().map(|row| (row.0, emperor_of as Read));
    for (lines, read) in instances.chain(emperors) {
        let name = name_of(lines);
        for alias in table::find(name).unwrap().names {
            let renamed = lines.replacen(name, alias, 1);
            // These differ on purpose: the one follows `protocol`, the other does not.
            if *alias != "uwsgi-socket" {
                assert_eq!(read(&renamed), read(lines), "{renamed}");
            }
        }
    }
}

/// The rows of the tests of the language, and the options of files that are started.
const LANGUAGE: &str = concat!(
    include_str!("tests.rs"),
    include_str!("language.rs"),
    include_str!("../command_line.rs"),
    include_str!("../../../tests/system/options.rs")
);

#[test]
fn every_option_that_takes_effect_has_a_row() {
    let rows: Vec<&str> =
        instances().iter().map(|row| row.0).chain(emperors().iter().map(|row| row.0)).collect();
    let has_row = |row: &Row| rows.iter().any(|line| row.names.contains(&name_of(line)));
    let is_spoken = |row: &Row| {
        row.names.iter().any(|name| {
            [format!("{name} ="), format!("--{name} "), format!("{name}\\n"), format!("\\n{name}\"")]
                .iter()
                .any(|text| LANGUAGE.contains(text))
        })
    };
    let untested: Vec<_> = table::rows()
        .filter(|row| match row.standing {
            Standing::Obeyed(By::Config) => !is_spoken(row),
            Standing::Obeyed(_) => !has_row(row),
            _ => false,
        })
        .map(Row::name)
        .collect();
    assert_eq!(untested, Vec::<&str>::new(), "these options need a row");
}

#[test]
fn every_other_option_is_answered_as_the_table_says() {
    let plain = instance_of("").unwrap();
    for row in table::rows() {
        for name in row.names {
            let line = format!("{name} = 1");
            let file = format!("{BASE}module = a\n{line}\n");
            let loaded = vassal("/srv/a.ini", file.as_bytes(), &Imagined::new(&[]));
            let of_it = loaded.diagnostics.iter().filter(|told| told.option.as_deref() == Some(*name));
            let told: Vec<_> = of_it.map(|told| (told.severity, told.cause)).collect();
            let expected: &[_] = match row.standing {
                Standing::Obeyed(_) => continue,
                Standing::Always => &[],
                Standing::NoEffect => &[(Severity::Warning, Cause::NoEffect)],
                Standing::Refused | Standing::CommandLine => &[(Severity::Error, Cause::Refused)],
            };
            assert_eq!(told, expected, "{line}");
            if let Some(mut spec) = instance_of(&line) {
                spec["app"] = plain["app"].clone();
                assert_eq!(spec, plain, "{line} changes something");
            }
            let off = format!("{BASE}module = a\n{name} = false\n");
            let loaded = vassal("/srv/a.ini", off.as_bytes(), &Imagined::new(&[]));
            let refused = loaded.spec.is_none() && row.kind != Kind::Language;
            assert!(!refused, "{name} is refused although it is off");
        }
    }
}
