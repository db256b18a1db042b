//! Seen and steered from the page: real emperors, real apps.

use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::browser::{Browser, keys};
use crate::support::apps::{TOOLS, says};
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::{Folder, liege};

const TOKEN: &str = "a-token-of-sufficient-length";
const READER: &str = "a-token-for-those-who-read";
const BROKEN: &str = "import a_module_that_is_not_there\n";

/// A host with an app, whose API is at a port, too.
struct Stage {
    host: Host,
    app: Door,
    options: [String; 2],
    page: String,
    _tokens: Folder,
}

impl Stage {
    fn start() -> Self {
        let (app, api) = (free_port(), free_port());
        let tokens = Folder::new();
        tokens.write("tokens", format!("read {READER}\noperate {TOKEN}\n"));
        let path = tokens.path().join("tokens");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let options = [format!("--api-http=127.0.0.1:{api}"), format!("--api-token-file={}", path.display())];
        let host = Host::start_with(&[], &[&options[0], &options[1]]);
        host.folder().write("app.py", TOOLS);
        let text = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{app}\nchdir = %d..\nwsgi-file = app.py\nprocesses = 2\n"
        );
        host.write("blog.ini", text);
        let app = Door::Port(app);
        app.wait_for("/", "hello");
        Self { host, app, options, page: format!("http://127.0.0.1:{api}/"), _tokens: tokens }
    }

    /// Opens the page, with the right to operate.
    fn sign_in(&self, browser: &Browser) {
        browser.open(&self.page);
        enter(browser, TOKEN);
        browser.wait_for_text("#role", "operate");
        // That it asked was a request without a token.
        let _ = browser.complaints();
    }
}

/// Answers the page's question for a token.
fn enter(browser: &Browser, token: &str) {
    browser.wait_for_text("dialog", "One of the tokens");
    browser.press(token);
    browser.press(keys::ENTER);
}

#[test]
fn broken_code_that_is_reloaded_from_the_page_is_rolled_back_with_its_traceback() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    browser.open(&stage.page);
    enter(&browser, READER);
    browser.wait_for_text("tr[data-tone=good]", "blog.ini");
    assert_eq!(browser.count("[data-action], .again, #host-menu"), 0, "readers have no buttons");
    browser.click("#token");
    enter(&browser, TOKEN);
    browser.wait_for_text("#role", "operate");
    let _ = browser.complaints();
    browser.click("a.name");
    browser.wait_for_text("h1", "blog.ini");
    stage.host.folder().write("app.py", BROKEN);

    browser.click("[data-action=reload]");
    browser.wait_for_text(".toast[data-tone=bad]", "Reload blog.ini: rolled back");
    // Until the reload is over its failure stands there by itself.
    let failure = browser.wait_for_text(".failure", "The last reload: rolled back");
    assert!(failure.contains("Traceback (most recent call last)"), "{failure}");
    assert!(failure.contains("No module named 'a_module_that_is_not_there'"), "{failure}");
    browser.wait_for_text(".head .reason", "the last reload was rolled back");
    browser.wait_for_text(".log .lines", "a_module_that_is_not_there");
    browser.wait_for_text("[aria-label=Events]", "rolled back");
    assert_eq!(stage.app.get("/").unwrap().text(), "hello", "the old code serves on");

    browser.click(".toast[data-tone=bad] button");
    browser.wait_for_text("dialog", "No module named 'a_module_that_is_not_there'");
    browser.press(keys::ESCAPE);
    stage.host.folder().write("app.py", says("mended"));
    browser.click("[data-action=reload]");
    browser.wait_for_text(".toast[data-tone=good]", "Reload blog.ini: done");
    browser.wait_for("the failure to go", "return !document.querySelector('.failure')", &[]);
    stage.app.wait_for("/", "mended");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_workers_do_is_seen_and_can_be_ended() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    stage.sign_in(&browser);
    browser.click("a.name");
    let slow = stage.app.clone();
    let request = std::thread::spawn(move || slow.get("/sleep?50"));
    browser.wait_for_text("[aria-label='Requests in flight']", "GET /sleep");
    let workers = browser.wait_for_text("[aria-label=Workers]", "GET /sleep for");
    assert!(workers.contains("idle"), "{workers}");

    browser.click("[aria-label=Workers] tr[data-tone=busy] button");
    browser.wait_for_text("dialog", "in application");
    browser.press(keys::ESCAPE);

    browser.click("[aria-label='Requests in flight'] button");
    browser.click("dialog button.danger");
    browser.wait_for_text(".toast[data-tone=good]", "Kill GET /sleep: done");
    assert!(request.join().unwrap().is_err(), "its connection has ended");
    let dead = browser.wait_for_text(
        "[aria-label='Black boxes']",
        "died: signal 9 (SIGKILL), its request was killed by an operator, in 1 request",
    );
    assert!(dead.contains("worker"), "{dead}");

    browser.click("[data-action=stop]");
    browser.click("dialog button.danger");
    browser.wait_for_text(".head .state", "stopped");
    browser.click("[data-action=start]");
    browser.wait_for_text(".head .state", "up");
    stage.app.wait_for("/", "hello");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_lost_connection_is_told_and_found_again() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::start();
    stage.sign_in(&browser);
    stage.host.emperor.signal(Signal::SIGTERM);
    stage.host.emperor.wait_until_empty();
    browser.wait_for_text("#banner", "The connection to the emperor is lost");
    let emperor = ["--emperor", "vassals", "--api", "api.sock", &stage.options[0], &stage.options[1]];
    stage.host.emperor = liege(stage.host.folder(), &emperor);
    browser.wait_for("the page to be live again", "return document.getElementById('banner').hidden", &[]);
    browser.wait_for_text("tr[data-tone=good]", "blog.ini");
    browser.wait_for_text("#role", "operate");
}

#[test]
fn the_unix_socket_serves_it_through_a_forwarded_port() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = stage.host.folder().path().join("api.sock");
    // As `ssh -L` does; it ends with the test's process.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&socket).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
    browser.open(&format!("http://localhost:{port}/"));
    browser.wait_for_text("td a.name", "blog.ini");
    browser.wait_for_text("#role", "admin");
    assert_eq!(browser.count("#token"), 0, "the socket's permissions decide");
    browser.click(".again");
    browser.wait_for_text(".toast[data-tone=good]", "Reload blog.ini: done");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_wrong_token_is_told_and_asked_for_again() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    browser.open(&stage.page);
    enter(&browser, "another-token-of-that-length");
    browser.wait_for_text("dialog", "the token is wrong");
    browser.press(TOKEN);
    browser.press(keys::ENTER);
    browser.wait_for_text("#role", "operate");
    let kept = browser.run("return Object.keys(localStorage).length + document.cookie.length", &[]);
    assert_eq!(kept, 0, "it is forgotten with the tab");
}

#[test]
fn the_name_of_a_vassal_is_text_wherever_it_stands() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::start();
    let name = "<img src=x onerror=alert(1)>\"'&%25.ini";
    let text = std::fs::read_to_string(stage.host.file("blog.ini")).unwrap();
    stage.host.write(name, text.replace("127.0.0.1", "127.0.0.2"));
    stage.sign_in(&browser);
    browser.wait_for_text("td a.name", name);
    browser.run(
        "[...document.querySelectorAll('td a.name')].find((one) => one.textContent === arguments[0]).click()",
        &[name],
    );
    browser.wait_for_text("h1", name);
    browser.click("[data-action=reload]");
    browser.wait_for_text(".toast[data-tone=good]", &format!("Reload {name}: done"));
    browser.press("e");
    browser.wait_for_text("#events a", name);
    assert_eq!(browser.count("img"), 0);
    let foreign = "return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin + '/v1'))
        .map((one) => one.name)";
    assert_eq!(browser.run(foreign, &[]).as_array().unwrap().len(), 0, "nothing but the API is asked");
    assert!(Path::new(&stage.host.file(name)).exists());
    assert_eq!(browser.complaints(), [""; 0]);
}
