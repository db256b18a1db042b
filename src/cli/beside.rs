//! The daemons and timed commands of a vassal, as a table.

use std::time::SystemTime;

use super::paper::{Paper, age, columns, number, until};
use crate::api::views::Attached;
use crate::trace::escaped;

/// A line for each; nothing where there is none.
pub(super) fn table(attached: &[Attached], paper: Paper, now: SystemTime) -> String {
    if attached.is_empty() {
        return String::new();
    }
    let heads = ["BESIDE", "PID", "STATE", "STARTS", "FAILED", "SINCE", "NEXT", "LAST EXIT"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(attached.iter().map(|one| {
        let pid = one.pid.map_or_else(String::new, |pid| pid.to_string());
        let exit = one.last_exit.as_ref();
        let exit = exit.map(|exit| format!("{} {} ago", escaped(&exit.how), age(Some(&exit.at), now)));
        vec![
            escaped(&one.name),
            pid,
            one.state.word().to_owned(),
            number(one.starts),
            number(one.failures),
            age(one.since.as_deref(), now),
            one.next.as_ref().map_or_else(String::new, |next| format!("in {}", until(next, now))),
            exit.unwrap_or_default(),
        ]
    }));
    let lines = columns(&rows, &[1, 3, 4, 5], paper.width.map(|width| width.saturating_sub(2)));
    lines.iter().fold("\n".to_owned(), |out, line| format!("{out}  {}\n", line.trim_end()))
}
