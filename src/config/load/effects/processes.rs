//! The rows of what the processes of an instance are called, and how they begin and end.

use serde_json::{Value, json};

/// A line, the place in the spec that it changes, and the value there.
pub(super) fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let lock = |waits: bool, late: bool| json!([{"path": "/srv/x", "waits": waits, "late": late}]);
    let identity = |who: &str| {
        let mut identity = json!({
            "uid": null, "gid": null, "add_gid": [], "no_initgroups": false, "umask": null, "deny_root_apps": false,
            "new_privileges": false, "capabilities": [], "immediate": true, "after_init": false
        });
        identity[who] = json!("x");
        identity
    };
    vec![
        ("auto-procname = true", "/auto_procname", json!(true)),
        ("procname-prefix = x", "/procname_prefix", json!("x")),
        ("procname-prefix-spaced = x", "/procname_prefix", json!("x ")),
        ("procname-append = x", "/titles/append", json!("x")),
        ("procname = x", "/titles/all", json!("x")),
        ("procname-master = x", "/titles/master", json!("x")),
        ("pidfile = x", "/files/pidfile", json!("/srv/x")),
        ("pidfile2 = x", "/files/pidfile2", json!("/srv/x")),
        ("safe-pidfile = x", "/files/safe_pidfile", json!("/srv/x")),
        ("safe-pidfile2 = x", "/files/safe_pidfile2", json!("/srv/x")),
        ("flock = x", "/files/locks", lock(false, false)),
        ("flock-wait = x", "/files/locks", lock(true, false)),
        ("flock2 = x", "/files/locks", lock(false, true)),
        ("flock-wait2 = x", "/files/locks", lock(true, true)),
        ("daemonize2 = x", "/log/daemonize2", json!("/srv/x")),
        ("early-envdir = vars", "/env", json!([["A", "b c"], ["B", null]])),
        ("fallback-config = x", "/fallback", json!("/srv/x")),
        ("fs-reload = x", "/fs_reload", json!(["/srv/x"])),
        ("exit-on-reload = true", "/exit_on_reload", json!(true)),
        ("privileged-binary-patch = x", "/patches/privileged", json!({"Program": "x"})),
        ("privileged-binary-patch-arg = x y", "/patches/privileged", json!({"Command": "x y"})),
        ("unprivileged-binary-patch = x", "/patches/unprivileged", json!({"Program": "x"})),
        (
            "unprivileged-binary-patch = x\nunprivileged-binary-patch-arg = x y",
            "/patches/unprivileged",
            json!({"Program": "x"}),
        ),
        ("unprivileged-binary-patch-arg = x y", "/patches/unprivileged", json!({"Command": "x y"})),
        ("unshare = uts, fs", "/unshare/hostname", json!(true)),
        ("immediate-uid = x", "/identity", identity("uid")),
        ("immediate-gid = x", "/identity", identity("gid")),
        ("immediate-uid = x\nuid = x", "/identity", identity("uid")),
        ("drop-after-init = true", "/identity/after_init", json!(true)),
        ("chdir2 = x", "/app/chdir2", json!("/srv/x")),
        ("prio = -7", "/limits/nice", json!(-7)),
        ("max-fd = 700", "/limits/files", json!(700)),
        ("limit-as = 7", "/limits/memory_bytes", json!(7 << 20)),
        ("limit-nproc = 7", "/limits/processes", json!(7)),
        ("cpu-affinity = 2", "/workers/cpus", json!(2)),
        ("reaper = true", "/workers/reaper", json!(true)),
        ("skip-atexit = true", "/app/skip_atexit", json!(true)),
        ("skip-atexit-teardown = true", "/app/skip_teardown", json!(true)),
        ("no-site = true", "/interpreter/no_site", json!(true)),
    ]
}
