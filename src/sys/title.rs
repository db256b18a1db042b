//! The process title: what `ps` shows as the command line.

use std::sync::OnceLock;

use nix::sys::prctl;

use super::own;

/// The memory of the command line: its start and its length.
static AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();

/// Gives the thread a name, clipped to the 15 bytes that the kernel keeps: what `ps -o comm` and `top` show.
pub fn name(name: &str) {
    let clean: Vec<u8> = name.bytes().filter(|b| !b.is_ascii_control()).take(15).collect();
    if let Ok(name) = std::ffi::CString::new(clean) {
        let _ = prctl::set_name(&name);
    }
}

/// Writes the title over the command line that this process was started with, clipped to its room, and its
/// beginning as the name of the thread. Does nothing where the kernel does not tell the place.
pub fn set(title: &str) {
    let clean: Vec<u8> = title.bytes().map(|b| if b.is_ascii_control() { b'?' } else { b }).collect();
    name(title);
    // Whoever executes this binary anew passes them on.
    let _ = own::arguments();
    let Some((start, length)) = *AREA.get_or_init(area) else { return };
    // The last byte stays NUL: without it the kernel would go on reading into the environment.
    let mut bytes = clean;
    bytes.truncate(length.saturating_sub(1));
    bytes.resize(length, 0);
    // SAFETY: the kernel says that these `length` bytes of our stack hold the command line; `area` checked that
    // they lie in a writable mapping, which lives as long as the process. Nobody reads them as a Rust value:
    // interpreters and `own::arguments` took copies before, and who asks the system again sees another string of bytes.
    #[expect(unsafe_code, reason = "the command line is memory that no Rust value stands for")]
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), std::ptr::with_exposed_provenance_mut(start), length);
    }
}

fn area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 48 and 49 (proc(5)); those after the name, which may hold spaces, begin with number 3.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(48 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let writable = std::fs::read_to_string("/proc/self/maps").ok()?.lines().any(|line| {
        let Some((range, rest)) = line.split_once(' ') else { return false };
        let Some((low, high)) = range.split_once('-') else { return false };
        let inside = usize::from_str_radix(low, 16).is_ok_and(|low| low <= start)
            && usize::from_str_radix(high, 16).is_ok_and(|high| end <= high);
        inside && rest.starts_with("rw")
    });
    (writable && start != 0 && end > start).then_some((start, end - start))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_title_replaces_the_command_line_and_never_outgrows_it() {
        let line = std::fs::read("/proc/self/cmdline").unwrap();
        let room = line.len();
        for title in ["liege worker 1".to_owned(), "x".repeat(10_000), "a\nb".to_owned()] {
            set(&title);
            let shown = std::fs::read("/proc/self/cmdline").unwrap();
            let text: Vec<u8> = shown.iter().copied().take_while(|&b| b != 0).collect();
            let mut expected = title.replace('\n', "?").into_bytes();
            expected.truncate(room - 1);
            assert_eq!(text, expected);
        }
        let kept: Vec<u8> =
            own::arguments().iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        assert_eq!(kept, line);
    }
}
