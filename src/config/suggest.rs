//! The option that somebody probably meant.

/// The candidate nearest to `word`, if one is near enough to be worth a question.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words may hold more slips; a name of three letters is near to everything.
    let most = match word.chars().count() {
        4..=5 => 1,
        6..=64 => 2,
        _ => return None,
    };
    let word = word.to_ascii_lowercase().replace('_', "-");
    let letters = letters(&word);
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most)
        .filter(|candidate| may_be_near(&letters, candidate, most))
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(word.len())))
        .map(|(_, candidate)| candidate)
}

/// How often each letter is in a word.
fn letters(word: &str) -> [i16; 32] {
    let mut counts = [0_i16; 32];
    for byte in word.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte & 31)) {
            *count = count.saturating_add(1);
        }
    }
    counts
}

/// Whether the letters alone allow so small a distance: a slip changes the counts of two at most.
fn may_be_near(counts: &[i16; 32], candidate: &str, most: usize) -> bool {
    let other = letters(candidate);
    let apart: usize = counts
        .iter()
        .zip(other)
        .map(|(one, other)| usize::from(one.abs_diff(other)))
        .fold(0, usize::saturating_add);
    apart <= most.saturating_mul(2)
}

/// How many letters must be put in, left out, changed, or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    // Rows of the usual table: before the last, the last, and the one being filled.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let mut previous = None;
    for (row, letter) in one.chars().enumerate() {
        let mut next = vec![row.saturating_add(1)];
        for (column, against) in other.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let changed = at(&last, column).saturating_add(usize::from(letter != *against));
            let left_out = at(&last, column.saturating_add(1)).saturating_add(1);
            let put_in = at(&next, column).saturating_add(1);
            let mut best = changed.min(left_out).min(put_in);
            let swapped = column
                .checked_sub(1)
                .is_some_and(|left| previous == Some(*against) && other.get(left) == Some(&letter));
            if swapped {
                best = best.min(at(&before, column.saturating_sub(1)).saturating_add(1));
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let names = ["processes", "harakiri", "vacuum", "chmod-socket", "threads", "uid", "module"];
        for (word, expected) in [
            ("process", Some("processes")),
            ("harakari", Some("harakiri")),
            ("vaccum", Some("vacuum")),
            ("chomd-socket", Some("chmod-socket")),
            ("chmod_socket", Some("chmod-socket")),
            ("thread", Some("threads")),
            ("Processes", Some("processes")),
            ("guid", Some("uid")),
            ("udi", None),
            ("user", None),
            ("base_dir", None),
            ("projectname", None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), expected, "{word}");
        }
    }
}
