//! Filling in texts.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use base64::Engine as _;

use super::{Refused, State, World};
use crate::config::routes::pattern::Groups;
use crate::config::routes::template::{Fact, Part, Template};

/// The longest text that comes of it: what the value of a variable may be.
const MOST_BYTES: usize = 65_535;

/// The text, filled in once: what a client sent is never filled in again.
pub(super) fn fill(
    template: &Template,
    groups: &Groups,
    state: &State,
    world: &dyn World,
) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let get = |name: &String| state.request.get(name.as_bytes()).unwrap_or_default();
    for part in &template.0 {
        match part {
            Part::Text(text) => out.extend(text.as_bytes()),
            Part::Group(number) => out.extend(groups.get(*number).into_iter().flatten().flatten()),
            Part::Variable(name) => out.extend(get(name)),
            Part::Cookie(name) => out.extend(cookie(get(&"HTTP_COOKIE".to_owned()), name.as_bytes())),
            Part::Query(name) => out.extend(query(get(&"QUERY_STRING".to_owned()), name.as_bytes())),
            Part::MediaType(name) => out.extend(world.media_type(get(name)).into_bytes()),
            Part::Base64(name) => {
                out.extend(base64::engine::general_purpose::STANDARD.encode(get(name)).into_bytes());
            }
            Part::Hex(name) => {
                let mut digits = String::new();
                get(name).iter().for_each(|byte| {
                    let _ = write!(digits, "{byte:02X}");
                });
                out.extend(digits.into_bytes());
            }
            Part::HttpTime(seconds) => {
                let now = i64::try_from(world.epoch_us() / 1_000_000).unwrap_or(i64::MAX);
                out.extend(http_date(now.saturating_add((*seconds).into())).into_bytes());
            }
            Part::Fact(fact) => out.extend(of_moment(*fact, state, world).into_bytes()),
        }
        if out.len() > MOST_BYTES {
            return Err(Refused(500));
        }
    }
    Ok(out)
}

fn of_moment(fact: Fact, state: &State, world: &dyn World) -> String {
    match fact {
        Fact::UnixTime => (world.epoch_us() / 1_000_000).to_string(),
        Fact::Micros => world.epoch_us().to_string(),
        Fact::Status => state.status.to_string(),
        Fact::Taken => state.taken_us.to_string(),
        Fact::Size => state.body_bytes.to_string(),
        Fact::Worker | Fact::Process | Fact::Uuid | Fact::Started => world.fact(fact),
    }
}

/// Seconds since the epoch as HTTP writes them; what it cannot write is a time long ago.
pub(super) fn http_date(seconds: i64) -> String {
    // The year 9999 is the last that it can write.
    const LAST: u64 = 253_402_300_799;
    let seconds = u64::try_from(seconds).unwrap_or_default().min(LAST);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The value of a cookie, without its quotes.
fn cookie<'a>(cookies: &'a [u8], name: &[u8]) -> &'a [u8] {
    let value = pair(cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii), name);
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The value of a parameter, as it was sent.
fn query<'a>(parameters: &'a [u8], name: &[u8]) -> &'a [u8] {
    pair(parameters.split(|byte| *byte == b'&'), name)
}

fn pair<'a>(mut pairs: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> &'a [u8] {
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"=")).unwrap_or_default()
}
