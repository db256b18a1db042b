//! `Accept` (RFC 9110, 12.5.1): which of several forms a client wants most.

use http::{HeaderMap, header};

/// A media type without parameters, as an answer may have it.
type Offer = &'static str;

/// The first of the offers that the client gives the highest quality, which it has to name itself, or by its kind; where
/// another form that is there anyway, `usual`, has a higher one, or where it names none of them, that: `None`.
#[must_use]
pub fn best(headers: &HeaderMap, offers: &[Offer], usual: Offer) -> Option<Offer> {
    let said = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> = said.flat_map(|value| value.split(',')).filter_map(Range::read).collect();
    let named = offers.iter().filter_map(|offer| {
        let range = most_specific(&ranges, offer).filter(|range| range.is_named())?;
        (range.thousandths > 0).then_some((range.thousandths, range.place(&ranges), *offer))
    });
    let (quality, _, offer) =
        named.min_by_key(|(quality, place, _)| (std::cmp::Reverse(*quality), *place))?;
    let other = most_specific(&ranges, usual);
    let is_worse = other.is_some_and(|other| other.is_named() && other.thousandths > quality);
    (!is_worse).then_some(offer)
}

/// One of the media ranges of a client.
#[derive(Clone, Copy, Debug)]
struct Range<'a> {
    kind: &'a str,
    thousandths: u16,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        Some(Self { kind, thousandths: quality.map_or(1000, thousandths) })
    }

    /// How exactly it means the offer; `None`: not at all.
    fn exactness(&self, offer: &str) -> Option<u8> {
        if self.kind.eq_ignore_ascii_case(offer) {
            return Some(2);
        }
        let family = self.kind.strip_suffix("/*")?;
        match offer.split_once('/') {
            Some((of, _)) if family.eq_ignore_ascii_case(of) => Some(1),
            _ => (family == "*").then_some(0),
        }
    }

    /// Whether it is a type, and not all of a family.
    fn is_named(&self) -> bool {
        !self.kind.ends_with('*')
    }

    fn place(&self, ranges: &[Self]) -> usize {
        ranges.iter().position(|range| range.kind == self.kind).unwrap_or(usize::MAX)
    }
}

fn most_specific<'a>(ranges: &[Range<'a>], offer: &str) -> Option<Range<'a>> {
    let meant = ranges.iter().filter_map(|range| Some((range.exactness(offer)?, *range)));
    meant.max_by_key(|(exactness, _)| *exactness).map(|(_, range)| range)
}

/// `0.5` in thousandths; what is no quality is none.
fn thousandths(text: &str) -> u16 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, digits) {
        ("1", true) => 1000,
        ("0", true) => format!("{part:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_wanted_most_is_answered() {
        const OFFERS: [Offer; 3] = ["text/event-stream", "application/x-ndjson", "application/jsonl"];
        let (events, lines) = (Some("text/event-stream"), Some("application/x-ndjson"));
        for (accept, expected) in [
            ("text/event-stream", events),
            ("TEXT/Event-Stream; charset=utf-8", events),
            ("application/x-ndjson", lines),
            ("text/html, application/jsonl;q=0.9", Some("application/jsonl")),
            ("text/event-stream;q=0.5, application/x-ndjson", lines),
            ("application/x-ndjson, text/event-stream", lines),
            ("text/event-stream, application/x-ndjson", events),
            ("text/event-stream;q=0", None),
            ("text/event-stream;q=0, application/x-ndjson;q=0.001", lines),
            ("text/event-stream;q=0.1, application/json", None),
            ("text/event-stream;q=0.1, application/json;q=0.05", events),
            ("text/event-stream, */*", events),
            ("text/event-stream;q=0.5, */*", events),
            ("text/event-stream;q=much", None),
            ("*/*", None),
            ("text/*", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(best(&headers, &OFFERS, "application/json"), expected, "{accept}");
        }
    }
}
