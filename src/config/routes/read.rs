//! Reading what a rule does: `action:arguments`.

use std::path::{Path, PathBuf};

use super::Chain;
use super::action::{Action, BasicAuth, Expires, FileAnswer, Who};
use super::template::{self, Template};

/// Actions of uWSGI that are refused, and what to do instead.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["uwsgi", "proxyuwsgi", "http", "httpdumb", "proxyhttp", "httpconnect", "proxyhttpconnect", "hash"],
        "liege passes no request on: let the web server in front do it",
    ),
    (
        &[
            "cache",
            "cache-continue",
            "cachevar",
            "cacheset",
            "cachestore",
            "cache-store",
            "cacheinc",
            "cachedec",
            "cachemul",
            "cachediv",
            "redis",
            "redis-continue",
            "redisstore",
            "redis-store",
            "memcached",
            "memcached-continue",
            "memcachedstore",
            "memcached-store",
        ],
        "let the web server in front, or the application, cache answers",
    ),
    (
        &[
            "gzip", "chunked", "offload", "tofile", "to-file", "template", "toupper", "xslt", "toxslt",
            "flush", "fixcl", "forcecl",
        ],
        "liege changes no bodies of answers: let the web server in front do it",
    ),
    (
        &["send", "send-crnl", "clearheaders", "resetheaders", "disableheaders"],
        "say return:STATUS, redirect:URL or file:filename=PATH for an answer without the application",
    ),
    (
        &["ldapauth", "ldapauth-next", "radius", "radius-next", "spnego", "spnego-next", "access"],
        "let the web server in front, or the application, ask who it is",
    ),
    (
        &["setapp", "sethome", "setfile", "setmodifier1", "setmodifier2", "chdir"],
        "say `mount` for several applications, or give each a vassal of its own",
    ),
    (
        &[
            "call",
            "rpc",
            "rpcret",
            "rpcblob",
            "rpcnext",
            "rpcraw",
            "rpcvar",
            "signal",
            "alarm",
            "setprocname",
        ],
        "do it in the application",
    ),
    (
        &["+", "-", "*", "/", "metricinc", "metricdec", "metricmul", "metricdiv", "metricset"],
        "do it in the application",
    ),
];

/// An action that was read, or the place that it jumps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// An action.
    Act(Action),
    /// `goto` to a label, or to a number.
    Jump(String),
}

/// Why there is no action: what is wrong, and what to do.
pub type Wrong = (String, Option<String>);

/// Reads `action:arguments`. Relative paths start from `directory`.
///
/// # Errors
/// What is wrong with it.
pub fn action(text: &str, chain: Chain, directory: &Path) -> Result<Read, Wrong> {
    let (name, arguments) = text.split_once(':').ok_or_else(|| {
        ("invalid route syntax".to_owned(), Some("write ACTION:ARGUMENTS, with the colon".to_owned()))
    })?;
    if let Some((_, instead)) = REFUSED.iter().find(|(names, _)| names.contains(&name)) {
        return Err((format!("liege does not do `{name}`"), Some((*instead).to_owned())));
    }
    if name == "goto" {
        return Ok(Read::Jump(arguments.to_owned()));
    }
    let act = of(name, arguments, directory).map_err(|wrong| (wrong, None))?;
    let act = act.ok_or_else(|| (format!("unable to find \"{name}\" route action"), None))?;
    if chain == Chain::Last && act.needs_answer() {
        let hint = "the answer is out then: say it with `route` or `response-route`";
        return Err((format!("`{name}` can do nothing in a final route"), Some(hint.to_owned())));
    }
    if matches!(chain, Chain::Error | Chain::Response) && act.needs_request() {
        let hint = "the application has the request then: say it with `route`";
        return Err((format!("`{name}` can do nothing once there is an answer"), Some(hint.to_owned())));
    }
    Ok(Read::Act(act))
}

fn of(name: &str, arguments: &str, directory: &Path) -> Result<Option<Action>, String> {
    let filled = || Template::parse(arguments);
    let variable = |name: &str| Ok(Some(Action::SetVariable(name.to_owned(), filled()?)));
    Ok(Some(match name {
        "continue" | "last" => Action::Continue,
        "break" if arguments.is_empty() => Action::Break(None),
        "break" => Action::Break(Some(status_line(arguments)?)),
        "return" | "break-with-status" => {
            let line = status_line(arguments)?;
            let status = line.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or_default();
            match arguments.len() {
                3 if http::StatusCode::from_u16(status).is_ok_and(|s| s.canonical_reason().is_some()) => {
                    Action::Return(status)
                }
                _ => return Err(format!("`{arguments}` is no status that is known")),
            }
        }
        "log" => Action::Log(filled()?),
        "logvar" => {
            let (name, value) =
                arguments.split_once('=').ok_or("invalid logvar syntax, must be key=value")?;
            Action::LogVariable(name.to_owned(), Template::parse(value)?)
        }
        "donotlog" => Action::DoNotLog,
        "donotoffload" => Action::Nothing,
        "addheader" => {
            let (name, value) = arguments.split_once(':').ok_or("a header is written `Name: value`")?;
            Action::AddHeader(field_name(name)?, Template::parse(value.trim_start())?)
        }
        "remheader" | "delheader" => Action::RemoveHeader(filled()?),
        "addvar" => {
            let (name, value) = arguments.split_once('=').ok_or("invalid addvar syntax, must be KEY=VAL")?;
            let name = template::variable(name)?;
            // What the body's length is, is not for a rule to say.
            if matches!(name.as_str(), "CONTENT_LENGTH" | "HTTP_PROXY" | "HTTP_TRANSFER_ENCODING") {
                return Err(format!("{name} cannot be set"));
            }
            Action::SetVariable(name, Template::parse(value)?)
        }
        "setscriptname" => return variable("SCRIPT_NAME"),
        "setmethod" => return variable("REQUEST_METHOD"),
        "seturi" => return variable("REQUEST_URI"),
        "setremoteaddr" => return variable("REMOTE_ADDR"),
        "setpathinfo" => return variable("PATH_INFO"),
        "setdocroot" => return variable("DOCUMENT_ROOT"),
        "setscheme" => return variable("UWSGI_SCHEME"),
        "setuser" => Action::SetUser(filled()?),
        "fixpathinfo" => Action::FixPathInfo,
        "rewrite" => Action::Rewrite { to: filled()?, last: false },
        "rewrite-last" => Action::Rewrite { to: filled()?, last: true },
        "redirect" | "redirect-302" => Action::Redirect { status: 302, to: filled()? },
        "redirect-permanent" | "redirect-301" => Action::Redirect { status: 301, to: filled()? },
        "basicauth" | "basicauth-next" => {
            let next = name == "basicauth-next";
            Action::BasicAuth(basic_auth(arguments, next, directory)?)
        }
        "static" | "static-next" => {
            Action::File(FileAnswer::new(arguments, directory, true, name == "static-next")?)
        }
        "file" | "sendfile" | "fastfile" => Action::File(file(arguments, directory, false)?),
        "file-next" | "sendfile-next" | "fastfile-next" => Action::File(file(arguments, directory, true)?),
        "expires" => Action::Expires(expires(arguments)?),
        "harakiri" => {
            let seconds = arguments.parse().map_err(|_| format!("`{arguments}` is no number of seconds"))?;
            Action::Harakiri(seconds)
        }
        _ => return Ok(None),
    }))
}

/// `403` or `403 Forbidden`.
fn status_line(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no status: write 403 or 403 Forbidden");
    let (digits, reason) = text.split_at_checked(3).ok_or_else(wrong)?;
    let is_status =
        matches!(digits.parse(), Ok(200..=999)) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_reason = reason.is_empty() || reason.starts_with(' ');
    if !is_status || !is_reason || !reason.chars().all(|letter| (' '..='~').contains(&letter)) {
        return Err(wrong());
    }
    if reason.trim().is_empty() {
        let status = digits.parse().ok().and_then(|status| http::StatusCode::from_u16(status).ok());
        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
        return Ok(format!("{digits} {reason}"));
    }
    Ok(text.to_owned())
}

fn field_name(name: &str) -> Result<String, String> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(format!("`{name}` is no name of a header")),
    }
}

/// `realm,user:password`, `realm,file` or `realm,`.
fn basic_auth(text: &str, next: bool, directory: &Path) -> Result<BasicAuth, String> {
    let (realm, who) = text
        .split_once(',')
        .ok_or("the realm and who may come in are missing: REALM,USER:PASSWORD or REALM,FILE")?;
    if realm.chars().any(|letter| letter.is_control() || !letter.is_ascii() || matches!(letter, '"' | '\\')) {
        return Err("the realm can have only letters of ASCII, and no quotes".to_owned());
    }
    let who = match who {
        "" => Who::Nobody,
        pair if pair.contains(':') => Who::Pair(pair.to_owned()),
        path => Who::File(directory.join(path)),
    };
    Ok(BasicAuth { realm: realm.to_owned(), who, next })
}

impl FileAnswer {
    fn new(path: &str, directory: &Path, as_static: bool, next: bool) -> Result<Self, String> {
        let absolute = directory.join(path);
        let template = Template::parse(&absolute.to_string_lossy())?;
        // What a request fills in leads nowhere else.
        let root = match template.plain() {
            Some(plain) => plain,
            None => template.start().rsplit_once('/').map_or("", |(root, _)| root),
        };
        let is_whole = path.starts_with('$') || root.is_empty() || root == "/";
        if is_whole {
            return Err(format!("`{path}` could be any file: begin with the directory that it must be in"));
        }
        let root = PathBuf::from(root);
        Ok(Self { path: template, root, as_static, next, status: "200 OK".to_owned(), media_type: None })
    }
}

/// `filename=PATH[,status=…][,content_type=…][,mime=1]`.
fn file(text: &str, directory: &Path, next: bool) -> Result<FileAnswer, String> {
    let (mut path, mut status, mut media_type, mut by_name) = (None, None, "text/html", false);
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some(("filename", value)) => path = Some(value),
            Some(("status", value)) => status = Some(status_line(value)?),
            Some(("content_type", value)) if !value.chars().any(char::is_control) => media_type = value,
            Some(("mime", _)) => by_name = true,
            // The length is known, and said.
            Some(("nocl" | "no_cl" | "no_content_length", _)) => {}
            _ => return Err(format!("`{pair}` is nothing that can be said of a file")),
        }
    }
    let path = path.ok_or("you have to specify a filename for the \"file\" router")?;
    let mut file = FileAnswer::new(path, directory, false, next)?;
    file.status = status.unwrap_or(file.status);
    file.media_type = (!by_name).then(|| media_type.to_owned());
    Ok(file)
}

/// `unix=SECONDS,value=SECONDS`.
fn expires(text: &str) -> Result<Expires, String> {
    let mut expires = Expires::default();
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some(("unix", value)) => expires.from = Template::parse(value)?,
            Some(("value", value)) => expires.seconds = Template::parse(value)?,
            _ => return Err(format!("`{pair}` is not `unix=SECONDS` or `value=SECONDS`")),
        }
    }
    Ok(expires)
}
