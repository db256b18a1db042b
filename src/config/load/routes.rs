//! The rules of internal routing.

use std::path::Path;

use super::sift::{Said, Sift};
use crate::config::routes::action::{self, Read};
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
        let what = match read(kind, said.text(), chain, chdir) {
            Some(Ok(what)) => what,
            Some(Err((message, hint))) => {
                sift.error(said, message, hint);
                What::Wrong
            }
            None => return false,
        };
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

type Told<T> = Result<T, action::Wrong>;

/// Reads a line; `None`: it is no rule.
fn read(kind: &str, text: &str, chain: Chain, chdir: &Path) -> Option<Told<What>> {
    let subject = match kind {
        "-label" => return Some(Ok(What::Label(text.to_owned()))),
        "-run" => return Some(action::read(text, chain, chdir).map(|act| What::Rule(When::Always, act))),
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
    let groups = when.groups().map_err(plain)?;
    let act = action::read(act.trim_start(), chain, chdir)?;
    let highest = match &act {
        Read::Act(act) => act.templates().filter_map(Template::highest_group).max(),
        Read::Jump(_) => None,
    };
    check_groups(highest, groups).map_err(plain)?;
    check_groups(when.templates().filter_map(Template::highest_group).max(), None).map_err(plain)?;
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
