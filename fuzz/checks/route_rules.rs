//! Rules of internal routing over a hostile request: nothing panics, no file is named outside of its directory's text,
//! and an answer has the lines that rules say, whatever the client sent.

use std::path::Path;

use liege::config::routes::condition::FileTest;
use liege::config::routes::read::{self, Read};
use liege::config::routes::template::{Fact, Template};
use liege::config::routes::{Chain, RouteSpec, Rule, When};
use liege::gateway::draft::Text;
use liege::gateway::head::{Head, Wire};
use liege::gateway::routes::{End, Program, Request, State, World};

/// Lines: the pattern, the action, and then what the client said: path, query, cookies, agent.
pub(crate) fn check(input: &[u8]) {
    let mut lines = input.splitn(6, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (pattern, action) = (text(), text());
    let when = match pattern.strip_prefix("if ") {
        Some(test) => When::parse(test, false),
        None => Ok(When::Matches { of: Template::variable("PATH_INFO"), pattern, negate: false }),
    };
    let Ok(when) = when else { return };
    if when.groups().is_err() {
        return;
    }
    for chain in [Chain::Request, Chain::Response] {
        let Ok(Read::Act(act)) = read::action(&action, chain, Path::new("/srv")) else { continue };
        let rules = vec![Rule { when: when.clone(), act }];
        let spec = match chain {
            Chain::Response => RouteSpec { response: rules, ..RouteSpec::default() },
            _ => RouteSpec { request: rules, ..RouteSpec::default() },
        };
        if let Some(program) = Program::new(&spec) {
            go_past(&program, chain, input);
        }
    }
}

fn go_past(program: &Program, chain: Chain, input: &[u8]) {
    let names = [&b"PATH_INFO"[..], b"QUERY_STRING", b"HTTP_COOKIE", b"HTTP_USER_AGENT"];
    let mut request = Request::default();
    for (name, value) in names.iter().zip(input.splitn(6, |byte| *byte == b'\n').skip(2)) {
        request.push(name, value);
    }
    let mut state = State::new(request);
    let end = program.run(chain, 0, &mut state, &Nowhere);
    let mut answer = Text { status: b"200 OK".to_vec(), fields: Vec::new() };
    let mut said = state.added.len();
    match end {
        End::Answer(given) => {
            answer.status = given.status.into_bytes();
            said += given.fields.len();
            answer.fields =
                given.fields.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        }
        End::File { path, file, .. } => {
            assert!(file.root != Path::new("") && file.root != Path::new("/"), "{path:?}");
        }
        End::Continue | End::Silence => {}
    }
    answer.change(&state.removed, &state.added);
    if let Ok(head) = answer.into_head::<Wire>().map(Head::<Wire>::into_bytes) {
        let ends = head.windows(2).filter(|pair| pair == b"\r\n").count();
        let odd = head.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
        assert!(ends <= said + 2 && odd == 2 * ends, "{}", head.escape_ascii());
    }
    let _ = state.request.changed();
}

/// A world in which there is nothing.
struct Nowhere;

impl World for Nowhere {
    fn epoch_us(&self) -> u64 {
        u64::MAX
    }

    fn fact(&self, _: Fact) -> String {
        String::new()
    }

    fn file(&self, _: FileTest, path: &[u8]) -> bool {
        path.len().is_multiple_of(2)
    }

    fn passwords(&self, _: &Path) -> Option<String> {
        Some("user:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nx:$2y$\n".to_owned())
    }

    fn media_type(&self, _: &[u8]) -> String {
        "text/plain".to_owned()
    }
}
