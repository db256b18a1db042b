//! XML as uWSGI reads it: an element `uwsgi`, and an element for each option in it.

use roxmltree::{Document, Node, ParsingOptions};

use super::{LINES_MAX, Mistake, Section};

/// `id`: which of several `<uwsgi id="…">` below another root is meant, and which options with an `id`.
pub(super) fn read(text: &str, id: &str) -> Result<Option<Section>, Mistake> {
    // A document type may define entities that grow, or name files: nothing that uWSGI's files need.
    let nodes_limit = u32::try_from(LINES_MAX.saturating_mul(4)).unwrap_or(u32::MAX);
    let options = ParsingOptions { allow_dtd: false, nodes_limit, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text.trim_end_matches('\n'), options).map_err(|error| {
        let what = error.to_string();
        let what = what.split(" at ").next().unwrap_or_default();
        Mistake::at(error.pos().row, format!("error parsing XML data: {what}"))
    })?;
    let wanted = |node: &Node<'_, '_>| id.is_empty() || node.attribute("id").is_none_or(|own| own == id);
    let root = document.root_element();
    let stanza = match root.tag_name().name() {
        "uwsgi" => Some(root),
        _ => root.children().find(|node| node.tag_name().name() == "uwsgi" && wanted(node)),
    };
    let Some(stanza) = stanza else { return Ok(None) };
    let mut read = Section::default();
    for node in stanza.children() {
        let line = document.text_pos_at(node.range().start).row;
        if node.is_text() && !node.text().unwrap_or_default().trim().is_empty() {
            read.doubt(line, "text between the elements is not read");
        }
        if !node.is_element() || !wanted(&node) {
            continue;
        }
        if node.has_attribute("mode") {
            read.doubt(line, "the attribute mode is not read: the element counts in every mode");
        }
        let name = node.tag_name().name();
        match (name, node.first_child()) {
            ("app", _) => application(&mut read, &node, line)?,
            (_, None) => read.push(name, "1".to_owned(), line)?,
            (_, Some(first)) if first.is_text() => {
                read.push(name, first.text().unwrap_or_default().to_owned(), line)?;
                if first.next_sibling().is_some() {
                    read.doubt(
                        line,
                        format!("<{name}>: only the text before the first element in it is read"),
                    );
                }
            }
            (_, Some(_)) => {
                read.doubt(line, format!("<{name}>: there is no text at its start: it is not read"))
            }
        }
    }
    Ok(Some(read))
}

/// `<app mountpoint="/x"><script>module</script></app>`: an old way to write `mount`.
fn application(read: &mut Section, node: &Node<'_, '_>, line: u32) -> Result<(), Mistake> {
    let script = node.children().find(Node::is_element).unwrap_or(*node);
    let script = script.text().unwrap_or_default();
    let value = match (node.attribute("mountpoint"), node.attribute("domain")) {
        (Some(mountpoint), _) => format!("{mountpoint}={script}"),
        (None, Some(domain)) => format!("{domain}|={script}"),
        (None, None) => script.to_owned(),
    };
    read.push("mount", value, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, id: &str) -> String {
        let read = read(text, id).unwrap().unwrap();
        let items = read.items.iter().map(|item| format!("{}:{}={}", item.line, item.key, item.value));
        items.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn elements_become_options() {
        for (text, id, expected) in [
            (
                "<uwsgi>\n <a>b</a>\n <!-- no -->\n <vacuum/><empty></empty>\n</uwsgi>",
                "",
                "2:a=b|4:vacuum=1|4:empty=1",
            ),
            ("<uwsgi><a> x &amp; <![CDATA[<y>]]></a><a>2</a></uwsgi>", "", "1:a= x & <y>|1:a=2"),
            ("<?xml version=\"1.0\"?>\n<all>\n<x/><uwsgi><a>1</a></uwsgi></all>", "", "3:a=1"),
            ("<all><uwsgi id='b'><a>1</a></uwsgi><uwsgi id='w'><a>2</a></uwsgi></all>", "w", "1:a=2"),
            ("<uwsgi><a id='w'>1</a><a id='x'>2</a><a>3</a></uwsgi>", "w", "1:a=1|1:a=3"),
            ("<uwsgi><app mountpoint='/x'>\n<script>m</script>\n</app></uwsgi>", "", "1:mount=/x=m"),
        ] {
            assert_eq!(items(text, id), expected, "{text}");
        }
        assert_eq!(read("<all><uwsgi id='b'/></all>", "w"), Ok(None));
    }

    #[test]
    fn what_has_no_meaning_is_told() {
        let odd = read("<uwsgi>\ntext<a><b/></a>\n<c mode='x'>1<d/></c></uwsgi>", "").unwrap().unwrap();
        assert_eq!((odd.items.len(), odd.doubts.len()), (1, 4));
        for (text, line) in [
            ("<uwsgi>\n<a></uwsgi>", 2),
            ("", 1),
            ("<!DOCTYPE x [<!ENTITY a \"b\">]><uwsgi/>", 1),
            ("<uwsgi>\n<a>&b;</a></uwsgi>", 2),
        ] {
            assert_eq!(read(text, "").unwrap_err().line, Some(line), "{text}");
        }
    }
}
