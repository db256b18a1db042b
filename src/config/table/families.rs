//! uWSGI's other options, family by family: nobody was seen to use them, and yet none is taken for a placeholder.
//!
//! `families.txt` holds the names: a line with what becomes of the family and why, then its names. `name!` is a flag,
//! `name?` may stand without a value on the command line.

use std::sync::LazyLock;

use super::{Kind, Row, Standing};

/// The rows, three for each family at most: options, flags, and those whose value may be missing.
pub(super) static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| read(include_str!("families.txt")));

fn read(text: &'static str) -> Vec<Row> {
    let mut rows = Vec::new();
    for family in text.split("\n\n") {
        let Some((head, names)) = family.split_once('\n') else { continue };
        let (standing, doc) = match head.split_once(": ") {
            Some(("accepted", doc)) => (Standing::NoEffect, doc),
            Some((_, doc)) => (Standing::Refused, doc),
            None => continue,
        };
        let row = |mark: Option<char>, kind| {
            let is_marked =
                |name: &&str| name.chars().next_back().filter(|last| "!?".contains(*last)) == mark;
            let plain = |name: &'static str| name.trim_end_matches(['!', '?']);
            let names: Vec<&str> = names.split_whitespace().filter(is_marked).map(plain).collect();
            Row::new(names.leak(), kind, standing, "", doc)
        };
        rows.extend([row(None, Kind::FreeText), row(Some('!'), Kind::Flag)]);
        rows.push(row(Some('?'), Kind::Text).optional());
    }
    rows.retain(|row| !row.names.is_empty());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_row_for_each_kind() {
        let rows = read("refused: Lua is another language\na b!\nc? d\n\naccepted: a detail\ne");
        let told: Vec<_> = rows.iter().map(|row| (row.names, row.kind, row.optional, row.standing)).collect();
        let expected: [(&[&str], _, _, _); 4] = [
            (&["a", "d"], Kind::FreeText, false, Standing::Refused),
            (&["b"], Kind::Flag, false, Standing::Refused),
            (&["c"], Kind::Text, true, Standing::Refused),
            (&["e"], Kind::FreeText, false, Standing::NoEffect),
        ];
        assert_eq!(told, expected);
    }
}
