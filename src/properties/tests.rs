//! The properties over the seeds of the fuzz targets, and over cut and changed copies of them.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

type Hold = fn(&[u8]);

const TARGETS: [(&str, Hold); 6] = [
    ("credentials", super::credentials::hold),
    ("event", super::event::hold),
    ("mailmojo", super::mailmojo::hold),
    ("rate_limit", super::rate_limit::hold),
    ("sesamy", super::sesamy::hold),
    ("tags", super::tags::hold),
];

/// Changed copies of each seed. A fuzzer makes some hundred thousand a minute; this is a look, and not a search.
const COPIES: usize = 40;

/// Those that are kept. What a fuzzer has found and nobody has looked at is named by a hash of 40 digits.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.len() != 40));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn what_holds_of_everything_holds_of_every_seed_and_of_changed_copies_of_it() {
    let mut random = StdRng::seed_from_u64(1);
    for (target, hold) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        for seed in &seeds {
            hold(seed);
            for _ in 0..COPIES {
                hold(&changed(seed, &mut random));
            }
        }
    }
}

/// A copy with a byte changed, taken out or put in, a piece said twice, or the end cut off.
fn changed(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut copy = seed.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=copy.len());
        let byte = *b"\0\n \"\\%&{}[]:,-+09aZ\xc3\xa5\xff".get(random.random_range(0..24)).unwrap_or(&b'x');
        match random.random_range(0..5) {
            0 => copy.truncate(at),
            1 => copy.insert(at, byte),
            2 if at < copy.len() => copy[at] = byte,
            3 if at < copy.len() => drop(copy.remove(at)),
            _ => {
                let piece = copy[at..].iter().take(random.random_range(1..30)).copied().collect::<Vec<_>>();
                copy.splice(at..at, piece);
            }
        }
    }
    copy
}

#[test]
fn every_fuzz_target_is_one_of_these() {
    let manifest = include_str!("../../fuzz/Cargo.toml");
    let names: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.split_once("name = \"")?.1.split_once('"').map(|(name, _)| name))
        .collect();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
