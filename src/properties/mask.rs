//! No value survives the mask, however it is written and whatever stands around it.
//!
//! Input: the value, a line before it, a line behind it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

use crate::personal::{MASKED, Mask};

/// What escapes begin with.
const ESCAPES: [char; 3] = ['\\', '%', '&'];

pub fn hold(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (value, before, after) = (next().trim(), next(), next());
    // An accent right behind it is one of its last letter, and makes another letter of it.
    let after = after.trim_start_matches(is_accent);
    let letters = value.chars().filter(|c| c.is_alphanumeric()).count();
    if letters < 3 || value.len() > 100 || before.len() > 200 || value.contains(['[', ']', '\u{fffd}']) {
        return; // what is not taken out of words, what is no value, and what the test itself puts in
    }
    let mut mask = Mask::default();
    mask.add(value);

    let ways = ways(value);
    for (way, written) in &ways {
        // An escape that begins in front of it, or that its own last characters begin, makes something else of it.
        let harmless = [before.replace(ESCAPES, ""), format!(" {after}")];
        let [before, after] =
            if *way == "plain" { [before, after] } else { harmless.each_ref().map(String::as_str) };
        let masked = mask.apply(&format!("{before}{written}{after}"));
        let rest = masked.replace(MASKED, "\u{fffd}").to_lowercase();
        assert!(
            !rest.contains(&written.to_lowercase()),
            "{way} survives: {value:?} in {before:?}, {written:?}, {after:?}: {masked:?}"
        );
        assert!(masked.chars().count() <= 301 && !masked.contains(char::is_control));
    }
    // In base64 it may begin anywhere in a group of three, and what is around it is encoded with it.
    for shift in 0..3 {
        let surrounded = format!("{}{value}", "x".repeat(shift));
        for encoded in [STANDARD.encode(&surrounded), URL_SAFE.encode(&surrounded)] {
            let own = &encoded[(shift * 8).div_ceil(6)..surrounded.len() * 8 / 6];
            let rest = mask.apply(&format!("key {encoded} is odd")).replace(MASKED, "\u{fffd}");
            assert!(own.len() < 8 || !rest.contains(own), "base64 survives");
        }
    }
}

fn is_accent(c: char) -> bool {
    const { CanonicalCombiningClassMapBorrowed::new() }.get_u8(c) != 0
}

/// The encodings that messages come in, by name.
fn ways(value: &str) -> Vec<(&'static str, String)> {
    let percent = |value: &str| value.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let foreign = |value: &str, escape: &dyn Fn(char) -> String| {
        value
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { escape(c) })
            .collect::<String>()
    };
    let utf16 =
        |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let json = serde_json::to_string(value).unwrap();
    let nfd = icu_normalizer::DecomposingNormalizerBorrowed::new_nfd();
    let nfc = icu_normalizer::ComposingNormalizerBorrowed::new_nfc();
    let once = vec![
        ("plain", value.to_owned()),
        ("upper case", value.to_uppercase()),
        ("lower case", value.to_lowercase()),
        ("decomposed", nfd.normalize(value).into_owned()),
        ("composed", nfc.normalize(value).into_owned()),
        ("decomposed upper case", nfd.normalize(&value.to_uppercase()).into_owned()),
        ("percent", percent(value)),
        ("percent where needed", foreign(value, &|c| percent(c.encode_utf8(&mut [0; 4])))),
        ("percent in lower case", percent(value).to_lowercase()),
        ("percent, decomposed", percent(&nfd.normalize(value))),
        (
            "a form",
            foreign(value, &|c| if c == ' ' { "+".into() } else { percent(c.encode_utf8(&mut [0; 4])) }),
        ),
        ("JSON", json[1..json.len() - 1].to_owned()),
        ("JSON in ASCII", foreign(value, &utf16)),
        ("HTML", foreign(value, &|c| format!("&#{};", c as u32))),
        ("HTML in hex", foreign(value, &|c| format!("&#x{:X};", c as u32))),
    ];
    let twice = once
        .iter()
        .filter(|(way, _)| way.starts_with("percent"))
        .map(|(_, once)| ("percent twice", once.replace('%', "%25")));
    let twice: Vec<_> = twice.collect();
    [once, twice].concat()
}
