//! Requests and rules, and what comes of them, as rows.

use std::path::Path;

use super::*;
use crate::config::load::vassal;
use crate::config::surroundings::World as Host;

/// A world in which every path that ends with `there` is everything, and time stands still.
struct Still;

impl World for Still {
    fn epoch_us(&self) -> u64 {
        784_111_777_000_000
    }
    fn fact(&self, fact: Fact) -> String {
        format!("{fact:?}")
    }
    fn file(&self, _: FileTest, path: &[u8]) -> bool {
        path.ends_with(b"there")
    }
    fn passwords(&self, path: &Path) -> Option<String> {
        // The passwords are `secret` for all; that of `crypt` is in a form that is nobody's.
        let slow = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap().to_string();
        let sha = "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
        let text = format!("{sha}\n# a remark\ncrypt:rl.3StKT.4T8M\nbob:{slow}\n");
        path.ends_with("htpasswd").then_some(text)
    }
    fn media_type(&self, name: &[u8]) -> String {
        format!("type/{}", String::from_utf8_lossy(name))
    }
}

fn program(lines: &str) -> Program {
    let file = format!("[uwsgi]\nhttp-socket = :8080\nmodule = x\n{lines}\n");
    let loaded = vassal("/srv/a.ini", file.as_bytes(), &Host::at("/srv".into()));
    let spec = loaded.spec.unwrap_or_else(|| panic!("{lines}: {:?}", loaded.diagnostics));
    Program::new(&spec.routes).unwrap()
}

fn state(variables: &[(&str, &str)]) -> State {
    let mut request = Request::default();
    let usual = [
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/a/b"),
        ("QUERY_STRING", "x=1&y="),
        ("REMOTE_ADDR", "10.1.2.3"),
    ];
    for (name, value) in usual.iter().chain(variables) {
        request.push(name.as_bytes(), value.as_bytes());
    }
    State::new(request)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How it ended, in one line.
fn told(end: &End) -> String {
    match end {
        End::Continue => "on".to_owned(),
        End::Silence => "silence".to_owned(),
        End::File { file, path, next } => {
            format!("file {} in {} {} {next:?}", text(path), file.root.display(), file.status)
        }
        End::Answer(answer) => {
            let fields: Vec<_> =
                answer.fields.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
            format!("{} [{}] {}", answer.status, fields.join(", "), text(&answer.body))
        }
    }
}

#[test]
fn rules_decide_in_their_order() {
    for (lines, expected) in [
        ("route = ^/x break:403", "on"),
        ("route = ^/a break:403 No", "403 No [Connection: close, Content-Type: text/plain] "),
        ("route = ^/a break:", "silence"),
        ("route = b$ return:404", "404 Not Found [Content-Type: text/plain] Not Found"),
        ("route = ^/a last:\nroute = ^/a break:", "on"),
        (
            "route = ^/a goto:x\nroute = ^/a break:\nroute-label = x\nroute-run = return:404",
            "404 Not Found [Content-Type: text/plain] Not Found",
        ),
        ("route-run = goto:2\nroute = ^/a break:\nroute-label = x", "on"),
        ("route = ^/(.)/(.) redirect:/$2/${QUERY_STRING}", "302 Found [Location: /b/x=1&y=] Moved"),
        ("route = ^/a redirect-permanent:/x", "301 Moved Permanently [Location: /x] Moved Permanently"),
        ("route = ^/a setpathinfo:/new\nroute = ^/new break:", "silence"),
        (
            "route = ^/a rewrite:/n%20e?z\nroute = ^/n.e redirect:?${QUERY_STRING}",
            "302 Found [Location: ?z&x=1&y=] Moved",
        ),
        ("route = ^/a rewrite-last:/new\nroute-run = break:", "on"),
        ("route = ^/a static:/srv/$0", "file /srv//a in /srv 200 OK None"),
        (
            "route = ^/a file-next:filename=x,status=503",
            "file /srv/x in /srv/x 503 Service Unavailable Some(1)",
        ),
        ("route-qs = (^|&)y= break:", "silence"),
        ("route-remote-addr = ^10\\. break:", "silence"),
        ("route-remote-user = . break:", "on"),
        ("route-host = . break:", "on"),
        // An address with the end of a line in it is nobody's: ${HTTP_EVIL} has one.
        ("route = ^/a redirect:/${HTTP_EVIL}", "400 Bad Request [Content-Type: text/plain] Bad Request"),
        // What could not be decided is not let through.
        (
            "route-run = addvar:X=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
             route-if = re:${X};^(?!b)(a|aa)+\\1c$ break:",
            "500 Internal Server Error [Content-Type: text/plain] Internal Server Error",
        ),
    ] {
        let end = program(lines).run(Chain::Request, 0, &mut state(&[("HTTP_EVIL", "a\r\nX: y")]), &Still);
        assert_eq!(told(&end), expected, "{lines}");
    }
}

#[test]
fn tests_compare_what_requests_say() {
    for (test, expected) in [
        ("equal:${REQUEST_METHOD};GET", true),
        ("eq:${REQUEST_METHOD};get", false),
        ("startswith:${PATH_INFO};/a", true),
        ("endswith:${PATH_INFO};/a", false),
        ("contains:${QUERY_STRING};1&", true),
        ("empty:${NOTHING}", true),
        ("empty:x", false),
        ("exists:/x/there", true),
        ("isfile:/x/${PATH_INFO}", false),
        ("ishigher:10;9", true),
        (">:9;10", false),
        ("ishigherequal:10;10", true),
        ("islower:9;10", true),
        ("<=:10;10", true),
        ("ipv4in:${REMOTE_ADDR};10.0.0.0/8", true),
        ("ipv4in:${REMOTE_ADDR};10.1.2.0/23", true),
        ("ipv4in:${REMOTE_ADDR};10.1.4.0/23", false),
        ("ipv4in:${REMOTE_ADDR};10.1.2.3", true),
        ("ipv4in:${REMOTE_ADDR};0.0.0.0/0", true),
        ("ipv4in:${REMOTE_ADDR};10.0.0.0/33", false),
        ("ipv4in:x;10.0.0.0/8", false),
        ("ipv6in:2001:db8::1;2001:db8::/32", true),
        ("ipv6in:2001:db9::1;2001:db8::/32", false),
        ("regexp:${PATH_INFO};^/a", true),
        ("re:${PATH_INFO};^/b", false),
    ] {
        for (option, holds) in [("route-if", expected), ("route-if-not", !expected)] {
            let end =
                program(&format!("{option} = {test} break:")).run(Chain::Request, 0, &mut state(&[]), &Still);
            assert_eq!(end == End::Silence, holds, "{option} {test}");
        }
    }
}

#[test]
fn texts_are_filled_in_once() {
    let variables = [
        ("HTTP_COOKIE", "a=1; b=\"two\"; c=${PATH_INFO}"),
        ("QUERY_STRING", "q=%20&r"),
        ("HTTP_X", "$0${PATH_INFO}"),
        ("HTTP_BIN", "\u{e9}"),
    ];
    for (written, expected) in [
        ("${HTTP_X}", "$0${PATH_INFO}"),
        ("<$1|$0>", "<b|/a/b>"),
        ("${cookie[b]}${cookie[a]}${cookie[d]}", "two1"),
        ("${cookie[c]}", "${PATH_INFO}"),
        ("${qs[q]}${qs[r]}", "%20"),
        ("${mime[PATH_INFO]}", "type//a/b"),
        ("${base64[REQUEST_METHOD]}", "R0VU"),
        ("${hex[HTTP_BIN]}", "C3A9"),
        ("${httptime[0]}", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("${time[unix]}", "784111777"),
        ("${uwsgi[wid]} ${uwsgi[status]}", "Worker 0"),
        ("$$1 $x $", "$$1 $x $"),
    ] {
        let mut state = state(&variables);
        program(&format!("route = ^/a/(.) log:{written}")).run(Chain::Request, 0, &mut state, &Still);
        assert_eq!(state.lines, [expected], "{written}");
    }
    // It does not grow without a limit.
    let doubled = "route-run = addvar:X=${X}${X}\n".repeat(30);
    let mut state = state(&[("X", "0123456789")]);
    let end = program(&doubled).run(Chain::Request, 0, &mut state, &Still);
    assert!(told(&end).starts_with("500 "), "{end:?}");
}

#[test]
fn only_who_has_the_password_comes_in() {
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let (pair, file) = ("route-run = basicauth:Here,me:pw", "route-run = basicauth:Here,htpasswd");
    let two = "route-run = basicauth-next:Here,me:pw\nroute-run = basicauth:Here,you:pw";
    let last = "route-run = basicauth-next:Here,me:pw\nroute-run = basicauth:Here,";
    for (lines, field, user) in [
        (pair, basic("me:pw"), Some("me")),
        (pair, basic("me:pw").replace("Basic", "basic"), Some("me")),
        (pair, basic("me:pw "), None),
        (pair, basic("me:"), None),
        (pair, basic("me"), None),
        (pair, basic(":pw"), None),
        (pair, String::new(), None),
        (pair, "Basic !!!!".to_owned(), None),
        (pair, "Bearer bWU6cHc=".to_owned(), None),
        (file, basic("ada:secret"), Some("ada")),
        (file, basic("ada:Secret"), None),
        (file, basic("bob:secret"), Some("bob")),
        (file, basic("bob:other"), None),
        (file, basic("crypt:secret"), None),
        (file, basic("nobody:secret"), None),
        (file, basic(""), None),
        ("route-run = basicauth:Here,gone", basic("ada:secret"), None),
        (two, basic("me:pw"), Some("me")),
        (two, basic("you:pw"), Some("you")),
        (two, basic("they:pw"), None),
        (two, String::new(), None),
        (last, basic("me:pw"), Some("me")),
        (last, basic("you:pw"), None),
    ] {
        let mut state = state(&[("HTTP_AUTHORIZATION", &field)]);
        let end = program(lines).run(Chain::Request, 0, &mut state, &Still);
        let expected = match user {
            Some(_) => "on",
            None => "401 Authorization Required [WWW-Authenticate: Basic realm=\"Here\"] Unauthorized",
        };
        assert_eq!(told(&end), expected, "{lines} {field}");
        assert_eq!(state.request.get(b"REMOTE_USER").map(text).as_deref(), user, "{lines} {field}");
    }
}

#[test]
fn a_changed_request_is_what_rules_made_of_it() {
    for (lines, name, expected) in [
        ("route-run = setuser:bob:x", "REMOTE_USER", "bob"),
        ("route-run = setscriptname:/a\nroute-run = fixpathinfo:", "PATH_INFO", "/b"),
        ("route-run = fixpathinfo:", "PATH_INFO", "/a/b"),
        ("route-run = setmethod:PUT", "REQUEST_METHOD", "PUT"),
        ("route-run = seturi:/u", "REQUEST_URI", "/u"),
        ("route-run = setremoteaddr:::1", "REMOTE_ADDR", "::1"),
        ("route-run = setdocroot:/d", "DOCUMENT_ROOT", "/d"),
        ("route-run = setscheme:https", "UWSGI_SCHEME", "https"),
        ("route-run = addvar:HTTP_X=y", "HTTP_X", "y"),
    ] {
        let mut state = state(&[]);
        assert_eq!(program(lines).run(Chain::Request, 0, &mut state, &Still), End::Continue);
        assert_eq!(state.request.get(name.as_bytes()).map(text).as_deref(), Some(expected), "{lines}");
    }
    let mut same = state(&[]);
    program("route = ^/a addheader:X: y").run(Chain::Request, 0, &mut same, &Still);
    assert_eq!(same.request.changed(), Ok(None));
    let mut other = state(&[]);
    program("route = ^/a addvar:A=b").run(Chain::Request, 0, &mut other, &Still);
    let block = other.request.changed().unwrap().unwrap();
    assert_eq!(block.variables().last(), Some((&b"A"[..], &b"b"[..])));
}

#[test]
fn rules_for_answers_know_the_status() {
    let program = program(
        "error-route-status = 404 redirect:/gone\nerror-route = ^/a addheader:X-Error: ${uwsgi[status]}\n\
         response-route-status = 200 remheader:Server\nresponse-route-run = expires:unix=10,value=-10\n\
         final-route-run = logvar:size=${uwsgi[rsize]}\nfinal-route-status = 500 donotlog:",
    );
    let mut state = state(&[]);
    state.status = 404;
    let end = program.run(Chain::Error, 0, &mut state, &Still);
    assert_eq!(told(&end), "302 Found [Location: /gone] Moved");
    state.status = 200;
    state.body_bytes = 7;
    for chain in [Chain::Error, Chain::Response, Chain::Last] {
        assert_eq!(program.run(chain, 0, &mut state, &Still), End::Continue);
    }
    let added: Vec<_> = state.added.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
    assert_eq!(added, ["X-Error: 200", "Expires: Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(state.removed, [b"Server"]);
    assert_eq!(state.log_variable("size"), Some(&b"7"[..]));
    assert!(!state.is_quiet);
}
