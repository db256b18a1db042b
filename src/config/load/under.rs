//! What an emperor says to all vassals, and what they make of it.

use super::fake::Imagined;
use crate::config::vassals::VassalOptions;
use crate::config::{command_line, load};

/// The entries of a vassal's configuration below an emperor with this command line, besides the words of the language.
fn said(emperor: &str, vassal: &str) -> Vec<String> {
    let world = Imagined::new(&[
        ("/srv/app.ini", vassal),
        ("/srv/before.ini", "[uwsgi]\nprocesses = 2\nenv = BEFORE=%N\nenv = OWN=%n\n"),
        ("/srv/after.ini", "[uwsgi]\nprocesses = 3\nenv = AFTER=%N\n"),
        ("/srv/template.ini", "[uwsgi]\nenv = INHERITED=%(x)\n"),
        ("/srv/emperor.ini", "[uwsgi]\nemperor = /v\nvassals-default = procname-prefix=%%n of %n\n"),
    ]);
    let arguments: Vec<String> = emperor.split_whitespace().map(str::to_owned).collect();
    let raw = command_line::read(&arguments, &world).raw;
    let spec = load::emperor(raw, &world).spec.expect("the emperor's options are good");
    let loaded = load::vassal_under(&spec.vassals, "/srv/app.ini", vassal.as_bytes(), &world);
    assert!(loaded.spec.is_some(), "{vassal}: {:?}", loaded.diagnostics);
    let spec = loaded.spec.unwrap();
    let words = ["http-socket", "include", "inherit", "ini", "set", "if-opt", "endif"];
    spec.said
        .into_iter()
        .filter(|(key, _)| !words.contains(&key.as_str()))
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

#[test]
fn options_for_all_vassals_come_in_the_order_of_uwsgi() {
    let emperor = "--emperor /v --vassals-include after.ini --vassal-set processes=9 --vassals-set x=1 \
                   --vassals-include-before before.ini --vassals-inherit template.ini";
    let expected = [
        "processes=2",
        "env=BEFORE=app",
        "env=OWN=before",
        "processes=9",
        "x=1",
        "processes=4",
        "processes=3",
        "env=AFTER=app",
        "env=INHERITED=%(x)",
    ];
    assert_eq!(said(emperor, "[uwsgi]\nhttp-socket = :80\nprocesses = 4\n"), expected);
    assert_eq!(said("--emperor /v", "[uwsgi]\nhttp-socket = :80\nprocesses = 4\n"), ["processes=4"]);
}

#[test]
fn a_default_sees_the_vassals_names_and_gives_way_to_what_it_says_itself() {
    for (emperor, vassal, expected) in [
        ("--ini emperor.ini", "", &["procname-prefix=app of emperor"][..]),
        ("--ini emperor.ini", "procname-prefix = mine", &["procname-prefix=mine"]),
        ("--emperor /v --vassals-default socket=/run/%n.sock", "", &["socket=/run/app.sock"]),
        ("--emperor /v --vassals-default workers=7", "processes = 4", &["processes=4"]),
        ("--emperor /v --vassals-default env=A=1 --vassals-default env=B=2", "", &["env=A=1", "env=B=2"]),
        ("--emperor /v --vassals-default env=A=1", "env = B=2", &["env=B=2"]),
        ("--emperor /v --vassals-default need-app=true", "need-app = false", &["need-app=false"]),
        ("--emperor /v --vassals-default processes=7 --vassal-set processes=5", "", &["processes=5"]),
        (
            "--emperor /v --vassals-default processes=7",
            "threads = %(processes)\nif-opt = processes=4\nenv = A=early\nendif\nprocesses = 4\n\
             if-opt = processes=4\nenv = A=four\nendif",
            &["threads=4", "processes=4", "env=A=four"],
        ),
        (
            "--emperor /v --vassals-default workers=7",
            "if-opt = workers=7\nenv = A=%(_)\nendif\nthreads = %(workers)",
            &["workers=7", "env=A=7", "threads=7"],
        ),
    ] {
        assert_eq!(
            said(emperor, &format!("[uwsgi]\nhttp-socket = :80\n{vassal}\n")),
            expected,
            "{emperor}: {vassal}"
        );
    }
}

#[test]
fn a_file_with_nothing_in_it_is_a_name_where_the_emperor_says_all() {
    let emperor = "--emperor /v --vassals-default socket=/run/%n.sock";
    for nothing in ["", "; nothing\n", "[emperor]\nteam = blue\n", "[uwsgi]\n"] {
        assert_eq!(said(emperor, nothing), ["socket=/run/app.sock"], "{nothing:?}");
    }
}

#[test]
fn what_cannot_be_said_to_all_is_refused() {
    let world = Imagined::new(&[]);
    for (option, expected) in [
        ("--vassal-set processes", "name=value"),
        ("--vassals-default processes", "name=value"),
        ("--vassals-default proceses=3", "there is no option `proceses`"),
        ("--vassals-default include=x.ini", "cannot be a default"),
    ] {
        let arguments: Vec<String> = format!("--emperor /v {option}").split(' ').map(str::to_owned).collect();
        let loaded = load::emperor(command_line::read(&arguments, &world).raw, &world);
        let told: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(expected)), "{option}: {told:?}");
        assert!(loaded.spec.is_none());
    }
    assert_eq!(VassalOptions::default().before, []);
}
