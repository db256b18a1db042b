//! A host of tenants: an emperor that goes by the owners of files, and an app that tells what its process may.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use crate::host::{Host, get};
use crate::port::free_port;

/// Users that need no entry anywhere.
pub(crate) const ALICE: u32 = 20001;
pub(crate) const BOB: u32 = 20002;
pub(crate) const CAROL: u32 = 20003;

/// `/` tells what the process is, the other paths try something and tell the error.
const APP: &str = r#"
import errno, mmap, os, socket
def error(call):
    try:
        return str(call())
    except OSError as e:
        return errno.errorcode[e.errno]
def setuid():
    os.setuid(0)
def call(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(path)
    return 'hung up' if not s.recv(100) else 'answered'
def scribble(byte):
    done = set()
    for fd in map(int, os.listdir('/proc/self/fd')):
        name = error(lambda: os.readlink('/proc/self/fd/%d' % fd))
        if '/memfd:' in name and os.fstat(fd).st_size:
            with mmap.mmap(fd, 0) as memory:
                memory[:] = bytes([int(byte)]) * len(memory) if byte else os.urandom(len(memory))
            done.add(name.split(':')[1].split()[0])
    return ' '.join(sorted(done))
def tell():
    status = [l.split(':', 1) for l in open('/proc/self/status').read().splitlines()]
    told = {k: ' '.join(v.split()) for k, v in status}
    told['pid'] = os.getpid()
    told['NAMED'], told['HOME'] = os.environ.get('NAMED'), os.environ.get('HOME')
    told['setuid'] = error(setuid)
    told["master's memory"] = error(lambda: open('/proc/%d/mem' % os.getppid(), 'rb').read(1))
    return ''.join('%s=%s\n' % item for item in told.items())
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    _, what, *rest = environ['PATH_INFO'].split('/', 2)
    rest = rest[0] if rest else ''
    if what == 'signal':
        said = error(lambda: os.kill(int(rest), 0))
    elif what == 'join':
        said = error(lambda: os.setpgid(0, int(rest)))
    elif what == 'open':
        said = error(lambda: open('/' + rest, 'rb').read())
    elif what == 'call':
        said = error(lambda: call('/' + rest))
    elif what == 'fd':
        said = error(lambda: os.listdir('/proc/%s/fd' % rest))
    elif what in ('environ', 'mem'):
        said = error(lambda: open('/proc/%s/%s' % (rest, what), 'rb').read(1))
    elif what == 'scribble':
        said = scribble(rest)
    elif what == 'see':
        said = str(os.path.exists('/proc/%s' % rest))
    elif what == 'run':
        said = os.popen(rest).read()
    else:
        said = tell()
    return [said.encode()]
"#;

/// Whether the tests can be made at all.
pub(crate) fn is_root() -> bool {
    let root = liege::sys::user::current_uid() == 0;
    if !root {
        eprintln!("skipped: only root can become other users");
    }
    root
}

/// A host whose emperor is a tyrant.
pub(crate) fn tyrant(options: &[&str]) -> Host {
    let host = Host::with(&[&["--emperor-tyrant"], options].concat());
    furnish(&host);
    host
}

/// The app, and a directory in which everybody can write.
pub(crate) fn furnish(host: &Host) {
    fs::write(host.path("app.py"), APP).unwrap();
    fs::create_dir(host.path("home")).unwrap();
    fs::set_permissions(host.path("home"), fs::Permissions::from_mode(0o1777)).unwrap();
}

/// Puts a vassal's file into place, owned by this user from the first moment; answers its port.
pub(crate) fn tenant(host: &Host, name: &str, uid: u32, lines: &str) -> u16 {
    write(host, &host.path("v").join(name), uid, lines)
}

/// The same at any path.
pub(crate) fn write(host: &Host, path: &Path, uid: u32, lines: &str) -> u16 {
    let port = free_port();
    let base = host.path("");
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nchdir = {}\nwsgi-file = app.py\n{lines}\n\
         worker-reload-mercy = 10\ndisable-logging = true\nneed-app = true\n",
        base.display()
    );
    let fresh = base.join(".fresh");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&fresh, Some(uid), Some(uid)).unwrap();
    fs::rename(&fresh, path).unwrap();
    port
}

/// Replaces what is at a path by a link that this user made.
pub(crate) fn link(target: &Path, path: &Path, uid: u32) {
    let fresh = path.with_file_name(".link");
    symlink(target, &fresh).unwrap();
    lchown(&fresh, Some(uid), Some(uid)).unwrap();
    fs::rename(&fresh, path).unwrap();
}

/// What the app on this port tells of its process.
pub(crate) fn ask(port: u16) -> Option<BTreeMap<String, String>> {
    let said = get(port, "/").ok()?;
    Some(
        said.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
    )
}

/// A tyrant with a vassal of Alice's and one of Bob's, both up, and their ports.
pub(crate) fn alice_and_bob() -> (Host, u16, u16) {
    let host = tyrant(&[]);
    let (a, b) = (tenant(&host, "a.ini", ALICE, ""), tenant(&host, "b.ini", BOB, ""));
    until_up(&host, a);
    until_up(&host, b);
    (host, a, b)
}

/// The same once it is there.
pub(crate) fn until_up(host: &Host, port: u16) -> BTreeMap<String, String> {
    let mut said = None;
    host.wait(&format!("an app on port {port}"), || {
        said = ask(port);
        said.is_some()
    });
    said.unwrap()
}

/// Why this file is not started, or cannot be used any more, as `status` says.
pub(crate) fn not_started(host: &Host, name: &str) -> String {
    let (_, said) = host.ask(&["status", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let list = told["not_started"].as_array().cloned().unwrap_or_default();
    let of_it = list.iter().filter(|one| one["path"].as_str().is_some_and(|path| path.ends_with(name)));
    let vassals = told["vassals"].as_array().cloned().unwrap_or_default();
    let unusable = vassals.iter().filter(|one| one["name"] == name);
    let unusable = unusable.filter_map(|one| one["config_error"]["message"].as_str());
    of_it.filter_map(|one| one["reason"].as_str()).chain(unusable).collect::<Vec<_>>().join("; ")
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn lives(pid: u32) -> bool {
    liege::sys::peer::started(pid).is_some()
}

/// How many processes a user has.
pub(crate) fn processes_of(uid: u32) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| entry.metadata().is_ok_and(|of| of.uid() == uid))
        .count()
}

/// A user who is a member of further groups, and all groups of a process of his whose own group has his number.
pub(crate) fn user_with_groups() -> Option<(u32, String)> {
    let text = fs::read_to_string("/etc/group").ok()?;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split([':', ',']).skip(2).collect()).collect();
    let name = lines.iter().filter_map(|line| line.get(1)).find(|name| !["", "root"].contains(name))?;
    let uid = liege::sys::user::uid_of(name).ok()?;
    let member = lines.iter().filter(|line| line.iter().skip(1).any(|one| one == name));
    let mut groups: Vec<u32> = member.filter_map(|line| line.first()?.parse().ok()).chain([uid]).collect();
    groups.sort_unstable();
    Some((uid, groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")))
}

/// Whether this machine lets nobody have namespaces: the test is skipped then.
pub(crate) fn refuses_namespaces(host: &Host, port: u16) -> bool {
    let refusal = || {
        host.log().contains("emperor-use-clone cannot be obeyed")
            || host.log().contains("Operation not permitted")
    };
    host.wait("an outcome", || get(port, "/").is_ok() || host.log().contains("] up") || refusal());
    if refusal() {
        eprintln!("skipped: this machine lets nobody have namespaces");
    }
    refusal()
}

/// The body of the answer to a request on a unix socket.
pub(crate) fn get_from(socket: &Path, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    write!(stream, "GET {} HTTP/1.0\r\n\r\n", path.replace(' ', "%20"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .ok_or_else(|| std::io::Error::other(answer.clone()))
}

/// What a command prints that the app on this port runs.
pub(crate) fn run(port: u16, command: &str) -> String {
    let encoded: String = command.bytes().map(|byte| format!("%{byte:02X}")).collect();
    get(port, &format!("/run/{encoded}")).unwrap()
}

/// The body of the answer to a request of JSON on a unix socket.
pub(crate) fn exchange(socket: &Path, request: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         If-Match: *\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Gives a file an access control list that lets this user write it; `false`: its file system has none.
pub(crate) fn let_write(path: &Path, uid: u32) -> bool {
    const LIST: &str = "
import errno, os, struct, sys
entries = [(1, 6, -1), (2, 6, int(sys.argv[2])), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
entries = b''.join(struct.pack('<HHI', tag, may, id & 0xffffffff) for tag, may, id in entries)
try: os.setxattr(sys.argv[1], 'system.posix_acl_access', struct.pack('<I', 2) + entries)
except OSError as e: sys.exit(0 if e.errno == errno.ENOTSUP else repr(e))
print('done')
";
    let output = std::process::Command::new("python3")
        .args(["-c", LIST])
        .arg(path)
        .arg(uid.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout == b"done\n"
}
