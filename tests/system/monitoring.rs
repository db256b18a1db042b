//! What watches a host, for real: Prometheus with the alerts and boards of the documentation, statsd, and a tester of
//! the API's description.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::adaptive::SLOW;
use crate::support::apps::{TOOLS, says};
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, environment, free_port, program, root};

/// Ends with the value.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every expression of the boards, for all instances and vassals.
fn expressions() -> Vec<String> {
    let mut found = Vec::new();
    for board in ["app.json", "fleet.json"] {
        let text = std::fs::read_to_string(root().join("docs/grafana").join(board)).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        let targets =
            board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array());
        let plain = |text: &str| {
            let text = text.replace("\"$instance\"", "\".*\"").replace("\"$vassal\"", "\".*\"");
            text.replace("$__rate_interval", "1m")
        };
        found.extend(targets.flatten().map(|target| plain(target["expr"].as_str().unwrap())));
    }
    found
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn alerts_are_silent_about_what_is_meant_to_be_so_and_tell_of_everything_else() {
    let Some(promtool) = program("promtool") else { return };
    let folder = Folder::new();
    let copy = |from: &str, to: &str| folder.write(to, std::fs::read(root().join(from)).unwrap());
    copy("docs/grafana/alerts.yml", "alerts-of-the-docs.yml");
    copy("tests/system/alerts.yml", "alerts.yml");
    let tested = Command::new(promtool)
        .args(["test", "rules", "alerts.yml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
}

#[test]
fn prometheus_takes_the_metrics_the_alerts_and_the_boards() {
    let (Some(prometheus), Some(promtool)) = (program("prometheus"), program("promtool")) else { return };
    let (port, listen, own) = (free_port(), free_port(), free_port());
    let good = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = ../app.py\n");
    let broken = "[uwsgi]\nhttp-socket = @broken\nprocesses = 0\n";
    let option = format!("--api-http=127.0.0.1:{listen}");
    let host = Host::start_with(&[], &[&option]);
    host.folder().write("app.py", says("hello"));
    host.write("good.ini", good);
    host.write("broken.ini", broken);
    Door::Port(port).wait_for("/", "hello");
    for path in ["/metrics", "/metrics/uwsgi"] {
        let text = Door::Port(listen).get(path).unwrap().text();
        let file = host.folder().path().join("metrics");
        std::fs::write(&file, text).unwrap();
        let input = Stdio::from(std::fs::File::open(file).unwrap());
        let output = Command::new(&promtool).args(["check", "metrics"]).stdin(input).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // Its taste in the names of the other exporter is not our matter.
        assert!(output.status.success() || path.ends_with("uwsgi"), "{path}: {told}");
    }
    let alerts = root().join("docs/grafana/alerts.yml");
    let checked = Command::new(&promtool).args(["check", "rules"]).arg(&alerts).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let job = |name: &str, path: &str| {
        format!(
            "  - job_name: {name}\n    metrics_path: {path}\n    static_configs:\n      - targets: ['127.0.0.1:{listen}']\n"
        )
    };
    let config = format!(
        "global:\n  scrape_interval: 500ms\n  evaluation_interval: 500ms\nrule_files: ['{}']\nscrape_configs:\n{}{}",
        alerts.display(),
        job("liege", "/metrics"),
        job("uwsgi", "/metrics/uwsgi"),
    );
    host.folder().write("prometheus.yml", config);
    let folder = host.folder().path();
    let _prometheus = Program(
        Command::new(prometheus)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{own}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("prometheus.log")).unwrap())
            .spawn()
            .unwrap(),
    );
    let ask = |path: &str| -> Option<Value> {
        let answer = Door::Port(own).get(path).ok()?;
        serde_json::from_slice(&answer.body).ok()
    };
    let series = |expression: &str| {
        let answer = ask(&format!("/api/v1/query?query={}", encoded(expression)));
        answer.map(|answer| {
            assert!(answer["status"] == "success", "{expression}: {answer}");
            answer["data"]["result"].as_array().unwrap().len()
        })
    };
    until("both scrapes", || series("up == 1") == Some(2));
    let mut left: BTreeSet<String> = expressions().into_iter().collect();
    assert!(left.len() > 25, "{left:?}");
    until("every panel has something to show", || {
        let _ = Door::Port(port).get("/");
        left.retain(|expression| series(expression).is_none_or(|count| count == 0));
        left.is_empty()
    });
    until("the alert about the broken file", || {
        ask("/api/v1/alerts").is_some_and(|alerts| alerts.to_string().contains("LiegeConfigurationBroken"))
    });
    assert_eq!(series("uwsgi_worker_requests_total > 0"), Some(1));
}

#[test]
fn the_emperor_shows_workers_that_have_gone_and_their_counts_do_not_go_back() {
    let port = free_port();
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = ../app.py\nprocesses = 3\ncheaper = 1\n\
         cheaper-initial = 2\ncheaper-overload = 1\n"
    );
    let host = Host::start(&[]);
    host.folder().write("app.py", SLOW);
    host.write("app.ini", text);
    Door::Port(port).wait_for("/", "hello");
    let samples = || -> BTreeMap<String, f64> {
        let text = host.api().get("/metrics/uwsgi").unwrap().text();
        let lines = text.lines().filter(|line| line.starts_with("uwsgi_worker_"));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(n, v)| (n.to_owned(), v.parse().unwrap()))
            .collect()
    };
    let of = |samples: &BTreeMap<String, f64>, name: &str| -> Vec<f64> {
        let name = format!("uwsgi_worker_{name}{{");
        samples.iter().filter(|(series, _)| series.starts_with(&name)).map(|(_, value)| *value).collect()
    };
    until("one of two workers goes", || of(&samples(), "cheap").iter().sum::<f64>() == 1.0);
    let gone = samples();
    let cheap = of(&gone, "cheap");
    assert!(of(&gone, "idle").iter().zip(&cheap).all(|(idle, cheap)| idle + cheap == 1.0), "{gone:?}");
    assert!(of(&gone, "rss_bytes").iter().zip(&cheap).all(|(rss, cheap)| (*rss == 0.0) == (*cheap == 1.0)));
    assert_eq!(of(&gone, "respawn_count_total"), [1.0, 1.0], "{gone:?}");
    assert!(of(&gone, "requests_total").iter().sum::<f64>() >= 1.0, "{gone:?}");

    // Each look of a scraper, while workers come, go, and are replaced.
    let mut before = vec![0.0; 3];
    let mut look = || {
        let counts = of(&samples(), "requests_total");
        assert!(counts.iter().zip(&before).all(|(now, before)| now >= before), "{before:?} {counts:?}");
        before.splice(..counts.len(), counts.iter().copied());
        counts
    };
    for round in 1..4 {
        let load = Load::start(&Door::Port(port), Manner::Fresh);
        until("requests", || look().iter().sum::<f64>() >= f64::from(round * 20));
        host.touch("app.ini");
        until("the reload", || {
            look();
            host.emperor.log().contains(&format!("generation {}", round + 1))
        });
        load.stop().nothing_failed();
    }
    until("all but one are gone", || {
        look();
        of(&samples(), "cheap").iter().filter(|cheap| **cheap == 0.0).count() == 1
    });
}

#[test]
fn statistics_are_answered_over_http_and_pushed() {
    let folder = Folder::new();
    let (port, stats) = (free_port(), free_port());
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    statsd.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    folder.write("app.py", TOOLS);
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nstats = 127.0.0.1:{stats}\nstats = stats.sock\n\
             stats-http = true\nstats-min = true\nstats-no-cores = true\nstats-pusher-default-freq = 1\n\
             stats-push = statsd:{},my.app\nstats-push = file:path=pushed,separator=---\n",
            statsd.local_addr().unwrap()
        ),
    );
    let _family = liege(&folder, &["app.ini"]);
    Door::Port(port).wait_for("/", "hello");
    for door in [Door::Port(stats), Door::Unix(folder.path().join("stats.sock"))] {
        let answer = door.get("/").unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert!(!answer.text().contains('\n') && !answer.text().contains("\"cores\""), "{answer:?}");
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["workers"].as_array().unwrap().len(), 1);
    }
    eventually("a counter at the statsd server", || {
        let _ = Door::Port(port).get("/");
        let mut packet = [0; 2048];
        let length = statsd.recv(&mut packet).ok()?;
        let text = std::str::from_utf8(&packet[..length]).unwrap();
        let grown =
            text.lines().find_map(|line| line.strip_prefix("my.app.worker.1.requests:")?.strip_suffix("|c"));
        grown?.parse::<u64>().ok().filter(|grown| *grown > 0)
    });
    // The first may be from before there was a worker.
    until("a document in the file that has the worker", || {
        let text = std::fs::read_to_string(folder.path().join("pushed")).unwrap_or_default();
        let whole = text.rsplit_once("---").map_or("", |(whole, _)| whole);
        let documents = whole.split("---").filter(|document| !document.trim().is_empty());
        let mut documents = documents.map(|document| serde_json::from_str::<Value>(document).unwrap());
        documents.any(|document| document["workers"][0]["id"] == 1)
    });
}

#[test]
fn schemathesis_finds_nothing() {
    let Some(tools) = environment("api") else { return };
    let listen = free_port();
    let (folder, option) = (tempfile::tempdir().unwrap(), format!("--api-http=127.0.0.1:{listen}"));
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "admin a-token-of-sufficient-length\n").unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let tokens = format!("--api-token-file={}", tokens.display());
    let host = Host::start_with(&[], &[&option, &tokens, "--api-write"]);
    host.folder().write("app.py", says("hello"));
    host.write("a.ini", "[uwsgi]\nhttp-socket = a.sock\nwsgi-file = ../app.py\n");
    host.wait_for_vassal("a.ini", "up", |vassal| vassal["state"] == "up");
    let output = Command::new(tools.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(root().join("tests/system/schemathesis.toml"))
        .args(["run", &format!("http://127.0.0.1:{listen}/v1/openapi.json")])
        .args(["--header", "Authorization: Bearer a-token-of-sufficient-length"])
        // A re-execution closes connections in the midst of the others' tests.
        .args(["--exclude-path", "/v1/upgrade", "--exclude-path", "/v1/reload"])
        // Of its sequences of calls each run makes others: what they find belongs into the rows of other tests.
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "8", "--seed", "1", "--no-color"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(host.api().get("/v1").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn an_exporter_finds_what_it_finds_at_a_uwsgi() {
    let (Some(exporter), Some(uwsgi)) = (environment("exporter"), environment("uwsgi")) else { return };
    let exporter = exporter.join("bin/uwsgi_exporter.py");
    let folder = Folder::new();
    folder.write("app.py", TOOLS);
    let series = |program: &Path, name: &str| -> BTreeMap<String, f64> {
        let (port, stats, listen) = (free_port(), free_port(), free_port());
        let options = format!(
            "--master --http-socket 127.0.0.1:{port} --wsgi-file app.py --processes 2 --threads 2 \
             --stats 127.0.0.1:{stats} --stats-http --memory-report --die-on-term"
        );
        let log = folder.path().join(name);
        let mut command = Command::new(program);
        let _server =
            Family::start(command.args(options.split_whitespace()).current_dir(folder.path()), &log);
        Door::Port(port).wait_for("/", "hello");
        let mut command = Command::new(&exporter);
        command.arg("--bind_address=127.0.0.1").arg(format!("--bind_port={listen}"));
        let log = folder.path().join(format!("{name}.exporter"));
        let _exporter = Family::start(command.arg(format!("--stats_addr=127.0.0.1:{stats}")), &log);
        eventually("a scrape with a request", || {
            let text = Door::Port(listen).get("/metrics").ok()?.text();
            let lines = text.lines().filter(|line| line.starts_with("uwsgi_"));
            let series: BTreeMap<_, f64> = lines
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(name, value)| {
                    (name.replace(&format!("127.0.0.1:{port}"), "ADDRESS"), value.parse().unwrap())
                })
                .collect();
            let requests = series.iter().filter(|(name, _)| name.starts_with("uwsgi_workers_requests"));
            (requests.map(|(_, value)| value).sum::<f64>() > 0.0).then_some(series)
        })
    };
    let theirs = series(&uwsgi.join("bin/uwsgi"), "uwsgi");
    let ours = series(Path::new(LIEGE), "liege");
    let missing: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).collect();
    assert!(theirs.len() > 40 && missing.is_empty(), "{missing:#?}\n{ours:#?}");
    for name in ["uwsgi_workers_rss{worker=\"1\"}", "uwsgi_workers_vsz{worker=\"1\"}"] {
        assert!(ours[name] > 1e6, "{name}: {}", ours[name]);
    }
}
