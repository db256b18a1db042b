//! The pages of `docs` that are made from the code are up to date. `make docs` makes them.

use std::path::Path;

const BEGIN: &str = "<!-- options -->\n";
const END: &str = "<!-- end of options -->\n";

#[test]
fn the_configuration_page_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}\n{}{END}{after}", liege::config::table::markdown());
    if std::env::var_os("LIEGE_MAKE_DOCS").is_some() {
        std::fs::write(path, made).unwrap();
    } else {
        assert!(page == made, "docs/configuration.md is not what the code says: make docs");
    }
}
