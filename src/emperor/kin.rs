//! Whose a process is: every life leads a session of its own, and what leaves it descends from its master all the same,
//! for that is who becomes its parent.

use std::collections::{BTreeMap, BTreeSet};

use super::life::LifeId;
use super::masters::Master;
use crate::sys::census::Seen;
use crate::sys::process::Child;

/// No line of ancestors is followed further.
const GENERATIONS: usize = 64;

/// By what the processes of a life are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The session that its master leads, by the master's pid.
    pub session: u32,
    /// Whether the master was reaped, and the pid may be somebody else's by now.
    pub is_reaped: bool,
    /// What it left behind.
    pub strays: BTreeSet<u32>,
}

impl Head {
    /// That of this master.
    #[must_use]
    pub fn of(master: &Master) -> Self {
        let remnants = master.remnants.iter().map(Child::pid);
        Self {
            session: master.child.pid(),
            is_reaped: master.reaped,
            strays: master.strays.iter().copied().chain(remnants).collect(),
        }
    }
}

/// Which of these processes are of which life, masters included.
#[must_use]
pub fn of_lives(all: &[Seen], heads: &BTreeMap<LifeId, Head>) -> BTreeMap<u32, LifeId> {
    let by_id: BTreeMap<u32, &Seen> = all.iter().map(|one| (one.id, one)).collect();
    let mut starts: BTreeMap<u32, LifeId> = BTreeMap::new();
    let mut sessions: BTreeMap<u32, LifeId> = BTreeMap::new();
    for (life, head) in heads {
        starts.extend(head.strays.iter().map(|stray| (*stray, *life)));
        if !head.is_reaped {
            starts.insert(head.session, *life);
        }
        // As long as somebody is in it nobody else gets its number.
        if !head.is_reaped || !by_id.contains_key(&head.session) {
            sessions.insert(head.session, *life);
        }
    }
    let of = |one: &Seen| {
        let mut at = one;
        for _ in 0..GENERATIONS {
            let known = sessions.get(&at.session).or_else(|| starts.get(&at.id));
            if known.is_some() {
                return known.copied();
            }
            at = by_id.get(&at.parent)?;
        }
        None
    };
    all.iter().filter_map(|one| Some((one.id, of(one)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_session_else_by_whom_it_descends_from() {
        let seen = |id, parent, session| Seen {
            id,
            parent,
            session,
            is_runnable: true,
            user_ticks: 0,
            system_ticks: 0,
            threads: 1,
            started: 0,
        };
        let all = [
            seen(1, 0, 1),
            // The emperor, and a hook of its own.
            seen(10, 1, 10),
            seen(11, 10, 10),
            // A master with a worker, which started one that left its session, and that another.
            seen(100, 10, 100),
            seen(101, 100, 100),
            seen(102, 101, 102),
            seen(103, 102, 103),
            // The same user's other vassal.
            seen(200, 10, 200),
            seen(201, 200, 200),
            // What a dead master left behind: in its session, a stray in another, and what that started.
            seen(301, 10, 300),
            seen(302, 10, 302),
            seen(303, 302, 303),
            // The pid of a dead master is somebody else's by now, and so is the session.
            seen(400, 1, 400),
            seen(401, 400, 400),
            // In a circle, as far as can be told.
            seen(500, 501, 500),
            seen(501, 500, 501),
        ];
        let head = |session, is_reaped, strays: &[u32]| Head {
            session,
            is_reaped,
            strays: strays.iter().copied().collect(),
        };
        let heads = BTreeMap::from([
            (1, head(100, false, &[])),
            (2, head(200, false, &[])),
            (3, head(300, true, &[302])),
            (4, head(400, true, &[])),
        ]);
        let expected =
            [(100, 1), (101, 1), (102, 1), (103, 1), (200, 2), (201, 2), (301, 3), (302, 3), (303, 3)];
        assert_eq!(of_lives(&all, &heads), BTreeMap::from(expected));
        assert_eq!(of_lives(&[], &heads), BTreeMap::new());
    }
}
