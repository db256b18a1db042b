//! The local time, as the C library knows and formats it.

use std::ffi::CString;

/// The most that a date may take, as in uWSGI.
const LIMIT_BYTES: usize = 64;

/// What the clock on the wall shows in the zone of this process (`TZ`) so many seconds after the epoch; `None`: no such
/// year can be told.
#[must_use]
pub fn at(epoch_s: i64) -> Option<libc::tm> {
    let mut time = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live values of their types; localtime_r fills the second, or answers null.
    #[expect(unsafe_code, reason = "zones are the C library's to know")]
    let known = unsafe { !libc::localtime_r(&raw const epoch_s, time.as_mut_ptr()).is_null() };
    // SAFETY: it was filled.
    #[expect(unsafe_code, reason = "a structure of the C library")]
    known.then(|| unsafe { time.assume_init() })
}

/// The same as `format` of `strftime` says it. Empty if that is longer than 63 bytes, or no time.
#[must_use]
pub fn formatted(format: &str, epoch_s: u64) -> String {
    let time = i64::try_from(epoch_s).ok().and_then(at);
    let (Ok(format), Some(time)) = (CString::new(format), time) else { return String::new() };
    let mut buffer = [0_u8; LIMIT_BYTES];
    // SAFETY: `time` came of localtime_r; the buffer has the length that is said; the format ends with NUL. What is
    // written is at most that long.
    #[expect(unsafe_code, reason = "the format is that of the C library")]
    let length =
        unsafe { libc::strftime(buffer.as_mut_ptr().cast(), LIMIT_BYTES, format.as_ptr(), &raw const time) };
    String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_formatted_within_their_limit() {
        let at = |format: &str| formatted(format, 1_795_735_344);
        assert_eq!(at("%s"), "1795735344");
        assert_eq!(at("%a %b %e %H:%M:%S %Y").len(), 24);
        assert_eq!(at(""), "");
        assert_eq!(at(&"x".repeat(63)), "x".repeat(63));
        assert_eq!(at(&"x".repeat(64)), "");
        assert_eq!(at("a\0b"), "");
        assert_eq!(formatted("%Y", u64::MAX), "");
    }
}
