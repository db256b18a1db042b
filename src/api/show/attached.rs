//! What a vassal's file attaches to its instance, as views.

use super::{Moment, rfc3339};
use crate::api::{host, views};
use crate::config::secret;
use crate::emperor::fleet::{Fleet, Vassal};
use crate::wire::companion::{Companion, State};

/// The processes of a vassal besides its master and workers, and what its file attaches.
#[must_use]
pub fn companions(vassal: &Vassal, _fleet: &Fleet, moment: &Moment<'_>) -> views::CompanionList {
    views::CompanionList { companions: host::companions(vassal), attached: attached(vassal, moment) }
}

/// What its file attaches.
pub(super) fn attached(vassal: &Vassal, moment: &Moment<'_>) -> Vec<views::Attached> {
    let told = moment.shows_requests_of(&vassal.id);
    all(vassal).iter().map(|companion| view(companion, told)).collect()
}

/// How many there are.
pub(super) fn count(vassal: &Vassal) -> views::AttachedCount {
    let of = |wanted: fn(State) -> bool| {
        u32::try_from(all(vassal).iter().filter(|one| wanted(one.state)).count()).unwrap_or(u32::MAX)
    };
    views::AttachedCount {
        all: of(|_| true),
        running: of(|state| matches!(state, State::Running | State::Stopping)),
        resting: of(|state| state == State::Resting),
    }
}

/// What is wrong with one of them.
pub(super) fn trouble(vassal: &Vassal) -> Option<String> {
    let resting = all(vassal).iter().find(|one| one.state == State::Resting)?;
    let how = resting.last_exit.as_ref().map_or("ended", |exit| exit.how.as_str());
    Some(format!("its companion {} does not stay: {how}", resting.name))
}

fn all(vassal: &Vassal) -> &[Companion] {
    vassal.current.as_ref().map_or(&[], |life| &life.companions)
}

/// `told`: with its command line, which may hold secrets.
fn view(companion: &Companion, told: bool) -> views::Attached {
    let time = |epoch_s: u64| rfc3339(epoch_s.saturating_mul(1000));
    let reason = match (companion.state, &companion.last_exit) {
        (State::Resting, Some(exit)) => Some(format!("it ended too soon: {}", exit.how)),
        (State::Stopping, _) => Some("it was asked to end".to_owned()),
        _ => None,
    };
    views::Attached {
        kind: companion.kind,
        name: companion.name.clone(),
        command: told.then(|| secret::of_command(&companion.command)),
        state: companion.state,
        reason,
        pid: companion.pid,
        since: companion.since_epoch_s.map(time),
        starts: companion.starts,
        failures: companion.failures,
        last_exit: companion.last_exit.as_ref().map(|exit| views::AttachedExit {
            at: time(exit.at_epoch_s),
            how: exit.how.clone(),
            asked: exit.asked,
        }),
        next: companion.next_epoch_s.map(time),
    }
}
