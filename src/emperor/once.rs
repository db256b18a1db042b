//! `Idempotency-Key`: a request that is sent again, because its answer was lost, acts once. The key stands in its
//! operation, so it is known as long as that, and to the emperor's next image, too.

use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use super::handle::{Refusal, Request};
use crate::wire::message::OperationId;

/// A key of somebody's; others may use the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is.
    pub who: String,
    /// The key.
    pub text: String,
}

/// A key that was used, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    key: Key,
    request: String,
}

/// Does what is asked for, unless the key says that it was done: then its operation is the answer.
///
/// # Errors
/// The key was used for something else, or what `act` says.
pub fn ask(
    fleet: &mut Fleet,
    key: Option<Key>,
    request: Request,
    act: impl FnOnce(&mut Fleet, Request) -> Result<OperationId, Refusal>,
) -> Result<OperationId, Refusal> {
    let Some(key) = key else { return act(fleet, request) };
    let used = Used { key, request: format!("{request:?}") };
    for operation in fleet.operations.iter().rev() {
        match &operation.key {
            Some(known) if *known == used => return Ok(operation.id),
            Some(known) if known.key == used.key => return Err(Refusal::KeyReused),
            _ => {}
        }
    }
    let id = act(fleet, request)?;
    if let Some(operation) = fleet.operations.iter_mut().rev().find(|operation| operation.id == id) {
        operation.key = Some(used);
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emperor::decide;
    use crate::tick::Tick;

    #[test]
    fn a_key_is_known_to_the_next_image() {
        let mut fleet = Fleet::default();
        let ask = |fleet: &mut Fleet, who: &str, request| {
            let key = Key { who: who.to_owned(), text: "k".to_owned() };
            super::ask(fleet, Some(key), request, |fleet, request| {
                decide::request(fleet, who, request, Tick::default(), &mut Vec::new())
            })
        };
        let first = ask(&mut fleet, "uid 1", Request::Rescan).unwrap();
        let written = serde_json::to_vec(&fleet).unwrap();
        let mut next: Fleet = serde_json::from_slice(&written).unwrap();
        assert_eq!(ask(&mut next, "uid 1", Request::Rescan), Ok(first));
        assert_eq!(ask(&mut next, "uid 1", Request::ReloadAll), Err(Refusal::KeyReused));
        assert_ne!(ask(&mut next, "uid 2", Request::Rescan), Ok(first));
    }
}
