//! The tests of `route-if`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::fill::fill;
use super::{Refused, State, World};
use crate::config::routes::condition::{PairTest, Test};
use crate::config::routes::pattern::Groups;
use crate::config::routes::template::Template;
use crate::config::value;

/// Whether a test succeeds.
pub(super) fn holds(test: &Test, state: &State, world: &dyn World) -> Result<bool, Refused> {
    let filled = |text: &Template| fill(text, &Groups::new(), state, world);
    Ok(match test {
        Test::File(test, path) => world.file(*test, &filled(path)?),
        Test::Empty(text) => filled(text)?.is_empty(),
        Test::Pair(test, first, second) => {
            let (first, second) = (filled(first)?, filled(second)?);
            match test {
                PairTest::Equal => first == second,
                PairTest::StartsWith => first.starts_with(&second),
                PairTest::EndsWith => first.ends_with(&second),
                PairTest::Contains => memchr::memmem::find(&first, &second).is_some(),
                PairTest::Higher => number(&first) > number(&second),
                PairTest::HigherEqual => number(&first) >= number(&second),
                PairTest::Lower => number(&first) < number(&second),
                PairTest::LowerEqual => number(&first) <= number(&second),
                PairTest::Ipv4In => is_in::<Ipv4Addr, 4>(&first, &second),
                PairTest::Ipv6In => is_in::<Ipv6Addr, 16>(&first, &second),
            }
        }
    })
}

/// A number as C reads it.
pub(super) fn number(text: &[u8]) -> i64 {
    value::integer(&String::from_utf8_lossy(text)).0
}

/// An address that is so many bytes.
trait Octets<const N: usize>: std::str::FromStr {
    fn octets(&self) -> [u8; N];
}

impl Octets<4> for Ipv4Addr {
    fn octets(&self) -> [u8; 4] {
        Self::octets(self)
    }
}

impl Octets<16> for Ipv6Addr {
    fn octets(&self) -> [u8; 16] {
        Self::octets(self)
    }
}

/// Whether an address is in a network: `10.0.0.0/8`, or one address.
fn is_in<A: Octets<N>, const N: usize>(address: &[u8], network: &[u8]) -> bool {
    let parse = |text: &str| text.parse::<A>().ok();
    let Ok((address, network)) =
        std::str::from_utf8(address).and_then(|a| Ok((a, std::str::from_utf8(network)?)))
    else {
        return false;
    };
    let (network, length) =
        network.split_once('/').map_or((network, None), |(net, length)| (net, Some(length)));
    let bits = length.map_or(Some(N * 8), |length| length.parse().ok()).filter(|bits| *bits <= N * 8);
    let (Some(address), Some(network), Some(bits)) = (parse(address), parse(network), bits) else {
        return false;
    };
    address.octets().iter().zip(network.octets()).enumerate().all(|(at, (ours, theirs))| {
        let kept = bits.saturating_sub(at * 8).min(8);
        let mask = u8::try_from(0xff00_u16 >> kept & 0xff).unwrap_or(u8::MAX);
        ours & mask == theirs & mask
    })
}
