//! Sockets that others than the option which serves them make: shared ones (`=N`), and those that are passed to the
//! instance (`fd://N`, and systemd's).

use std::path::Path;

use super::instance::Reading;
use super::sift::{Said, Sift};
use crate::config::address::{Address, Listen};

/// The addresses of `shared-socket`, in their order.
pub(super) fn shared(sift: &mut Sift<'_>, obeyed: &[Said<'_>], start: &Path) -> Vec<Option<Address>> {
    let shared = obeyed.iter().filter(|said| said.name() == "shared-socket");
    shared.map(|said| sift.address(*said, start)).collect()
}

/// Warns of shared sockets that nothing is served on: their clients would wait for ever.
pub(super) fn check_shared(sift: &mut Sift<'_>, obeyed: &[Said<'_>], reading: &mut Reading) {
    let listen = &reading.spec.listen;
    let is_served = |address: &Address| listen.iter().any(|listen| listen.address == *address);
    let said = obeyed.iter().filter(|said| said.name() == "shared-socket");
    for (number, (said, address)) in said.zip(&reading.shared).enumerate() {
        match address {
            Some(address) if is_served(address) => reading.spec.shared.push(address.clone()),
            Some(_) => {
                let suggestion = format!("say what is spoken there: http-socket = ={number}");
                sift.warn(*said, "has no effect: nothing is served on it", Some(suggestion));
            }
            None => {}
        }
    }
}

/// Adds what is passed to the instance and no option names.
pub(super) fn add_offered(sift: &Sift<'_>, reading: &mut Reading) {
    for passed in sift.around.passed().into_iter().filter(|passed| passed.offered) {
        let listen = &mut reading.spec.listen;
        if !listen.iter().any(|listen| listen.address == passed.address) {
            listen.push(Listen { address: passed.address, protocol: reading.protocol });
        }
    }
}

/// Whether who wants to listen at an address is served by a socket that is passed.
fn is_there(sift: &Sift<'_>, wanted: &Address, passed: &Address) -> bool {
    match (wanted, passed) {
        // The file may have been named by another way, as by a link.
        (Address::Unix(wanted), Address::Unix(passed)) => {
            wanted == passed
                || sift
                    .around
                    .locate(wanted)
                    .is_ok_and(|found| sift.around.locate(passed).ok() == Some(found))
        }
        _ => wanted.is_at(passed),
    }
}

impl Reading {
    /// An address as an option for requests names it.
    pub(super) fn address(
        &self,
        sift: &mut Sift<'_>,
        said: Said<'_>,
        text: &str,
        directory: &Path,
    ) -> Option<Address> {
        if let Some(number) = text.strip_prefix('=') {
            let found = number.trim().parse::<usize>().ok().and_then(|number| self.shared.get(number));
            if found.is_none() {
                let suggestion = match self.shared.len() {
                    0 => "say shared-socket = ADDRESS".to_owned(),
                    count => format!("there are {count}, the first is =0"),
                };
                sift.error(said, format!("unable to use shared socket {number}"), Some(suggestion));
            }
            // What is wrong with one is said there.
            return found.cloned().flatten();
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let number = number.trim().parse::<i32>().ok();
            let passed = sift.around.passed();
            let found = passed.into_iter().find(|passed| number.is_some() && passed.number == number);
            if found.is_none() {
                let message =
                    format!("{text}: whoever started this has passed no listening socket of that number");
                sift.error(said, message, Some("see LISTEN_FDS; systemd's first is fd://3".to_owned()));
            }
            return found.map(|passed| passed.address);
        }
        let address = sift.address_of(said, text, directory)?;
        let passed = sift.around.passed().into_iter().map(|passed| passed.address);
        let mut passed = passed.filter(|passed| is_there(sift, &address, passed));
        Some(passed.next().unwrap_or(address))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Imagined;
    use super::super::vassal;
    use super::*;
    use crate::config::socket::PassedSocket;

    fn listen(lines: &str) -> (Option<Vec<String>>, Vec<String>) {
        let passed = |number, address: &str, offered| PassedSocket {
            number: Some(number),
            address: Address::parse(address, Path::new("/")).unwrap().0,
            offered,
        };
        let around = Imagined {
            passed: vec![passed(3, "[::]:80", true), passed(4, "/run/a.sock", true), passed(9, ":90", false)],
            ..Imagined::new(&[])
        };
        let file = format!("[uwsgi]\nmodule = app\n{}\n", lines.replace(", ", "\n"));
        let loaded = vassal("/srv/app.ini", file.as_bytes(), &around);
        let listen = loaded
            .spec
            .map(|spec| spec.listen.iter().map(|l| format!("{} {}", l.protocol.name(), l.address)).collect());
        (listen, loaded.diagnostics.into_iter().map(|told| told.message).collect())
    }

    #[test]
    fn what_is_passed_is_served_and_what_is_shared_is_named_by_its_number() {
        for (lines, expected) in [
            ("", &["uwsgi [::]:80", "uwsgi /run/a.sock"][..]),
            ("protocol = http", &["http-socket [::]:80", "http-socket /run/a.sock"]),
            ("http = :80", &["http [::]:80", "uwsgi /run/a.sock"]),
            (
                "http-socket = fd://4, socket = fd://9",
                &["http-socket /run/a.sock", "uwsgi :90", "uwsgi [::]:80"],
            ),
            (
                "shared-socket = :443, shared-socket = s, socket = =1, http = :80, http-socket = =0, socket = fd://4",
                &["uwsgi /srv/s", "http [::]:80", "http-socket :443", "uwsgi /run/a.sock"],
            ),
        ] {
            let (listen, told) = listen(lines);
            assert_eq!(
                (listen.unwrap_or_default(), told),
                (expected.iter().map(|l| (*l).to_owned()).collect(), vec![])
            );
        }
    }

    #[test]
    fn what_is_not_there_is_said_where_it_is_named() {
        for (lines, is_error, expected) in [
            ("socket = =0", true, "unable to use shared socket 0"),
            ("shared-socket = :1, socket = =1", true, "unable to use shared socket 1"),
            ("socket = fd://7", true, "no listening socket of that number"),
            ("socket = fd://x", true, "no listening socket of that number"),
            ("stats = =0", true, "unable to use shared socket 0 here"),
            ("shared-socket = :1, http-socket = :2", false, "nothing is served on it"),
        ] {
            let (listen, told) = listen(lines);
            assert_eq!(listen.is_none(), is_error, "{lines}");
            assert!(told.iter().any(|told| told.contains(expected)), "{lines}: {told:?}");
        }
    }
}
