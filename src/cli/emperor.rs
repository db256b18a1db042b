//! An emperor with its API: put together, and announced when the first vassals are up.

use std::process::ExitCode;

use super::exit::Exit;
use super::paper::complain;
use crate::api;
use crate::config::emperor::EmperorSpec;
use crate::config::hook::{self, Point};
use crate::emperor::Handle;
use crate::emperor::fleet::{Fleet, Phase, State, Vassal};
use crate::emperor::{remembered, run};
use crate::sys::activation::Activation;
use crate::sys::own;
use crate::trace;
use crate::wire::message::{Policy, Privileges};

/// Runs an emperor until it is told to stop.
#[must_use]
pub fn main(mut spec: EmperorSpec, activation: Activation) -> ExitCode {
    choose_runtime_directory(&mut spec);
    let binary = match own::started_as() {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(error) => {
            complain(&error.to_string());
            return Exit::Failed.into();
        }
    };
    let policy = Policy {
        deny_root_apps: spec.deny_root_apps,
        vassals: Box::new(spec.vassals.clone()),
        start_hook: spec.start_hook.clone(),
        hooks: hook::at(&spec.hooks, &Point::AsVassal).into_iter().cloned().collect(),
        binary,
        privileges: Box::new(Privileges {
            initgroups: spec.tyrant.is_some_and(|tyrant| tyrant.initgroups),
            capabilities: spec.capabilities.clone(),
            namespaces: spec.namespaces,
            new_privileges: spec.identity.new_privileges,
        }),
        ..Policy::default()
    };
    trace::start(false);
    run::main(spec.clone(), policy.clone(), activation, move |handle| {
        let doors = api::open(&spec, policy, &handle)?;
        Ok(announce(handle, doors))
    })
}

/// The options to go on with, where these are refused: `None` unless vassals of an emperor that died serve.
#[must_use]
pub fn options_of_the_last(mut refused: EmperorSpec) -> Option<EmperorSpec> {
    choose_runtime_directory(&mut refused);
    remembered::read(&refused.runtime_directory?)
}

/// The runtime directory is beside the API's socket, unless an option says otherwise: `api.d` for `api.sock`.
fn choose_runtime_directory(spec: &mut EmperorSpec) {
    if spec.runtime_directory.is_none() {
        spec.runtime_told = spec.api_socket.is_some();
        let usual = || api::door::usual_sockets().into_iter().next();
        spec.runtime_directory =
            spec.api_socket.clone().or_else(usual).map(|socket| socket.with_extension("d"));
    }
}

/// Logs what is served and where the API is, once the first vassals have been brought up or have failed.
async fn announce(handle: Handle, doors: Vec<String>) {
    handle.until(|fleet| fleet.phase != Phase::Starting).await;
    let serves = summary(&handle.fleet());
    for (vassal, addresses) in serves {
        tracing::info!(vassal, "serves {addresses}");
    }
    match doors.as_slice() {
        [] => {}
        doors => tracing::info!("the API is at {}", doors.join(" and ")),
    }
}

fn summary(fleet: &Fleet) -> Vec<(String, String)> {
    let without_app = |vassal: &&Vassal| matches!(vassal.state, State::Up { app: false, .. });
    let serving = fleet.vassals.values().filter(|vassal| vassal.serves() && !without_app(vassal));
    serving
        .map(|vassal| {
            let listen = vassal.spec.iter().flat_map(|spec| &spec.listen);
            let addresses: Vec<_> = listen.map(|listen| listen.address.to_string()).collect();
            (vassal.id.clone(), addresses.join(", "))
        })
        .filter(|(_, addresses)| !addresses.is_empty())
        .collect()
}
