//! Which lanes belong to which worker, and whose turn it is. Pure: no input or output, no clock.

use std::collections::BTreeMap;

/// A worker by its slot and generation.
pub(super) type WorkerKey = (u32, u64);

/// The workers with their lanes.
#[derive(Debug, Default)]
pub(super) struct Crews {
    crews: BTreeMap<WorkerKey, Crew>,
    /// The worker of each lane.
    lanes: Vec<Option<WorkerKey>>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Crew {
    lanes: Vec<usize>,
    last_use: u64,
    /// It gets no further request.
    released: bool,
}

impl Crews {
    /// A lane of the least busy worker that has an idle one; of several workers the one used last, whose memory is
    /// warm.
    pub(super) fn pick(&mut self, is_idle: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best: Option<(usize, u64, usize, &mut Crew)> = None;
        for crew in self.crews.values_mut().filter(|crew| !crew.released) {
            let mut idle = None;
            let mut busy = 0;
            for &lane in &crew.lanes {
                if is_idle(lane) {
                    idle = Some(lane);
                } else {
                    busy += 1;
                }
            }
            let Some(lane) = idle else { continue };
            let age = u64::MAX - crew.last_use;
            if best.as_ref().is_none_or(|(least, youngest, ..)| (busy, age) < (*least, *youngest)) {
                best = Some((busy, age, lane, crew));
            }
        }
        let (_, _, lane, crew) = best?;
        self.uses += 1;
        crew.last_use = self.uses;
        Some(lane)
    }

    /// Gives a worker a further lane, of those below `limit`.
    pub(super) fn join(&mut self, worker: WorkerKey, limit: usize) -> Option<usize> {
        let lane = match self.lanes.iter().position(Option::is_none) {
            Some(lane) => lane,
            None if self.lanes.len() < limit => {
                self.lanes.push(None);
                self.lanes.len() - 1
            }
            None => return None,
        };
        if let Some(place) = self.lanes.get_mut(lane) {
            *place = Some(worker);
        }
        self.crews.entry(worker).or_default().lanes.push(lane);
        Some(lane)
    }

    /// A lane is gone, and with its last one the worker.
    pub(super) fn leave(&mut self, lane: usize) {
        let Some(worker) = self.lanes.get_mut(lane).and_then(Option::take) else { return };
        let Some(crew) = self.crews.get_mut(&worker) else { return };
        crew.lanes.retain(|other| *other != lane);
        if crew.lanes.is_empty() {
            self.crews.remove(&worker);
        }
    }

    /// A worker gets no further request: its lanes, `None` when it has none.
    pub(super) fn release(&mut self, worker: WorkerKey) -> Option<&[usize]> {
        let crew = self.crews.get_mut(&worker)?;
        crew.released = true;
        Some(&crew.lanes)
    }

    /// Whether the worker of a lane was released.
    pub(super) fn is_released(&self, lane: usize) -> bool {
        let worker = self.lanes.get(lane).copied().flatten();
        worker.and_then(|worker| self.crews.get(&worker)).is_some_and(|crew| crew.released)
    }

    /// Whether a worker has lanes.
    pub(super) fn has_lanes(&self, worker: WorkerKey) -> bool {
        self.crews.contains_key(&worker)
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.crews.values().map(|crew| crew.lanes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crews(lanes: &[u32]) -> Crews {
        let mut crews = Crews::default();
        for (number, worker) in lanes.iter().enumerate() {
            assert_eq!(crews.join((*worker, 1), 10), Some(number));
        }
        crews
    }

    #[test]
    fn the_least_busy_worker_is_chosen_and_of_equals_the_one_used_last() {
        let mut crews = crews(&[0, 0, 1, 1]);
        let mut idle = vec![true; 4];
        let mut pick = |idle: &[bool]| crews.pick(|lane| idle[lane]);
        let first = pick(&idle).unwrap();
        idle[first] = false;
        let second = pick(&idle).unwrap();
        assert_ne!(first < 2, second < 2, "two workers, a request each");
        idle[second] = false;
        let third = pick(&idle).unwrap();
        assert_eq!(third < 2, second < 2, "both have one: the one used last is warm");
        idle[third] = false;
        assert_eq!(pick(&idle).map(|lane| lane < 2), Some(first < 2));
        assert_eq!(pick(&[false; 4]), None);
        assert_eq!(pick(&[true; 4]).map(|lane| lane < 2), Some(first < 2));
    }

    #[test]
    fn a_released_worker_is_not_chosen_and_gone_with_its_last_lane() {
        let mut crews = crews(&[0, 0, 1]);
        assert_eq!(crews.release((0, 1)), Some(&[0, 1][..]));
        assert!(crews.is_released(0) && crews.is_released(1) && !crews.is_released(2));
        assert_eq!(crews.pick(|_| true), Some(2));
        crews.leave(0);
        crews.leave(0);
        assert!(crews.has_lanes((0, 1)));
        crews.leave(1);
        assert!(!crews.has_lanes((0, 1)) && crews.release((0, 1)).is_none());
        assert_eq!(crews.lanes(), 1);
    }

    #[test]
    fn numbers_are_used_again_and_have_a_limit() {
        let mut crews = crews(&[0, 0, 1]);
        crews.leave(1);
        assert_eq!(crews.join((2, 1), 3), Some(1));
        assert_eq!(crews.join((2, 1), 3), None);
    }
}
