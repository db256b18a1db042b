//! A message between two of our processes, in the packet or in a memory file: what an app can write into the channels
//! that its processes hold is read or refused, and what is read says the same when it is sent on.

use std::fmt::Debug;
use std::os::fd::AsFd;

use liege::sys::{memfd, seqpacket};
use liege::wire::channel;
use liege::wire::message::{FromInstance, FromRouter, FromWorker, FromZygote, ToInstance, ToRouter};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The packet as it would come; one that begins with `m` has its rest in a file.
pub(crate) fn check(input: &[u8]) {
    check_as::<FromInstance>(input);
    check_as::<FromZygote>(input);
    check_as::<FromWorker>(input);
    check_as::<FromRouter>(input);
    check_as::<ToInstance>(input);
    check_as::<ToRouter>(input);
}

fn check_as<T: Serialize + DeserializeOwned + Debug>(input: &[u8]) {
    let Ok((ours, theirs)) = channel::pair() else { return };
    let sent = match input.split_first() {
        Some((b'm', rest)) => {
            memfd::sealed("message", rest).and_then(|file| seqpacket::send(&theirs, b"m", &[file.as_fd()]))
        }
        // An empty packet is the end.
        Some(_) => seqpacket::send(&theirs, input, &[]),
        None => return,
    };
    sent.expect("the packet is sent");
    let Ok(Some((message, fds))) = channel::receive::<T>(&ours) else { return };
    assert!(fds.is_empty(), "the file of a long message is not one of its descriptors");
    channel::send(&theirs, &message, &[]).expect("what was read can be sent");
    let (again, _) = channel::receive::<T>(&ours).expect("and read").expect("again");
    assert_eq!(format!("{message:?}"), format!("{again:?}"));
}
