//! Where the threads of a worker are, on demand: `SIGUSR2` has their Python stacks written to the log.

use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

use crate::sys::process::Signal;

/// Has the interpreter answer the signal, which works in a thread that never returns, too. An application that uses the
/// signal itself keeps it.
pub(super) fn answer_signal(py: Python<'_>) {
    if let Err(error) = register(py) {
        tracing::debug!("stacks cannot be asked for: {error}");
    }
}

fn register(py: Python<'_>) -> PyResult<()> {
    let number = Signal::Usr2.number();
    // Not `signal`, which would bring `enum` and others into every worker.
    let signal = py.import("_signal")?;
    let now = signal.call_method1("getsignal", (number,))?;
    if !now.eq(signal.getattr("SIG_DFL")?)? && !now.eq(signal.getattr("SIG_IGN")?)? {
        return Ok(());
    }
    let options = [
        ("file", 2_i32.into_pyobject(py)?.into_any()),
        ("all_threads", true.into_pyobject(py)?.to_owned().into_any()),
    ]
    .into_py_dict(py)?;
    py.import("faulthandler")?.call_method("register", (number,), Some(&options))?;
    Ok(())
}
