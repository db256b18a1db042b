//! The API behind TLS: certificates of clients instead of tokens, a certificate that is renewed, and our own command line.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::support::LIEGE;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::{Folder, liege};
use crate::support::tls::{Authority, Identity};
use crate::support::wait::until;

/// A host whose API speaks TLS, the authority that signs for it, and the files of its clients.
struct Stage {
    host: Host,
    files: Folder,
    authority: Authority,
    address: String,
}

fn both(identity: &Identity) -> String {
    format!("{}{}", identity.certificate, identity.key)
}

impl Stage {
    fn start(options: &[&str]) -> Self {
        let (files, authority, port) = (Folder::new(), Authority::new("the operator"), free_port());
        let at = |name: &str| files.path().join(name).display().to_string();
        let own = authority.sign("localhost");
        files.write("ca.pem", authority.certificate());
        files.write("cert.pem", &own.certificate);
        files.write("key.pem", &own.key);
        files.write("ci.pem", both(&authority.sign("ci.example")));
        files.write("other.pem", both(&Authority::new("somebody else").sign("ci.example")));
        let tls = format!("--api-tls={},{},{}", at("cert.pem"), at("key.pem"), at("ca.pem"));
        let address = format!("--api-http=127.0.0.1:{port}");
        let host = Host::start_with(&[], &[&[tls.as_str(), address.as_str()], options].concat());
        Self { host, files, authority, address: format!("https://localhost:{port}") }
    }

    fn ask(&self, words: &[&str]) -> Output {
        Command::new(LIEGE)
            .args(words)
            .args(["--api", &self.address, "--ca-file", "ca.pem"])
            .current_dir(self.files.path())
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_name_in_a_certificate_has_a_role() {
    let stage = Stage::start(&["--api-role=operate:cert:ci.example"]);
    for (words, status, message) in [
        (&["status", "--cert", "ci.pem"][..], 0, "0 vassals"),
        (&["rescan", "--wait", "--cert", "ci.pem"], 0, ""),
        (&["upgrade", "--cert", "ci.pem"], 1, "this needs the role admin; this is operate"),
        (&["status"], 3, "CertificateRequired"),
        (&["status", "--cert", "other.pem"], 3, "UnknownCA"),
        (&["status", "--cert", "cert.pem"], 2, "no private key is in it"),
    ] {
        let output = stage.ask(words);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", said(&output));
        assert!(said(&output).contains(message), "{words:?}: {}", said(&output));
    }
    stage.host.emperor.wait_for_log("refused: invalid peer certificate: UnknownIssuer");
    let plain = Command::new(LIEGE).args(["status", "--api", &stage.address]).output().unwrap();
    assert_eq!(plain.status.code(), Some(3), "nobody whom this host trusts has signed it");
}

#[test]
fn a_certificate_that_is_renewed_counts_at_once_and_a_broken_one_does_not() {
    let stage = Stage::start(&[]);
    let status = || stage.ask(&["status", "--cert", "ci.pem"]).status.code();
    assert_eq!(status(), Some(0));
    stage.files.write("cert.pem", "no certificate");
    assert_eq!(status(), Some(0), "the one before stays");
    let renewed = Authority::new("another operator");
    let own = renewed.sign("localhost");
    stage.files.write("key.pem", &own.key);
    stage.files.write("cert.pem", &own.certificate);
    until("the new certificate", || status() == Some(3));
    stage.files.write("ca.pem", format!("{}{}", stage.authority.certificate(), renewed.certificate()));
    assert_eq!(status(), Some(0));
}

#[test]
fn other_hosts_come_in_only_with_a_token_or_a_certificate() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("vassals")).unwrap();
    let own = Authority::new("the operator").sign("localhost");
    folder.write("cert.pem", &own.certificate);
    folder.write("key.pem", &own.key);
    let common = ["--emperor", "vassals", "--api", "api.sock"];
    for (address, option, message) in [
        ("0.0.0.0:0", "--api-tls=cert.pem,key.pem", "is not a loopback address"),
        ("0.0.0.0:0", "--api-tls=cert.pem", "this is not CERTIFICATE,KEY or CERTIFICATE,KEY,CA"),
        ("127.0.0.1:0", "--api-tls=cert.pem,nothing.pem", "cannot read the key"),
        ("127.0.0.1:0", "--api-tls=key.pem,key.pem", "cannot use api-tls"),
    ] {
        let mut emperor = liege(&folder, &[&common[..], &["--api-http", address, option]].concat());
        assert!(!emperor.wait().success(), "{option}");
        assert!(emperor.log().contains(message), "{option}: {}", emperor.log());
    }
}

#[test]
fn a_port_without_tokens_is_for_every_user_to_read_and_the_log_says_so_once() {
    let port = free_port();
    let address = format!("--api-http=127.0.0.1:{port}");
    let warning = format!(
        "WARN every user of this host, a vassal's too, may read the API at http://127.0.0.1:{port}/v1"
    );
    let mut host = Host::start_with(&[], &[&address]);
    host.emperor.wait_for_log("the API is at ");
    assert_eq!(Door::Port(port).get("/v1/vassals").unwrap().status, 200);
    host.emperor.signal(Signal::SIGHUP);
    until("the next image", || host.emperor.log().matches("the API is at ").count() == 2);
    assert_eq!(host.emperor.log().matches(&warning).count(), 1, "{}", host.emperor.log());
    host.emperor.signal(Signal::SIGTERM);
    host.emperor.wait();

    let folder = Folder::new();
    folder.write("tokens", "read a-token-of-sufficient-length\n");
    let tokens = folder.path().join("tokens");
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let tokens = format!("--api-token-file={}", tokens.display());
    let host = Host::start_with(&[], &[&address, &tokens]);
    host.emperor.wait_for_log("the API is at ");
    assert_eq!(Door::Port(port).get("/v1/vassals").unwrap().status, 401);
    assert!(!host.emperor.log().contains("every user"), "{}", host.emperor.log());
}
