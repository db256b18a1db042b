//! Where each option was said: what this host refuses names the place, as what the file says wrong does.

use std::path::Path;

use super::address::Address;
use super::instance::InstanceSpec;
use super::router::address_in;
use super::table::{self, Kind};

impl InstanceSpec {
    /// `FILE:LINE: option`, where one of these options was said last.
    #[must_use]
    pub fn place_of(&self, names: &[&str]) -> Option<String> {
        self.place(|name, _| names.contains(&name))
    }

    /// The same of one whose value is this path.
    #[must_use]
    pub fn place_of_path(&self, names: &[&str], path: &Path) -> Option<String> {
        self.place(|name, value| names.contains(&name) && leads_to(value, path))
    }

    /// The same of the one that names this address.
    #[must_use]
    pub fn place_of_address(&self, address: &Address) -> Option<String> {
        self.place(|name, value| {
            let value = address_in(name, value);
            let is_address = table::find(name).is_some_and(|row| row.kind == Kind::Address);
            (is_address || matches!(name, "https" | "https2" | "http-to-https"))
                && match address {
                    Address::Unix(path) => leads_to(value, path),
                    Address::Abstract(name) if name == value => true,
                    _ => Address::parse(value, Path::new("/")).is_ok_and(|(meant, _)| meant == *address),
                }
        })
    }

    /// The same of one of these options whose value the text of an error names, else of the last of them.
    #[must_use]
    pub fn place_named_in(&self, names: &[&str], error: &str) -> Option<String> {
        let is_named = |value: &str| error.split(' ').any(|word| word == value);
        self.place(|name, value| names.contains(&name) && is_named(value)).or_else(|| self.place_of(names))
    }

    fn place(&self, is_it: impl Fn(&str, &str) -> bool) -> Option<String> {
        self.said.iter().zip(&self.places).rev().find_map(|((key, value), place)| {
            is_it(table::find(key)?.name(), value).then(|| format!("{}: {key}", place.0))
        })
    }
}

/// Relative names start from a directory that is not known here any more.
fn leads_to(value: &str, path: &Path) -> bool {
    !value.is_empty() && path.ends_with(value.trim_start_matches("./"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{fake::Imagined, vassal};

    #[test]
    fn an_option_is_found_by_its_names_and_what_it_names() {
        let text = "[uwsgi]\nsocket = ./a.sock\nhttp = :80\ninclude = more.ini\nhttps = :443,a.crt,a.key\n\
                    pidfile = /run/x.pid\nsocket = @b\nmodule = app\n";
        let more = "[uwsgi]\nchdir = /srv\nworkers = 2\nuid = www-data\nadd-gid = 5\nadd-gid = 6\n";
        let loaded = vassal("/srv/app.ini", text.as_bytes(), &Imagined::new(&[("/srv/more.ini", more)]));
        let spec = loaded.spec.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let address = |text| spec.place_of_address(&Address::parse(text, Path::new("/srv")).unwrap().0);
        for (found, expected) in [
            (spec.place_of(&["chdir"]), Some("more.ini:2: chdir")),
            (spec.place_of(&["processes"]), Some("more.ini:3: workers")),
            (spec.place_of(&["threads"]), None),
            (
                spec.place_of_path(&["pidfile", "pidfile2"], Path::new("/run/x.pid")),
                Some("app.ini:6: pidfile"),
            ),
            (spec.place_of_path(&["pidfile"], Path::new("/run/y.pid")), None),
            (address("a.sock"), Some("app.ini:2: socket")),
            (address(":443"), Some("app.ini:5: https")),
            (spec.place_of_address(&Address::Abstract("b".into())), Some("app.ini:7: socket")),
            (address("c.sock"), None),
            (spec.place_named_in(&["uid", "add-gid"], "there is no group 5"), Some("more.ini:5: add-gid")),
            (spec.place_named_in(&["uid", "add-gid"], "there is none"), Some("more.ini:6: add-gid")),
        ] {
            assert_eq!(found.as_deref(), expected);
        }
    }
}
