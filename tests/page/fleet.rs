//! Many vassals on one page: found by keys, renewed in place, readable on a phone and in the dark.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use liege::emperor::fleet::{FileIdentity, State, Vassal};
use liege::stats::cache::{Head, ShownCache};
use liege::stats::scoreboard::{Field, Scoreboard};
use liege::stats::shown::Shown;
use liege::sys::shared::SharedWords;
use liege::tick::Tick;
use liege::wire::failure::Failure;
use serde_json::json;

use crate::browser::{Browser, keys};
use crate::door::Api;

/// An API over so many vassals, some of them in trouble; and the address of its page.
fn fleet(vassals: usize) -> (Api, String) {
    let api = Api::start();
    {
        let mut fleet = api.handle.fleet();
        fleet.vassals.clear();
        for number in 0..vassals {
            let mut vassal =
                Vassal::new(format!("app-{number:03}.ini"), "/v".into(), FileIdentity::default());
            vassal.state = match number % 50 {
                7 => State::Broken,
                8 => State::Resting { until: Tick::from_ms(u64::MAX / 2), attempts: 3 },
                9 => State::Asleep,
                _ => State::Up { app: true, loyal: true },
            };
            if number % 50 == 7 {
                vassal.config_error = Some(Failure::new("line 3: processes: 0: nobody would serve"));
            }
            if matches!(vassal.state, State::Up { .. }) {
                let board = Scoreboard::create(2, 1).unwrap();
                board.slot(0).unwrap().set(Field::WorkerId, 1);
                board.slot(0).unwrap().set(Field::Accepting, 1);
                board.slot(0).unwrap().set(Field::Requests, 10);
                vassal.shown = Some(Arc::new(board.into()));
            }
            fleet.vassals.insert(vassal.id.clone(), vassal);
        }
    }
    api.handle.changed();
    let page = format!("http://{}/", api.open);
    (api, page)
}

fn serve_more(api: &Api, name: &str) {
    let fleet = api.handle.fleet();
    let slot = fleet.vassals[name].boards().unwrap().newest().slot(0).unwrap();
    slot.set(Field::Requests, slot.get(Field::Requests) + 1000);
}

#[test]
fn five_hundred_vassals_are_renewed_in_place() {
    let Some(browser) = Browser::start() else { return };
    let (api, page) = fleet(500);
    browser.open(&page);
    browser.wait_for("all rows", "return document.querySelectorAll('#vassals tbody tr').length === 500", &[]);
    browser.wait_for(
        "those in trouble",
        "return document.querySelector('#chips button').textContent === '20 need a look'",
        &[],
    );
    // Rates are there, and nothing happens: now only what changes may be touched.
    browser.wait_for_text("tbody tr:last-child .c-rate", "–");
    let prepare = "window.rows = [...document.querySelectorAll('#vassals tbody tr')];
        window.touched = new Set(); window.moved = 0;
        const row = rows.find((one) => one.querySelector('a.name').textContent === 'app-123.ini');
        window.look = new MutationObserver((all) => { for (const one of all) {
            if (one.target.tagName === 'TBODY') window.moved += 1;
            if (one.target.closest?.('.c-rate') || one.target.parentElement?.closest('.c-rate'))
                window.touched.add(one.target.closest('tr').querySelector('a.name').textContent); } });
        look.observe(document.querySelector('#vassals tbody'), { subtree: true, childList: true, characterData: true });
        return row.querySelector('.c-rate').textContent";
    browser.wait_for("a rate of 0", "return [...document.querySelectorAll('td.c-rate')].filter((one) => one.textContent === '0').length === 470", &[]);
    assert_eq!(browser.run(prepare, &[]), "0");
    serve_more(&api, "app-123.ini");
    let changed = "const row = rows.find((one) => one.querySelector('a.name').textContent === 'app-123.ini');
        return row.isConnected && row.querySelector('.c-rate').textContent !== '0'";
    browser.wait_for("the rate of one", changed, &[]);
    let seen = browser.run("return [[...touched], moved, rows.every((one) => one.isConnected)]", &[]);
    assert_eq!(seen, json!([["app-123.ini"], 0, true]), "the others are as they were, and where they were");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn keys_lead_everywhere() {
    let Some(browser) = Browser::start() else { return };
    let (_api, page) = fleet(60);
    browser.open(&page);
    browser.wait_for_text("#vassals", "app-059.ini");
    let focused =
        || browser.run("return document.activeElement.textContent || document.activeElement.id", &[]);
    let first = browser.run("return document.querySelector('a.name').textContent", &[]);
    assert_eq!(first, "app-007.ini", "trouble comes first");
    browser.press("j");
    browser.press(keys::DOWN);
    browser.press("k");
    assert_eq!(focused(), "app-007.ini");
    browser.press("/");
    assert_eq!(focused(), "filter");
    browser.press("app-03 up");
    browser.wait_for(
        "the matching rows",
        "return document.querySelectorAll('#vassals tbody tr').length === 10",
        &[],
    );
    browser.press(keys::DOWN);
    assert_eq!(focused(), "app-030.ini");
    browser.press(keys::ENTER);
    browser.wait_for_text("h1", "app-030.ini");
    browser.press("?");
    browser.wait_for_text("dialog", "Keys");
    browser.press(keys::ESCAPE);
    browser.wait_for("the dialog to close", "return !document.querySelector('dialog')", &[]);
    browser.press(keys::ESCAPE);
    browser.wait_for_text("#vassals", "app-030.ini");
    browser.press(keys::ESCAPE);
    browser.wait_for("all rows", "return document.querySelectorAll('#vassals tbody tr').length === 60", &[]);
    browser.press("/");
    browser.press("nothing like it");
    browser.wait_for_text("#empty", "None of the vassals matches");
    browser.click("#empty button");
    browser.wait_for_text("#vassals", "app-059.ini");
    browser.click("#vassals th.c-name button");
    browser.wait_for(
        "the order of names",
        "return document.querySelector('a.name').textContent === 'app-000.ini'",
        &[],
    );
    browser.click("#vassals th.c-name button");
    browser.wait_for(
        "its reverse",
        "return document.querySelector('a.name').textContent === 'app-059.ini'",
        &[],
    );
    browser.click("#chips button");
    browser.wait_for(
        "those in trouble",
        "return document.querySelectorAll('#vassals tbody tr').length === 4",
        &[],
    );
}

#[test]
fn keys_find_what_was_just_typed_and_what_moves_keeps_the_focus() {
    let Some(browser) = Browser::start() else { return };
    let (api, page) = fleet(60);
    browser.open(&page);
    browser.wait_for_text("#vassals", "app-059.ini");
    let focused = || browser.run("return document.activeElement.textContent", &[]);
    // No frame comes, as on a host that has much to do.
    let held = "window.frame = window.requestAnimationFrame; window.held = []; \
                window.requestAnimationFrame = (draw) => held.push(draw);";
    browser.run(held, &[]);
    browser.press("/");
    browser.press("app-03 up");
    browser.press(keys::ENTER);
    assert_eq!(focused(), "app-030.ini");
    browser.run("window.requestAnimationFrame = window.frame; held.forEach((draw) => draw());", &[]);
    browser.press(keys::DOWN);
    assert_eq!(focused(), "app-031.ini");

    // It fails, and another one comes: it has another place now.
    {
        let mut fleet = api.handle.fleet();
        let failed = fleet.vassals.get_mut("app-031.ini").unwrap();
        failed.config_error = Some(Failure::new("line 3: processes: 0: nobody would serve"));
        let mut new = Vassal::new("app-03a.ini".into(), "/v".into(), FileIdentity::default());
        new.state = State::Up { app: true, loyal: true };
        fleet.vassals.insert(new.id.clone(), new);
    }
    api.handle.changed();
    browser.wait_for_text("#vassals", "app-03a.ini");
    browser.wait_for(
        "the one in trouble above the others",
        "return document.querySelector('#vassals tbody a.name').textContent === 'app-031.ini'",
        &[],
    );
    assert_eq!(focused(), "app-031.ini");
}

#[test]
fn what_caches_count_is_seen_as_it_changes() {
    let Some(browser) = Browser::start() else { return };
    let (api, page) = fleet(1);
    let memory = SharedWords::create("cache", 100).unwrap();
    let set = |head: Head, value: u64| memory.words()[head as usize].store(value, Ordering::Relaxed);
    set(Head::Items, 12);
    set(Head::Hits, 300);
    set(Head::Misses, 100);
    let boards = Scoreboard::create(1, 1).unwrap().into();
    let cache = ShownCache::open("pages".into(), 50, memory.fd().try_clone_to_owned().unwrap()).unwrap();
    let shown = Shown { boards, caches: vec![Arc::new(cache)] };
    api.handle.fleet().vassals.get_mut("app-000.ini").unwrap().shown = Some(Arc::new(shown));
    api.handle.changed();
    browser.open(&format!("{page}#/vassal/app-000.ini"));
    let panel = "section[aria-label=Caches]";
    for part in ["pages", "12 of 50", "300", "75 %", "never"] {
        browser.wait_for_text(panel, part);
    }
    // Who may not see the log has nothing to look for in it.
    browser.wait_for_text("section.log", "they are for those who may operate");
    let tools =
        "return [...document.querySelectorAll('section.log :is(input, button)')].every((one) => one.hidden)";
    assert_eq!(browser.run(tools, &[]), true);
    // Nothing else happens.
    set(Head::Hits, 900);
    set(Head::Full, 3);
    for part in ["90 %", "3 times"] {
        browser.wait_for_text(panel, part);
    }
}

#[test]
fn a_phone_shows_it_all_without_scrolling_sideways() {
    let Some(browser) = Browser::start_phone() else { return };
    let (_api, page) = fleet(60);
    browser.open(&page);
    for (hash, selector, text) in [
        ("#/", "#vassals", "app-059.ini"),
        ("#/vassal/app-000.ini", "[aria-label=Workers]", "idle"),
        ("#/vassal/app-007.ini", ".failure", "nobody would serve"),
        ("#/events", "#events", "Events"),
    ] {
        browser.run("location.hash = arguments[0]", &[hash]);
        browser.wait_for_text(selector, text);
        let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
        assert_eq!(wide, 0, "{hash}");
        let beyond = "document.getElementById('host-name').textContent = 'web-frontend-production-01';
            const seen = [...document.querySelectorAll('.bar > *')].filter((one) => one.checkVisibility());
            return seen.filter((one) => one.getBoundingClientRect().right > innerWidth - 8).map((one) => one.id)";
        assert_eq!(
            browser.run(beyond, &[]),
            json!([]),
            "{hash}: a long name of the host takes no room from the rest"
        );
    }
}

#[test]
fn everything_can_be_read_in_light_and_dark_and_has_a_name() {
    let Some(browser) = Browser::start() else { return };
    let (_api, page) = fleet(60);
    browser.open(&page);
    for scheme in ["light", "dark"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", &media);
        for (hash, selector, text) in [
            ("#/", "#vassals", "app-059.ini"),
            ("#/vassal/app-000.ini", "[aria-label=Workers]", "idle"),
            ("#/vassal/app-007.ini", ".failure", "nobody would serve"),
        ] {
            browser.run("location.hash = arguments[0]", &[hash]);
            browser.wait_for_text(selector, text);
            let found = browser.run(include_str!("readable.js"), &[]);
            assert_eq!(found, json!([]), "{scheme} {hash}");
        }
    }
}
