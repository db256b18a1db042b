//! Documents of statistics as uWSGI writes them, and tells them to whoever connects: one by the instance, one by the
//! emperor.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::sys::reactor::Visitor;

/// How long a client of HTTP may take to ask. One that never does is answered, too, as by uWSGI.
const ASKING: Duration = Duration::from_secs(1);
/// No page of another origin may read it, as uWSGI lets it.
const HEAD: &[u8] = b"HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n\r\n";

/// A document in uWSGI's layout; `minified`: without white space.
///
/// # Errors
/// None in practice: everything can be written as JSON.
pub fn write(document: &impl Serialize, minified: bool) -> io::Result<Vec<u8>> {
    if minified {
        return Ok(serde_json::to_vec(document)?);
    }
    let mut bytes = Vec::with_capacity(4096);
    document.serialize(&mut Serializer::with_formatter(&mut bytes, Tabs::default()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The same behind a head of HTTP (`stats-http`).
#[must_use]
pub fn with_head(document: &[u8]) -> Vec<u8> {
    [HEAD, document].concat()
}

/// Tells a document to a client.
///
/// # Errors
/// It is gone.
pub async fn tell(client: &mut dyn Visitor, document: &[u8]) -> io::Result<()> {
    // An answer that is there before the request breaks a connection for clients that watch for that, as Go's do.
    if document.starts_with(b"HTTP/") {
        let _ = tokio::time::timeout(ASKING, client.read(&mut [0; 1024])).await;
    }
    client.write_all(document).await?;
    client.shutdown().await?;
    // A request that nobody has read would reset the connection, and with it what the client has not read yet.
    while client.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

/// Tabs, a key to each line, and no space after the colon.
struct Tabs(PrettyFormatter<'static>);

impl Default for Tabs {
    fn default() -> Self {
        Self(PrettyFormatter::with_indent(b"\t"))
    }
}

impl Formatter for Tabs {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}
