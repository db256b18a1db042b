//! Internal routing in a worker: requests and answers go past the rules.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::Python;

use super::environ::of_http_head;
use super::host::Host;
use super::job::Head;
use super::output::{ItemError, Output, Sent};
use super::static_file::StaticFiles;
use super::{log, uwsgi_module};
use crate::config::routes::Chain;
use crate::config::routes::action::PASSWORDS_BYTES;
use crate::config::routes::condition::FileTest;
use crate::config::routes::template::Fact;
use crate::gateway::draft::Text;
use crate::gateway::packet::PacketRequest;
use crate::gateway::routes::{Answer, End, Program, Request, State, World};
use crate::sys::clock;
use crate::sys::file::open_untrusted;
use crate::trace::escaped;

/// The rules of an instance.
#[derive(Debug)]
pub(super) struct Routes {
    program: Program,
    host: &'static Host,
    server_name: String,
    /// Sends the files that rules name.
    files: StaticFiles,
}

/// One request on its way past the rules.
#[derive(Debug)]
pub(super) struct Routing {
    routes: Arc<Routes>,
    state: Mutex<State>,
    /// How often a rule had the last word.
    ended: AtomicU64,
    started_us: u64,
    started_epoch_us: u64,
}

/// What the rules make of the head of an answer.
pub(super) enum Ruled {
    /// It goes out like this.
    Head(Text),
    /// Another answer takes its place.
    Instead(Answer),
    /// There is none.
    Silence,
}

/// What the rules for requests came to.
pub(super) enum Taken {
    /// The request is served: as it came, or as they changed it.
    On(Option<Head>),
    /// It is answered.
    Answered(Result<(), ItemError>),
}

impl Routes {
    /// As the instance was told; `None`: there are no rules.
    pub(super) fn new(host: &'static Host, server_name: &str) -> Option<Self> {
        let program = Program::new(&host.spec.routes)?;
        let files = StaticFiles::for_rules(&host.spec);
        Some(Self { program, host, server_name: server_name.to_owned(), files })
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, head: &Head) -> Arc<Routing> {
        let request = match head {
            Head::Http(parts, origin) => {
                let mut request = Request::default();
                let Ok(_) =
                    of_http_head(parts, origin, &self.server_name, &self.host.spec.router, |name, value| {
                        request.push(name.name().as_bytes(), value);
                        Ok::<_, std::convert::Infallible>(())
                    });
                request
            }
            Head::Packet(packet) => Request::from(packet.view().variables),
        };
        Arc::new(Routing {
            routes: Arc::clone(self),
            state: Mutex::new(State::new(request)),
            ended: AtomicU64::new(0),
            started_us: clock::monotonic_us(),
            started_epoch_us: clock::epoch_us(),
        })
    }
}

impl Routing {
    /// Takes the request past the rules, detached.
    pub(super) fn take(&self, head: &Head, output: &mut Output) -> Taken {
        let refuse = |output: &mut Output, status| {
            output.refuse(status, None);
            Taken::Answered(Ok(()))
        };
        let mut from = 0;
        loop {
            let end = self.run(Chain::Request, from, &mut self.lock());
            match end {
                End::Continue => {
                    return self.changed().map_or_else(|status| refuse(output, status), Taken::On);
                }
                End::Answer(answer) => return Taken::Answered(output.answer(&answer)),
                End::Silence => {
                    output.break_off();
                    return Taken::Answered(Ok(()));
                }
                End::File { file, path, next } => {
                    match (self.routes.files.serve(head, &file, &path, output), next) {
                        (Some(sent), _) => return Taken::Answered(sent),
                        (None, Some(next)) => from = next,
                        (None, None) => return refuse(output, 404),
                    }
                }
            }
        }
    }

    fn run(&self, chain: Chain, from: usize, state: &mut State) -> End {
        let end = self.routes.program.run(chain, from, state, self);
        if !matches!(end, End::Continue) {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        end
    }

    /// How often a rule had the last word, of any kind: about the request, its answer, or both.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The request as rules have changed it; `None`: they have not.
    ///
    /// # Errors
    /// It cannot be served: a status.
    fn changed(&self) -> Result<Option<Head>, u16> {
        let Some(block) = self.lock().request.changed()? else { return Ok(None) };
        let packet = PacketRequest::new(block).map_err(|refusal| refusal.status)?;
        Ok(Some(Head::Packet(Box::new(packet))))
    }

    /// What becomes of the head of an answer; `status` is what its text begins with.
    pub(super) fn answered(&self, mut text: Text, status: u16) -> Ruled {
        let mut state = self.lock();
        state.status = status;
        for chain in [Chain::Error, Chain::Response] {
            match self.run(chain, 0, &mut state) {
                End::Continue => {}
                End::Answer(answer) => return Ruled::Instead(answer),
                // No rule for answers names a file.
                End::Silence | End::File { .. } => return Ruled::Silence,
            }
        }
        text.change(&state.removed, &state.added);
        Ruled::Head(text)
    }

    /// The answer of a rule, with what rules add to answers.
    pub(super) fn text_of(&self, answer: &Answer) -> Text {
        let fields = answer.fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.clone()));
        let mut text = Text { status: answer.status.clone().into_bytes(), fields: fields.collect() };
        let general = self.routes.host.spec.app.add_headers.iter();
        let general: Vec<_> =
            general.map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        text.change(&[], &general);
        let state = self.lock();
        text.change(&state.removed, &state.added);
        text
    }

    /// The request is over.
    pub(super) fn last(&self, sent: &Sent) {
        let mut state = self.lock();
        state.status = sent.status;
        state.body_bytes = sent.body_bytes;
        state.taken_us = clock::monotonic_us().saturating_sub(self.started_us);
        self.run(Chain::Last, 0, &mut state);
    }

    /// Does what rules have said that is not about the answer: lines in the log, and the time there is.
    pub(super) fn settle(&self, py: Python<'_>) {
        let (lines, harakiri_s) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.lines), state.harakiri_s.take())
        };
        if !lines.is_empty() {
            let text: String = lines.iter().map(|line| escaped(line) + "\n").collect();
            log::write(py, &text);
        }
        if let Some(seconds) = harakiri_s {
            uwsgi_module::give_time(py, seconds);
        }
    }

    /// Whether the request leaves no line in the log.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().is_quiet
    }

    /// What a name of `log-format` stands for.
    pub(super) fn log_variable(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().log_variable(name).map(<[u8]>::to_vec)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for Routing {
    fn epoch_us(&self) -> u64 {
        clock::epoch_us()
    }

    fn fact(&self, fact: Fact) -> String {
        match fact {
            Fact::Worker => self.routes.host.worker_number().to_string(),
            Fact::Process => std::process::id().to_string(),
            Fact::Uuid => {
                fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default().trim().to_owned()
            }
            Fact::Started => self.started_epoch_us.to_string(),
            _ => String::new(),
        }
    }

    fn file(&self, test: FileTest, path: &[u8]) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        match test {
            FileTest::Exists => path.exists(),
            FileTest::IsFile => path.is_file(),
            FileTest::IsDirectory => path.is_dir(),
            FileTest::IsLink => path.is_symlink(),
            FileTest::IsExecutable => {
                path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
            }
        }
    }

    fn passwords(&self, path: &Path) -> Option<String> {
        let mut text = String::new();
        let read =
            open_untrusted(path).and_then(|file| file.take(PASSWORDS_BYTES as u64).read_to_string(&mut text));
        match read {
            Ok(_) => Some(text),
            Err(error) => {
                tracing::warn!("basicauth: nobody is let in: cannot read {}: {error}", path.display());
                None
            }
        }
    }

    fn media_type(&self, name: &[u8]) -> String {
        self.routes.files.media_type(Path::new(std::ffi::OsStr::from_bytes(name))).to_owned()
    }
}
