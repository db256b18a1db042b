//! `cache2`, `cache`: memory that all processes of an instance share, by keys.

use serde::{Deserialize, Serialize};

use super::companions::keyval;
use super::value;

/// What a key or a block takes where nothing is said, as in uWSGI.
const KEY_BYTES: u64 = 2048;
const BLOCK_BYTES: u64 = 65_535;
const BUCKETS: u64 = 65_535;
/// The most of each: beyond it numbers are mistakes.
const MOST_ITEMS: u64 = 100_000_000;
const MOST_BYTES: u64 = 1 << 40;

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSpec {
    /// By what the application names it.
    pub name: String,
    /// How many items it holds.
    pub items: u64,
    /// The longest key, in bytes.
    pub key_bytes: u64,
    /// How many blocks it has, and of how many bytes.
    pub blocks: u64,
    /// The size of a block: without `bitmap` of the longest value.
    pub block_bytes: u64,
    /// A value may take several blocks.
    pub bitmap: bool,
    /// How many lists of items a key is looked up in.
    pub buckets: u64,
    /// What `cache_inc` and the like begin with.
    pub math_initial: i64,
    /// What was not used for the longest time makes room.
    pub purge_lru: bool,
    /// Everything makes room.
    pub clear_on_full: bool,
    /// Nothing is said of a cache that is full.
    pub ignore_full: bool,
    /// Items never expire.
    pub no_expire: bool,
}

impl CacheSpec {
    /// The cache of `cache = N`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plain(items: u64) -> Result<Self, String> {
        Self::default_of("default", items).checked()
    }

    /// A cache from `key=value,…`.
    ///
    /// # Errors
    /// What is missing, wrong, or cannot be had.
    pub fn keyval(text: &str) -> Result<Self, String> {
        let mut spec = Self::default_of("", 0);
        let mut blocks = None;
        for (key, said) in keyval::parse(text) {
            let text = said.as_deref().unwrap_or_default();
            let number = || match value::integer(text) {
                (number @ 1.., _) => Ok(number.unsigned_abs()),
                _ => Err(format!("{key} is not a number above 0")),
            };
            match key.as_str() {
                "name" => text.clone_into(&mut spec.name),
                "items" | "max_items" | "maxitems" => spec.items = number()?,
                "blocksize" => spec.block_bytes = number()?,
                "blocks" => blocks = Some(number()?),
                "keysize" | "key_size" => spec.key_bytes = number()?,
                "hashsize" | "hash_size" => spec.buckets = number()?,
                "hash" if text == "djb33x" => {}
                "math_initial" => spec.math_initial = value::integer(text).0,
                // A key that is there counts, whatever its value, as in uWSGI.
                "bitmap" => spec.bitmap = true,
                "purge_lru" | "lru" => spec.purge_lru = true,
                "clear_on_full" => spec.clear_on_full = true,
                "ignore_full" => spec.ignore_full = true,
                "no_expire" => spec.no_expire = true,
                // Always so: what has expired is not found any more, and makes room first.
                "lazy_expire" | "lazy" | "sweep_on_full" | "lastmod" => {}
                _ => return Err(format!("{key} cannot be had")),
            }
        }
        spec.blocks = blocks.unwrap_or(spec.items);
        spec.checked()
    }

    fn default_of(name: &str, items: u64) -> Self {
        Self {
            name: name.to_owned(),
            items,
            key_bytes: KEY_BYTES,
            blocks: items,
            block_bytes: BLOCK_BYTES,
            bitmap: false,
            buckets: BUCKETS,
            math_initial: 0,
            purge_lru: false,
            clear_on_full: false,
            ignore_full: false,
            no_expire: false,
        }
    }

    fn checked(self) -> Result<Self, String> {
        if self.name.is_empty() {
            return Err("you have to specify a cache name".to_owned());
        }
        if self.items == 0 {
            return Err("you have to specify the maximum number of cache items".to_owned());
        }
        if self.blocks < self.items {
            return Err(format!("there are fewer blocks ({}) than items ({})", self.blocks, self.items));
        }
        if self.key_bytes >= BLOCK_BYTES {
            return Err(format!("the keysize is not below {BLOCK_BYTES}"));
        }
        let bytes = self.blocks.saturating_mul(self.block_bytes);
        if self.items > MOST_ITEMS || self.buckets > MOST_ITEMS || bytes > MOST_BYTES {
            return Err(format!("it would be larger than {MOST_BYTES} bytes, or {MOST_ITEMS} items"));
        }
        Ok(self)
    }

    /// The longest value, in bytes.
    #[must_use]
    pub const fn longest_value(&self) -> u64 {
        if self.bitmap { self.blocks.saturating_mul(self.block_bytes) } else { self.block_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_cache_is_meant_or_refused() {
        let spec = CacheSpec::keyval("name=x,items=2000,blocks=3000,blocksize=4096,bitmap=1,lru=1").unwrap();
        let expected = CacheSpec {
            blocks: 3000,
            block_bytes: 4096,
            bitmap: true,
            purge_lru: true,
            ..CacheSpec::default_of("x", 2000)
        };
        assert_eq!(spec, expected);
        assert_eq!(
            (spec.longest_value(), CacheSpec::plain(7).unwrap().longest_value()),
            (12_288_000, 65_535)
        );
        for (text, reason) in [
            ("items=3", "you have to specify a cache name"),
            ("name=x", "you have to specify the maximum number of cache items"),
            ("name=x,items=0", "items is not a number above 0"),
            ("name=x,items=3,blocks=2", "there are fewer blocks (2) than items (3)"),
            ("name=x,items=3,store=/f", "store cannot be had"),
            ("name=x,items=3,hash=murmur2", "hash cannot be had"),
            ("name=x,items=3,keysize=70000", "the keysize is not below 65535"),
            ("name=x,items=999999999999", "it would be larger than 1099511627776 bytes, or 100000000 items"),
        ] {
            assert_eq!(CacheSpec::keyval(text).unwrap_err(), reason, "{text}");
        }
    }
}
