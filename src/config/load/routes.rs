//! The rules of internal routing.

use std::path::Path;

use super::sift::{Said, Sift};
use crate::config::routes::action::{self, BasicAuth, PASSWORDS_BYTES, Who};
use crate::config::routes::read::{self, Read};
use crate::config::routes::template::Template;
use crate::config::routes::{Action, Chain, MOST, RouteSpec, Rule, When};

/// What was read so far.
#[derive(Default)]
pub(super) struct Routes<'a> {
    chains: [Vec<Line<'a>>; 4],
}

/// One line.
struct Line<'a> {
    said: Said<'a>,
    what: What,
}

enum What {
    Label(String),
    Rule(When, Read),
    /// What is wrong was reported.
    Wrong,
}

impl<'a> Routes<'a> {
    /// Obeys them; whether it was one. Relative paths start from `chdir`.
    pub(super) fn obey(&mut self, sift: &mut Sift<'_>, said: Said<'a>, chdir: &Path) -> bool {
        let name = said.name();
        let (chain, kind) = match name.split_once("route") {
            Some(("", kind)) => (Chain::Request, kind),
            Some(("error-", kind)) => (Chain::Error, kind),
            Some(("response-", kind)) => (Chain::Response, kind),
            Some(("final-", kind)) => (Chain::Last, kind),
            _ => return false,
        };
        let what = match line(kind, said.text(), chain, chdir) {
            Some(Ok(what)) => what,
            Some(Err((message, hint))) => {
                sift.error(said, message, hint);
                What::Wrong
            }
            None => return false,
        };
        if let What::Rule(_, Read::Act(Action::BasicAuth(BasicAuth { who: Who::File(path), .. }))) = &what {
            doubt_passwords(sift, said, path);
        }
        let lines = self.lines(chain);
        lines.push(Line { said, what });
        if lines.len() == MOST + 1 {
            sift.error(said, format!("more than {MOST} rules of a kind are not supported"), None);
        }
        true
    }

    fn lines(&mut self, chain: Chain) -> &mut Vec<Line<'a>> {
        let [request, error, response, last] = &mut self.chains;
        match chain {
            Chain::Request => request,
            Chain::Error => error,
            Chain::Response => response,
            Chain::Last => last,
        }
    }

    /// The rules, with labels resolved.
    pub(super) fn finish(self, sift: &mut Sift<'_>) -> RouteSpec {
        let [request, error, response, last] = self.chains.map(|lines| resolve(lines, sift));
        RouteSpec { request, error, response, last }
    }
}

/// Warns of a file of passwords that lets fewer users in than it has.
fn doubt_passwords(sift: &mut Sift<'_>, said: Said<'_>, path: &Path) {
    match sift.around.read(path, PASSWORDS_BYTES) {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            let users = text.lines().filter_map(|line| line.split_once(':'));
            let kept_out = users.filter(|(_, hash)| !action::is_known_hash(hash)).count();
            if kept_out > 0 {
                let message = format!("{kept_out} users of {} cannot come in: their hashes", path.display());
                let hint = "only bcrypt and SHA-1 are known: make them anew with htpasswd -B";
                sift.warn(said, format!("{message} are of another kind"), Some(hint.to_owned()));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            sift.warn(said, format!("nobody can come in: there is no {}", path.display()), None);
        }
        // Whoever reads the configuration need not be who serves.
        Err(_) => {}
    }
}

type Told<T> = Result<T, read::Wrong>;

/// Reads a line; `None`: it is no rule.
fn line(kind: &str, text: &str, chain: Chain, chdir: &Path) -> Option<Told<What>> {
    let subject = match kind {
        "-label" => return Some(Ok(What::Label(text.to_owned()))),
        "-run" => return Some(with_action(When::Always, text, chain, chdir)),
        "" => Some("PATH_INFO"),
        "-host" => Some("HTTP_HOST"),
        "-uri" => Some("REQUEST_URI"),
        "-qs" => Some("QUERY_STRING"),
        "-remote-addr" => Some("REMOTE_ADDR"),
        "-remote-user" => Some("REMOTE_USER"),
        "-referer" => Some("HTTP_REFERER"),
        "-user-agent" => Some("HTTP_USER_AGENT"),
        "-if" | "-if-not" | "-status" => None,
        _ => return None,
    };
    Some(rule(kind, subject, text, chain, chdir))
}

fn rule(kind: &str, subject: Option<&str>, text: &str, chain: Chain, chdir: &Path) -> Told<What> {
    let Some((condition, act)) = text.split_once(' ') else {
        let hint = "write CONDITION ACTION:ARGUMENTS, with a space between them";
        return Err(("invalid route syntax".to_owned(), Some(hint.to_owned())));
    };
    let plain = |message: String| (message, None);
    let when = match subject {
        Some(name) => {
            When::Matches { of: Template::variable(name), pattern: condition.to_owned(), negate: false }
        }
        None if kind == "-status" => match condition.parse() {
            Ok(status @ 100..=999) => When::Status(status),
            _ => return Err(plain(format!("`{condition}` is no status"))),
        },
        None => When::parse(condition, kind == "-if-not").map_err(plain)?,
    };
    check_groups(when.templates().filter_map(Template::highest_group).max(), None).map_err(plain)?;
    with_action(when, act.trim_start(), chain, chdir)
}

fn with_action(when: When, text: &str, chain: Chain, chdir: &Path) -> Told<What> {
    let plain = |message: String| (message, None);
    let groups = when.groups().map_err(plain)?;
    let act = read::action(text, chain, chdir)?;
    let highest = match &act {
        Read::Act(act) => act.templates().filter_map(Template::highest_group).max(),
        Read::Jump(_) => None,
    };
    check_groups(highest, groups).map_err(plain)?;
    Ok(What::Rule(when, act))
}

/// Whether there is a group of that number.
fn check_groups(highest: Option<usize>, groups: Option<usize>) -> Result<(), String> {
    match (highest, groups) {
        (Some(highest), None) => Err(format!("`${highest}`: there is no pattern that matched")),
        (Some(highest), Some(groups)) if highest > groups => {
            Err(format!("`${highest}`: the pattern has {groups} groups"))
        }
        _ => Ok(()),
    }
}

/// Labels and numbers of lines become numbers of rules.
fn resolve(lines: Vec<Line<'_>>, sift: &mut Sift<'_>) -> Vec<Rule> {
    let labels: Vec<Option<String>> = lines
        .iter()
        .map(|line| match &line.what {
            What::Label(label) => Some(label.clone()),
            _ => None,
        })
        .collect();
    // The number of the first rule from a line on.
    let rule_at = |line: usize| labels.iter().take(line).filter(|label| label.is_none()).count();
    let target = |to: &str| {
        let labelled = labels.iter().position(|label| label.as_deref() == Some(to));
        labelled.or_else(|| to.parse().ok().filter(|line| *line < labels.len()))
    };
    let mut rules = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        let What::Rule(when, read) = line.what else {
            // What is wrong keeps the numbers of others right; the configuration is refused anyway.
            if matches!(line.what, What::Wrong) {
                rules.push(Rule { when: When::Always, act: Action::Nothing });
            }
            continue;
        };
        let act = match read {
            Read::Act(act) => act,
            Read::Jump(to) => match target(&to) {
                Some(line) if line > at => Action::Goto(rule_at(line)),
                found => {
                    let message = match found {
                        Some(_) => "\"goto\" instruction can only jump forward".to_owned(),
                        None => format!("there is no label `{to}`"),
                    };
                    sift.error(line.said, message, None);
                    Action::Nothing
                }
            },
        };
        rules.push(Rule { when, act });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::super::fake::Imagined;
    use super::super::vassal;

    /// What is said of a file with these lines.
    fn told(lines: &str) -> Vec<String> {
        let file = format!("[uwsgi]\nhttp-socket = :8080\nmodule = x\n{lines}\n");
        vassal("/srv/a.ini", file.as_bytes(), &Imagined::new(&[])).errors().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_understood_is_taken() {
        for line in [
            "route = ^/healthz$ donotlog:",
            "route = ^/(?!static|media) basicauth:A realm,me:p:w",
            "route = ^/a basicauth:x,htpasswd",
            "route = ^/a  basicauth-next:x,",
            "route = ^/(.)(.) redirect:https://${HTTP_HOST}$1$2$0",
            "route = a break:",
            "route = a break:403",
            "route = a break-with-status:404",
            "route = a addheader:X-A: ${httptime[60]}",
            "route = a file:filename=/srv/$0,mime=1,status=404 Gone,no_cl=1",
            "route = a static:/srv/static/$0",
            "route = a static:files/${PATH_INFO}",
            "route = a expires:unix=${time[unix]},value=30",
            "route = a harakiri:30",
            "route = a addvar:HTTP_X-A=b=c",
            "route-if = re:${HTTP_X};^(a) log:$1",
            "route-if = ==:${A};b;c last:",
            "route-if-not = isdir:/srv/${A} last:",
            "route-run = goto:1\nroute-run = last:",
            "final-route = ^/ logvar:a=${uwsgi[rtime]}",
            "final-route = ^/ break:",
            "response-route = ^/ remheader:Server",
            "error-route-status = 404 redirect-302:/",
        ] {
            assert_eq!(told(line), Vec::<String>::new(), "{line}");
        }
    }

    #[test]
    fn users_that_cannot_come_in_are_told() {
        let world = Imagined::new(&[
            ("/srv/some", "a:{SHA}x\nb:rl.3StKT.4T8M\nc:$apr1$x$y\n"),
            ("/srv/all", "a:$2y$x\n"),
        ]);
        for (file, expected) in [
            ("some", "warning: route: 2 users of /srv/some cannot come in: their hashes are of another kind"),
            ("gone", "warning: route: nobody can come in: there is no /srv/gone"),
            ("all", ""),
        ] {
            let text = format!("[uwsgi]\nhttp-socket = :8080\nmodule = x\nroute = ^/ basicauth:x,{file}\n");
            let loaded = vassal("/srv/a.ini", text.as_bytes(), &world);
            let told: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
            let is_told = told.iter().any(|told| told.contains(expected) && !expected.is_empty());
            assert_eq!(is_told, !expected.is_empty(), "{file}: {told:?}");
            assert!(loaded.spec.is_some(), "{file}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (line, part) in [
            ("route = ^/", "invalid route syntax (write CONDITION ACTION:ARGUMENTS"),
            ("route = ^/ last", "invalid route syntax (write ACTION:ARGUMENTS, with the colon)"),
            ("route = ( last:", "`(` is no regular expression that is understood"),
            ("route = ^/\\h last:", "`\\h` is not supported"),
            ("route-if = x:a last:", "unable to find \"x\" route condition"),
            ("route-if = lord:a last:", "unable to find \"lord\" route condition"),
            ("route-if = a last:", "invalid route condition syntax"),
            ("route-if = equal:a last:", "a `;` between them is missing"),
            ("route-if = equal:$1;a last:", "`$1`: there is no pattern that matched"),
            ("route-if-not = re:a;(b) log:$1", "`$1`: there is no pattern that matched"),
            ("route-run = log:$0", "`$0`: there is no pattern that matched"),
            ("route = ^/(a) log:$2", "`$2`: the pattern has 1 groups"),
            ("route = a log:${nosuch[x]}", "`${nosuch[x]}` is nothing that can be filled in"),
            ("route = a log:${A", "a `}` is missing"),
            ("route = a break:40", "`40` is no status"),
            ("route = a break:403x", "`403x` is no status"),
            ("route = a return:299", "`299` is no status that is known"),
            ("route = a return:404 Gone", "`404 Gone` is no status that is known"),
            ("route = a goto:x", "there is no label `x`"),
            ("route-label = x\nroute = a goto:x", "can only jump forward"),
            ("route = a goto:0", "can only jump forward"),
            ("route = a basicauth:x", "the realm and who may come in are missing"),
            ("route = a basicauth:x\"y,a:b", "no quotes"),
            ("route = a addheader:X", "a header is written `Name: value`"),
            ("route = a addheader:X Y: z", "`X Y` is no name of a header"),
            ("route = a addvar:X", "invalid addvar syntax, must be KEY=VAL"),
            ("route = a addvar:wsgi.input=x", "`wsgi.input` is no name of a variable"),
            ("route = a addvar:CONTENT_LENGTH=1", "CONTENT_LENGTH cannot be set"),
            ("route = a logvar:x", "invalid logvar syntax, must be key=value"),
            ("route = a harakiri:x", "`x` is no number of seconds"),
            ("route = a static:${PATH_INFO}", "could be any file"),
            ("route = a static:/$0", "could be any file"),
            ("route = a file:name=x", "`name=x` is nothing that can be said of a file"),
            ("route = a file:status=200", "you have to specify a filename"),
            ("route = a http:127.0.0.1:1", "liege does not do `http` (liege passes no request on"),
            ("route = a cache:key=x", "liege does not do `cache`"),
            ("route = a gzip:", "liege does not do `gzip`"),
            ("error-route-status = 4 last:", "`4` is no status"),
            ("final-route = a addheader:X: y", "`addheader` can do nothing in a final route"),
            ("response-route = a basicauth:x,y:z", "`basicauth` can do nothing once there is an answer"),
        ] {
            let told = told(line);
            let is_told = told.iter().any(|told| told.starts_with("/srv/a.ini:") && told.contains(part));
            assert!(is_told, "{line}: {told:#?}");
        }
    }
}
