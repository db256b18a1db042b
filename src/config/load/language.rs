//! The language in whole configurations: includes, blocks, expansion, names of files.

use std::path::PathBuf;

use super::fake::Imagined;
use super::tests::{BASE, load, told};
use super::*;

#[test]
fn a_file_without_the_section_is_refused() {
    for bytes in [&b""[..], b"\xff\xfe", b"[other]\na = b\n", b"processes = 4\n"] {
        let loaded = vassal("/srv/app.ini", bytes, &Imagined::new(&[]));
        assert!(told(&loaded).iter().any(|line| line.contains("has no section [uwsgi]")), "{bytes:?}");
    }
}

#[test]
fn what_a_long_file_says_to_the_emperor_at_its_end_is_told_to_have_no_effect() {
    for (comments, expected) in [(1_000, None), (40_000, Some(40_006))] {
        let comments = "#\n".repeat(comments);
        let text = format!("{BASE}[emperor]\nteam = red\n{comments}on-demand = :1\nteam = blue\n");
        let loaded = vassal("/srv/app.ini", text.as_bytes(), &Imagined::new(&[]));
        let mut told = loaded.diagnostics.iter().filter(|told| told.message.contains("the emperor reads"));
        assert_eq!(told.next().map(|told| told.line.unwrap()), expected);
        assert!(told.next().is_none(), "once");
    }
}

#[test]
fn a_binary_file_is_refused_in_one_line() {
    let loaded = vassal("/srv/app.ini", b"\x89PNG %a\n\x00\xff%z\n", &Imagined::new(&[]));
    assert_eq!(told(&loaded), ["/srv/app.ini:2: error: this is no text in UTF-8: there is a NUL byte in it"],);
}

#[test]
fn logic_includes_and_expansion_meet() {
    const LOADING: [&str; 11] =
        ["ini", "inherit", "include", "set", "json", "js", "yaml", "yml", "xml", "xmlconfig", "config"];
    let rows = [
        ("if-env = A\nx = %(_)\nelse\nx = no\nendif", "x=1"),
        ("if-env = B\nx = yes\nelse\nx = no\nendif", "x=no"),
        ("if-env = A=2\nx = yes\nendif\ny = 3", "y=3"),
        ("if-not-env = B\nx = yes\nend", "x=yes"),
        ("for = a b\nk1 = %(_)\nk2 = %(_)\nendfor", "k1=a k1=b k2=a k2=b"),
        ("for-times = 2\nk = %(_)\nend-for", "k=1 k=2"),
        ("y = 2\nfor = %(y)/a $(A)b @(two) =;\nk = x%(_)\nend", "y=2 k=x2/a k=x1b k=x2 k=x=;"),
        ("for = a=1 b=2\nset = %(_)\nend", "a=1 b=2"),
        ("y = 2\nfor-glob = /no%(y)*\nk = %(_)\nend", "y=2 k=/no2*"),
        ("y = 2\nfor-readline = odd\nk = %(_)\nend", "y=2 k=2 k=1 k=@(two)"),
        ("y = %(A)\nA = 2\nif-opt = y\nk = %(_)\nend", "y=2 A=2 k=2"),
        ("y = 2\nif-not-exists = /no%(y)\nk = %(_)\nend", "y=2 k=/no2"),
        ("inherit = /etc/h.ini\nx = 1", "x=1 z=1 y=2 in=a z=%(in)"),
        ("for = a b\nif-file = /srv/%(_).ini\nk = %(_)\nendif\nl = %(_)\nendfor", "k=/srv/a.ini l=a l=b"),
        ("for-glob = /srv/*.ini\nk = %(_)\nend", "k=/srv/a.ini"),
        ("for-glob = /no/*\nk = %(_)\nend", "k=/no/*"),
        ("for-readline = lines\nk = %(_)\nend", "k=one k=two"),
        ("if-opt = module=app\nx = 1\nendif", "x=1"),
        ("if-dir = /srv\nx = %(_)\nend", "x=/srv"),
        ("if-exists = $(HERE)/a.ini\nx = %(_)\nend", "x=/srv/a.ini"),
        ("if-not-opt = gone\nx = 1\nend\nif-not-opt = module\ny = 1\nend", "x=1"),
        ("if-not-exists = /gone\nx = 1\nend\nif-not-exists = /srv/a.ini\ny = 1\nend", "x=1"),
        ("if-not-file = /srv\nx = 1\nend\nif-not-file = /srv/a.ini\ny = 1\nend", "x=1"),
        ("if-not-dir = /srv/a.ini\nx = 1\nend\nif-not-dir = /srv\ny = 1\nend", "x=1"),
        ("if-not-hostname = other\nx = 1\nend\nif-not-hostname = host\ny = 1\nend", "x=1"),
        ("if-not-plugin = php\nx = 1\nend\nif-not-plugin = python3\ny = 1\nend", "x=1"),
        ("if-not-reload =\nx = 1\nend", "x=1"),
        ("if-hostname = host\nx = 1\nend\nif-reload\ny = 1\nend", "x=1"),
        ("if-plugin = python3\nx = 1\nend\nif-plugin = php\ny = 1\nend", "x=1"),
        ("ini = a.ini", "in=a z=a"),
        ("json = a.json", "in=a z=a l=1 l=2"),
        ("js = a.json:web", "w=a.json"),
        ("config = a.json:web", "w=a.json"),
        ("include = a.json", "in=a z=a l=1 l=2"),
        ("inherit = a.json", "in=a z=%(in) l=1 l=2"),
        ("yaml = a.yml\nyml = :web", "in=a z=a l=1 l=2 w=1"),
        ("xml = a.xml", "in=a w=1 z=a l=1 l=2"),
        ("xmlconfig = a.xml:web", "in=a w=1 z=a l=1 l=2"),
        ("for = 1 2\njson = a.json:web\nend", "w=a.json w=a.json"),
        ("ini = :base\n[base]\nb = 1", "b=1"),
        ("ini = /srv/app.ini:base\n[base]\nb = 1", "b=1"),
        ("ini = %p:base\n[base]\nb = %x%o", "b=base/srv/app.ini"),
        ("for = 1 2\nini = a.ini\nend", "in=a z=a in=a z=a"),
        ("inherit = a.ini\nx = 1", "x=1 in=a z=%(in)"),
        ("x = $(A)$(NONE)", "x=1$(NONE)"),
        ("x = $(NONE:-d)$(A:-d)$(NONE-e)", "x=d1e"),
        ("x = $(id -u) $(cat x-y:-z)", "x=$(id -u) $(cat x-y:-z)"),
        ("x = @(lines)", "x=one\ntwo"),
        ("x = /log/@(exec://echo %%n %n).log", "x=/log/%n app.log"),
        ("x = @(exec://later)", "x=@(exec://later)"),
        ("ini = exec://echo [uwsgi]|x = 1", "x=1"),
        ("w1 = %(w2)\nw2 = %(w3)\nw3 = end", "w1=end w2=end w3=end"),
        ("x = 1\nx = 2\ny = %(x)", "x=1 x=2 y=1"),
        ("x = %(nope)%(also nope)", "x=%(nope)"),
        ("set = x=%(A)\nA = v", "x=v A=v"),
        ("A = B\nB = v\nx = %(%(A)) %(none%(A)) %((%(y) + 1) * 2)\ny = 2", "A=B B=v x=v %(noneB) 6 y=2"),
        ("if-hostname-match = ^h.st$\nx = %(_)\nend\nif-not-hostname-match = h\nx = 1\nend", "x=^h.st$"),
        ("blacklist = x y\nz = 1\nend-blacklist =\nx = 2", "z=1 x=2"),
        ("whitelist = x\nx = 1\nend-whitelist\nz = 2", "x=1 z=2"),
        ("x = %%(y)", "x=%(y)"),
        ("x = %( )%(++ )%(y ++)\ny = 2", "x=%( )%(++ )3 y=2"),
        ("x = %(a%(y)b\ny = 2", "x=%(a2b y=2"),
        ("x = @()$()%()", "x=@()$()%()"),
        ("x = $(A(B))$(A(", "x=paren$(A("),
        ("x = @(exec://echo (a) b)c", "x=(a) bc"),
        ("= y\nx = 1", "x=1"),
        ("iffile = /gone\nx = 1\nendif", "iffile=/gone x=1"),
        (
            "early-envdir = vars\nx = $(EARLY)$(A)\nif-env = EARLY\ny = %(_)\nend",
            "early-envdir=vars x=bird$(A) y=bird",
        ),
    ];
    for (lines, expected) in rows {
        let world = Imagined::new(&[
            ("/srv/a.ini", "[uwsgi]\nin = %n\nz = %(in)\n"),
            ("/srv/lines", "one\ntwo\n"),
            ("/srv/odd", "%(y)\n$(A)\n@(two)\n"),
            ("/srv/two", "2\n"),
            ("/etc/h.ini", "[uwsgi]\nz = 1\ninherit = a.ini\ny = 2\n"),
            ("/srv/vars/EARLY", "bird\n"),
            ("/srv/vars/A", ""),
            ("/srv/a.json", r#"{"uwsgi": {"in": "%n", "z": "%(in)", "l": [1, 2]}, "web": {"w": "%s"}}"#),
            ("/srv/a.yml", "uwsgi:\n  in: %n\n  z: %(in)\n  l: [1, 2]\nweb:\n  w: 1\n"),
            ("/srv/a.xml", "<uwsgi><in>%n</in><w id='web'>1</w><z>%(in)</z><l>1</l><l>2</l></uwsgi>"),
        ]);
        let world = world.with("A", "1").with("A(B)", "paren").with("HERE", "/srv");
        let mut assembly = Assembly::new(&world);
        let file = format!("[uwsgi]\nmodule = app\n{lines}");
        assembly.vassal("/srv/app.ini", file.as_bytes(), &VassalOptions::default());
        let raw = assembly.finish();
        let acted = |key: &str| key.ends_with("list") || crate::config::logic::Word::of(key).is_some();
        let said: Vec<_> = raw
            .said()
            .into_iter()
            .skip(2)
            .filter(|(key, _)| !acted(key) && !LOADING.contains(&key.as_str()))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(said.join(" "), expected, "{lines}: {:?}", raw.diagnostics);
    }
}

#[test]
fn a_vassals_name_is_data() {
    let files = [
        ("ini", format!("{BASE}logto = /log/%s\n")),
        ("json", r#"{"uwsgi": {"http-socket": ":8080", "module": "app", "logto": "/log/%s"}}"#.to_owned()),
        ("yaml", "uwsgi:\n  http-socket: :8080\n  module: app\n  logto: /log/%s\n".to_owned()),
        (
            "xml",
            "<uwsgi><http-socket>:8080</http-socket><module>app</module><logto>/log/%s</logto></uwsgi>"
                .to_owned(),
        ),
    ];
    for stem in [
        "$(HOME)",
        "@(passwd)",
        "%(module)",
        "a\nuid = root",
        "a\n  uid: root\n  b: ",
        "\",\"uid\":\"root",
        "</logto><uid>root</uid><b>",
        "&lt; # x",
        "a: b",
        "100%",
        "-x y;z#",
        "'\\",
    ] {
        for (extension, text) in &files {
            let name = format!("{stem}.{extension}");
            let path = format!("/srv/{name}");
            let world = Imagined::new(&[("/srv/passwd", "root")]).with("HOME", "/root");
            let loaded = vassal(&path, text.as_bytes(), &world);
            let spec = loaded.spec.unwrap_or_else(|| panic!("{path}: {:?}", loaded.diagnostics));
            if !name.contains('/') {
                assert_eq!(spec.log.logto, Some(PathBuf::from(format!("/log/{name}"))));
                assert_eq!(spec.name, name);
            }
            assert_eq!(spec.identity.uid, None);
        }
    }
}

#[test]
fn a_vassal_takes_only_what_is_meant_for_it_from_the_environment() {
    let world = Imagined::new(&[]).with("UWSGI_EMPEROR", "/etc").with("UWSGI_VASSAL_THREADS", "3");
    let spec = load("", &world).spec.unwrap();
    assert_eq!((spec.workers.threads, spec.emperor.len()), (3, 0));
}
