//! Half an emoji in JSON: a `\u` escape of one UTF-16 surrogate without the other. It is no character, and `serde_json`
//! refuses the whole text for it; here it costs its character alone.

use std::borrow::Cow;

/// The bytes of an escape such as `\ud83d`.
const ESCAPE: usize = 6;
/// U+FFFD, as long as what it replaces.
const REPLACEMENT: &[u8; ESCAPE] = b"\\ufffd";

/// `json` with each escaped surrogate that has no other half replaced by U+FFFD. Length and places of everything else stay
/// as they are, and so does a text without one, whatever it is; what is not JSON does not become JSON by it.
pub(crate) fn without_lone_ones(json: &[u8]) -> Cow<'_, [u8]> {
    let mut changed: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(next) = json.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += next;
        let half = |at: usize| surrogate(json.get(at..at + ESCAPE)?);
        at += match (half(at), half(at + ESCAPE)) {
            (Some(Half::High), Some(Half::Low)) => 2 * ESCAPE,
            (Some(_), _) => {
                changed.get_or_insert_with(|| json.to_vec())[at..at + ESCAPE].copy_from_slice(REPLACEMENT);
                ESCAPE
            }
            (None, _) => 2, // the backslash and what it escapes, which may be a backslash
        };
    }
    changed.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// Half of a pair: the high one comes first.
enum Half {
    High,
    Low,
}

/// Which half `escape` is; none where it is any other character, or no such escape.
fn surrogate(escape: &[u8]) -> Option<Half> {
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Option<Value> {
        serde_json::from_slice(&without_lone_ones(text.as_bytes())).ok()
    }

    #[test]
    fn half_an_emoji_costs_its_character_and_nothing_else() {
        for (text, expected) in [
            (r#""Kari \ud83d""#, "Kari \u{fffd}"),
            (r#""\ud83d Kari""#, "\u{fffd} Kari"),
            (r#""\uD83D\uDE00""#, "😀"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n\ude00""#, "\u{fffd}\n\u{fffd}"),
            (r#""\ud83d\u00e5""#, "\u{fffd}å"),
            (r#""\ud83dx""#, "\u{fffd}x"),
            (r#""\\ud83d""#, r"\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
        ] {
            assert_eq!(read(text), Some(json!(expected)), "{text}");
        }
        assert_eq!(read(r#"{"na\ud83dme": ["\ude00"]}"#), Some(json!({"na\u{fffd}me": ["\u{fffd}"]})));
    }

    #[test]
    fn what_is_no_json_does_not_become_json() {
        for text in
            [r"\ud83d", r#"{"a": \ud83d}"#, r#""\ud83"#, r#""\ud83""#, r#""\u+d83""#, r#""\x""#, r#""\"#, ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// One unit of UTF-16, more often a surrogate than by chance, escaped in one case of letters or the other.
    fn unit() -> impl Strategy<Value = (u16, bool)> {
        let unit = prop_oneof![any::<u16>(), 0xD800_u16..0xE000, 0x20_u16..0x80, Just(0x5C)];
        (unit, any::<bool>())
    }

    proptest! {
        /// The standard library replaces lone surrogates too, by another way.
        #[test]
        fn where_only_surrogates_are_wrong_it_is_read_as_utf_16_is(units in prop::collection::vec(unit(), 0..40)) {
            let escaped: String = units
                .iter()
                .map(|(unit, upper)| if *upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") })
                .collect();
            let expected = String::from_utf16_lossy(&units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>());
            let text = format!(r#"{{"a": ["{escaped}"], "{escaped}": null}}"#);
            prop_assert_eq!(read(&text), Some(json!({"a": [expected.clone()], expected: null})));
        }

        #[test]
        fn json_that_can_be_read_stays_as_it_is(
            texts in prop::collection::vec(any::<String>(), 0..6),
            // Backslashes in any number before something that looks like an escape.
            tricky in r#"(\\\\|\\"|\\n|\\u00e5|\\ud83d\\ude00|ud83d|\\/|å){0,20}"#,
        ) {
            let whole = json!({"texts": texts}).to_string();
            for text in [whole, format!(r#""{tricky}""#)] {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
                prop_assert!(matches!(without_lone_ones(text.as_bytes()), Cow::Borrowed(same) if same == text.as_bytes()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_twice_is_as_once(bytes in prop::collection::vec(any::<u8>(), 0..60), text in r#"[\\u"dD8fc0-]{0,60}"#) {
            for input in [bytes.as_slice(), text.as_bytes()] {
                let once = without_lone_ones(input).into_owned();
                prop_assert_eq!(once.len(), input.len());
                prop_assert_eq!(&without_lone_ones(&once), &once);
            }
        }
    }
}
