//! Calling the application: one request from its environ to the end of its response.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::apps::Apps;
use super::environ::{EnvironMaker, Weight};
use super::exchange::Exchange;
use super::file::{self, FileWrapper};
use super::input::Body;
use super::job::{Head, Job};
use super::output::{ItemError, Output};
use super::record::{Course, Record};
use super::routes::{Routes, Taken};
use super::server::Server;
use super::start_response::StartResponse;
use super::static_file::StaticFiles;
use super::upgrade::Upgrade;
use super::uwsgi_module;
use super::waiter::Waiter;
use super::websocket::Parting;
use super::{catcher, log, traceback};
use crate::sys::clock;
use crate::sys::fork::end_copy;

/// Calls the application in one thread.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) server: Arc<Server>,
    pub(super) apps: Apps,
    pub(super) environs: EnvironMaker,
    pub(super) waiter: Waiter,
    /// Sent before the application is asked; `None`: there are none.
    pub(super) files: Option<Arc<StaticFiles>>,
    /// What requests go past before that; `None`: there are no rules.
    pub(super) routes: Option<Arc<Routes>>,
    /// The thread's number.
    pub(super) core: usize,
}

/// Why a response was not made as the application wished.
#[derive(Debug)]
enum Trouble {
    /// It raised an exception.
    Raised(PyErr),
    /// It broke a rule, or the client is gone.
    Item(ItemError),
    /// There is none.
    NoApp,
}

/// What was made for the application.
#[derive(Default)]
struct Made<'py> {
    weight: Weight,
    /// A copy of its environ, where the variables are to be shown.
    variables: Option<Bound<'py, PyDict>>,
    /// Why `close` of its response failed.
    unclosed: Option<PyErr>,
}

impl From<PyErr> for Trouble {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<ItemError> for Trouble {
    fn from(error: ItemError) -> Self {
        Self::Item(error)
    }
}

impl Caller {
    /// Answers a request, whatever the application does; gives the time after it, in microseconds on the monotonic
    /// clock.
    pub(super) fn answer(&self, py: Python<'_>, job: Job) -> u64 {
        let Job { head, body, reply, since_us, is_first: _ } = job;
        let record = Record::start(py, self.server.host, self.core, &head, since_us);
        let is_head = match &head {
            Head::Http(parts, _) => parts.method == http::Method::HEAD,
            Head::Packet(packet) => packet.view().is_head(),
        };
        let waiter = self.waiter.for_request();
        let body = Body::new(body, waiter.clone());
        let routing = self.routes.as_ref().map(|routes| routes.begin(&head));
        let room = Arc::clone(&self.server.room_for_bodies);
        let mut output = Output::new(reply, is_head, waiter.clone(), room, routing.clone());
        let mut course = Course { routing, ..Course::default() };
        if is_too_long(&head, self.server.host.spec.workers.limit_post_bytes) {
            waiter.detached(py, || output.refuse(413, None));
            course.sent = output.sent;
            return self.over(py, record, &head, &course);
        }
        let mut changed = None;
        let mut sent = None;
        if let Some(routing) = &course.routing {
            match waiter.detached(py, || routing.take(&head, &mut output)) {
                Taken::On(head) => changed = head,
                Taken::Answered(answered) => sent = Some(answered),
            }
            routing.settle(py);
        }
        // As in uWSGI, files are those that the client asked for, whatever rules made of the path.
        if let (None, Some(files)) = (&sent, &self.files) {
            sent = waiter.detached(py, || files.answer(&head, &mut output));
        }
        let head = changed.unwrap_or(head);
        if let Some(sent) = sent {
            if let Err(trouble) = sent {
                report(py, trouble.into());
                waiter.detached(py, || output.fail(None));
            }
            course.sent = output.sent;
            return self.over(py, record, &head, &course);
        }
        let exchange = Arc::new(Exchange::new(body, output, waiter.clone()));
        let seat = Upgrade::seat(&self.server, self.core, &head, &exchange, &waiter);
        let mut made = Made::default();
        let called = self.call(py, &head, &exchange, &mut made);
        course.weight = made.weight;
        let parting = if called.is_ok() { Parting::Done } else { Parting::Failed };
        let messages_bytes = seat.map_or(0, |seat| seat.leave(parting));
        let ended = called.and_then(|()| Ok(exchange.end(py)??));
        if let Err(trouble) = ended {
            let mut page = None;
            if let Trouble::Raised(error) = &trouble {
                course.has_raised = true;
                page = self.judge(py, error, made.variables.as_ref());
            }
            report(py, trouble);
            let fail = |output: &mut Output| output.fail(page.as_deref());
            let _ = exchange.with_output(py, fail).map_err(|error| traceback::log(py, &error));
        }
        // The client has the whole answer all the same.
        if let Some(error) = made.unclosed {
            course.has_raised = true;
            self.judge(py, &error, None);
            traceback::log(py, &error);
        }
        if let Some(output) = exchange.close(py) {
            course.sent = output.sent;
            course.sent.body_bytes = course.sent.body_bytes.saturating_add(messages_bytes);
        }
        let _ = waiter.thrown().map_err(|error| traceback::log(py, &error));
        self.over(py, record, &head, &course)
    }

    /// A request is over; gives the time, in microseconds on the monotonic clock.
    fn over(&self, py: Python<'_>, record: Option<Record>, head: &Head, course: &Course) -> u64 {
        if let Some(routing) = &course.routing {
            routing.last(&course.sent);
            routing.settle(py);
        }
        let ended_us = clock::monotonic_us();
        record.iter().for_each(|record| record.count(course));
        if let Some(hook) = uwsgi_module::after_request(py) {
            if let Some(record) = record.as_ref().filter(|_| self.server.host.spec.workers.harakiri_no_hook) {
                record.stop_the_clock();
            }
            // The client does not wait for it.
            let waiter = &self.waiter;
            waiter.detached(py, || waiter.flush());
            uwsgi_module::call(&hook);
        }
        if let Some(record) = record {
            record.end(py, head, course, ended_us);
        }
        ended_us
    }

    /// Has the worker replaced after an exception, and makes the page about it, where that was asked for.
    fn judge(&self, py: Python<'_>, error: &PyErr, variables: Option<&Bound<'_, PyDict>>) -> Option<Vec<u8>> {
        let spec = &self.server.host.spec.app.exceptions;
        if spec.is_plain() {
            return None;
        }
        let exception = catcher::told(py, error);
        if let Some(option) = spec.ends_worker(&exception.class, &exception.text) {
            let class = &exception.class;
            self.server.lifetime.ask(format!("monitored exception detected: {class}, by {option}"));
        }
        spec.shown.then(|| catcher::page(&exception, variables))
    }

    fn call<'py>(
        &self,
        py: Python<'py>,
        head: &Head,
        exchange: &Arc<Exchange>,
        made: &mut Made<'py>,
    ) -> Result<(), Trouble> {
        let (app, place) = self.apps.choose(head).ok_or(Trouble::NoApp)?;
        let (environ, weight) = self.environs.make(py, head, exchange)?;
        made.weight = weight;
        if self.server.host.spec.app.exceptions.shown {
            // The application may change its own.
            made.variables = Some(environ.copy()?);
        }
        if let Some(place) = place {
            place.tell(&environ)?;
        }
        let start_response = Bound::new(py, StartResponse::new(Arc::clone(exchange)))?;
        let response = app.bind(py).call1((environ, start_response));
        // Who forked in there and came back has nothing to say to the client, and must not serve.
        end_copy();
        let response = response?;
        let sent = send(py, &response, exchange);
        made.unclosed = close(py, &response).err();
        end_copy();
        sent
    }
}

/// Whether the body is longer than `limit-post`; 0: any is allowed.
fn is_too_long(head: &Head, limit: u64) -> bool {
    if limit == 0 {
        return false;
    }
    let announced = match head {
        Head::Http(parts, _) => {
            let length = parts.headers.get(http::header::CONTENT_LENGTH);
            length.and_then(|length| length.to_str().ok()?.parse().ok())
        }
        Head::Packet(packet) => Some(packet.view().content_length),
    };
    announced.is_some_and(|length| length > limit)
}

/// Sends what the application returned.
fn send(py: Python<'_>, response: &Bound<'_, PyAny>, exchange: &Exchange) -> Result<(), Trouble> {
    if let Ok(list) = response.cast_exact::<PyList>() {
        if list.len() == 1 {
            return Ok(exchange.only(py, file::item(&list.get_item(0)?)?.as_bytes())??);
        }
    } else if let Ok(tuple) = response.cast_exact::<PyTuple>() {
        if tuple.len() == 1 {
            return Ok(exchange.only(py, file::item(&tuple.get_item(0)?)?.as_bytes())??);
        }
    } else if response.is_exact_instance_of::<PyBytes>() {
        // Its items would be numbers; uWSGI sends it whole, and so do we.
        return Ok(exchange.only(py, file::item(response)?.as_bytes())??);
    } else if let Ok(wrapper) = response.cast_exact::<FileWrapper>()
        && let Some(plain) = wrapper.get().plain(py)
    {
        return Ok(plain.send(py, exchange)??);
    }
    for next in response.try_iter()? {
        end_copy();
        if !item(py, &next?, exchange)? {
            break;
        }
    }
    Ok(())
}

/// Sends one item; whether another one makes sense.
fn item(py: Python<'_>, item: &Bound<'_, PyAny>, exchange: &Exchange) -> Result<bool, Trouble> {
    let item = file::item(item)?;
    let bytes = item.as_bytes();
    let sent = exchange.with_output(py, |output| {
        // Code behind the last item that fits still runs; PEP 3333 asks for an end of what is too much.
        let is_too_much = output.is_full() && !bytes.is_empty();
        output.item(bytes, false)?;
        Ok::<_, ItemError>(!output.is_bodiless() && !is_too_much)
    })?;
    Ok(sent.unwrap_or(Ok(false))?)
}

/// Calls `close` of what the application returned, if it has one.
fn close(py: Python<'_>, response: &Bound<'_, PyAny>) -> PyResult<()> {
    if response.is_exact_instance_of::<PyList>()
        || response.is_exact_instance_of::<PyTuple>()
        || response.is_exact_instance_of::<PyBytes>()
    {
        return Ok(());
    }
    match response.getattr_opt(pyo3::intern!(py, "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

fn report(py: Python<'_>, trouble: Trouble) {
    match trouble {
        Trouble::Raised(error) => traceback::log(py, &error),
        // Clients come and go; that is no event.
        Trouble::Item(error @ ItemError::Gone(_)) => tracing::debug!("{error}"),
        Trouble::Item(error @ ItemError::NotStarted) => tracing::error!("{error}"),
        Trouble::NoApp => {
            log::write(py, "--- no python application found, check your startup logs for errors ---\n")
        }
    }
}
