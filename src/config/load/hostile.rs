//! Files that are meant to cost much cost little.

use super::fake::Imagined;
use super::tests::load;
use super::*;

#[test]
fn hostile_files_cost_a_bounded_amount() {
    let bomb: String = (0..60).map(|n| format!("x{n} = %(x{0})%(x{0})%(x{0})\n", n + 1)).collect();
    let chain: String = (0..5000).map(|n| format!("x{n} = a%(x{})\n", n + 1)).collect();
    let loops = "for-times = 9999\n".repeat(6) + "k = %(_)%(_)\n";
    let nested = "x = ".to_owned() + &"%(".repeat(30_000);
    let twice = "ini = :uwsgi\n".repeat(3000);
    let sets = format!("{}a=b", "set=".repeat(15_000));
    let keys = "k = v\n".repeat(60_000);
    let long = format!("x = {}", "y".repeat(1 << 20));
    let items = format!("for = {}\n{}", "a ".repeat(30_000), "k = %(_)\n".repeat(2000));
    let many = format!("for-times = 1000000\n{}", "k = %(_)\n".repeat(100));
    let lines_of_a_file = "for-readline = lines\nk = %(_)\n".to_owned();
    let unknown: String = (0..20_000).map(|n| format!("unknown-option-{n} = 1\n")).collect();
    let started = std::time::Instant::now();
    for lines in
        [&bomb, &chain, &loops, &nested, &twice, &sets, &keys, &long, &items, &many, &lines_of_a_file]
    {
        let loaded = load(lines, &Imagined::new(&[("/srv/lines", &"line\n".repeat(100_000))]));
        assert!(loaded.diagnostics.len() < 500);
        assert!(loaded.spec.is_none() || lines == &nested, "{:.60}", lines);
    }
    assert!(load(&unknown, &Imagined::new(&[])).diagnostics.len() < 500);
    // A generous bound, for a loaded machine without optimisation.
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

/// What each format is bad at: deep nests, lists without end, attributes that are compared each with each, names that
/// stand for others.
#[test]
fn hostile_files_of_other_formats_are_refused() {
    const LENGTH: usize = 300_000;
    let numbered = |part: &str, length: usize| -> String {
        (0..LENGTH / length).map(|n| part.replace('#', &n.to_string())).collect()
    };
    for (name, text, expected) in [
        ("a.json", format!("{{\"uwsgi\":{{\"a\":{}", "[".repeat(LENGTH)), "EOF"),
        ("b.json", "{\"a\":".repeat(LENGTH / 5), "EOF"),
        ("c.json", format!("{{\"uwsgi\":{{\"a\":[{}1]}}}}", "1,".repeat(LENGTH)), "more than 50000 entries"),
        ("d.json", format!("{{\"uwsgi\":{{\"a\":\"{}\"}}}}", "x".repeat(LENGTH)), "at most"),
        ("e.json", format!("{{\"uwsgi\":{{\"a\":\"{}\"}}}}", "%p".repeat(1_000_000)), "magic variables"),
        ("f.json", "{\"uwsgi\":{\"a\":\"\0\"}}".to_owned(), "NUL"),
        ("a.yaml", format!("uwsgi:\n  a: {}", "[".repeat(LENGTH)), "nest more than|recursion limit"),
        ("b.yaml", format!("uwsgi:\n  a: {}", "{a: ".repeat(LENGTH / 4)), "nest more than|recursion limit"),
        (
            "c.yaml",
            format!("uwsgi:\n  a:\n    {}1", "- ".repeat(LENGTH / 2)),
            "nest more than|recursion limit",
        ),
        ("d.yaml", format!("x: {}", "[".repeat(LENGTH)), "recursion limit|flow|end of stream"),
        ("e.yaml", "x: &a [1]\ny: &b [*a, *a]\nuwsgi:\n  a: [*b, *b]\n".to_owned(), "an alias is not read"),
        ("f.yaml", format!("uwsgi:\n{}", "  a: 1\n".repeat(60_000)), "more than 50000 entries"),
        ("g.yaml", format!("uwsgi:\n  a: \"{}", "\\".repeat(LENGTH)), "error parsing YAML"),
        ("a.xml", format!("<uwsgi>{}", "<a>".repeat(LENGTH)), "error parsing XML"),
        ("b.xml", format!("<uwsgi {}/>", numbered("a#=\"1\" ", 10)), "quotes"),
        ("c.xml", format!("<uwsgi>{}", numbered("<a xmlns:x#=\"u#\">", 20)), "name spaces"),
        (
            "d.xml",
            "<!DOCTYPE u [<!ENTITY a \"b\"><!ENTITY c \"&a;&a;\">]><uwsgi><a>&c;</a></uwsgi>".to_owned(),
            "DTD",
        ),
        ("e.xml", format!("<uwsgi><a>{}</a></uwsgi>", "&amp;".repeat(LENGTH / 4)), "at most"),
        ("f.xml", format!("<uwsgi>{}</uwsgi>", "<a/>".repeat(60_000)), "more than 50000 entries"),
    ] {
        let loaded = vassal(&format!("/srv/{name}"), text.as_bytes(), &Imagined::new(&[]));
        let told = format!("{:?}", loaded.errors().collect::<Vec<_>>());
        assert!(expected.split('|').any(|part| told.contains(part)), "{name}: {:.300}", told);
        assert!(loaded.spec.is_none(), "{name}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut file = b"[uwsgi]\n".to_vec();
            file.extend(bytes);
            let loaded = vassal("/srv/app.ini", &file, &Imagined::new(&[]));
            prop_assert_eq!(loaded.spec.is_none(), loaded.errors().count() > 0);
        }

        #[test]
        fn no_lines_panic(lines in prop::collection::vec(
            "(processes|socket|x|y|for|if-env|endif|else|ini|set|env|chdir|listen|umask|%n) = (%\\(x\\)|%\\(y \\+ 1\\)|\\$\\(A\\)|@\\(b\\)|:80|:uwsgi|a=b|%\\(_\\)|é|[0-9]{1,30}|[ -~]{0,8})",
            0..20,
        )) {
            let world = Imagined::new(&[("/srv/b", "%(x)")]).with("A", "%(y)");
            let loaded = load(&lines.join("\n"), &world);
            prop_assert_eq!(loaded.spec.is_none(), loaded.errors().count() > 0);
        }
    }
}
