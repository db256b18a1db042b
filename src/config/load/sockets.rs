//! The options of an instance's sockets, and of the router behind some of them.

use std::path::Path;

use super::instance::Reading;
use super::sift::{Said, Sift};
use crate::config::address::{Address, Listen, Protocol};
use crate::config::cores::ROUTED_LIMIT;
use crate::config::instance::InstanceSpec;
use crate::config::router::{ClientCa, RedirectSpec, RouterSpec, TlsSpec};
use crate::config::value;

impl Reading {
    /// Obeys an option, if it is one of these.
    pub(super) fn sockets(&mut self, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
        match said.name() {
            "socket" if said.entry.key == "uwsgi-socket" => self.listen(sift, said, Protocol::Uwsgi),
            "socket" => self.listen(sift, said, self.protocol),
            "fastcgi-socket" => self.listen(sift, said, Protocol::Fastcgi),
            "scgi-socket" => self.listen(sift, said, Protocol::Scgi),
            "http-socket" => self.listen(sift, said, Protocol::Http),
            "http" => self.listen(sift, said, Protocol::Router),
            "https" => self.https(sift, said, Files::of_tuple(said.text())),
            "https2" => self.https(sift, said, Files::of_pairs(said.text())),
            "http-to-https" => self.redirect(sift, said),
            "https-export-cert" => self.spec.router.export_certificate = said.flag(),
            "http-websockets" => self.spec.router.websockets = said.flag(),
            "http-auto-gzip" => self.spec.router.auto_gzip = said.flag(),
            "http-to" => {
                let directory = self.chdir.clone();
                self.spec.router.to.extend(sift.address(said, &directory));
            }
            "http-connect-timeout" => self.spec.router.connect_timeout_s = sift.count(said),
            "http-harakiri" => self.spec.router.harakiri_s = sift.count(said),
            "http-enable-proxy-protocol" => self.spec.router.proxy_protocol = said.flag(),
            "protocol" | "abstract-socket" | "map-socket" | "shared-socket" => {}
            "http-timeout" => self.spec.router.timeout_s = sift.count(said),
            "http-headers-timeout" => self.spec.router.headers_timeout_s = sift.count(said),
            "http-server-name-as-http-host" => self.spec.router.names_server_by_host = said.flag(),
            "http-var" => match said.text().split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    self.spec.router.variables.push((name.to_owned(), value.to_owned()));
                }
                _ => sift.error(said, "no variable", Some("http-var = NAME=VALUE".to_owned())),
            },
            "http-keepalive" => self.spec.router.keepalive_s = keepalive(sift, said),
            "freebind" => self.spec.sockets.freebind = said.flag(),
            "reuse-port" => self.spec.sockets.reuse_port = said.flag(),
            "so-keepalive" => self.spec.sockets.keepalive = said.flag(),
            "socket-sndbuf" => self.spec.sockets.send_buffer_bytes = sift.count(said),
            "socket-rcvbuf" => self.spec.sockets.receive_buffer_bytes = sift.count(said),
            "listen" => self.spec.backlog = sift.backlog(said),
            "chmod-socket" => match value::mode(said.text_or("1")) {
                Some(mode) => self.spec.chmod_socket = Some(mode),
                None => {
                    let suggestion = "three octal digits, such as 660";
                    sift.error(
                        said,
                        format!("invalid chmod value: {}", said.text()),
                        Some(suggestion.to_owned()),
                    );
                }
            },
            "chown-socket" => self.spec.chown_socket = sift.ownership(said),
            _ => return false,
        }
        true
    }

    fn listen(&mut self, sift: &mut Sift<'_>, said: Said<'_>, protocol: Protocol) {
        self.listen_on(sift, said, said.text(), protocol);
    }

    /// Adds a socket, whose address may be only a part of what was said.
    fn listen_on(
        &mut self,
        sift: &mut Sift<'_>,
        said: Said<'_>,
        text: &str,
        protocol: Protocol,
    ) -> Option<Address> {
        if protocol.is_of_router() && self.cores > ROUTED_LIMIT {
            let message = format!("a worker runs at most {ROUTED_LIMIT} of its requests at a time");
            sift.warn(said, message, Some("for more use `http-socket`, or several workers".to_owned()));
        }
        let directory = if protocol.is_of_router() { self.start.clone() } else { self.chdir.clone() };
        let address = match self.address(sift, said, text, &directory) {
            Some(Address::Unix(_)) if self.is_abstract && !text.starts_with('/') => {
                Address::Abstract(text.to_owned())
            }
            Some(address) => address,
            None => {
                self.listen_refused = true;
                return None;
            }
        };
        // What belongs to an address is found by it.
        let chosen_by_kernel = matches!(address, Address::Tcp { port: 0, .. })
            && !matches!(protocol, Protocol::Https | Protocol::Redirect);
        if !chosen_by_kernel && self.spec.listen.iter().any(|listen| listen.address == address) {
            sift.error(said, format!("{address} is there twice"), Some("remove one".to_owned()));
            return None;
        }
        self.spec.listen.push(Listen { address: address.clone(), protocol });
        Some(address)
    }

    fn https(&mut self, sift: &mut Sift<'_>, said: Said<'_>, files: Result<Files<'_>, String>) {
        let files = match files {
            Ok(files) => files,
            Err(message) => {
                let suggestion = "https = ADDRESS,CERTIFICATE,KEY[,CIPHERS[,CLIENT-CA]]".to_owned();
                sift.error(said, message, Some(suggestion));
                self.listen_refused = true;
                return;
            }
        };
        let Some(address) = self.listen_on(sift, said, files.address, Protocol::Https) else { return };
        let start = &self.start;
        self.spec.router.tls.push(TlsSpec {
            address,
            certificate: start.join(files.certificate),
            key: start.join(files.key),
            ciphers: files.ciphers.map(str::to_owned),
            client_ca: files.client_ca.map(|ca| ClientCa {
                file: start.join(ca.strip_prefix('!').unwrap_or(ca)),
                is_mandatory: ca.starts_with('!'),
            }),
        });
    }

    fn redirect(&mut self, sift: &mut Sift<'_>, said: Said<'_>) {
        let (address, port) = match said.text().split_once(',') {
            None => (said.text(), None),
            Some((address, port)) => match port.parse() {
                Ok(port) => (address, Some(port)),
                Err(_) => {
                    let suggestion = "http-to-https = ADDRESS[,PORT]".to_owned();
                    sift.error(said, format!("`{port}` is not a port"), Some(suggestion));
                    self.listen_refused = true;
                    return;
                }
            },
        };
        if let Some(address) = self.listen_on(sift, said, address, Protocol::Redirect) {
            self.spec.router.redirects.push(RedirectSpec { address, port });
        }
    }
}

impl Sift<'_> {
    /// How many connections are to wait in the kernel.
    pub(super) fn backlog(&mut self, said: Said<'_>) -> u32 {
        const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
        let wanted = self.count(said);
        let read = self.around.read(Path::new(SOMAXCONN), 64).unwrap_or_default();
        let most = value::integer(&String::from_utf8_lossy(&read)).0;
        if most > 0 && i64::from(wanted) > most {
            let message =
                format!("listen queue size is greater than the system max net.core.somaxconn ({most})");
            let hint = format!("nothing starts like this: lower it to {most}, or raise net.core.somaxconn");
            self.warn(said, message, Some(hint));
        }
        wanted
    }

    /// An address, relative paths from `directory`.
    pub(super) fn address(&mut self, said: Said<'_>, directory: &Path) -> Option<Address> {
        self.address_of(said, said.text(), directory)
    }

    /// The same, for what is only a part of what was said.
    pub(super) fn address_of(&mut self, said: Said<'_>, text: &str, directory: &Path) -> Option<Address> {
        match Address::parse(text, directory) {
            Ok((address, doubt)) => {
                if let Some(doubt) = doubt {
                    self.warn(said, format!("`{text}`: {doubt}"), None);
                }
                Some(address)
            }
            Err(error) => {
                self.error(said, error, None);
                None
            }
        }
    }
}

impl InstanceSpec {
    /// Where all that `http-to` names are sockets of this very instance, the router has its workers serve without a way
    /// around by those.
    pub(super) fn serves_own_sockets(&mut self) {
        let is_own = |to: &Address| {
            let packets = self.listen.iter().filter(|listen| listen.protocol == Protocol::Uwsgi);
            packets.map(|listen| &listen.address).any(|bound| leads_to(to, bound))
        };
        if self.router.to.iter().all(is_own) {
            self.router.to.clear();
        }
    }
}

/// Whether who connects to this address comes to a socket that is bound there.
fn leads_to(to: &Address, bound: &Address) -> bool {
    match (to, bound) {
        (Address::Tcp { host, port }, Address::Tcp { host: bound_host, port: bound_port }) => {
            let is_here = matches!(host.as_str(), "" | "127.0.0.1" | "localhost");
            let is_for_all = matches!(bound_host.as_str(), "" | "0.0.0.0" | "127.0.0.1" | "localhost");
            port == bound_port && (host == bound_host || (is_here && is_for_all))
        }
        _ => to == bound,
    }
}

/// What `https` names.
struct Files<'a> {
    address: &'a str,
    certificate: &'a str,
    key: &'a str,
    ciphers: Option<&'a str>,
    client_ca: Option<&'a str>,
}

impl<'a> Files<'a> {
    /// `address,certificate,key[,ciphers[,ca]]`.
    fn of_tuple(text: &'a str) -> Result<Self, String> {
        let mut parts = text.splitn(5, ',').map(str::trim);
        let mut next = || parts.next().filter(|part| !part.is_empty());
        match (next(), next(), next()) {
            (Some(address), Some(certificate), Some(key)) => {
                Ok(Self { address, certificate, key, ciphers: next(), client_ca: next() })
            }
            _ => Err("invalid https syntax must be socket,crt,key".to_owned()),
        }
    }

    /// `addr=…,cert=…,key=…`.
    fn of_pairs(text: &'a str) -> Result<Self, String> {
        let (mut address, mut certificate, mut key, mut ciphers, mut client_ca) =
            (None, None, None, None, None);
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "addr" => &mut address,
                "cert" | "crt" => &mut certificate,
                "key" => &mut key,
                "ciphers" => &mut ciphers,
                "clientca" | "client_ca" => &mut client_ca,
                // What SPDY was for nobody speaks any more; clients fall back by themselves.
                "spdy" => continue,
                other => return Err(format!("https2 knows no item {other}")),
            };
            *place = Some(value).filter(|value| !value.is_empty());
        }
        match (address, certificate, key) {
            (Some(address), Some(certificate), Some(key)) => {
                Ok(Self { address, certificate, key, ciphers, client_ca })
            }
            _ => Err("https2 option needs addr, cert and key items".to_owned()),
        }
    }
}

/// What is spoken on `socket`.
pub(super) fn protocol(sift: &mut Sift<'_>, said: Option<Said<'_>>) -> Protocol {
    let Some(said) = said else { return Protocol::Uwsgi };
    match said.text() {
        "uwsgi" => Protocol::Uwsgi,
        "http" | "http11" => Protocol::Http,
        "fastcgi" => Protocol::Fastcgi,
        "scgi" => Protocol::Scgi,
        other => {
            let suggestion = "uwsgi, http, fastcgi or scgi".to_owned();
            sift.error(said, format!("unable to find protocol {other}"), Some(suggestion));
            Protocol::Uwsgi
        }
    }
}

/// uWSGI reads anything but a number as off, which nobody means: here only what switches off does.
fn keepalive(sift: &mut Sift<'_>, said: Said<'_>) -> u32 {
    let default = RouterSpec::default().keepalive_s;
    if value::integer(said.text()).1 {
        return match sift.count(said) {
            1 => default,
            seconds => seconds,
        };
    }
    if said.flag() { default } else { 0 }
}
