//! What a change of the router's options needs.

use super::{Change, Need};
use crate::config::router::RouterSpec;

/// The router takes everything over while it serves, `workers` is what it takes where these come or go by it.
pub(super) fn diff(change: &mut Change, old: &RouterSpec, new: &RouterSpec, workers: Need) {
    let RouterSpec {
        timeout_s,
        keepalive_s,
        headers_timeout_s,
        variables,
        names_server_by_host,
        tls,
        redirects,
        export_certificate,
        proxy_protocol,
        websockets,
        auto_gzip,
        to,
        connect_timeout_s,
        harakiri_s,
    } = new;
    change.note(old.headers_timeout_s != *headers_timeout_s, "http-headers-timeout", Need::Nothing);
    // Workers make the environ.
    change.note(old.variables != *variables, "http-var", Need::Generation);
    change.note(
        old.names_server_by_host != *names_server_by_host,
        "http-server-name-as-http-host",
        Need::Generation,
    );
    change.note(old.timeout_s != *timeout_s, "http-timeout", Need::Nothing);
    change.note(old.keepalive_s != *keepalive_s, "http-keepalive", Need::Nothing);
    change.note(old.tls != *tls, "https", Need::Nothing);
    change.note(old.redirects != *redirects, "http-to-https", Need::Nothing);
    change.note(old.export_certificate != *export_certificate, "https-export-cert", Need::Nothing);
    change.note(old.websockets != *websockets, "http-websockets", Need::Nothing);
    change.note(old.auto_gzip != *auto_gzip, "http-auto-gzip", Need::Nothing);
    change.note(old.to != *to, "http-to", workers);
    change.note(old.connect_timeout_s != *connect_timeout_s, "http-connect-timeout", Need::Nothing);
    change.note(old.harakiri_s != *harakiri_s, "http-harakiri", Need::Nothing);
    change.note(old.proxy_protocol != *proxy_protocol, "http-enable-proxy-protocol", Need::Nothing);
}
