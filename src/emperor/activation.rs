//! Socket activation of a whole fleet: systemd makes the sockets and names each after its vassal.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::masters::Masters;
use super::spawn::Listeners;
use crate::config::address::{Listen, Protocol};
use crate::sys::activation::Activation;

impl Masters {
    /// Keeps what systemd has passed for the vassals that it is named after, for as long as this emperor lives: theirs is
    /// what nobody else can take, whatever their files say.
    pub fn hand_out(&mut self, activation: Activation) {
        activation.tell();
        let mut named: BTreeMap<String, Listeners> = BTreeMap::new();
        for passed in activation.passed.into_iter().filter(|passed| passed.offered) {
            let address = passed.local.into();
            match passed.name.as_deref().and_then(vassal) {
                Some(vassal) => {
                    tracing::info!(vassal, "listens on {address}, by socket activation");
                    named
                        .entry(vassal)
                        .or_default()
                        .push((Listen { address, protocol: Protocol::Uwsgi }, passed.socket));
                }
                None => tracing::warn!(
                    "the socket {address} that systemd has passed belongs to no vassal: name it after one \
                     (FileDescriptorName=blog.ini)"
                ),
            }
        }
        self.passed = named.into_iter().map(|(vassal, listeners)| (vassal, Arc::new(listeners))).collect();
    }
}

/// The vassal that a socket is named after; systemd names those that nobody named after their unit.
fn vassal(name: &str) -> Option<String> {
    (!name.ends_with(".socket") && !name.contains('/')).then(|| match name.contains('.') {
        true => name.to_owned(),
        false => format!("{name}.ini"),
    })
}

#[cfg(test)]
mod tests {
    use super::vassal;

    #[test]
    fn a_socket_is_named_after_a_file() {
        for (name, expected) in [
            ("blog.ini", Some("blog.ini")),
            ("blog", Some("blog.ini")),
            ("liege.socket", None),
            ("a/b", None),
        ] {
            assert_eq!(vassal(name).as_deref(), expected, "{name}");
        }
    }
}
