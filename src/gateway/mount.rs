//! Which of several applications a request is for.

/// Where an application is, among `mounts`, and what of the path it takes as its SCRIPT_NAME: with `by_path`
/// (`manage-script-name`) the longest that the path begins with, otherwise the one that SCRIPT_NAME names.
#[must_use]
pub fn choose<'a, 'p>(
    mounts: impl Iterator<Item = &'a [u8]>,
    by_path: bool,
    script_name: &[u8],
    path: &'p [u8],
) -> Option<(usize, Option<&'p [u8]>)> {
    let mut all = mounts.enumerate();
    if !by_path {
        return all.find(|(_, mount)| *mount == script_name).map(|(at, _)| (at, None));
    }
    let start = |mount: &[u8]| {
        let mount = mount.strip_suffix(b"/").unwrap_or(mount);
        let rest = path.strip_prefix(mount)?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(mount.len())
    };
    all.filter_map(|(at, mount)| Some((at, start(mount)?)))
        .max_by_key(|(at, length)| (*length, std::cmp::Reverse(*at)))
        .map(|(at, length)| (at, path.get(..length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_takes_the_request() {
        let mounts: [&[u8]; 4] = [b"/a", b"/a/b", b"/c/", b"/a"];
        let chosen = |by_path, script_name: &str, path: &str| {
            choose(mounts.into_iter(), by_path, script_name.as_bytes(), path.as_bytes())
                .map(|(at, taken)| (at, taken.map(|bytes| String::from_utf8_lossy(bytes).into_owned())))
        };
        for (path, expected) in [
            ("/a", Some((0, "/a"))),
            ("/a/", Some((0, "/a"))),
            ("/a/x", Some((0, "/a"))),
            ("/a/b/x", Some((1, "/a/b"))),
            ("/a/bx", Some((0, "/a"))),
            ("/c/x", Some((2, "/c"))),
            ("/c", Some((2, "/c"))),
            ("/ax", None),
            ("/", None),
            ("", None),
        ] {
            let expected = expected.map(|(at, taken)| (at, Some(taken.to_owned())));
            assert_eq!(chosen(true, "/c/", path), expected, "{path}");
        }
        assert_eq!(chosen(false, "/a/b", "/a"), Some((1, None)));
        assert_eq!(chosen(false, "", "/a"), None);
        let root: [&[u8]; 2] = [b"/", b"/x"];
        assert_eq!(choose(root.into_iter(), true, b"", b"/y"), Some((0, Some(&b""[..]))));
    }
}
