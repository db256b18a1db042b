//! Command lines and the options of emperors, as they are read.

use super::fake::Imagined;
use super::tests::told;
use super::*;
use crate::config::command_line;
use crate::config::emperor::Source;
use crate::config::instance::AppSource;

#[test]
fn emperors_are_read() {
    let world = Imagined::new(&[
        ("/srv/e.ini", "[uwsgi]\nemperor = vassals\nuid = www-data\nmaster = true\n"),
        ("/srv/x.ini", "x"),
        ("/srv/late.ini", "[uwsgi]\nemperor = vassals\nuid = www-data\nearly-emperor = false\n"),
    ]);
    let read = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let raw = command_line::read(&arguments, &world).raw;
        assert!(raw.is_emperor(), "{arguments:?}");
        emperor(raw, &world)
    };
    let spec = read("e.ini").spec.unwrap();
    assert_eq!(spec.sources, [Source::Directory("/srv/vassals".into())]);
    assert_eq!(spec.identity.uid.as_deref(), Some("www-data"));
    let spec = read(
        "--emperor /a/ --emperor /b/*/x.ini --emperor dir:///c.ini --emperor x.ini --emperor new.yaml --emperor \
         glob:///d --api-http 127.0.0.1:90 --emperor-freq 5 --emperor-nofollow --emperor-extra-extension .skel",
    );
    let spec = spec.spec.unwrap();
    let (directory, pattern) =
        (|path: &str| Source::Directory(path.into()), |path: &str| Source::Pattern(path.into()));
    let expected = [
        directory("/a"),
        pattern("/b/*/x.ini"),
        directory("/c.ini"),
        pattern("/srv/x.ini"),
        pattern("/srv/new.yaml"),
        pattern("/d"),
    ];
    assert_eq!(spec.sources, expected);
    assert_eq!((spec.nofollow, spec.extra_extensions), (true, vec![".skel".to_owned()]));
    assert_eq!((spec.api_http, spec.rescan_ms), (Some(("127.0.0.1".into(), 90)), 5000));
    let early = read("--emperor /v --early-emperor --uid www-data --gid www-data --cap kill --umask 027");
    let told: Vec<_> = early.diagnostics.iter().map(ToString::to_string).collect();
    let identity = early.spec.unwrap().identity;
    assert_eq!((identity.uid, identity.gid, identity.capabilities.len()), (None, None, 0));
    assert_eq!(identity.umask, Some(0o027));
    assert!(
        told.len() == 3 && told.iter().all(|line| line.contains("the emperor keeps its rights")),
        "{told:?}"
    );
    assert!(read("late.ini").spec.unwrap().identity.uid.is_some());
    for (arguments, expected) in [
        ("--emperor /v", (30_000, 30_000)),
        ("--emperor /v --emperor-curse-tolerance 7", (7_000, 7_000)),
        ("--emperor /v --reload-mercy 8", (8_000, 8_000)),
        ("--emperor /v --reload-mercy 8 --emperor-curse-tolerance 7", (7_000, 8_000)),
        ("--emperor /v --emperor-curse-tolerance 7 --reload-mercy 8", (7_000, 8_000)),
    ] {
        let spec = read(arguments).spec.unwrap();
        assert_eq!((spec.mercy_ms(), spec.end_mercy_ms()), expected, "{arguments}");
    }
    for guarded in ["--api-token-file /t", "--api-tls c,k,ca"] {
        assert!(read(&format!("--emperor /a --api-http 0.0.0.0:90 {guarded}")).spec.is_some(), "{guarded}");
    }
    for (arguments, expected) in [
        ("--emperor /a/[x.ini", "is no pattern"),
        ("--emperor pg://x", "no pg:// monitor (let a script write"),
        ("--emperor mongodb://x", "no mongodb:// monitor (let a script write"),
        ("--emperor zmq://tcp://x", "no zmq:// monitor (let a script write"),
        ("--emperor amqp://x", "no amqp:// monitor (let a script write"),
        ("--emperor /v --emperor-broodlord 3", "give it `processes` enough"),
        ("--emperor /v --emperor-proxy-socket x", "name the program"),
        ("--emperor /v --emperor-command-socket x", "API"),
        ("--emperor /v --emperor-trigger-socket x", "API"),
        ("--emperor /a --module app", "an emperor serves no application itself"),
        ("--emperor /a --api-http 0.0.0.0:90", "not a loopback address"),
        ("--emperor /a --api-http web1:90 --api-tls c,k", "not a loopback address"),
        ("--emperor /a --api-http :90 --api-tls c", "this is not CERTIFICATE,KEY"),
        (
            "--emperor /a --emperor-magic-exec",
            "liege does not do this (what is dropped into a watched directory",
        ),
    ] {
        let loaded = read(arguments);
        let told: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(
            loaded.spec.is_none() && told.iter().any(|line| line.contains(expected)),
            "{arguments}: {told:?}"
        );
    }
}

#[test]
fn command_lines_serve() {
    let world = Imagined::new(&[]);
    let line = "--http :9090 --wsgi-file foobar.py --master --processes 4 --threads 2 --stats 127.0.0.1:9191";
    let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
    let raw = command_line::read(&arguments, &world).raw;
    assert!(!raw.is_emperor());
    let loaded = instance(raw, &world);
    assert_eq!(told(&loaded), Vec::<String>::new());
    let spec = loaded.spec.unwrap();
    assert_eq!(spec.app.load, Some(AppSource::File("/srv/foobar.py".into())));
    assert_eq!((spec.workers.processes, spec.workers.threads, spec.name.as_str()), (4, 2, "foobar.py"));
    assert_eq!(spec.said.first(), Some(&("http".to_owned(), ":9090".to_owned())));
}
