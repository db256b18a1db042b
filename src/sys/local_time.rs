//! The local time, as the C library formats it.

use std::ffi::CString;

/// The most that a date may take, as in uWSGI.
const LIMIT_BYTES: usize = 64;

/// `epoch_s` seconds after the epoch, as `format` of `strftime` says it, in the zone of this process (`TZ`). Empty if
/// that is longer than 63 bytes, or no time.
#[must_use]
pub fn formatted(format: &str, epoch_s: u64) -> String {
    let (Ok(format), Ok(seconds)) = (CString::new(format), libc::time_t::try_from(epoch_s)) else {
        return String::new();
    };
    let mut buffer = [0_u8; LIMIT_BYTES];
    let mut time = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live values of their types; localtime_r fills the second, or answers null.
    #[expect(unsafe_code, reason = "zones are the C library's to know")]
    let known = unsafe { !libc::localtime_r(&raw const seconds, time.as_mut_ptr()).is_null() };
    if !known {
        return String::new();
    }
    // SAFETY: `time` was filled; the buffer has the length that is said; the format ends with NUL. What is written is
    // at most that long.
    #[expect(unsafe_code, reason = "the format is that of the C library")]
    let length =
        unsafe { libc::strftime(buffer.as_mut_ptr().cast(), LIMIT_BYTES, format.as_ptr(), time.as_ptr()) };
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
