//! The files of vassals: read, looked at before they count, and written where the operator allows it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::actions::{Asked, Name};
use super::ask::plain;
use super::desk::{Answer, Desk};
use super::guard::{Access, Grant};
use super::problem::Problem;
use super::views::{ConfigFile, ConfigVerdict, ConfigWritten};
use crate::config::tenant::Tenant;
use crate::emperor::Request as Wish;
use crate::emperor::validation::Draft;
use crate::sys::{file, memfd, rewrite};
use crate::trace::{self, escaped};
use crate::wire::failure::Failure;
use crate::wire::validation::{FILE_LIMIT_BYTES, Verdict};

/// How long a file may take to be read or written.
const LONGEST: Duration = Duration::from_secs(10);
/// How many files are read at the same time.
const READERS: usize = 4;

/// A text that is to be looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// The vassal whose file it would be.
    name: String,
    /// The text; the file as it is, if it is left out.
    text: Option<String>,
}

/// A new content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    text: String,
}

/// `GET` and `PUT /v1/vassals/{name}/config`.
pub(super) fn config() -> MethodRouter<Desk> {
    get(read).put(async |name: Name, asked: Asked| {
        let name = plain(name)?;
        let (desk, who) = (asked.desk.clone(), asked.who());
        let written = write(&name, asked).await;
        written.inspect_err(|problem| {
            desk.tell_refusal(format_args!("{who} asks: write the file of {name:?}"), problem);
        })
    })
}

/// `POST /v1/validate`: what is wrong with a text, and what it would change. It changes nothing.
pub(super) fn validate() -> MethodRouter<Desk> {
    post(async |asked: Asked| {
        let Text { name, text } =
            asked.parameters.read("{\"name\": \"blog.ini\", \"text\": \"[uwsgi]…\"}")?;
        asked.access.allows(Grant::Admin, Some(&name)).inspect_err(|problem| {
            let who = asked.who();
            asked.desk.tell_refusal(format_args!("{who} asks: look at a text for {name:?}"), problem);
        })?;
        let Place { path, tenant, draft } = place_of(&asked.desk, &name)?;
        let old = open(&asked.desk, path, tenant).await;
        let verdict = match (text, old) {
            // Whoever would look at the text begins in the file's directory.
            (_, Err(problem)) if problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() => {
                return Err(problem);
            }
            (Some(text), old) => judge(&asked.desk, draft, text.as_bytes(), old.ok().as_deref()).await?,
            (None, Ok(old)) => {
                let verdict = judge(&asked.desk, draft, &old, Some(&old)).await?;
                Verdict { change: None, ..verdict }
            }
            (None, Err(problem)) => return Err(problem),
        };
        Ok(Json(ConfigVerdict::from(verdict)).into_response())
    })
}

async fn read(State(desk): State<Desk>, Extension(access): Extension<Access>, name: Name) -> Answer {
    let name = plain(name)?;
    access.allows(Grant::Admin, Some(&name))?;
    let Place { path, tenant, .. } = place_of(&desk, &name)?;
    let bytes = open(&desk, path.clone(), tenant).await?;
    let tag = tag_of(&bytes);
    let text = String::from_utf8(bytes).map_err(|_| {
        Problem::new(StatusCode::CONFLICT, "not-text", format!("{} is not UTF-8", path.display()))
    })?;
    Ok(tagged(&tag, Json(ConfigFile { path: escaped(&path.to_string_lossy()), text }).into_response()))
}

/// Looks at the text, writes the file in one step if it still is what the client knows, and has the vassal take it over.
async fn write(name: &str, asked: Asked) -> Answer {
    let Content { text } = asked.parameters.read("{\"text\": \"[uwsgi]…\"}")?;
    let desk = &asked.desk;
    asked.access.allows(Grant::Admin, Some(name))?;
    if !desk.writes {
        let detail = "files are not written by the API";
        return Err(Problem::new(StatusCode::FORBIDDEN, "writing-off", detail)
            .suggesting("start the emperor with --api-write"));
    }
    let Place { path, tenant, draft } = place_of(desk, name)?;
    let wait = asked.wait.clone()?;
    // One after the other, so that what was looked at is what is replaced.
    let writing = tokio::time::timeout(LONGEST, Arc::clone(&desk.kept.writing).lock_owned());
    let writing = writing.await.map_err(|_| late("write", &path, OTHERS))?;
    let old = open(desk, path.clone(), tenant).await?;
    check_tag(&asked.headers, &tag_of(&old))?;
    let verdict = judge(desk, draft, text.as_bytes(), Some(&old)).await?;
    if !verdict.is_good() {
        let diagnostics = errors(verdict);
        let why = diagnostics.first().map(|first| first.message.as_str()).unwrap_or_default();
        let detail = format!("the text is refused, and {} is as it was: {why}", path.display());
        let failure = Failure { diagnostics, ..Failure::new("") };
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).because_of(&failure));
    }
    let written = path.clone();
    let (from, tag) = (tag_of(&old), tag_of(text.as_bytes()));
    let done = tokio::task::spawn_blocking(move || {
        let _writing = writing;
        rewrite::rewrite(&written, text.as_bytes(), |now| now == old.as_slice())
    });
    in_time(LONGEST, done, "write", &path).await?;
    let who = asked.who();
    tracing::info!(target: trace::AUDIT, vassal = name, "{who} writes {}: {from} becomes {tag}", path.display());
    let id = desk.handle.request(who, Wish::Written { vassal: name.to_owned() }).await?;
    let warnings = verdict.diagnostics;
    let told = desk.tell_as(id, wait, asked.aside, |operation| ConfigWritten { operation, warnings });
    Ok(tagged(&tag, told.await?))
}

fn errors(mut verdict: Verdict) -> Vec<crate::config::diagnostic::Diagnostic> {
    verdict.diagnostics.sort_by_key(|told| std::cmp::Reverse(told.severity));
    verdict.diagnostics
}

/// The file of a vassal.
struct Place {
    path: PathBuf,
    /// Whose it is, where that is who the vassal runs as.
    tenant: Option<Tenant>,
    draft: Draft,
}

fn place_of(desk: &Desk, name: &str) -> Result<Place, Box<Problem>> {
    let place = {
        let fleet = desk.handle.fleet();
        fleet.vassals.get(name).map(|vassal| Place {
            path: vassal.path.clone(),
            tenant: vassal.tenant,
            draft: Draft::of(vassal, &fleet),
        })
    };
    place.ok_or_else(|| desk.unknown(name))
}

async fn judge(desk: &Desk, draft: Draft, new: &[u8], old: Option<&[u8]>) -> Result<Verdict, Box<Problem>> {
    let judged = desk.validator.judge(draft, new, old).await;
    judged.map_err(|failure| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-looked-at", failure.message))
}

/// The content of a file, read beside the emperor's work. A tenant's is read only if it is the tenant's: its owner may have
/// put a link to another's where it was.
async fn open(desk: &Desk, path: PathBuf, tenant: Option<Tenant>) -> Result<Vec<u8>, Box<Problem>> {
    let shown = path.clone();
    let read = move || {
        let file = file::open_untrusted(&path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if tenant.is_some_and(|tenant| tenant != Tenant { uid: found.uid(), gid: found.gid() }) {
            return Err(io::Error::other("it is another's than the vassal's owner's"));
        }
        memfd::read_all(file.into(), FILE_LIMIT_BYTES)
    };
    desk.kept.readers.read(&shown, read).await
}

/// How many files are read at the same time, those on file systems that do not answer included.
#[derive(Debug)]
pub struct Readers {
    places: Arc<Semaphore>,
    longest: Duration,
}

impl Default for Readers {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(READERS)), longest: LONGEST }
    }
}

impl Readers {
    async fn read<T: Send + 'static>(
        &self,
        path: &FilePath,
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Box<Problem>> {
        let place = tokio::time::timeout(self.longest, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| late("read", path, OTHERS))?;
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            read()
        });
        in_time(self.longest, reading, "read", path).await
    }
}

/// What became of work on a file, if that is known in time.
async fn in_time<T>(
    longest: Duration,
    work: JoinHandle<io::Result<T>>,
    verb: &str,
    path: &FilePath,
) -> Result<T, Box<Problem>> {
    let done = tokio::time::timeout(longest, work).await.map_err(|_| late(verb, path, ITSELF))?;
    done.map_err(io::Error::other).and_then(|done| done).map_err(|error| cannot(verb, path, &error))
}

const ITSELF: &str = "its file system does not answer";
const OTHERS: &str = "others before it are not done, as a file system does not answer";

fn late(verb: &str, path: &FilePath, why: &str) -> Box<Problem> {
    let detail = format!("cannot {verb} {}: {why}", path.display());
    let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "file", detail);
    problem.file = Some(escaped(&path.to_string_lossy()));
    problem
}

fn cannot(verb: &str, path: &FilePath, error: &io::Error) -> Box<Problem> {
    let status = match error.kind() {
        io::ErrorKind::AlreadyExists => StatusCode::PRECONDITION_FAILED,
        io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::CONFLICT,
    };
    let mut problem = Problem::new(status, "file", format!("cannot {verb} {}: {error}", path.display()));
    problem.file = Some(escaped(&path.to_string_lossy()));
    problem
}

fn tag_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn tagged(tag: &str, mut response: Response) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// `If-Match` (RFC 9110, 13.1.1), which has to be there: nobody overwrites what he has not seen.
fn check_tag(headers: &HeaderMap, tag: &str) -> Result<(), Box<Problem>> {
    let given = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut given = given.filter(|value| !value.is_empty()).peekable();
    if given.peek().is_none() {
        let detail = "this needs If-Match with the ETag of what is to be replaced";
        return Err(
            Problem::new(StatusCode::PRECONDITION_REQUIRED, "no-if-match", detail).suggesting("GET it first")
        );
    }
    if given.flat_map(|value| value.split(',')).any(|one| matches!(one.trim(), "*") || one.trim() == tag) {
        return Ok(());
    }
    let detail = format!("the file is {tag} by now");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed", detail).suggesting("GET it again"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_what_was_seen_is_overwritten() {
        let tag = tag_of(b"text");
        for (given, expected) in [
            (None, Err(428)),
            (Some(""), Err(428)),
            (Some("*"), Ok(())),
            (Some(tag.as_str()), Ok(())),
            (Some("\"other\""), Err(412)),
            (Some(&*format!("\"other\", {tag}")), Ok(())),
            // A weak tag never matches here.
            (Some(&*format!("W/{tag}")), Err(412)),
        ] {
            let headers = given.map(|given| (header::IF_MATCH, HeaderValue::from_str(given).unwrap()));
            let checked = check_tag(&HeaderMap::from_iter(headers), &tag);
            assert_eq!(checked.map_err(|problem| problem.status), expected, "{given:?}");
        }
    }

    #[tokio::test]
    async fn who_reads_what_does_not_answer_keeps_a_place_until_it_does() {
        let readers = Readers { places: Arc::new(Semaphore::new(2)), longest: Duration::from_millis(20) };
        let path = FilePath::new("/v/a.ini");
        let mut answers = Vec::new();
        for (hangs, expected) in [(true, ITSELF), (true, ITSELF), (true, OTHERS), (false, OTHERS)] {
            let (answer, hung) = mpsc::channel::<()>();
            let read = move || Ok(hangs && hung.recv().is_ok());
            let problem = readers.read(path, read).await.unwrap_err();
            assert!(problem.status == 503 && problem.detail.ends_with(expected), "{problem:?}");
            answers.push(answer);
        }
        drop(answers);
        while readers.read(path, || Ok(())).await.is_err() {}
    }
}
