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
    let closed = |open: &str| format!("x = {}{}\n", open.repeat(20_000), ")".repeat(20_000)).repeat(8);
    let (variables, sources, names) = (closed("$("), closed("@("), closed("%("));
    let heirs = "inherit = app.ini\n".repeat(40);
    let pattern = format!("if-hostname-match = {}\nend", "(a*)*".repeat(5000));
    let twice = "ini = :uwsgi\n".repeat(3000);
    let sets = format!("{}a=b", "set=".repeat(15_000));
    let keys = "k = v\n".repeat(60_000);
    let long = format!("x = {}", "y".repeat(1 << 20));
    let items = format!("for = {}\n{}", "a ".repeat(30_000), "k = %(_)\n".repeat(2000));
    let unknown: String = (0..20_000).map(|n| format!("unknown-option-{n} = 1\n")).collect();
    let before_s = spent_s();
    for lines in [
        &bomb, &chain, &loops, &nested, &variables, &sources, &names, &heirs, &pattern, &twice, &sets, &keys,
        &long, &items,
    ] {
        let loaded = load(lines, &Imagined::new(&[]));
        assert!(loaded.diagnostics.len() < 500);
        let is_harmless = [&nested, &variables, &names].contains(&lines);
        assert!(loaded.spec.is_none() || is_harmless, "{:.60}", lines);
    }
    assert!(load(&unknown, &Imagined::new(&[])).diagnostics.len() < 500);
    // Generous: without optimisation, on any machine.
    assert!(spent_s() - before_s < 60, "{} s", spent_s() - before_s);
}

/// CPU time of this thread, so that the load of the machine does not matter.
fn spent_s() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000_000_000
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
