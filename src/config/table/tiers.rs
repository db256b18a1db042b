//! The options that users of uWSGI need, tier by tier: the table is held to them.
//!
//! `tiers.txt` says how much each is needed, from the use of real files, and the type that its value has in uWSGI.

use super::{Kind, Row, Standing, find};

const TIERS: &str = include_str!("tiers.txt");

/// Tier, type, name and aliases of every option.
fn tiers() -> impl Iterator<Item = (u8, &'static str, Vec<&'static str>)> {
    TIERS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let mut words = line.split(' ');
        (words.next().unwrap().parse().unwrap(), words.next().unwrap(), words.collect())
    })
}

/// Where we differ from a tier on purpose.
const DIFFERENCES: &[(&str, &str)] = &[
    ("http-buffer-size", "buffers grow as they are needed"),
    ("post-buffering-bufsize", "files are read in large pieces"),
    ("http-cheap", "nobody subscribes to the router"),
    ("drop-after-apps", "no application is loaded as root"),
    ("master-as-root", "a master has the rights of its workers"),
    ("chroot", "what a reload executes must stay in reach"),
    ("emperor-magic-exec", "no file of a watched directory is executed"),
    ("http-chunked-input", "bodies reach the application decoded"),
    ("http-raw-body", "bodies reach the application decoded"),
    ("check-static-docroot", "no variable of a request names a directory"),
    ("forkbomb-delay", "deaths are followed by growing delays"),
    ("py-programname", "a real interpreter runs the workers"),
    ("py-executable", "a real interpreter runs the workers"),
];

#[test]
fn the_table_holds_every_option_in_the_place_of_its_tier() {
    let mut wrong = Vec::new();
    let mut count = [0; 5];
    for (tier, kind, names) in tiers() {
        count[usize::from(tier)] += 1;
        for name in names {
            let Some(row) = find(name) else {
                wrong.push(format!("{name}: is missing"));
                continue;
            };
            if !fits(tier, row) && !DIFFERENCES.iter().any(|(different, _)| *different == name) {
                wrong.push(format!("{name}: {:?} is not for tier {tier}", row.standing));
            }
            if !is_of_kind(tier, kind, row) {
                wrong.push(format!("{name}: {:?} is not a {kind}", row.kind));
            }
            let is_language = row.kind == Kind::Language;
            if matches!(row.standing, Standing::Obeyed(_)) && row.default.is_empty() && !is_language {
                wrong.push(format!("{name}: has no default"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count[1] > 100 && count[2] > 100 && count[3] > 50 && count[4] > 100, "{count:?}");
}

fn fits(tier: u8, row: &Row) -> bool {
    use Standing::{Always, CommandLine, NoEffect, Obeyed, Refused};
    match (tier, row.standing) {
        (1 | 2, Obeyed(_) | CommandLine | Always) => true,
        // Better than asked for.
        (3, Obeyed(_) | Always | NoEffect) | (4, Obeyed(_) | Refused) => true,
        _ => false,
    }
}

fn is_of_kind(tier: u8, kind: &str, row: &Row) -> bool {
    use Kind::{Address, Flag, FreeText, Identity, Language, Mode, Number, Pair, Path, Text};
    match kind {
        "-" => true,
        // A value that is refused needs no more than to be taken from the command line.
        _ if tier == 4 => (kind == "flag") == (row.kind == Flag) || kind == "int",
        "flag" => row.kind == Flag || row.kind == Language,
        "int" | "int16" | "int64" | "MiB" => row.kind == Number,
        "address" | "address-list" => matches!(row.kind, Address | FreeText),
        "mode" | "octal" => row.kind == Mode,
        "user" | "group" => row.kind == Identity,
        "NAME=value-list" | "map-list" => matches!(row.kind, Pair | FreeText),
        "logic" | "file" | "k=v" => matches!(row.kind, Language | Text | Path),
        _ => !matches!(row.kind, Flag | Number | Mode),
    }
}
