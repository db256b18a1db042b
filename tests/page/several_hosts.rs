//! `liege page`: several hosts on one page, for the user who started it, and nothing can be changed there.

use crate::browser::Browser;
use crate::support::apps::TOOLS;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::eventually;

/// Two hosts with an app each, a third that is not there, and the page over them.
struct Stage {
    _hosts: [Host; 2],
    page: Family,
    url: String,
    folder: Folder,
}

impl Stage {
    fn start() -> Self {
        let hosts = ["blog.ini", "shop.ini"].map(|name| {
            let app = free_port();
            let text = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{app}\nchdir = %d..\nwsgi-file = app.py\n");
            let host = Host::start(&[]);
            host.folder().write("app.py", TOOLS);
            host.write(name, text);
            Door::Port(app).wait_for("/", "hello");
            host
        });
        let folder = Folder::new();
        let sockets = hosts.each_ref().map(|host| host.folder().path().join("api.sock"));
        let list = format!(
            "web1={}\nweb2={}\nweb3={}\n",
            sockets[0].display(),
            sockets[1].display(),
            folder.path().join("nobody.sock").display()
        );
        folder.write("hosts", list);
        let page = liege(&folder, &["page", "--hosts", "hosts"]);
        let url = eventually("the address of the page", || {
            Some(page.log().lines().find(|line| line.starts_with("http://"))?.to_owned())
        });
        Self { _hosts: hosts, page, url, folder }
    }

    fn door(&self) -> Door {
        let (_, port) = self.url.split('/').nth(2).unwrap().split_once(':').unwrap();
        Door::Port(port.parse().unwrap())
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> (u16, String) {
        let answer = self.door().connect().unwrap().ask(method, path, headers, b"").unwrap();
        (answer.status, answer.text())
    }
}

#[test]
fn it_reads_every_host_for_who_has_the_address_and_changes_nothing() {
    let mut stage = Stage::start();
    let (_, token) = stage.url.split_once("#token=").unwrap();
    let (token, close) = (format!("Authorization: Bearer {token}"), "Connection: close");
    for (method, path, headers, expected) in [
        ("GET", "/", &[close][..], 200),
        ("GET", "/v1/snapshot", &[close], 401),
        ("GET", "/v1/snapshot", &[close, "Authorization: Bearer something-else-entirely"], 401),
        ("GET", "/v1/snapshot", &[close, &token, "Host: a.second"], 400),
        ("GET", "/v1/vassals/web1%2Fblog.ini", &[close, &token], 200),
        ("GET", "/v1/vassals/web1%2Fblog.ini/workers", &[close, &token], 200),
        ("GET", "/v1/vassals/web1%2Fblog.ini/config", &[close, &token], 404),
        ("GET", "/v1/vassals/web1%2Fshop.ini", &[close, &token], 404),
        ("GET", "/v1/vassals/web3%2Fshop.ini", &[close, &token], 502),
        ("POST", "/v1/vassals/web1%2Fblog.ini/reload", &[close, &token], 405),
        ("POST", "/v1/reload", &[close, &token], 404),
    ] {
        assert_eq!(stage.ask(method, path, headers).0, expected, "{method} {path} {headers:?}");
    }
    let seen = eventually("all hosts in the snapshot", || {
        let (_, text) = stage.ask("GET", "/v1/snapshot", &[close, &token]);
        let snapshot: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names: Vec<_> =
            snapshot["vassals"].as_array()?.iter().map(|one| one["name"].as_str().unwrap()).collect();
        (names == ["web1/blog.ini", "web2/shop.ini"]).then_some(snapshot.clone())
    });
    assert_eq!(seen["host"]["name"], "2 of 3 hosts");
    let silent = seen["emperor"]["directories"].as_array().unwrap().last().unwrap();
    assert_eq!(silent["path"], "web3");
    assert!(silent["problem"].as_str().unwrap().contains("no such socket"), "{silent}");
    stage.page.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(stage.page.wait().code(), Some(0), "{}", stage.page.log());
}

#[test]
fn it_listens_for_this_host_alone() {
    let stage = Folder::new();
    stage.write("hosts", "web1=/nowhere.sock\n");
    for (address, message) in
        [("0.0.0.0:0", "could be reached by other hosts"), ("8005", "write an address and a port")]
    {
        let mut page = liege(&stage, &["page", "--hosts", "hosts", "--listen", address]);
        assert!(!page.wait().success());
        assert!(page.log().contains(message), "{}", page.log());
    }
}

#[test]
fn a_browser_shows_them_together() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    browser.open(&stage.url);
    browser.wait_for_text("tr[data-tone=good]", "web1/blog.ini");
    browser.wait_for_text("tr[data-tone=good]", "web2/shop.ini");
    browser.wait_for_text("#host-name", "2 of 3 hosts");
    browser.wait_for_text(".notice", "web3: the API at");
    assert_eq!(browser.count(".again, #host-menu"), 0, "nothing can be done here");
    let address = browser.run("return location.href", &[]);
    assert!(!address.as_str().unwrap().contains("token"), "{address}");
    browser.click("a.name");
    browser.wait_for_text("h1", "web1/blog.ini");
    browser.wait_for_text("main", "idle");
    assert_eq!(browser.count("[data-action]"), 0);
    browser.press("e");
    browser.wait_for_text(".events li", "web2/shop.ini");
    assert_eq!(browser.complaints(), [""; 0]);
    drop(stage.folder);
}
