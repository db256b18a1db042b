//! Reload, drain, and the end of the master, seen from clients.

use liege::sys::process::Signal;

use crate::client::Client;
use crate::master::Master;

#[test]
fn a_released_worker_finishes_and_its_successor_serves_on() {
    let master = Master::start();
    let mut old = master.workers(0, 2);
    let mut client = Client::get(master.address, "/old");
    let got = old[1].receive();
    assert_eq!(got.target(), "/old");
    old[0].rest();
    let mut new = master.worker(1);
    master.release(0);
    // That is sure before its last request is over.
    master.assert_passed_over(0);
    old[0].assert_closed();
    let mut other = Client::get(master.address, "/new");
    assert_eq!(new.answer("new"), "/new");
    assert_eq!(other.answer().body, "new");
    old[1].reply("old");
    assert_eq!(client.answer().body, "old");
    old[1].leave();
    master.assert_released(0);
    // One that is unknown, or was lost, counts as released.
    master.release(7);
    master.assert_released(7);
}

#[test]
fn signals_to_the_group_cut_nothing() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::get(master.address, "/");
    worker.receive();
    for signal in [Signal::Term, Signal::Int, Signal::Hup, Signal::Quit, Signal::Usr1] {
        master.signal(signal);
    }
    worker.reply("alive");
    assert_eq!(client.answer().body, "alive");
}

#[test]
fn a_drained_router_answers_what_is_there_and_ends() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut idle = Client::get(master.address, "/first");
    worker.answer("first");
    assert!(!idle.answer().is_last());
    let mut silent = Client::get(master.address, "/second");
    worker.answer("second");
    assert!(!silent.answer().is_last());
    let mut fresh = Client::connect(master.address);
    let mut running = Client::get(master.address, "/running");
    assert_eq!(worker.receive().target(), "/running");
    let mut queued = Client::get(master.address, "/queued");
    master.settle();
    master.drain();
    // Nobody is let in any more; the listener is the master's still, so its backlog takes the connection.
    let mut late = Client::get(master.address, "/late");
    worker.reply("ran");
    assert!(running.answer().is_last());
    assert_eq!(worker.answer("waited"), "/queued");
    assert!(queued.answer().is_last());
    idle.send_get("/again");
    assert_eq!(worker.answer("again"), "/again");
    let answer = idle.answer();
    assert!(answer.body == "again" && answer.is_last());
    idle.assert_closed();
    silent.assert_closed();
    fresh.assert_closed();
    master.assert_ends_well();
    late.assert_silent();
}

#[test]
fn without_its_master_the_router_finishes_what_is_there_and_ends() {
    let mut master = Master::start();
    let mut worker = master.worker(0);
    let mut running = Client::get(master.address, "/running");
    worker.receive();
    let mut queued = Client::get(master.address, "/queued");
    master.settle();
    master.vanish();
    worker.reply("ran");
    assert_eq!(running.answer().body, "ran");
    worker.answer("waited");
    assert_eq!(queued.answer().body, "waited");
    master.assert_ends_well();
}
