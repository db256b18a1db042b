//! Rules of whole configurations, as rows.

use std::path::PathBuf;

use super::fake::Imagined;
use super::*;
use crate::config::address::{Address, Listen, Protocol};
use crate::config::command_line;
use crate::config::diagnostic::Cause;
use crate::config::instance::AppSource;
use crate::config::table::{self, By, Standing};

pub(super) const BASE: &str = "[uwsgi]\nhttp-socket = :8080\nmodule = app\n";

pub(super) fn load(lines: &str, world: &Imagined) -> Loaded<InstanceSpec> {
    vassal("/srv/app.ini", format!("{BASE}{lines}\n").as_bytes(), world)
}

pub(super) fn told(loaded: &Loaded<InstanceSpec>) -> Vec<String> {
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn options_reach_the_spec() {
    type Check = fn(&InstanceSpec) -> bool;
    let rows: &[(&str, Check)] = &[
        ("", |s| {
            s.name == "app.ini"
                && s.workers.processes == 1
                && s.app.load == Some(AppSource::Module("app".into()))
        }),
        ("processes = 4\nworkers = 3", |s| s.workers.processes == 3),
        ("processes = 4 # four", |s| s.workers.processes == 4),
        ("processes = %(%k + 1)", |s| s.workers.processes == 3),
        ("threads = true", |s| s.workers.threads == 1),
        ("threads = 4\ngevent = 10", |s| s.workers.cores() == 10),
        ("gevent = 10\nsocket-timeout = 5", |s| s.workers.socket_timeout_s == 5),
        ("socket-timeout = 5\ngevent = 10", |s| s.workers.socket_timeout_s == 30),
        ("lazy-apps", |s| s.workers.lazy_apps),
        ("vacuum = false ; no", |s| !s.vacuum),
        ("vacuum = \"false\"", |s| !s.vacuum),
        ("processes = \"3\"", |s| s.workers.processes == 3),
        ("chdir = '/x y' # there", |s| s.app.chdir == Some(PathBuf::from("/x y"))),
        ("chmod-socket = 660 # group", |s| s.chmod_socket == Some(0o660)),
        ("uid = bob ; him", |s| s.identity.uid.as_deref() == Some("bob")),
        ("env = A=b # c", |s| s.env == [("A".into(), Some("b # c".into()))]),
        ("env = A=\"b\"", |s| s.env == [("A".into(), Some("\"b\"".into()))]),
        ("vacuum = false", |s| !s.vacuum),
        ("buffer-size = 65536", |s| s.workers.buffer_size_bytes == 65_535),
        ("buffer-size = 400000", |s| s.workers.buffer_size_bytes == 65_535),
        ("max-requests = -5", |s| s.workers.max_requests == 0),
        ("harakiri = 30s", |s| s.workers.harakiri_s == 30),
        ("chmod-socket = 660", |s| s.chmod_socket == Some(0o660)),
        ("chmod-socket = 1", |s| s.chmod_socket == Some(0o666)),
        ("chown-socket = nginx:www", |s| {
            s.chown_socket.as_ref().is_some_and(|o| o.user == "nginx" && o.group.as_deref() == Some("www"))
        }),
        ("umask = 022", |s| s.identity.umask == Some(0o22)),
        ("uid = www-data\nadd-gid = a\nadd-gid = b", |s| {
            s.identity.add_gid.len() == 2 && s.identity.uid.is_some()
        }),
        ("root-apps = deny", |s| s.identity.deny_root_apps),
        ("env = A=b=c\nunenv = D", |s| s.env == [("A".into(), Some("b=c".into())), ("D".into(), None)]),
        ("env = B = 2", |s| s.env == [("B".into(), Some("2".into()))]),
        ("chdir = proj\nsocket = a.sock\nvirtualenv = venv", |s| {
            s.app.chdir == Some(PathBuf::from("/srv/proj"))
                && s.listen.iter().any(|l| l.address == Address::Unix("/srv/proj/a.sock".into()))
                && s.interpreter.virtualenv == Some(PathBuf::from("/srv/proj/venv"))
        }),
        ("chdir = /p\npidfile = a.pid\npidfile2 = b.pid\nlogto = l", |s| {
            s.files.pidfile == Some(PathBuf::from("/srv/a.pid"))
                && s.files.pidfile2 == Some(PathBuf::from("/p/b.pid"))
                && s.log.logto == Some(PathBuf::from("/srv/l"))
        }),
        ("socket = @x\nprotocol = http", |s| {
            s.listen.contains(&Listen { address: Address::Abstract("x".into()), protocol: Protocol::Http })
        }),
        ("uwsgi-socket = :1\nprotocol = http", |s| s.listen.iter().any(|l| l.protocol == Protocol::Uwsgi)),
        ("http = :9090\nhttp-keepalive = true\nhttp-timeout = 7", |s| {
            s.router.timeout_s == 7 && s.router.keepalive_s == 5 && s.listen.len() == 2
        }),
        ("http-keepalive = 30", |s| s.router.keepalive_s == 30),
        ("http-keepalive = 0", |s| s.router.keepalive_s == 0),
        ("procname-prefix-spaced = blog", |s| s.auto_procname && s.procname_prefix == "blog "),
        ("disable-logging = true", |s| !s.log.requests),
        ("wsgi-file = x.py", |s| s.app.load == Some(AppSource::Module("app".into()))),
        ("python = python3.12", |s| s.interpreter.python == Some(PathBuf::from("python3.12"))),
        ("python = bin/python", |s| s.interpreter.python == Some(PathBuf::from("/srv/bin/python"))),
        ("touch-reload = %p", |s| s.touch_reload == [PathBuf::from("/srv/app.ini")]),
        ("socket = :$(PORT)\npidfile = /run/%n.pid", |s| {
            s.files.pidfile == Some(PathBuf::from("/run/app.pid"))
        }),
        ("stats = :1717\nstats = st.sock", |s| s.stats.len() == 2),
        ("emperor = vassals", |s| s.emperor == [PathBuf::from("/srv/vassals")]),
        ("spooler = false\nvhost = false", |s| s.listen.len() == 1),
        ("hook-master-start = unix_signal:15 gracefully_kill_them_all", |s| s.listen.len() == 1),
        ("base = /x\nlogto = %(base)/log", |s| s.log.logto == Some(PathBuf::from("/x/log"))),
    ];
    let world = Imagined::new(&[]).with("PORT", "8123");
    for (lines, check) in rows {
        let loaded = load(lines, &world);
        let spec = loaded.spec.as_ref().unwrap_or_else(|| panic!("{lines}: {:?}", told(&loaded)));
        assert!(check(spec), "{lines}: {spec:?}");
    }
}

#[test]
fn virtual_hosts_need_an_application() {
    let text = "[uwsgi]\nhttp-socket = :8080\nvhost-host = true\n";
    let loaded = vassal("/srv/app.ini", text.as_bytes(), &Imagined::default());
    let expected =
        "app.ini:3: error: vhost-host: no application is named, and none is loaded because a request";
    assert!(told(&loaded).iter().any(|told| told.contains(expected)), "{:?}", told(&loaded));
    assert!(loaded.spec.is_none());
    let named = load("vhost = true", &Imagined::default());
    assert!(named.spec.is_some(), "{:?}", told(&named));
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (lines, expected) in [
        ("chmod-socket = 0666", "app.ini:4: error: chmod-socket: invalid chmod value: 0666"),
        ("chmod-socket =", "app.ini:4: error: chmod-socket: invalid chmod value: "),
        ("processes =", "app.ini:4: error: processes: 0: nobody would serve (say 1 or more)"),
        ("uid = 0", "app.ini:4: error: uid: user 0 not found. (for number 0 write root)"),
        ("processes = -1", "invalid value for option \"processes\": must be > 0"),
        (
            "strict = tue\nprocess = 3",
            "[strict-mode] unknown config directive: process (did you mean processes?)",
        ),
        ("https = :443,c.pem", "app.ini:4: error: https: invalid https syntax must be socket,crt,key"),
        (
            "https = :443,c.pem,k.pem\nhttps = :443,c.pem,k.pem",
            "error: https: :443 is there twice (remove one)",
        ),
        ("https = :0,c.pem,k.pem\nhttps = :0,c.pem,k.pem", "error: https: :0 is there twice"),
        ("https2 = addr=:443,cert=c.pem", "error: https2: https2 option needs addr, cert and key items"),
        ("https2 = addr=:443,cert=c,key=k,x=y", "error: https2: https2 knows no item x"),
        ("http-to-https = :80,https", "error: http-to-https: `https` is not a port"),
        (
            "max-fd = 35",
            "app.ini:4: error: max-fd: 35 descriptors are too few for processes = 1 (write 36 at least",
        ),
        (
            "max-fd = 63\nprocesses = 8",
            "error: max-fd: 63 descriptors are too few for processes = 8 (write 64 at least",
        ),
        (
            "max-fd = 79\nprocesses = 8\nhttp = :80",
            "error: max-fd: 79 descriptors are too few for processes = 8 (write 80 at least",
        ),
        (
            "max-fd = 63\nthreads = 16\nhttp = :80",
            "error: max-fd: 63 descriptors are too few for processes = 1 (write 64 at least",
        ),
        ("envdir = gone", "app.ini:4: error: envdir: there is no directory /srv/gone"),
        (
            "gevent = 0",
            "error: gevent: 0: no request would run (say how many at the same time: gevent = 100)",
        ),
        ("gevent = true", "error: gevent: true: no request would run"),
        ("mount = x", "error: mount: invalid mountpoint: x (write /path=module:callable, or /path=file.py)"),
        ("static-map = x", "invalid document root in static map, syntax mountpoint=docroot"),
        ("static-gzip = (", "error: static-gzip: `(` is not a regular expression"),
        ("static-expires = x", "error: static-expires: this is no rule (write regular-expression seconds)"),
        ("static-expires-type = x=-1", "`-1` is no number of seconds"),
        ("php-docroot = /x", "error: php-docroot: liege does not do this (PHP is another language"),
        ("asyncio = 100", "error: asyncio: "),
        ("hook-master-start = call:uwsgi_log", "error: hook-master-start: liege does not do call:"),
        ("route = ^/ nothing:x", "app.ini:4: error: route: unable to find \"nothing\" route action"),
        ("route-status = 404 last:", "error: route-status: liege does not do this (there is no status yet"),
        ("socket = host:abc", "error: socket: `abc` is not a port"),
        ("socket = :$(NO_PORT)", "error: socket: `$(NO_PORT)` is not a port: the environment has no NO_PORT"),
        ("socket = host*:80", "error: socket: `host*`: only the begin of an IPv4 address"),
        ("socket = :8080", "app.ini:4: error: socket: :8080 is there twice"),
        ("x = %(y)\ny = a%(x)", "stands for itself: %(x) → %(y) → %(x)"),
        ("ini = gone.ini", "app.ini:4: error: realpath() of gone.ini failed"),
        ("ini = app.ini", "files include each other more than 16 deep: app.ini → app.ini"),
        ("set-placeholder = processes=3", "you cannot use processes as a placeholder"),
        ("set = x", "invalid placeholder/--set value `x`"),
        ("a = @(/gone)", "open(\"/gone\"): "),
        ("a = @(exec://false)", "app.ini:4: error: a: @(exec://false): the command failed"),
        ("ini = exec://false", "realpath() of exec://false failed: the command failed"),
        ("ini = exec://later", "commands are run at the start only"),
        ("ini = http://host/a.ini", "http:// is not supported, only files"),
        ("a = @(http://host/a)", "@(http://…) is not supported, only files"),
        ("else", "app.ini:4: error: else: no block is open here"),
        ("blacklist = uid gid\nuid = x", "app.ini:5: error: uid: forbidden option \"uid\" (by blacklist)"),
        ("whitelist = a b\nb = 1\nUID = x", "app.ini:6: error: UID: forbidden option \"UID\" (by whitelist)"),
        (
            "if-hostname-match = (\nendif",
            "app.ini:4: error: if-hostname-match: `(` is not a regular expression",
        ),
        ("need-plugin = sentry", "unable to load plugin \"sentry\""),
        ("include = x.toml", "unable to load configuration from x.toml"),
        ("yaml = x.yml", "app.ini:4: error: realpath() of x.yml failed"),
        ("json = :web", "no json file was read before this"),
        ("root-apps = no", "`no` is neither allow nor deny"),
        ("inherit = base.ini", "realpath() of base.ini failed"),
        (
            "max-worker-lifetime = 5",
            "invalid min-worker-lifetime value (10), must be lower than max-worker-lifetime (5)",
        ),
        ("add-header = X", "error: add-header: this is no header (write Name: value)"),
        ("processes = 5000", "more than 4096 are not supported"),
        ("logto = 127.0.0.1:514", "liege cannot log to a network address yet"),
        ("logto =", "error: logto: the path is empty"),
    ] {
        let loaded = load(lines, &Imagined::new(&[]));
        let told = told(&loaded);
        assert!(told.iter().any(|line| line.contains(expected)), "{lines}: {told:#?}");
        assert!(loaded.spec.is_none(), "{lines}");
        assert!(loaded.errors().count() > 0);
    }
}

#[test]
fn what_is_not_there_may_be_there_later_and_what_is_written_stays_wrong() {
    for (lines, cause) in [
        ("ini = gone.ini", Cause::Host),
        ("inherit = gone.ini", Cause::Host),
        ("ini = exec://false", Cause::Host),
        ("for-readline = gone\nendfor =", Cause::Host),
        ("a = @(/gone)", Cause::Host),
        ("a = @(exec://false)", Cause::Host),
        ("ini = http://host/a.ini", Cause::Value),
        ("a = @(http://host/a)", Cause::Value),
        ("socket = host:abc", Cause::Value),
    ] {
        let loaded = load(lines, &Imagined::new(&[]));
        assert_eq!(loaded.errors().next().map(|told| told.cause), Some(cause), "{lines}");
    }
}

#[test]
fn what_a_mistake_hides_is_not_said_to_be_missing() {
    for (text, expected) in [
        (
            "http-socket = :99999\nmodule = app\nchmod-socket = 9\nthreads = -1\nprocesses = 0",
            "http-socket chmod-socket threads processes",
        ),
        ("ini = gone.ini", "-"),
        ("module = app", "-"),
    ] {
        let loaded = vassal("/srv/app.ini", format!("[uwsgi]\n{text}\n").as_bytes(), &Imagined::new(&[]));
        let options: Vec<_> = loaded.errors().map(|error| error.option.as_deref().unwrap_or("-")).collect();
        assert_eq!(options.join(" "), expected, "{:#?}", told(&loaded));
    }
}

#[test]
fn own_sockets_are_no_other_servers() {
    for (lines, expected) in [
        ("socket = a.sock\nhttp-to = a.sock", ""),
        ("socket = :9\nhttp-to = 127.0.0.1:9", ""),
        ("socket = 127.0.0.1:9\nhttp-to = :9", ""),
        ("socket = 10.0.0.1:9\nhttp-to = :9", ":9"),
        ("socket = :9\nhttp-to = 10.0.0.1:9", "10.0.0.1:9"),
        ("http-socket = @a\nhttp-to = @a", "@a"),
        ("socket = @a\nhttp-to = @a\nhttp-to = @b", "@a @b"),
    ] {
        let loaded = load(lines, &Imagined::new(&[]));
        let to = loaded.spec.map(|spec| spec.router.to).unwrap_or_default();
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        assert_eq!(to.join(" "), expected, "{lines}");
    }
}

#[test]
fn doubts_do_not_refuse() {
    for (lines, expected) in [
        ("process = 10", "app.ini:4: warning: process: unknown option (did you mean processes?)"),
        ("buffer-size = 64k", "warning: buffer-size: `64k` is read as the number 64"),
        ("thunder-lock = true", "warning: thunder-lock: has no effect: "),
        (
            "async = 100",
            "warning: async: has no effect: for more requests at a time set `threads` or `gevent`",
        ),
        ("threads = 4\ngevent = 10", "app.ini:4: warning: threads: has no effect with `gevent`"),
        ("gevent-monkey-patch = true", "warning: gevent-monkey-patch: has no effect without `gevent`"),
        (
            "http = :8081\ngevent = 1000",
            "app.ini:4: warning: http: a worker runs at most 250 of its requests",
        ),
        ("http-cheap = true", "warning: http-cheap: has no effect: no instance subscribes"),
        ("master = false", "warning: master: cannot be switched off: there is always a master"),
        ("logto = /x ; y", "app.ini:4: warning: logto: `/x ; y`: what looks like a comment is left out"),
        ("callable = x # y", "what looks like a comment is part of the value"),
        ("vacuum = 'false'", "the quotes are left out"),
        ("plugins = python3, sentry", "there is no plugin sentry"),
        ("socket = 8000", "for a port write a colon before it"),
        ("listen = 5000", "greater than the system max net.core.somaxconn (4096)"),
        ("a = 100%", "app.ini:4: warning: `%` at the end of a line stands for nothing"),
        ("a = @(exec://later)", "app.ini:4: warning: a: @(exec://later): commands are run at the start only"),
        ("a = %Y", "`%Y` is not a magic variable"),
        ("if-env = X", "app.ini:4: warning: if-env: this block is never closed"),
        (
            "if-not-opt = x\nif-env = HOME\nelse\nx = 1\nend\ny = %(x)\nend",
            "app.ini:9: warning: y: does not count, as in uWSGI: `if-not-opt` ended when its option was said",
        ),
        ("log-maxsize = 7", "app.ini:4: warning: log-maxsize: has no effect without `logto`"),
        ("procname-prefix = \"blog\"", "the quotes are part of the value"),
        ("emperor-freq = 3", "has no effect here: it is an option of an emperor"),
        ("emperor = True", "warning: emperor: has no effect: the application of this file is served"),
    ] {
        let world = Imagined::new(&[("/proc/sys/net/core/somaxconn", "4096\n")]);
        let loaded = load(lines, &world);
        let told = told(&loaded);
        assert!(told.iter().any(|line| line.contains(expected)), "{lines}: {told:#?}");
        assert!(loaded.spec.is_some(), "{lines}: {told:#?}");
    }
}

#[test]
fn what_is_right_is_not_warned_of() {
    let lines = "master = true\nenable-threads = true\nvacuum = true\nprocesses = 4\nthreads = 2\nbase = /x\n\
        chdir = %(base)\nplugins = python3\nuid = www-data\nharakiri = 30\nset-placeholder = a=b\nstrict = false\n\
        env = DJANGO_SETTINGS_MODULE=a.b\nlog-4xx = false\nmodule = a:b()";
    assert_eq!(told(&load(lines, &Imagined::new(&[]))), Vec::<String>::new());
}

#[test]
fn a_name_that_is_nearly_an_option_leads() {
    let lines =
        "emperor-freq = 1\nnobody-uses = this\nbase = x\nlogto = /%(base)\nchmod-socket = 9\nprocceses = 3";
    let told = told(&load(lines, &Imagined::new(&[])));
    assert!(
        told[0].ends_with("app.ini:9: warning: procceses: unknown option (did you mean processes?)"),
        "{told:?}"
    );
    assert_eq!(told.iter().filter(|line| line.contains("unknown option")).count(), 2, "{told:?}");
    let many: String = (0..3000).map(|n| format!("other{n}thing = 1\n")).collect();
    let loaded = load(&format!("procceses = 3\n{many}harakari = 2"), &Imagined::new(&[]));
    assert!(loaded.diagnostics[0].option.as_deref() == Some("procceses"));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let loaded = load("chmod-socket = 9\nuid = 0\nsocket = x:y\nstatic-map = a", &Imagined::new(&[]));
    let lines: Vec<_> = loaded.errors().filter_map(|error| error.line).collect();
    assert_eq!(lines, [4, 5, 6, 7]);
}

#[test]
fn every_option_that_takes_effect_is_obeyed() {
    for row in table::rows() {
        let Standing::Obeyed(by) = row.standing else { continue };
        for name in row.names {
            let line = format!("{name} = 1");
            let mut tellings = told(&load(&line, &Imagined::new(&[])));
            if matches!(by, By::Emperor | By::Both) {
                let world = Imagined::new(&[("/srv/e.ini", &format!("[uwsgi]\nemperor = /v\n{line}\n"))]);
                let raw = command_line::read(&["--ini".into(), "e.ini".into()], &world).raw;
                tellings.extend(emperor(raw, &world).diagnostics.iter().map(ToString::to_string));
            }
            assert!(!tellings.iter().any(|line| line.contains("forgot")), "{name}: {tellings:?}");
        }
    }
}

#[test]
fn a_section_for_the_emperor_in_another_format_is_warned_of() {
    let own = r#""uwsgi": {"http-socket": ":80", "module": "emperor"}"#;
    for (name, text, warned) in [
        ("a.yaml", "uwsgi:\n  http-socket: :80\n  module: a\nemperor:\n  pids-max: 7\n".to_owned(), true),
        ("a.json", format!("{{{own}, \"emperor\": {{\"exec\": \"/bin/x\"}}}}"), true),
        ("a.json", format!("{{{own}}}"), false),
        ("a.ini", "[uwsgi]\nhttp-socket = :80\nmodule = a\n[emperor]\npids-max = 7\n".to_owned(), false),
    ] {
        let loaded = vassal(&format!("/srv/{name}"), text.as_bytes(), &Imagined::new(&[]));
        assert!(loaded.spec.is_some(), "{:?}", told(&loaded));
        assert_eq!(told(&loaded).iter().any(|line| line.contains("for the emperor")), warned, "{text}");
    }
}

#[test]
fn a_router_before_other_servers_has_workers_only_for_what_they_do() {
    for (lines, has_workers) in [
        ("http = :80\nhttp-to = @a", false),
        ("https = :443,a.crt,a.key\nhttp-to-https = :80\nhttp-to = @a\nprocesses = 4", false),
        ("http = :80\nhttp-to = @a\nattach-daemon = true", false),
        ("http = :80\nhttp-to = @a\nmodule = app", true),
        ("http = :80\nhttp-to = @a\nmount = /a=a.py", true),
        ("http = :80\nhttp-to = @a\nimport = a", true),
        ("http = :80\nhttp-to = @a\nhook-post-fork = print:a", true),
        ("http = :80\nhttp-to = @a\nhook-asap = print:a", false),
        ("http = :80\nhttp-to = @a\nsocket = @b", true),
        ("socket = @a\nhttp = :80\nhttp-to = @a", true),
        ("http = :80", true),
        ("attach-daemon = true", false),
    ] {
        let text = format!("[uwsgi]\n{lines}\n");
        let loaded = vassal("/srv/app.ini", text.as_bytes(), &Imagined::new(&[]));
        let spec = loaded.spec.as_ref().unwrap_or_else(|| panic!("{lines}: {:?}", told(&loaded)));
        assert_eq!(spec.has_workers(), has_workers, "{lines}");
    }
}
