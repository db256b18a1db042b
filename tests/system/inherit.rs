//! What an emperor says to all its vassals, and what their files say to it.

use nix::sys::signal::Signal;

use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;

const APP: &str = "
import os
def answer(environ, start_response):
    start_response('200 OK', [])
    return [(os.environ.get('WHO', '?') + ' ' + os.environ.get('SET', '?')).encode()]
a = b = answer
";

#[test]
fn defaults_templates_and_settings_reach_every_vassal_and_are_read_again() {
    let emperor = "[uwsgi]\nvassals-include-before = ../before.ini\nvassal-set = env=SET=one\n\
                   vassals-default = callable=%%n\nvassals-include = ../after.ini\nemperor-attr = team\n";
    let host = Host::start_with(&[("../emperor.ini", emperor)], &["--ini=emperor.ini"]);
    host.folder().write("app.py", APP);
    host.folder().write("before.ini", "[uwsgi]\nenv = WHO=%N\nwsgi-file = ../app.py\nprocesses = 1\n");
    host.folder().write("after.ini", "[uwsgi]\nprocesses = 3\n");
    let ports = [free_port(), free_port()];
    for (name, port) in ["a.ini", "b.ini"].into_iter().zip(ports) {
        let text =
            format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nprocesses = 2\n[emperor]\nteam = blue\n");
        host.write(name, text);
    }
    Door::Port(ports[0]).wait_for("/", "a one");
    Door::Port(ports[1]).wait_for("/", "b one");
    host.wait_for_vassal("a.ini", "has the workers of the last word", |vassal| {
        vassal["totals"]["workers"] == 3
    });
    assert_eq!(host.vassal("a.ini").unwrap()["attributes"]["team"], "blue");

    host.folder().write("emperor.ini", emperor.replace("one", "two"));
    host.emperor.signal(Signal::SIGHUP);
    Door::Port(ports[0]).wait_for("/", "a two");
    Door::Port(ports[1]).wait_for("/", "b two");
}
