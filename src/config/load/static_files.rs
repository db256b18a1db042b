//! The options about static files.

use std::path::Path;

use regex_lite::Regex;

use super::sift::{Said, Sift};
use crate::config::static_files::{ExpiresRule, GzipRule, Matter, ServeMode, StaticPlace, StaticSpec};
use crate::config::value;

/// Obeys them; whether it was one. Relative paths start from `chdir`.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, chdir: &Path, files: &mut StaticSpec) -> bool {
    match said.name() {
        // In whatever order they are said, these come first.
        "check-static" => {
            if let Some(path) = sift.path(said, chdir) {
                let at = files.places.iter().take_while(|place| place.prefix.is_empty()).count();
                files.places.insert(at, StaticPlace { prefix: String::new(), path, keeps_prefix: false });
            }
        }
        "static-map" | "static-map2" => {
            let keeps_prefix = said.name() == "static-map2";
            match said.text().split_once('=') {
                Some((prefix, path)) if !prefix.is_empty() && !path.is_empty() => {
                    let (prefix, path) = (prefix.to_owned(), chdir.join(path));
                    files.places.push(StaticPlace { prefix, path, keeps_prefix });
                }
                _ => {
                    let message = "invalid document root in static map, syntax mountpoint=docroot";
                    sift.error(said, message, None);
                }
            }
        }
        "static-index" => files.index.push(said.text().to_owned()),
        "static-safe" => files.safe.extend(sift.path(said, chdir)),
        "static-skip-ext" => files.skip.push(said.text().to_owned()),
        "mime-file" => files.media_types.extend(sift.path(said, chdir)),
        "static-gzip-all" => {
            files.gzip.retain(|rule| *rule != GzipRule::All);
            files.gzip.extend(said.flag().then_some(GzipRule::All));
        }
        "static-gzip-dir" => files.gzip.extend(sift.path(said, chdir).map(GzipRule::Below)),
        "static-gzip-ext" => files.gzip.push(GzipRule::Ending(said.text().to_owned())),
        "static-gzip" => {
            if is_pattern(sift, said, said.text()) {
                files.gzip.push(GzipRule::Matching(said.text().to_owned()));
            }
        }
        "static-expires" => expires(sift, said, Matter::File, false, files),
        "static-expires-mtime" => expires(sift, said, Matter::File, true, files),
        "static-expires-uri" => expires(sift, said, Matter::Uri, false, files),
        "static-expires-uri-mtime" => expires(sift, said, Matter::Uri, true, files),
        "static-expires-path-info" => expires(sift, said, Matter::PathInfo, false, files),
        "static-expires-path-info-mtime" => expires(sift, said, Matter::PathInfo, true, files),
        "static-expires-type" => expires(sift, said, Matter::MediaType, false, files),
        "static-expires-type-mtime" => expires(sift, said, Matter::MediaType, true, files),
        "honour-range" => files.ranges = said.flag(),
        "file-serve-mode" => match said.text() {
            "x-sendfile" | "xsendfile" => files.mode = ServeMode::Sendfile,
            "x-accel-redirect" | "xaccelredirect" | "nginx" => files.mode = ServeMode::AccelRedirect,
            other => {
                files.mode = ServeMode::Plain;
                if other != "plain" {
                    let message =
                        format!("`{other}` is neither x-sendfile nor x-accel-redirect: the workers send");
                    sift.warn(said, message, None);
                }
            }
        },
        _ => return false,
    }
    true
}

/// `pattern seconds`, or `type=seconds`.
fn expires(sift: &mut Sift<'_>, said: Said<'_>, of: Matter, from_change: bool, files: &mut StaticSpec) {
    let separator = if of == Matter::MediaType { '=' } else { ' ' };
    let split = said.text().rsplit_once(separator).map(|(pattern, seconds)| (pattern.trim(), seconds));
    let Some((pattern, seconds)) = split.filter(|(pattern, _)| !pattern.is_empty()) else {
        let syntax = if of == Matter::MediaType { "type=seconds" } else { "regular-expression seconds" };
        return sift.error(said, "this is no rule", Some(format!("write {syntax}")));
    };
    let Ok(number) = u32::try_from(value::integer(seconds).0) else {
        return sift.error(said, format!("`{seconds}` is no number of seconds"), None);
    };
    if of == Matter::MediaType || is_pattern(sift, said, pattern) {
        let rule = ExpiresRule { of, pattern: pattern.to_owned(), seconds: number, from_change };
        files.expires.push(rule);
    }
}

fn is_pattern(sift: &mut Sift<'_>, said: Said<'_>, pattern: &str) -> bool {
    match Regex::new(pattern) {
        Ok(_) => true,
        Err(error) => {
            sift.error(said, format!("`{pattern}` is not a regular expression: {error}"), None);
            false
        }
    }
}
