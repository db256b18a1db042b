//! An API over a hand-made fleet, and a client for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use liege::api::connection::serve;
use liege::api::desk::Desk;
use liege::api::door::Door;
use liege::api::routes::router;
use liege::api::token::TokenFile;
use liege::emperor::fleet::{
    Ending, FileIdentity, Fleet, LogLine, NotStarted, Operation, OperationKind, State, Vassal,
};
use liege::emperor::once;
use liege::emperor::validation::{Conduct, Validator};
use liege::emperor::{Handle, Refusal, Request};
use liege::stats::scoreboard::{CoreField, Field, Scoreboard};
use liege::sys::socket::UnixOptions;
use liege::wire::failure::Failure;
use liege::wire::message::Policy;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TOKEN: &str = "a-token-of-sufficient-length";
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// An API over a fleet of one, on a unix socket and two TCP ports (the second has a token).
pub(crate) struct Api {
    directory: TempDir,
    pub(crate) open: SocketAddr,
    pub(crate) guarded: SocketAddr,
    pub(crate) handle: Handle,
}

impl Api {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let socket = directory.path().join("api.sock");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (handle, mut commands) = Handle::detached(fleet());
                let unix =
                    Door::unix(&socket, UnixOptions { mode: 0o660, ..UnixOptions::default() }).unwrap();
                let open = Door::tcp("127.0.0.1", 0, false, None).unwrap();
                let guarded = Door::tcp("127.0.0.1", 0, true, None).unwrap();
                let address = |door: &Door| match door {
                    Door::Tcp(_, address, _) => *address,
                    Door::Unix(..) => unreachable!(),
                };
                tell.send((address(&open), address(&guarded), handle.clone())).unwrap();
                let kept = Arc::new(liege::api::desk::Kept::default());
                let desk = |tokens: Option<TokenFile>| Desk {
                    handle: handle.clone(),
                    tokens: tokens.map(Arc::new),
                    hosts: Arc::new([]),
                    root: false,
                    roles: Arc::default(),
                    writes: true,
                    validator: Validator::new(Conduct {
                        policy: Policy {
                            binary: env!("CARGO_BIN_EXE_liege").to_owned(),
                            ..Policy::default()
                        },
                        ..Conduct::default()
                    }),
                    refusals: Arc::default(),
                    kept: kept.clone(),
                };
                let tokens = TokenFile::new(token).unwrap();
                tokio::spawn(serve(unix, router(desk(None)), Arc::default()));
                tokio::spawn(serve(open, router(desk(None)), Arc::default()));
                tokio::spawn(serve(guarded, router(desk(Some(tokens))), Arc::default()));
                while let Some(command) = commands.recv().await {
                    let answer =
                        once::ask(&mut handle.fleet(), command.key, command.request, |fleet, request| {
                            obey(fleet, &handle, &command.who, request)
                        });
                    let _ = command.answer.send(answer);
                }
            });
        });
        let (open, guarded, handle) = told.recv_timeout(PATIENCE).unwrap();
        Self { directory, open, guarded, handle }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    pub(crate) fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks over the unix socket.
    pub(crate) fn ask(&self, head: &str) -> Answer {
        let request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        converse(self.unix(), request.as_bytes())
    }

    pub(crate) fn tcp(&self, address: SocketAddr, request: &str) -> Answer {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        converse(stream, request.as_bytes())
    }
}

/// What a small emperor would do: one vassal, reloads that end after a while in a rollback.
fn obey(fleet: &mut Fleet, handle: &Handle, who: &str, request: Request) -> Result<u64, Refusal> {
    let Request::Reload { vassal } = request else {
        return Err(Refusal::Conflict("it is not running".into()));
    };
    if vassal != "a b%.ini" {
        return Err(Refusal::UnknownVassal(vassal));
    }
    let id = 7 + fleet.operations.len() as u64;
    fleet.operations.push_back(Operation {
        id,
        kind: OperationKind::Reload,
        vassal: Some(vassal),
        parent: None,
        why: who.to_owned(),
        asked_epoch_ms: 1,
        ended_epoch_ms: None,
        log_after: None,
        key: None,
        ending: None,
    });
    let later = handle.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for operation in &mut later.fleet().operations {
            operation.ended_epoch_ms = Some(2);
            let failure = Failure::new("no module named 'x'").with_traceback("Traceback: here");
            operation.ending = Some(Ending::RolledBack(failure));
        }
        later.changed();
    });
    Ok(id)
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    let mut vassal = Vassal::new("a b%.ini".into(), "/v".into(), FileIdentity::default());
    vassal.state = State::Up { app: true, loyal: true };
    vassal.log.push_back(LogLine { number: 1, at_epoch_ms: 0, text: "GET /?secret=1".into() });
    let board = Scoreboard::create(1, 1).unwrap();
    let slot = board.slot(0).unwrap();
    slot.set(Field::WorkerId, 1);
    slot.set(Field::Requests, 41);
    slot.core(0).unwrap().set(CoreField::InRequest, 1);
    slot.core(0).unwrap().set_text(b"GET", b"/path");
    vassal.shown = Some(Arc::new(board.into()));
    fleet.vassals.insert(vassal.id.clone(), vassal);
    fleet.not_started.push(NotStarted {
        directory: "/w".into(),
        name: "other.ini".into(),
        id: None,
        reason: "shadowed".into(),
    });
    fleet
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn converse(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}
