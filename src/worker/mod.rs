//! What runs inside the vassal's interpreter: zygote, workers, the WSGI bridge. The only folder that knows pyo3.

mod app;
mod apps;
mod autoreload;
mod call;
mod catcher;
mod connections;
mod current;
mod deputy;
mod driver;
mod environ;
mod errors;
mod exchange;
mod feed;
mod file;
mod fork;
mod greenlets;
mod hooks;
mod host;
mod http;
mod input;
mod job;
mod lane;
mod lifetime;
mod line;
mod listen;
mod locks;
mod log;
mod mule;
mod output;
mod packet;
mod passage;
mod paste;
mod place;
mod prepare;
mod queue;
mod record;
mod reply;
mod routed;
mod routes;
mod serve;
mod server;
mod spool;
mod stacks;
mod start_response;
mod static_file;
mod switch;
mod traceback;
mod tracebacker;
mod upgrade;
mod upload;
mod uwsgi_module;
mod waiter;
mod websocket;
mod zygote;

/// The extension module, which `wire/boot.py` loads.
#[pyo3::pymodule]
mod _liege {
    #[pymodule_export]
    use super::zygote::zygote;
}
