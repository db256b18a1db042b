//! Forking a running interpreter.

use std::io;

use pyo3::Python;

use crate::sys::fork::{self, Side};

/// Forks a new process, re-parented to the sub-reaper above us, with the interpreter in order in both.
///
/// # Errors
/// The operating system refused; there is no new process then.
pub(super) fn fork(_py: Python<'_>) -> io::Result<Side> {
    // SAFETY: the calling thread is attached to the interpreter (`_py`).
    #[expect(unsafe_code, reason = "CPython's protocol around a fork")]
    unsafe {
        pyo3::ffi::PyOS_BeforeFork();
    }
    // SAFETY: the zygote has no Rust thread and no runtime; other Python threads are stopped, because this one
    // holds the interpreter, and `PyOS_AfterFork_Child` forgets them.
    #[expect(unsafe_code, reason = "the fork itself")]
    let side = unsafe { fork::double() };
    // SAFETY: exactly one of the two follows each `PyOS_BeforeFork`, in the thread that called it, after a
    // failed fork as in the parent.
    #[expect(unsafe_code, reason = "CPython's protocol around a fork")]
    unsafe {
        if matches!(side, Ok(Side::Child)) {
            pyo3::ffi::PyOS_AfterFork_Child();
        } else {
            pyo3::ffi::PyOS_AfterFork_Parent();
        }
    }
    side
}
