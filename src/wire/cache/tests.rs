//! What a cache promises, told as stories.

use super::*;

const NOW: u64 = 1_000_000;

fn cache(text: &str) -> Cache {
    Cache::create(CacheSpec::keyval(&format!("name=x,blocksize=64,{text}")).unwrap()).unwrap()
}

fn set(cache: &Cache, key: &str, value: &str) -> Result<(), Refusal> {
    cache.set(key.as_bytes(), value.as_bytes(), 0, Present::Keep, NOW).unwrap()
}

fn get(cache: &Cache, key: &str) -> Option<String> {
    cache.get(key.as_bytes(), NOW).unwrap().map(|value| String::from_utf8(value).unwrap())
}

fn keys(cache: &Cache, now_s: u64) -> Vec<String> {
    cache.keys(now_s).unwrap().into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn what_is_stored_is_found_by_all_who_share_it_until_it_is_taken_out() {
    // One bucket: every key is looked up in the same list.
    let ours = cache("items=4,hashsize=1,keysize=8");
    let theirs = Cache::open(ours.spec().clone(), ours.fd().try_clone_to_owned().unwrap()).unwrap();
    for (key, value, expected) in [
        ("a", "1", Ok(())),
        ("a", "2", Err(Refusal::Unfit)),
        ("", "1", Err(Refusal::Unfit)),
        ("b", "", Err(Refusal::Unfit)),
        ("123456789", "1", Err(Refusal::Unfit)),
        ("b", &"x".repeat(65), Err(Refusal::Unfit)),
        ("b", &"x".repeat(64), Ok(())),
        ("12345678", "3", Ok(())),
        ("c", "4", Ok(())),
        ("d", "5", Err(Refusal::Full)),
    ] {
        assert_eq!(set(&ours, key, value), expected, "{key}");
    }
    assert_eq!(get(&theirs, "a").as_deref(), Some("1"));
    assert_eq!(get(&theirs, "b").as_deref(), Some("x".repeat(64).as_str()));
    assert!(theirs.delete(b"a", NOW).unwrap() && !ours.delete(b"a", NOW).unwrap());
    assert_eq!((get(&ours, "a"), get(&ours, "12345678").as_deref()), (None, Some("3")));
    assert_eq!(set(&ours, "d", "5"), Ok(()));
    assert_eq!(theirs.set(b"d", b"6", 0, Present::Replace, NOW).unwrap(), Ok(()));
    assert_eq!(
        (get(&ours, "d").as_deref(), keys(&ours, NOW)),
        (Some("6"), ["b", "12345678", "c", "d"].map(String::from).to_vec())
    );
    let counts = Counts { items: 4, hits: 4, misses: 1, full: 1, modified_epoch_s: NOW };
    assert_eq!(ours.counts(), counts);
    ours.clear(NOW).unwrap();
    assert_eq!((keys(&theirs, NOW), theirs.counts()), (vec![], Counts { items: 0, ..counts }));
    assert_eq!(set(&theirs, "new", "1"), Ok(()));
    assert!(Cache::open(CacheSpec::plain(9).unwrap(), ours.fd().try_clone_to_owned().unwrap()).is_err());
}

#[test]
fn values_take_the_blocks_that_they_need() {
    let cache = cache("items=4,blocks=8,bitmap=1");
    assert_eq!(set(&cache, "a", &"a".repeat(200)), Ok(()));
    assert_eq!(set(&cache, "b", &"b".repeat(256)), Ok(()));
    assert_eq!(set(&cache, "c", "c"), Err(Refusal::Full));
    // A value that shrinks leaves blocks, one that grows finds others.
    assert_eq!(cache.set(b"b", b"b", 0, Present::Replace, NOW).unwrap(), Ok(()));
    assert_eq!(set(&cache, "c", &"c".repeat(192)), Ok(()));
    assert_eq!(set(&cache, "d", "d"), Err(Refusal::Full));
    cache.delete(b"a", NOW).unwrap();
    assert_eq!(cache.set(b"b", &[b'B'; 256], 0, Present::Replace, NOW).unwrap(), Ok(()));
    assert_eq!((get(&cache, "b"), get(&cache, "c")), (Some("B".repeat(256)), Some("c".repeat(192))));
}

#[test]
fn what_has_expired_is_not_found_and_makes_room() {
    let cache = cache("items=2");
    for (key, seconds) in [("soon", 5), ("later", 50)] {
        cache.set(key.as_bytes(), b"1", seconds, Present::Keep, NOW).unwrap().unwrap();
    }
    assert!(cache.has(b"soon", NOW + 4).unwrap() && !cache.has(b"soon", NOW + 5).unwrap());
    assert_eq!(keys(&cache, NOW + 5), ["later"]);
    cache.set(b"soon", b"1", 5, Present::Keep, NOW + 5).unwrap().unwrap();
    assert_eq!(cache.set(b"c", b"1", 0, Present::Keep, NOW + 6).unwrap(), Err(Refusal::Full));
    assert_eq!(cache.set(b"c", b"1", 0, Present::Keep, NOW + 50).unwrap(), Ok(()));
    assert_eq!(keys(&cache, NOW + 50), ["c"]);
    let forever = Cache::create(CacheSpec::keyval("name=x,items=2,no_expire=1").unwrap()).unwrap();
    forever.set(b"a", b"1", 1, Present::Keep, NOW).unwrap().unwrap();
    assert!(forever.has(b"a", NOW + 9).unwrap());
}

#[test]
fn a_full_cache_does_what_was_asked() {
    let cache = cache("items=3,lru=1");
    for key in ["a", "b", "c"] {
        set(&cache, key, key).unwrap();
    }
    get(&cache, "a").unwrap();
    set(&cache, "d", "d").unwrap();
    assert_eq!(keys(&cache, NOW), ["c", "a", "d"]);
    let cache = self::cache("items=4,blocks=4,bitmap=1,lru=1");
    for key in ["a", "b", "c"] {
        set(&cache, key, key).unwrap();
    }
    set(&cache, "big", &"x".repeat(180)).unwrap();
    assert_eq!(keys(&cache, NOW), ["big"]);
    let cache = self::cache("items=2,clear_on_full=1");
    for key in ["a", "b", "c"] {
        set(&cache, key, key).unwrap();
    }
    assert_eq!(keys(&cache, NOW), ["c"]);
}

#[test]
fn numbers_begin_where_the_configuration_says_and_keep_their_time() {
    let cache = cache("items=2,math_initial=7");
    let count = |change: &dyn Fn(i64) -> i64, expires_s, now_s| {
        cache.count(b"n", change, expires_s, now_s).unwrap().unwrap();
        cache.get(b"n", now_s).unwrap().map(|value| number(&value))
    };
    assert_eq!(count(&|n| n + 1, 5, NOW), Some(8));
    assert_eq!(count(&|n| n * 2, 50, NOW + 1), Some(16));
    assert_eq!(count(&|n| n - 1, 0, NOW + 5), Some(6));
    assert_eq!((number(b""), number(b"1"), number(&(-3_i64).to_ne_bytes())), (0, 49, -3));
}

#[test]
fn a_cache_that_somebody_left_in_the_middle_of_a_change_is_emptied() {
    let cache = cache("items=2");
    set(&cache, "a", "1").unwrap();
    cache.memory.set_head(Head::Dirty, 1);
    cache.memory.set_head(Head::First, 77);
    assert_eq!((keys(&cache, NOW), set(&cache, "b", "2")), (vec![], Ok(())));
    // Whatever is in the memory, nothing of it is followed out of it, or for ever.
    for word in [Head::First, Head::Last, Head::Free, Head::Fresh, Head::Block] {
        cache.memory.set_head(word, u64::MAX);
        let _ = (keys(&cache, NOW), set(&cache, "c", "3"), cache.delete(b"c", NOW).unwrap());
        cache.memory.set_head(Head::Dirty, 1);
    }
}
