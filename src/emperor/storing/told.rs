//! What people are told of the store: how much is kept of how much, what is not, and why.

use super::Storage;
use crate::emperor::fleet::Fleet;
use crate::emperor::notify::ServiceManager;
use crate::emperor::store::{OF_ONE, Stored, Unkept};

impl Storage {
    /// How much of it is used, and what is wrong with it.
    fn shown(&self) -> Stored {
        let room = self.store.room();
        let problem = (!room.is_as_told()).then(|| {
            let told = room.told();
            format!(
                "less than FDSTORE={told} says (see FileDescriptorStoreMax= and NotifyAccess= of its unit)"
            )
        });
        Stored {
            kept: self.store.count(),
            most: if room.is_as_told() { room.told() } else { room.usable() },
            problem,
        }
    }

    /// Says in the log what ends with this emperor, and shows it.
    pub(super) fn tell(&mut self, fleet: &mut Fleet) {
        let newly = self.store.newly_left_out();
        fleet.stored = self.shown();
        if let Some(problem) =
            fleet.stored.problem.as_ref().filter(|_| !self.said_less && self.store.question() == 0)
        {
            tracing::warn!("the service manager keeps {} sockets at most, {problem}", fleet.stored.most);
            self.said_less = true;
        }
        let kept = self.store.kept();
        for (id, vassal) in &mut fleet.vassals {
            vassal.outlasts = kept.contains(id.as_str());
            vassal.unkept = self.store.left_out().get(id).map(|why| unkept(*why, fleet.stored.most));
            if let Some(why) = vassal.unkept.as_ref().filter(|_| newly.contains(id)) {
                tracing::warn!(vassal = id, "its sockets end with this emperor: {why}");
            }
        }
    }
}

/// What there is to be seen without one.
pub(in crate::emperor) fn nothing_stored(manager: &ServiceManager) -> Stored {
    let problem = match manager.store() {
        _ if !manager.is_there() => None,
        0 => Some(
            "the service manager keeps none: FileDescriptorStoreMax= of its unit, and before systemd 254 FDSTORE=, say how many",
        ),
        _ => Some("there is no runtime directory to write down whose they are (--runtime-dir)"),
    };
    Stored { problem: problem.map(str::to_owned), ..Stored::default() }
}

/// A sentence for people.
fn unkept(why: Unkept, most: usize) -> String {
    match why {
        Unkept::TooMany(count) => {
            format!("it has {count}, and the service manager is given {OF_ONE} of one vassal at most")
        }
        Unkept::NoRoom(count) => {
            format!("the service manager keeps {most} at most, and has no room for its {count}")
        }
        Unkept::Elsewhere => "not all of them can be reached from the emperor's network".to_owned(),
    }
}
