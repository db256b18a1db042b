//! Which workers serve which socket: read when the sockets and the number of workers are known.

use std::collections::BTreeSet;

use super::sift::{Said, Sift};
use crate::config::instance::InstanceSpec;

/// Obeys `map-socket`. As in uWSGI the last word about a socket counts.
pub(super) fn read(sift: &mut Sift<'_>, obeyed: &[Said<'_>], spec: &mut InstanceSpec) {
    let sockets = spec.listen.iter().filter(|listen| !listen.protocol.is_of_router()).count();
    let (processes, cheaper) = (spec.workers.processes, spec.workers.cheaper.least);
    for said in obeyed.iter().filter(|said| said.name() == "map-socket") {
        let (socket, workers) = match mapping(said.text(), processes) {
            Ok(mapping) => mapping,
            Err(message) => {
                let suggestion = "SOCKET:WORKER[,WORKER], as in map-socket = 0:1,2";
                sift.error(*said, message, Some(suggestion.to_owned()));
                continue;
            }
        };
        if socket >= sockets {
            let message = format!("there is no socket {socket} that workers serve: there are {sockets}");
            sift.warn(*said, message, Some("the first is 0; those of the router do not count".to_owned()));
            continue;
        }
        if cheaper > 0 && workers.first().is_some_and(|first| *first > cheaper) {
            let message =
                format!("nobody would serve socket {socket}: `cheaper` keeps only workers 1 to {cheaper}");
            sift.error(*said, message, Some("name one of them, or raise `cheaper`".to_owned()));
        }
        spec.socket_map.0.insert(socket, workers);
    }
}

fn mapping(text: &str, processes: u32) -> Result<(usize, BTreeSet<u32>), String> {
    let invalid = || "invalid socket mapping, must be socket:worker[,worker...]".to_owned();
    let (socket, workers) = text.split_once(':').ok_or_else(invalid)?;
    let socket = socket.trim().parse().map_err(|_| invalid())?;
    let mut all = BTreeSet::new();
    for worker in workers.split(',').map(str::trim).filter(|worker| !worker.is_empty()) {
        let number: u32 = worker.parse().map_err(|_| format!("invalid worker num: {worker}"))?;
        if !(1..=processes).contains(&number) {
            return Err(format!("invalid worker num: {number}: there are 1 to {processes}"));
        }
        all.insert(number);
    }
    if all.is_empty() {
        return Err(format!("nobody would serve socket {socket}"));
    }
    Ok((socket, all))
}

#[cfg(test)]
mod tests {
    use super::super::fake::Imagined;
    use super::super::vassal;

    #[test]
    fn a_socket_that_nobody_would_serve_is_an_error_where_it_is_said() {
        for (lines, told, needs) in [
            ("map-socket = 0:1,2", "", Some(1)),
            ("map-socket = 0:2, map-socket = 1: 3 ,4", "", Some(3)),
            ("map-socket = 0:4, map-socket = 0:1", "", Some(1)),
            ("cheaper = 2, map-socket = 0:2,4", "", Some(2)),
            ("map-socket = 2:1", "there is no socket 2", Some(0)),
            ("map-socket = 0", "invalid socket mapping", None),
            ("map-socket = a:1", "invalid socket mapping", None),
            ("map-socket = 0:", "nobody would serve socket 0", None),
            ("map-socket = 0:x", "invalid worker num: x", None),
            ("map-socket = 0:0", "invalid worker num: 0", None),
            ("map-socket = 0:5", "invalid worker num: 5", None),
            ("cheaper = 2, map-socket = 0:3", "nobody would serve socket 0: `cheaper` keeps", None),
        ] {
            let file = format!(
                "[uwsgi]\nhttp = :1\nhttp-socket = :2\nsocket = :3\nmodule = app\nprocesses = 4\n{}\n",
                lines.replace(", ", "\n")
            );
            let loaded = vassal("/srv/app.ini", file.as_bytes(), &Imagined::new(&[]));
            assert_eq!(loaded.spec.as_ref().map(|spec| spec.socket_map.needs()), needs, "{lines}");
            let said: Vec<_> = loaded.diagnostics.iter().map(|told| told.message.as_str()).collect();
            assert_eq!(said.len(), usize::from(!told.is_empty()), "{lines}: {said:?}");
            assert!(said.iter().all(|said| said.contains(told)), "{lines}: {said:?}");
            assert!(loaded.diagnostics.iter().all(|told| told.line.is_some()), "{lines}");
        }
    }
}
