//! The memory of a cache, that every process of an instance writes: whatever stands in it, each call ends soon, and once
//! it is emptied it is a cache again.

use std::sync::atomic::Ordering;

use liege::config::cache::CacheSpec;
use liege::sys::shared::SharedWords;
use liege::wire::cache::{Cache, Present};

/// The first byte says what kind of cache it is, the others stand in its memory again and again.
pub(crate) fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first().filter(|(_, bytes)| !bytes.is_empty()) else { return };
    let options = [(1, ",bitmap=1"), (2, ",lru=1"), (4, ",clear_on_full=1"), (8, ",no_expire=1")];
    let said: String = options.iter().filter(|(bit, _)| kind & bit != 0).map(|(_, said)| *said).collect();
    let said = format!("name=x,items=8,blocks=16,blocksize=16,keysize=16,hashsize=4{said}");
    let Ok(cache) = CacheSpec::keyval(&said).map_err(drop).and_then(|spec| Cache::create(spec).map_err(drop))
    else {
        return;
    };
    let Ok(memory) =
        cache.fd().try_clone_to_owned().and_then(|file| SharedWords::map(file, true, usize::MAX))
    else {
        return;
    };
    for (word, at) in memory.words().iter().zip((0..).step_by(8)) {
        let byte = |n: usize| bytes.get((at + n) % bytes.len()).copied().unwrap_or_default();
        word.store(u64::from_le_bytes(std::array::from_fn(byte)), Ordering::Relaxed);
    }
    for key in [&b"a"[..], b"b", b"sixteen bytes ok"] {
        let _ = cache.get(key, 7);
        let _ = cache.set(key, b"a value", 3, Present::Replace, 7);
        let _ = cache.count(key, &|number| number.wrapping_add(1), 0, 8);
        let _ = cache.keys(9).map(|keys| assert!(keys.len() <= 8));
        let _ = cache.delete(key, 20);
    }
    let _ = cache.counts();
    assert!(cache.clear(30).is_ok());
    for key in [&b"a"[..], b"b"] {
        assert_eq!(cache.set(key, b"one", 0, Present::Keep, 31).ok(), Some(Ok(())));
        assert_eq!(cache.get(key, 32).ok(), Some(Some(b"one".to_vec())));
    }
    assert_eq!(cache.keys(33).ok().map(|keys| keys.len()), Some(2));
}
