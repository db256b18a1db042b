//! One vassal on the screen: how it stands, its workers and what each does, its last output.

use super::draw::{Line, Look, Picture, average, padded, right, rounded, size, time};
use super::view::Choice;
use crate::api::views::{State, VassalDetail, Worker, WorkerState};
use crate::cli::paper::{age, number};
use crate::trace::escaped;

/// How many lines of output are shown at least, where there is room for anything.
const LOG_LINES: usize = 5;

/// The page, from where it is scrolled to.
pub(super) fn body(picture: &Picture<'_>, open: &Choice, width: usize, room: usize) -> Vec<Line> {
    let host = if open.host.is_empty() { String::new() } else { format!("{} ", escaped(&open.host)) };
    let name = vec![(Look::Faint, host), (Look::Bold, escaped(&open.name))];
    let detail = match picture.detail {
        Some(Ok(detail)) => detail,
        Some(Err(why)) => return vec![name, vec![(Look::Bad, escaped(why))]],
        None => return vec![name, vec![(Look::Faint, "asking …".to_owned())]],
    };
    let mut lines = facts(picture, open, detail, name);
    let mut workers = workers(picture, detail, width);
    let heading = (!workers.is_empty()).then(|| workers.remove(0));
    let log = log(detail);
    // The log has what the workers leave, and a few lines in any case.
    let fixed = lines.len() + 2;
    let for_log = log.len().min(LOG_LINES.max(room.saturating_sub(fixed + workers.len() + 1)));
    let for_workers = room.saturating_sub(fixed + if for_log > 0 { for_log + 1 } else { 0 });
    lines.push(Line::new());
    if let Some(heading) = heading {
        lines.push(heading);
        let first = picture.view.scroll.min(workers.len().saturating_sub(for_workers));
        lines.extend(workers.into_iter().skip(first).take(for_workers));
    } else {
        lines.push(vec![(Look::Faint, "no workers".to_owned())]);
    }
    if for_log > 0 {
        lines.push(vec![(Look::Bold, "last output".to_owned())]);
        lines.extend(log.into_iter().rev().take(for_log).rev());
    }
    lines
}

fn facts(picture: &Picture<'_>, open: &Choice, detail: &VassalDetail, mut name: Line) -> Vec<Line> {
    let vassal = &detail.vassal;
    let row = picture.rows.iter().find(|row| row.name == open.name && row.host == open.host);
    let look = match (row.is_some_and(|row| row.trouble), vassal.state) {
        (true, _) => Look::Bad,
        (false, State::Up) => Look::Good,
        (false, _) => Look::Passing,
    };
    name.push((look, format!("  {}", vassal.state.word())));
    if let Some(pid) = vassal.pid {
        name.push((Look::Plain, format!("  pid {pid} for {}", age(vassal.since.as_deref(), picture.now))));
    }
    let sockets: Vec<String> = vassal.sockets.iter().map(|socket| escaped(&socket.address)).collect();
    name.push((Look::Faint, format!("  {}", sockets.join(" "))));
    let mut lines = vec![name];
    if let Some(reason) = &vassal.reason {
        lines.push(vec![(look, escaped(reason))]);
    }
    let rates = row.and_then(|row| row.rates);
    let rate = rates.map_or("-".to_owned(), |rates| rounded(rates.requests));
    let of =
        rates.filter(|rates| rates.average_us > 0).map(|rates| format!(" of {}", time(rates.average_us)));
    let of = of.unwrap_or_default();
    let totals = &vassal.totals;
    lines.push(vec![(
        Look::Plain,
        format!(
            "{rate} requests/s{of}, {} in all, {} exceptions, {} reloads, {} restarts",
            number(totals.requests),
            number(totals.exceptions),
            vassal.reloads,
            vassal.restarts
        ),
    )]);
    lines
}

/// A heading, and a line for each worker and each further request that one runs.
fn workers(picture: &Picture<'_>, detail: &VassalDetail, width: usize) -> Vec<Line> {
    if detail.workers.is_empty() {
        return Vec::new();
    }
    let columns = [("ID", 4), ("PID", 8), ("REQUESTS", 10), ("EXC", 6), ("AVG", 8), ("MEM", 7), ("UP", 7)];
    let heads = columns.map(|(title, wide)| right(title, wide)).concat();
    let mut lines = vec![vec![(Look::Bold, format!("{heads}  STATE   DOES"))]];
    for worker in &detail.workers {
        let cells = [
            worker.id.to_string(),
            worker.pid.to_string(),
            number(worker.requests),
            number(worker.exceptions),
            average(worker.average_us),
            size(worker.rss_bytes),
            age(Some(&worker.since), picture.now),
        ];
        let cells: String = cells.iter().zip(columns).map(|(cell, (_, wide))| right(cell, wide)).collect();
        let (look, state) = state(worker);
        let mut requests = requests(worker);
        let first = if requests.is_empty() { Line::new() } else { requests.remove(0) };
        let mut line = vec![(Look::Plain, cells), (look, format!("  {}", padded(state, 8)))];
        line.extend(first);
        lines.push(line);
        // Under the first, where there is room for it.
        let indent: usize = columns.iter().map(|(_, wide)| wide).sum::<usize>() + 10;
        let indent = if width > indent + 10 { indent } else { 4 };
        lines.extend(requests.into_iter().map(|request| {
            let mut line = vec![(Look::Plain, " ".repeat(indent))];
            line.extend(request);
            line
        }));
    }
    lines
}

const fn state(worker: &Worker) -> (Look, &'static str) {
    match worker.state {
        WorkerState::NotAccepting => (Look::Passing, "closed"),
        WorkerState::Idle => (Look::Faint, "idle"),
        WorkerState::Busy => (Look::Good, "busy"),
    }
}

/// What a worker runs, the longest first.
fn requests(worker: &Worker) -> Vec<Line> {
    let mut running: Vec<_> = worker.running.iter().collect();
    running.sort_by_key(|running| std::cmp::Reverse(running.for_ms));
    let told = running.into_iter().map(|running| {
        let look = match running.for_ms {
            10_000.. => Look::Bad,
            1_000.. => Look::Passing,
            _ => Look::Plain,
        };
        let request = running.request.as_deref().unwrap_or("a request");
        vec![
            (look, right(&time(running.for_ms.saturating_mul(1000)), 8)),
            (Look::Plain, format!(" {}", escaped(request))),
        ]
    });
    told.collect()
}

fn log(detail: &VassalDetail) -> Vec<Line> {
    let lines = detail.log.iter().flatten();
    lines.map(|line| vec![(Look::Faint, escaped(&line.text))]).collect()
}
