//! Which requests ask for a websocket, and the answer that grants one (RFC 6455, section 4).

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};
use tungstenite::handshake::derive_accept_key;

use super::head::{Fault, check_value};
use super::packet::UwsgiRequest;

/// The only version there is.
const VERSION: &[u8] = b"13";
/// Where nobody said from where the script came, as in uWSGI.
const ANYWHERE: &[u8] = b"*";

/// What a client said that asks for a websocket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    key: Vec<u8>,
    origin: Vec<u8>,
    /// The protocols that it offers, separated by commas.
    protocols: Vec<u8>,
}

/// What an application says of the websocket; empty: nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grant<'a> {
    /// In place of the client's key.
    pub key: &'a [u8],
    /// In place of the client's origin.
    pub origin: &'a [u8],
    /// The protocol that is spoken.
    pub protocol: &'a [u8],
}

/// The fields of an answer, without those that concern the connection.
pub type Fields = Vec<(&'static str, Vec<u8>)>;

impl Wish {
    /// That of an HTTP request; `None`: it asks for no websocket.
    #[must_use]
    pub fn of_http(request: &Parts) -> Option<Self> {
        // The first look costs every request something.
        let upgrade = request.headers.get(UPGRADE)?;
        let is_so = upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
            && request.method == Method::GET
            && request.version >= Version::HTTP_11
            && names_upgrade(&request.headers)
            && !has_body(&request.headers);
        let value = |name: &HeaderName| request.headers.get(name).map(|value| value.as_bytes().to_vec());
        let wish = Self {
            key: value(&http::header::SEC_WEBSOCKET_KEY)?,
            origin: value(&http::header::ORIGIN).unwrap_or_default(),
            protocols: value(&http::header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default(),
        };
        let version = request.headers.get(http::header::SEC_WEBSOCKET_VERSION);
        (is_so && version.is_some_and(|version| version == VERSION)).then_some(wish)
    }

    /// That of a request whose variables a front end sent.
    #[must_use]
    pub fn of_variables(request: &UwsgiRequest<'_>) -> Option<Self> {
        let key = request.variable(b"HTTP_SEC_WEBSOCKET_KEY").filter(|key| !key.is_empty())?;
        let value = |name: &[u8]| request.variable(name).unwrap_or_default().to_vec();
        let wish = Self {
            key: key.to_vec(),
            origin: value(b"HTTP_ORIGIN"),
            protocols: value(b"HTTP_SEC_WEBSOCKET_PROTOCOL"),
        };
        let is_so = request.method == b"GET"
            && request.content_length == 0
            && request.variable(b"HTTP_SEC_WEBSOCKET_VERSION") == Some(VERSION);
        is_so.then_some(wish)
    }

    /// The answer that grants it.
    ///
    /// # Errors
    /// What the application says has no place in a head.
    pub fn granted(&self, grant: Grant<'_>) -> Result<Fields, Fault> {
        let or = |said: &[u8], other: &[u8]| if said.is_empty() { other.to_vec() } else { said.to_vec() };
        let key = or(grant.key, &self.key);
        let mut fields = vec![
            ("Sec-WebSocket-Origin", or(grant.origin, &or(&self.origin, ANYWHERE))),
            ("Sec-WebSocket-Accept", derive_accept_key(&key).into_bytes()),
        ];
        // Of several that are offered one has to be chosen.
        let first = self.protocols.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
        let protocol = or(grant.protocol, first);
        if !protocol.is_empty() {
            fields.push(("Sec-WebSocket-Protocol", protocol));
        }
        fields.iter().try_for_each(|(_, value)| check_value(value))?;
        Ok(fields)
    }
}

/// Whoever else reads the connection might take a body for the first messages, or the other way round.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let options = headers.get_all(CONNECTION).iter().flat_map(|v| v.as_bytes().split(|&byte| byte == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::gateway::packet::PacketRequest;
    use crate::proto::uwsgi::to_block;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");

    fn wish(method: &str, fields: &[(&str, &str)]) -> Option<Wish> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Wish::of_http(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn requests_that_ask_for_a_websocket() {
        let connection = ("connection", "keep-alive, Upgrade");
        assert!(wish("GET", &[KEY, VERSION, UPGRADE, connection]).is_some());
        assert!(wish("GET", &[KEY, VERSION, UPGRADE, connection, ("content-length", "0")]).is_some());
        for (method, fields) in [
            ("POST", &[KEY, VERSION, UPGRADE, connection][..]),
            ("GET", &[VERSION, UPGRADE, connection]),
            ("GET", &[KEY, UPGRADE, connection]),
            ("GET", &[KEY, ("sec-websocket-version", "8"), UPGRADE, connection]),
            ("GET", &[KEY, VERSION, ("upgrade", "h2c"), connection]),
            ("GET", &[KEY, VERSION, UPGRADE, ("connection", "keep-alive")]),
            ("GET", &[KEY, VERSION, connection]),
            ("GET", &[KEY, VERSION, UPGRADE, connection, ("content-length", "5")]),
            ("GET", &[KEY, VERSION, UPGRADE, connection, ("transfer-encoding", "chunked")]),
        ] {
            assert_eq!(wish(method, fields), None, "{method} {fields:?}");
        }
    }

    #[test]
    fn variables_that_ask_for_a_websocket() {
        let read = |variables: &[(&str, &str)]| {
            let pairs = variables.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let request = PacketRequest::new(to_block(pairs).unwrap()).unwrap();
            Wish::of_variables(&request.view()).is_some()
        };
        let method = ("REQUEST_METHOD", "GET");
        let key = ("HTTP_SEC_WEBSOCKET_KEY", KEY.1);
        let version = ("HTTP_SEC_WEBSOCKET_VERSION", "13");
        assert!(read(&[method, key, version]));
        assert!(!read(&[method, version]));
        assert!(!read(&[method, key]));
        assert!(!read(&[("REQUEST_METHOD", "POST"), key, version]));
        assert!(!read(&[method, key, version, ("CONTENT_LENGTH", "1")]));
    }

    #[test]
    fn the_answer_follows_from_what_both_said() {
        let wish = Wish {
            key: KEY.1.as_bytes().to_vec(),
            origin: b"http://a.example".to_vec(),
            protocols: b"chat, superchat".to_vec(),
        };
        let shown = |wish: &Wish, grant| {
            let fields = wish.granted(grant)?;
            Ok::<_, Fault>(fields.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect())
        };
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned();
        assert_eq!(
            shown(&wish, Grant::default()),
            Ok(vec!["http://a.example".to_owned(), accept.clone(), "chat".to_owned()])
        );
        let said = Grant { origin: b"b", protocol: b"superchat", key: KEY.1.as_bytes() };
        assert_eq!(shown(&wish, said), Ok(vec!["b".to_owned(), accept, "superchat".to_owned()]));
        assert_eq!(
            shown(&Wish::default(), Grant::default()).map(|fields: Vec<_>| fields[0].clone()),
            Ok("*".into())
        );
        assert_eq!(shown(&wish, Grant { protocol: b"a\r\nb: c", ..said }), Err(Fault::Value));
    }
}
