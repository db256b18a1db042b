//! Loading an application.

use std::path::Path;

use pyo3::exceptions::{PyAttributeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule, PyString};

use super::{paste, traceback};
use crate::config::instance::{AppSource, AppSpec};
use crate::sys::fork::end_copy;
use crate::wire::failure::Failure;

/// Loads an application, by the name `callable` where its source says none. A failure's traceback is logged as well.
pub(super) fn load(py: Python<'_>, source: &AppSource, spec: &AppSpec) -> Result<Py<PyAny>, Failure> {
    let default = spec.callable.as_deref().unwrap_or("application");
    let (name, module, expression) = match source {
        AppSource::Paste(uri) => {
            return paste::load(py, uri, &spec.paste)
                .map_err(|error| raised(py, &format!("cannot load {uri}"), &error));
        }
        AppSource::Module(target) => {
            let (module, expression) = split_target(target, default);
            (format!("module {module}"), import(py, module), expression)
        }
        AppSource::File(path) => (path.display().to_string(), execute(py, path), default),
    };
    end_copy();
    let module = module.map_err(|error| raised(py, &format!("cannot load {name}"), &error))?;
    let callable =
        resolve(&module, expression).map_err(|error| missing(py, &name, &module, expression, &error))?;
    if callable.is_callable() {
        return Ok(callable.unbind());
    }
    Err(Failure::new(format!("`{expression}` of {name} is not callable: it is {}", type_name(&callable))))
}

/// Puts `pythonpath` in front of the module search path, the last entry first, then `.` and the empty entry.
pub(super) fn prepare_path(py: Python<'_>, app: &AppSpec) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
    // The interpreter put the empty entry in front for `-c`; it comes after ours.
    if path.get_item(0).is_ok_and(|first| first.eq("").unwrap_or(false)) {
        path.del_item(0)?;
    }
    let wanted = app.pythonpath.iter().rev().map(|entry| entry.as_os_str().into_pyobject(py));
    let mut entries = wanted.map(|entry| entry.map(Bound::into_any)).collect::<Result<Vec<_>, _>>()?;
    entries.extend([".", ""].map(|entry| PyString::new(py, entry).into_any()));
    for (place, entry) in entries.iter().enumerate() {
        path.insert(place, entry)?;
    }
    Ok(())
}

/// `pkg.mod:callable` in its parts, with the default where no callable is named.
fn split_target<'a>(target: &'a str, default: &'a str) -> (&'a str, &'a str) {
    match target.split_once(':') {
        Some((module, expression)) if !expression.is_empty() => (module, expression),
        Some((module, _)) => (module, default),
        None => (target, default),
    }
}

fn modules(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    Ok(py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?)
}

/// Imports a module.
fn import<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(name)
}

/// A module, or, where it looks like one, a file, that is loaded besides the application.
pub(super) fn load_besides<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
    match name.contains('/') || name.ends_with(".py") {
        true => execute(py, Path::new(name)),
        false => import(py, name),
    }
}

/// Makes modules or files known by other names.
pub(super) fn alias(py: Python<'_>, aliases: &[(String, String)]) -> Result<(), Failure> {
    for (name, source) in aliases {
        let made = if source.contains('/') {
            execute_as(py, Path::new(source), name)
        } else {
            import(py, source).and_then(|module| {
                modules(py)?.set_item(name, &module)?;
                Ok(module)
            })
        };
        made.map_err(|error| raised(py, &format!("cannot make {source} the module {name}"), &error))?;
        tracing::info!("mapped virtual pymodule \"{name}\" to real pymodule \"{source}\"");
    }
    Ok(())
}

/// Runs a file as the module that uWSGI would make of it.
pub(super) fn execute<'py>(py: Python<'py>, path: &Path) -> PyResult<Bound<'py, PyModule>> {
    execute_as(py, path, &module_name(path))
}

/// Runs a file as the module of this name.
pub(super) fn execute_as<'py>(py: Python<'py>, path: &Path, name: &str) -> PyResult<Bound<'py, PyModule>> {
    let source = std::fs::read(path)?;
    // As a string: a `Path` would become a `pathlib.Path`, which apps do not expect here and which costs every
    // worker the memory of that module.
    let file = path.as_os_str();
    let builtins = py.import("builtins")?;
    let code = builtins.call_method1("compile", (PyBytes::new(py, &source), file, "exec"))?;
    let module = PyModule::new(py, name)?;
    module.setattr("__file__", file)?;
    let modules = modules(py)?;
    modules.set_item(name, &module)?;
    let globals = module.dict();
    globals.set_item("__builtins__", builtins.clone())?;
    if let Err(error) = builtins.call_method1("exec", (code, globals)) {
        modules.del_item(name)?;
        return Err(error);
    }
    Ok(module)
}

/// `uwsgi_file_` and the path with separators and dots as underscores, without `.py`.
fn module_name(path: &Path) -> String {
    let text = path.to_string_lossy();
    let stem = text.strip_suffix(".py").unwrap_or(&text);
    format!("uwsgi_file_{}", stem.replace(['/', '.'], "_"))
}

/// Looks up `a.b.c` in the module; a trailing `()` calls what was found.
fn resolve<'py>(module: &Bound<'py, PyModule>, expression: &str) -> PyResult<Bound<'py, PyAny>> {
    let (path, is_factory) = match expression.strip_suffix("()") {
        Some(path) => (path, true),
        None => (expression, false),
    };
    let mut found = module.as_any().clone();
    for name in path.split('.') {
        found = found.getattr(name)?;
    }
    if is_factory { found.call0() } else { Ok(found) }
}

fn raised(py: Python<'_>, what: &str, error: &PyErr) -> Failure {
    traceback::log(py, error);
    let reason = if error.is_instance_of::<PySystemExit>(py) {
        "it ended the interpreter while it was loaded: "
    } else {
        ""
    };
    Failure::new(format!("{what}: {reason}{}", traceback::summary(py, error)))
        .with_traceback(&traceback::text(py, error))
}

fn missing(
    py: Python<'_>,
    name: &str,
    module: &Bound<'_, PyModule>,
    expression: &str,
    error: &PyErr,
) -> Failure {
    let path = expression.strip_suffix("()").unwrap_or(expression);
    let first = path.split('.').next().unwrap_or(path);
    let absent = error.is_instance_of::<PyAttributeError>(py) && module.hasattr(first).is_ok_and(|has| !has);
    if !absent {
        return raised(py, &format!("cannot get `{expression}` of {name}"), error);
    }
    let there = callables(module);
    let failure = match there.as_slice() {
        [] => Failure::new(format!("{name} has no `{first}` and no other callable")),
        names => Failure::new(format!("{name} has no `{first}`; its callables are: {}", names.join(", "))),
    };
    let hint = there.iter().find(|name| ["app", "application", "create_app"].contains(&name.as_str()));
    match hint.map(String::as_str) {
        Some("create_app") => failure.with_hint("write `callable = create_app()` to call the factory"),
        Some(name) => failure.with_hint(format!("write `callable = {name}`")),
        None => failure,
    }
}

/// Names of what could have been meant: public callables that are no imported classes of other modules.
fn callables(module: &Bound<'_, PyModule>) -> Vec<String> {
    const MOST: usize = 12;
    let name_of = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let key: String = key.extract().ok()?;
        (!key.starts_with('_') && value.is_callable()).then_some(key)
    };
    let mut names: Vec<String> = module.dict().iter().filter_map(name_of).take(MOST).collect();
    names.sort_unstable();
    names
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value
        .get_type()
        .name()
        .map_or_else(|_| "something else".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_a_module_and_what_to_take_of_it() {
        for (target, module, expression) in [
            ("blog", "blog", "application"),
            ("blog.wsgi", "blog.wsgi", "application"),
            ("blog.wsgi:", "blog.wsgi", "application"),
            ("blog:app", "blog", "app"),
            ("blog:create_app()", "blog", "create_app()"),
            ("django.core.handlers.wsgi:WSGIHandler()", "django.core.handlers.wsgi", "WSGIHandler()"),
        ] {
            assert_eq!(split_target(target, "application"), (module, expression));
        }
    }

    #[test]
    fn files_become_modules_as_in_uwsgi() {
        for (path, name) in [
            ("foobar.py", "uwsgi_file_foobar"),
            ("/srv/blog/app.wsgi", "uwsgi_file__srv_blog_app_wsgi"),
            ("/srv/v1.2/app.py", "uwsgi_file__srv_v1_2_app"),
        ] {
            assert_eq!(module_name(Path::new(path)), name);
        }
    }
}
