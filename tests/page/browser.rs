//! A real browser, driven through chromedriver by the WebDriver protocol (W3C).

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::program;
use crate::support::server::Folder;
use crate::support::wait::eventually;

/// What starting a browser may take on a busy machine.
const START: Duration = Duration::from_secs(90);
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
];
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one tab and a profile of its own, ended with this value.
pub(crate) struct Browser {
    driver: Family,
    door: Door,
    session: String,
    _folder: Folder,
}

impl Browser {
    /// Starts one; without chromium the test says that it is skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::with_options(json!({}))
    }

    /// One with the screen of a phone.
    pub(crate) fn start_phone() -> Option<Self> {
        let screen = json!({"width": 375, "height": 812, "pixelRatio": 2, "touch": true});
        Self::with_options(json!({ "mobileEmulation": { "deviceMetrics": screen } }))
    }

    fn with_options(mut options: Value) -> Option<Self> {
        let (driver, chromium) = (program("chromedriver")?, program("chromium")?);
        let folder = Folder::new();
        let driver = Family::start(
            Command::new(driver).arg("--port=0").env("HOME", folder.path()),
            &folder.path().join("chromedriver.log"),
        );
        let port = eventually("the port of chromedriver", || {
            let log = driver.log();
            let (_, rest) = log.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        });
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        options["binary"] = json!(chromium);
        options["args"] = json!(ARGUMENTS.iter().copied().chain([profile.as_str()]).collect::<Vec<_>>());
        let mut browser = Self { driver, door: Door::Port(port), session: String::new(), _folder: folder };
        let capabilities = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let session =
            browser.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": capabilities}}));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = ["Connection: close", "Content-Type: application/json"];
        let mut connection = self.door.connect_for(START).unwrap();
        let answer = connection.ask(method, path, &headers, body.as_bytes()).unwrap();
        let mut value: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{method} {path} {body}: {value:#}\n{}", self.driver.log());
        value["value"].take()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    /// Goes to an address.
    pub(crate) fn open(&self, address: &str) {
        self.ask("POST", "/url", &json!({ "url": address }));
    }

    /// What the body of a function returns; its arguments are `arguments`.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Value {
        self.ask("POST", "/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Waits until a script returns something that is true, and gives it.
    pub(crate) fn wait_for(&self, what: &str, script: &str, arguments: &[&str]) -> Value {
        eventually(what, || {
            let value = self.run(script, arguments);
            (value != json!(false) && !value.is_null() && value != json!("")).then_some(value)
        })
    }

    /// Waits until an element that can be seen has this text in it.
    pub(crate) fn wait_for_text(&self, selector: &str, text: &str) -> String {
        let script = "const all = [...document.querySelectorAll(arguments[0])];
            const found = all.find((one) => one.checkVisibility() && one.innerText.includes(arguments[1]));
            return found ? found.innerText : null";
        let found = self.wait_for(&format!("{text:?} in {selector}"), script, &[selector, text]);
        found.as_str().unwrap().to_owned()
    }

    /// How many elements that can be seen there are.
    pub(crate) fn count(&self, selector: &str) -> u64 {
        let script = "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility()).length";
        self.run(script, &[selector]).as_u64().unwrap()
    }

    /// Clicks the element, as a mouse does, when it is there.
    pub(crate) fn click(&self, selector: &str) {
        let script =
            "return [...document.querySelectorAll(arguments[0])].find((one) => one.checkVisibility())";
        let element = self.wait_for(selector, script, &[selector]);
        self.ask("POST", &format!("/element/{}/click", element[ELEMENT].as_str().unwrap()), &json!({}));
    }

    /// Presses keys, whatever has the focus.
    pub(crate) fn press(&self, keys: &str) {
        let strokes = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()})));
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>()});
        self.ask("POST", "/actions", &json!({ "actions": [keyboard] }));
    }

    /// A command of the DevTools.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) {
        self.ask("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}));
    }

    /// What the console has said since it was asked last: errors of scripts, breaches of the policy, failed requests.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", &json!({"type": "browser"}));
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the test saw, for whoever looks for the reason.
            let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.run("return location.href + '\\n' + document.body.innerText", &[])
            }));
            let seen = seen.unwrap_or_default();
            let lines: Vec<&str> = seen.as_str().unwrap_or_default().lines().take(100).collect();
            eprintln!("--- the page\n{}\n---", lines.join("\n"));
        } else {
            self.ask("DELETE", "", &json!({}));
        }
    }
}

/// The keys that have no character.
pub(crate) mod keys {
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const DOWN: &str = "\u{e015}";
}
