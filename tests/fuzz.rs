//! The fuzz targets of `fuzz/` in every test run: their seeds, and some thousand mutations of them that are the same
//! in each run; `LIEGE_FUZZ_TIMES=1000` makes a thousand times as many. `cargo fuzz` runs the same checks for hours; what
//! is found becomes a seed.

#![expect(clippy::expect_used, reason = "a test says what is wrong by panicking, also in its helpers")]

#[path = "../fuzz/checks/api_request.rs"]
mod api_request;
#[path = "../fuzz/checks/cache_memory.rs"]
mod cache_memory;
#[path = "../fuzz/checks/config_file.rs"]
mod config_file;
#[path = "../fuzz/checks/control_message.rs"]
mod control_message;
#[path = "../fuzz/checks/fastcgi_stream.rs"]
mod fastcgi_stream;
#[path = "../fuzz/checks/http1_stream.rs"]
mod http1_stream;
#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "../fuzz/checks/proxy_header.rs"]
mod proxy_header;
#[path = "../fuzz/checks/route_rules.rs"]
mod route_rules;
#[path = "../fuzz/checks/scgi_request.rs"]
mod scgi_request;
#[path = "../fuzz/checks/scoreboard.rs"]
mod scoreboard;
#[path = "../fuzz/checks/uwsgi_packet.rs"]
mod uwsgi_packet;

use std::path::Path;

use mutation::Mutations;

#[test]
fn http1_stream() {
    run("http1_stream", 100_000, http1_stream::check);
}

#[test]
fn uwsgi_packet() {
    run("uwsgi_packet", 200_000, uwsgi_packet::check);
}

#[test]
fn scgi_request() {
    run("scgi_request", 200_000, scgi_request::check);
}

#[test]
fn fastcgi_stream() {
    run("fastcgi_stream", 50_000, fastcgi_stream::check);
}

#[test]
fn proxy_header() {
    run("proxy_header", 200_000, proxy_header::check);
}

#[test]
fn config_file() {
    run("config_file", 5_000, config_file::check);
}

#[test]
fn control_message() {
    run("control_message", 10_000, control_message::check);
}

#[test]
fn api_request() {
    run("api_request", 50_000, api_request::check);
}

#[test]
fn scoreboard() {
    run("scoreboard", 10_000, scoreboard::check);
}

#[test]
fn cache_memory() {
    run("cache_memory", 3_000, cache_memory::check);
}

#[test]
fn route_rules() {
    run("route_rules", 20_000, route_rules::check);
}

#[test]
fn every_target_has_its_check_and_its_seeds_and_runs_here() {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    };
    let targets = names("targets");
    assert_eq!(targets, names("checks"));
    assert_eq!(targets, names("seeds"));
    let (here, manifest) = (include_str!("fuzz.rs"), include_str!("../fuzz/Cargo.toml"));
    for target in targets {
        assert!(here.contains(&format!("run(\"{target}\"")), "{target} does not run here");
        assert!(manifest.contains(&format!("\"targets/{target}.rs\"")), "{target} is no binary of fuzz/");
    }
}

/// Runs a check on all seeds of a target, and on so many mutations of them.
fn run(target: &str, mutations: usize, check: fn(&[u8])) {
    let mut paths: Vec<_> = std::fs::read_dir(root().join("seeds").join(target))
        .expect("the seeds")
        .map(|entry| entry.expect("a seed").path())
        .collect();
    paths.sort();
    let times = std::env::var("LIEGE_FUZZ_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let mutations = mutations.saturating_mul(times);
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect();
    for (number, input) in seeds.iter().cloned().chain(Mutations::new(&seeds).take(mutations)).enumerate() {
        let caught = std::panic::catch_unwind(|| check(&input));
        assert!(caught.is_ok(), "input {number} of {target}: {}", input.escape_ascii());
    }
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}
