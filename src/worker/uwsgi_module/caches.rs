//! The functions of the `uwsgi` module about caches. They keep the interpreter: they take no time, and no thread may be
//! inside when another one forks.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::sys::clock;
use crate::wire::cache::{Cache, Present, Refusal, number};
use crate::worker::host::Host;

/// Bytes, or a string as its bytes.
pub(super) struct Data(Vec<u8>);

impl<'a, 'py> FromPyObject<'a, 'py> for Data {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self(bytes.as_bytes().to_vec()));
        }
        let text = object
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("it is neither bytes nor a string"))?;
        Ok(Self(text.to_str()?.as_bytes().to_vec()))
    }
}

/// The cache of this name, or the first.
fn cache(name: Option<&str>) -> Option<&'static Cache> {
    let all = &Host::get()?.caches;
    match name {
        None => all.first(),
        Some(name) => all.iter().find(|cache| cache.spec().name == name),
    }
}

/// `True`, or nothing, as uWSGI answers.
fn told(done: bool) -> Option<bool> {
    done.then_some(true)
}

/// The value of a key.
#[pyfunction]
#[pyo3(signature = (key, cache = None))]
pub(super) fn cache_get<'py>(
    py: Python<'py>,
    key: Data,
    cache: Option<&str>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Some(cache) = self::cache(cache) else { return Ok(None) };
    Ok(cache.get(&key.0, clock::epoch_seconds())?.map(|value| PyBytes::new(py, &value)))
}

/// The value of a key as a number; 0 where there is none.
#[pyfunction]
#[pyo3(signature = (key, cache = None))]
pub(super) fn cache_num(key: Data, cache: Option<&str>) -> PyResult<i64> {
    let Some(cache) = self::cache(cache) else { return Ok(0) };
    Ok(cache.get(&key.0, clock::epoch_seconds())?.map_or(0, |value| number(&value)))
}

/// Whether there is such a key.
#[pyfunction]
#[pyo3(signature = (key, cache = None))]
pub(super) fn cache_exists(key: Data, cache: Option<&str>) -> PyResult<Option<bool>> {
    let Some(cache) = self::cache(cache) else { return Ok(None) };
    Ok(told(cache.has(&key.0, clock::epoch_seconds())?))
}

/// Stores a value under a key that is not there yet.
#[pyfunction]
#[pyo3(signature = (key, value, expires = 0, cache = None))]
pub(super) fn cache_set(key: Data, value: Data, expires: i64, cache: Option<&str>) -> PyResult<Option<bool>> {
    store(&key, &value, expires, cache, Present::Keep)
}

/// Stores a value, whether or not the key is there.
#[pyfunction]
#[pyo3(signature = (key, value, expires = 0, cache = None))]
pub(super) fn cache_update(
    key: Data,
    value: Data,
    expires: i64,
    cache: Option<&str>,
) -> PyResult<Option<bool>> {
    store(&key, &value, expires, cache, Present::Replace)
}

fn store(
    key: &Data,
    value: &Data,
    expires: i64,
    name: Option<&str>,
    present: Present,
) -> PyResult<Option<bool>> {
    let Some(cache) = cache(name) else { return Ok(None) };
    let done = cache.set(&key.0, &value.0, seconds(expires), present, clock::epoch_seconds())?;
    Ok(told(report(cache, done)))
}

/// Below 0 is for ever.
fn seconds(expires: i64) -> u64 {
    u64::try_from(expires).unwrap_or(0)
}

fn report(cache: &Cache, done: Result<(), Refusal>) -> bool {
    if done == Err(Refusal::Full) && !cache.spec().ignore_full {
        tracing::warn!("*** DANGER cache \"{}\" is FULL !!! ***", cache.spec().name);
    }
    done.is_ok()
}

/// Takes a key out.
#[pyfunction]
#[pyo3(signature = (key, cache = None))]
pub(super) fn cache_del(key: Data, cache: Option<&str>) -> PyResult<Option<bool>> {
    let Some(cache) = self::cache(cache) else { return Ok(None) };
    Ok(told(cache.delete(&key.0, clock::epoch_seconds())?))
}

/// Takes everything out.
#[pyfunction]
#[pyo3(signature = (cache = None))]
pub(super) fn cache_clear(cache: Option<&str>) -> PyResult<Option<bool>> {
    let Some(cache) = self::cache(cache) else { return Ok(None) };
    cache.clear(clock::epoch_seconds())?;
    Ok(told(true))
}

/// All keys.
#[pyfunction]
#[pyo3(signature = (cache = None))]
pub(super) fn cache_keys<'py>(py: Python<'py>, cache: Option<&str>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let cache = self::cache(cache).ok_or_else(|| PyValueError::new_err("no local uWSGI cache available"))?;
    let keys = cache.keys(clock::epoch_seconds())?;
    Ok(keys.iter().map(|key| PyBytes::new(py, key)).collect())
}

/// Adds to a number.
#[pyfunction]
#[pyo3(signature = (key, value = 1, expires = 0, cache = None))]
pub(super) fn cache_inc(key: Data, value: i64, expires: i64, cache: Option<&str>) -> PyResult<Option<bool>> {
    count(&key, expires, cache, &|number| number.wrapping_add(value))
}

/// Takes from a number.
#[pyfunction]
#[pyo3(signature = (key, value = 1, expires = 0, cache = None))]
pub(super) fn cache_dec(key: Data, value: i64, expires: i64, cache: Option<&str>) -> PyResult<Option<bool>> {
    count(&key, expires, cache, &|number| number.wrapping_sub(value))
}

/// Multiplies a number.
#[pyfunction]
#[pyo3(signature = (key, value = 2, expires = 0, cache = None))]
pub(super) fn cache_mul(key: Data, value: i64, expires: i64, cache: Option<&str>) -> PyResult<Option<bool>> {
    count(&key, expires, cache, &|number| number.wrapping_mul(value))
}

/// Divides a number; by 0 it is 0.
#[pyfunction]
#[pyo3(signature = (key, value = 2, expires = 0, cache = None))]
pub(super) fn cache_div(key: Data, value: i64, expires: i64, cache: Option<&str>) -> PyResult<Option<bool>> {
    count(&key, expires, cache, &|number| if value == 0 { 0 } else { number.wrapping_div(value) })
}

fn count(
    key: &Data,
    expires: i64,
    name: Option<&str>,
    change: &dyn Fn(i64) -> i64,
) -> PyResult<Option<bool>> {
    let Some(cache) = cache(name) else { return Ok(None) };
    let done = cache.count(&key.0, change, seconds(expires), clock::epoch_seconds())?;
    Ok(told(report(cache, done)))
}
