//! What compiled code is kept, and what is never loaded.

use std::os::unix::fs::MetadataExt as _;

use super::*;

#[tokio::test]
async fn after_a_restart_nothing_is_compiled_again() {
    let place = Place::new();
    let (bytes, digest) = (small(1), Digest::of(&small(1)));
    load(&place.compiler(HANDOFF, CompileSettings::default()), &bytes).await.unwrap();
    let compiler = place.compiler(MISSING, CompileSettings::default());
    assert!(cached(&compiler, digest, true).await.is_some());
    let compiler = place.compiler(MISSING, CompileSettings::default());
    load(&compiler, &bytes).await.unwrap();
    // Not compiled for the other engine, and no other component.
    assert!(cached(&compiler, digest, false).await.is_none());
    assert!(cached(&compiler, Digest::of(&small(2)), true).await.is_none());
}

#[tokio::test]
async fn the_cache_is_private() {
    let place = Place::new();
    place.compiler(MISSING, CompileSettings::default());
    let mode =
        |path: &str| fs::metadata(place.0.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("compiled"), mode("compiled.key")), (0o700, 0o600));
}

#[tokio::test]
async fn a_damaged_file_is_deleted_and_compiled_again() {
    let place = Place::new();
    let bytes = small(1);
    load(&place.compiler(HANDOFF, CompileSettings::default()), &bytes).await.unwrap();
    let [file] = &place.cached()[..] else { panic!("one file") };
    let good = fs::read(file).unwrap();
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    let damages = [
        flipped(0),
        flipped(20),
        flipped(41),
        flipped(good.len() / 2),
        flipped(good.len() - 1),
        good[..good.len() - 1].to_vec(),
        good[..39].to_vec(),
        [&good[..], b"x"].concat(),
        Vec::new(),
    ];
    for (number, damaged) in damages.into_iter().enumerate() {
        fs::write(file, damaged).unwrap();
        let compiler = place.compiler(MISSING, CompileSettings::default());
        assert!(cached(&compiler, Digest::of(&bytes), true).await.is_none(), "damage {number}");
        assert!(!file.exists(), "damage {number}");
        load(&place.compiler(HANDOFF, CompileSettings::default()), &bytes).await.unwrap();
        assert!(file.exists(), "damage {number}");
    }
}

#[tokio::test]
async fn a_file_from_elsewhere_or_of_another_name_is_not_loaded() {
    let (here, elsewhere) = (Place::new(), Place::new());
    for place in [&here, &elsewhere] {
        let compiler = place.compiler(HANDOFF, CompileSettings::default());
        for metered in [true, false] {
            load_for(&compiler, Digest::of(&small(1)), &small(1), metered).await.unwrap();
        }
    }
    let [one, other] = &here.cached()[..] else { panic!("two files") };
    let swapped = here.0.path().join("swapped");
    fs::rename(one, &swapped).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&swapped, other).unwrap();
    let compiler = here.compiler(MISSING, CompileSettings::default());
    for metered in [true, false] {
        assert!(cached(&compiler, Digest::of(&small(1)), metered).await.is_none());
    }
    for file in elsewhere.cached() {
        fs::copy(&file, here.cache().join(file.file_name().unwrap())).unwrap();
    }
    let compiler = here.compiler(MISSING, CompileSettings::default());
    for metered in [true, false] {
        assert!(cached(&compiler, Digest::of(&small(1)), metered).await.is_none());
    }
    assert!(here.cached().is_empty());
}

#[tokio::test]
async fn a_key_that_others_could_read_is_replaced() {
    let place = Place::new();
    let bytes = small(1);
    load(&place.compiler(HANDOFF, CompileSettings::default()), &bytes).await.unwrap();
    let key = place.0.path().join("compiled.key");
    let before = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let compiler = place.compiler(MISSING, CompileSettings::default());
    assert_ne!(fs::read(&key).unwrap(), before);
    assert!(cached(&compiler, Digest::of(&bytes), true).await.is_none());
    fs::write(&key, "short").unwrap();
    place.compiler(MISSING, CompileSettings::default());
    assert_eq!(fs::read(&key).unwrap().len(), 32);
}

#[tokio::test]
async fn what_was_not_used_for_longest_leaves_the_disk_first() {
    let place = Place::new();
    load(&place.compiler(HANDOFF, CompileSettings::default()), &small(1)).await.unwrap();
    let [first] = &place.cached()[..] else { panic!("one file") };
    // What it takes of the disk, in whole blocks.
    let size = fs::metadata(first).unwrap().blocks() * 512;
    let settings = CompileSettings { cache_bytes: size * 5 / 2, ..Default::default() };
    let compiler = place.compiler(HANDOFF, settings.clone());
    load(&compiler, &small(2)).await.unwrap();
    assert_eq!(place.cached().len(), 2);
    // Used again: now the second is the oldest.
    load(&compiler, &small(1)).await.unwrap();
    load(&compiler, &small(3)).await.unwrap();
    assert_eq!(place.cached().len(), 2);
    let compiler = place.compiler(MISSING, settings);
    assert!(cached(&compiler, Digest::of(&small(1)), true).await.is_some());
    assert!(cached(&compiler, Digest::of(&small(2)), true).await.is_none());
    // A component larger than the whole cache is loaded and not kept.
    let place = Place::new();
    let settings = CompileSettings { cache_bytes: 0, ..Default::default() };
    load(&place.compiler(HANDOFF, settings), &small(1)).await.unwrap();
    assert!(place.cached().is_empty());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_does_not_fail_a_compilation() {
    let place = Place::new();
    let compiler = place.compiler(HANDOFF, CompileSettings::default());
    fs::remove_dir(place.cache()).unwrap();
    load(&compiler, &small(1)).await.unwrap();
}

#[tokio::test]
async fn no_more_components_stay_loaded_than_allowed() {
    for settings in [
        CompileSettings { loaded: 1, cache_bytes: 0, ..Default::default() },
        CompileSettings { loaded_bytes: 64 << 10, cache_bytes: 0, ..Default::default() },
    ] {
        let place = Place::new();
        let compiler = place.compiler(HANDOFF, settings);
        for n in 0..8 {
            load(&compiler, &small(n)).await.unwrap();
        }
        assert!(cached(&compiler, Digest::of(&small(7)), true).await.is_some());
        assert!(cached(&compiler, Digest::of(&small(0)), true).await.is_none());
    }
}

#[tokio::test]
async fn the_same_bytes_are_not_inspected_again_after_a_restart_either() {
    let place = Place::new();
    let first = place.compiler(HANDOFF, CompileSettings::default());
    let expected = first.inspect(suite()).await.unwrap();
    let kept = place.cached();
    assert_eq!(kept.len(), 1);
    // A child that is started has no time.
    let restarted =
        place.compiler(HANDOFF, CompileSettings { inspect_ms: 0, ..Default::default() });
    assert_eq!(restarted.inspect(suite()).await.unwrap(), expected);
    // Within other bounds, or by another build, it may tell otherwise.
    let mut stricter = CompileSettings { inspect_ms: 0, ..Default::default() };
    stricter.structure.names = 2;
    let error = place.compiler(HANDOFF, stricter).inspect(suite()).await.unwrap_err();
    assert_limit(&error, "compile.inspect_ms");
    let settings = CompileSettings { inspect_ms: 0, ..Default::default() };
    let error = place.compiler(place.script(HANGING), settings).inspect(suite()).await;
    assert_limit(&error.unwrap_err(), "compile.inspect_ms");
    // What was kept is believed as little as code that is damaged.
    let mut text = fs::read(&kept[0]).unwrap();
    let last = text.len() - 2;
    text[last] ^= 1;
    fs::write(&kept[0], text).unwrap();
    let settings = CompileSettings { inspect_ms: 0, ..Default::default() };
    let error = place.compiler(HANDOFF, settings).inspect(suite()).await.unwrap_err();
    assert_limit(&error, "compile.inspect_ms");
    assert!(place.cached().is_empty());
}
