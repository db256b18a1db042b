//! The options of a number of workers that follows the load.

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::cheaper::{Algorithm, BusynessSpec, CheaperSpec};

/// Obeys an option, if it is one of these.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, cheaper: &mut CheaperSpec) -> bool {
    let busyness = &mut cheaper.busyness;
    // As in uWSGI, 0 is the default of these.
    let usual = BusynessSpec::default();
    let or = |number: u64, usual: u64| if number == 0 { usual } else { number };
    match said.name() {
        "cheaper" => cheaper.least = sift.count(said),
        "cheaper-initial" => cheaper.initial = sift.count(said),
        "cheaper-step" => cheaper.step = sift.count(said).max(1),
        "cheaper-overload" => cheaper.overload = large(sift, said).max(1),
        "cheaper-idle" => cheaper.idle_s = sift.count(said),
        "cheaper-algo" => match Algorithm::named(said.text()) {
            Some(algorithm) => cheaper.algorithm = algorithm,
            None => {
                let message = "unable to find requested cheaper algorithm, falling back to spare";
                let suggestion = "one of spare, spare2, backlog, busyness, manual".to_owned();
                sift.warn(said, message, Some(suggestion));
                cheaper.algorithm = Algorithm::Spare;
            }
        },
        "cheaper-busyness-max" => busyness.most = or(large(sift, said), usual.most),
        "cheaper-busyness-min" => busyness.least = or(large(sift, said), usual.least),
        "cheaper-busyness-multiplier" => busyness.multiplier = or(large(sift, said), usual.multiplier),
        "cheaper-busyness-penalty" => busyness.penalty = or(large(sift, said), usual.penalty),
        "cheaper-busyness-backlog-alert" => busyness.alert = or(large(sift, said), usual.alert),
        "cheaper-busyness-backlog-step" => busyness.alert_step = sift.count(said).max(1),
        "cheaper-busyness-backlog-multiplier" => {
            busyness.alert_multiplier = or(large(sift, said), usual.alert_multiplier);
        }
        "cheaper-busyness-backlog-nonzero" => busyness.nonzero_s = or(large(sift, said), usual.nonzero_s),
        "cheaper-busyness-verbose" => busyness.verbose = said.flag(),
        "cheaper-rss-limit-soft" => cheaper.rss_soft_bytes = large(sift, said),
        "cheaper-rss-limit-hard" => cheaper.rss_hard_bytes = large(sift, said),
        "cheap" => cheaper.cheap = said.flag(),
        _ => return false,
    }
    true
}

/// What of it does not go together, with each other or with the number of `processes`.
pub(super) fn check(sift: &mut Sift<'_>, obeyed: &[Said<'_>], cheaper: &mut CheaperSpec, processes: u32) {
    let last = |name: &str| obeyed.iter().rfind(|said| said.name() == name).copied();
    let CheaperSpec { least, initial, rss_soft_bytes: soft, rss_hard_bytes: hard, .. } = *cheaper;
    if let Some(said) = last("cheaper-rss-limit-hard").filter(|_| hard > 0 && (soft == 0 || hard <= soft)) {
        let message = match soft {
            0 => "enabling cheaper-rss-limit-hard requires setting also cheaper-rss-limit-soft",
            _ => "cheaper-rss-limit-hard value must be higher than cheaper-rss-limit-soft value",
        };
        sift.error(said, message, None);
    }
    if least == 0 {
        let alone = obeyed.iter().rfind(|said| said.name().starts_with("cheaper-"));
        if let Some(said) = alone {
            sift.warn(*said, "has no effect without cheaper", Some("say cheaper = 1".to_owned()));
        }
        return;
    }
    if let Some(said) = last("cheaper").filter(|_| least >= processes) {
        let message = "invalid cheaper value: must be lower than processes".to_owned();
        let suggestion = format!("processes is {processes}: the most workers there can be");
        sift.error(said, message, Some(suggestion));
    }
    let Some(said) = last("cheaper-initial").filter(|_| initial > 0) else { return };
    if initial < least {
        let message = format!(
            "invalid cheaper-initial value ({initial}), must be equal or higher than cheaper ({least}), using {least} as initial number of workers"
        );
        sift.warn(said, message, None);
        cheaper.initial = least;
    } else if initial > processes {
        let message = format!(
            "invalid cheaper-initial value ({initial}), must be lower or equal than worker count ({processes}), using {processes} as initial number of workers"
        );
        sift.warn(said, message, None);
        cheaper.initial = processes;
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Imagined;
    use super::super::vassal;

    #[test]
    fn what_does_not_go_together_is_said_where_it_stands() {
        for (lines, told, starts_with) in [
            ("cheaper = 1, processes = 4", "", Some(1)),
            ("cheaper-initial = 3, processes = 4, cheaper = 1", "", Some(3)),
            ("cheaper = 4, processes = 4", "invalid cheaper value: must be lower than processes", None),
            ("cheaper = 1", "invalid cheaper value: must be lower than processes", None),
            ("cheaper = 2, cheaper-initial = 1, processes = 4", "using 2 as initial number", Some(2)),
            ("cheaper = 2, cheaper-initial = 9, processes = 4", "using 4 as initial number", Some(4)),
            ("cheaper = 1, processes = 2, cheaper-algo = x", "falling back to spare", Some(1)),
            ("cheaper-step = 2, processes = 2", "has no effect without cheaper", Some(2)),
            (
                "cheaper = 1, processes = 2, cheaper-rss-limit-hard = 5",
                "requires setting also cheaper-rss-limit-soft",
                None,
            ),
            (
                "cheaper = 1, processes = 2, cheaper-rss-limit-hard = 5, cheaper-rss-limit-soft = 5",
                "must be higher than cheaper-rss-limit-soft",
                None,
            ),
        ] {
            let file = format!("[uwsgi]\nhttp-socket = :1\nmodule = app\n{}\n", lines.replace(", ", "\n"));
            let loaded = vassal("/srv/app.ini", file.as_bytes(), &Imagined::new(&[]));
            let workers = loaded.spec.as_ref().map(|spec| &spec.workers);
            let first = workers.map(|workers| workers.cheaper.first(workers.processes));
            assert_eq!(first, starts_with, "{lines}");
            let said: Vec<_> = loaded.diagnostics.iter().map(|told| told.message.as_str()).collect();
            assert_eq!(said.len(), usize::from(!told.is_empty()), "{lines}: {said:?}");
            assert!(said.iter().all(|said| said.contains(told)), "{lines}: {said:?}");
            assert!(loaded.diagnostics.iter().all(|told| told.line.is_some()), "{lines}");
        }
    }
}
