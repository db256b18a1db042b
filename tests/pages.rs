//! The parts of the documentation that are made from the code are what the code says. `make docs` writes them anew.

use std::path::Path;

use liege::config::table;

const BEGIN: &str = "<!-- options -->\n";
const END: &str = "<!-- end of options -->\n";

#[test]
fn the_options_of_the_documentation_are_those_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}\n{}{END}{after}", table::markdown());
    if std::env::var_os("LIEGE_MAKE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    assert!(page == made, "docs/configuration.md is behind the table of options: run `make docs`");
}
