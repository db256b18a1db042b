//! The options about the application and its interpreter.

use std::path::{Path, PathBuf};

use super::sift::{Said, Sift};
use crate::config::envdir;
use crate::config::exceptions::ExceptionSpec;
use crate::config::instance::{AppSource, InstanceSpec};

/// The statistics tell of each lock.
const LOCKS_MAX: u32 = 1024;

/// Obeys them; whether it was one. Relative paths start from the start directory, or from `chdir`.
pub(super) fn obey(
    sift: &mut Sift<'_>,
    said: Said<'_>,
    (start, chdir): (&Path, &Path),
    spec: &mut InstanceSpec,
) -> bool {
    let app = &mut spec.app;
    let interpreter = &mut spec.interpreter;
    match said.name() {
        "chdir" => app.chdir = sift.path(said, start),
        "chdir2" => app.chdir2 = sift.path(said, chdir),
        "wsgi-file" => {
            if let Some(file) = sift.path(said, chdir) {
                prefer(&mut app.load, AppSource::File(file));
            }
        }
        "paste" => prefer(&mut app.load, AppSource::Paste(said.text().to_owned())),
        "paste-name" => app.paste.name = Some(said.text().to_owned()).filter(|name| !name.is_empty()),
        "paste-logger" => app.paste.logger = said.flag(),
        // Its section of options was read where it stands.
        "ini-paste" | "ini-paste-logged" => {
            if let Some(file) = sift.path(said, start) {
                prefer(&mut app.load, AppSource::Paste(format!("config:{}", file.display())));
            }
            app.paste.logger |= said.name() == "ini-paste-logged";
        }
        "module" if said.text().is_empty() => sift.error(said, "no module is named", None),
        "module" => prefer(&mut app.load, AppSource::Module(said.text().to_owned())),
        "mount" => match said.text().split_once('=') {
            Some((place, source)) if place.starts_with('/') && !source.is_empty() => {
                let is_file = source.ends_with(".py") || source.ends_with(".wsgi");
                let source = match is_file {
                    true => AppSource::File(chdir.join(source)),
                    false => AppSource::Module(source.to_owned()),
                };
                app.mounts.retain(|(known, _)| known != place);
                app.mounts.push((place.to_owned(), source));
            }
            _ => {
                let message = format!("invalid mountpoint: {}", said.text());
                sift.error(said, message, Some("write /path=module:callable, or /path=file.py".to_owned()));
            }
        },
        "manage-script-name" => app.manage_script_name = said.flag(),
        "callable" => app.callable = Some(said.text().to_owned()).filter(|name| !name.is_empty()),
        "need-app" => app.need_app = said.flag(),
        "pythonpath" => {
            let pattern = start.join(said.text());
            let found = match said.text().contains(['*', '?', '[']) {
                true => sift.around.matches(&pattern.to_string_lossy()),
                false => Vec::new(),
            };
            match found.is_empty() {
                true => app.pythonpath.push(pattern),
                false => app.pythonpath.extend(found.into_iter().map(PathBuf::from)),
            }
        }
        "virtualenv" => interpreter.virtualenv = sift.path(said, chdir),
        // A bare name is looked up on the PATH.
        "python" if !said.text().contains('/') => interpreter.python = Some(PathBuf::from(said.text())),
        "python" => interpreter.python = sift.path(said, start),
        "extension" => interpreter.extension = sift.path(said, start),
        "no-site" => interpreter.no_site = said.flag(),
        "optimize" => interpreter.optimize = sift.count(said).min(2),
        "import" => app.imports.push(said.text().to_owned()),
        "shared-import" => app.shared_imports.push(said.text().to_owned()),
        "pymodule-alias" => app.aliases.extend(alias(sift, said)),
        "post-pymodule-alias" => app.post_aliases.extend(alias(sift, said)),
        "locks" => {
            let count = sift.count(said);
            if count > LOCKS_MAX {
                sift.error(said, format!("{count}: more than {LOCKS_MAX} are not supported"), None);
            }
            app.locks = count.min(LOCKS_MAX);
        }
        "py-tracebacker" => app.tracebacker = sift.path(said, chdir),
        "add-header" => match said.text().split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                app.add_headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => sift.error(said, "this is no header", Some("write Name: value".to_owned())),
        },
        "disable-write-exception" => app.no_write_exception = said.flag(),
        "wsgi-disable-file-wrapper" => app.no_file_wrapper = said.flag(),
        "skip-atexit" => app.skip_atexit = said.flag(),
        "skip-atexit-teardown" => app.skip_teardown = said.flag(),
        "py-autoreload" => app.autoreload_s = sift.count(said),
        "py-auto-reload-ignore" => app.autoreload_ignore.push(said.text().to_owned()),
        "env" => spec.env.extend(variable(sift, said)),
        "envdir" => {
            if let Some(directory) = sift.path(said, start) {
                let (changes, wrong) = envdir::read(&directory, sift.around);
                spec.env.extend(changes);
                wrong.into_iter().for_each(|message| sift.error(said, message, None));
            }
        }
        "pyargv" => app.argv = said.text().split_whitespace().map(str::to_owned).collect(),
        "unenv" => spec.env.push((said.text().to_owned(), None)),
        _ => return exceptions(sift, said, &mut app.exceptions),
    }
    true
}

/// A module wins over a file, and that over what PasteDeploy loads, wherever they stand: all name the same application in
/// real files.
fn prefer(load: &mut Option<AppSource>, source: AppSource) {
    let rank = |source: &AppSource| match source {
        AppSource::Module(_) => 2,
        AppSource::File(_) => 1,
        AppSource::Paste(_) => 0,
    };
    if load.as_ref().is_none_or(|known| rank(known) <= rank(&source)) {
        *load = Some(source);
    }
}

/// `name=module` or `name=file`.
fn alias(sift: &mut Sift<'_>, said: Said<'_>) -> Option<(String, String)> {
    match said.text().split_once('=') {
        Some((name, module)) if !name.trim().is_empty() && !module.trim().is_empty() => {
            Some((name.trim().to_owned(), module.trim().to_owned()))
        }
        _ => {
            let suggestion = "write name=module, or name=/path/to/file.py".to_owned();
            sift.error(said, "this is no alias of a module", Some(suggestion));
            None
        }
    }
}

/// Obeys what is said of exceptions.
fn exceptions(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut ExceptionSpec) -> bool {
    let text = || said.text().to_owned();
    match said.name() {
        "catch-exceptions" => {
            spec.shown = said.flag();
            if spec.shown {
                let message = "shows tracebacks, with lines of the code, to every client";
                sift.warn(said, message, Some("leave it out where others than developers ask".to_owned()));
            }
        }
        "reload-on-exception" => spec.any = said.flag(),
        "reload-on-exception-type" => spec.types.push(text()),
        "reload-on-exception-value" => spec.values.push(text()),
        "reload-on-exception-repr" => spec.reprs.push(text()),
        _ => return false,
    }
    true
}

fn variable(sift: &mut Sift<'_>, said: Said<'_>) -> Option<(String, Option<String>)> {
    let Some((name, value)) = said.text().split_once('=') else {
        sift.warn(said, "has no `=`: nothing is set", None);
        return None;
    };
    let (stripped, text) = (name.trim(), value.trim());
    if (stripped, text) != (name, value) {
        sift.warn(said, "spaces around the `=` are dropped", None);
    }
    if stripped.is_empty() || stripped.contains('\0') || text.contains('\0') {
        sift.error(said, "this is no name of a variable", None);
        return None;
    }
    Some((stripped.to_owned(), Some(text.to_owned())))
}
