//! Personal data: values whose `Debug` shows nothing, and the mask that takes them out of other people's messages.
//!
//! An API's error message is kept with a parked row and written to the log, and it may quote what was sent to it. The
//! [`Mask`] of a sync knows that sync's own values and removes them in any letter case and in the encodings that
//! messages come in, together with every word that holds an `@`.

use std::fmt;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// What stands where personal data stood.
pub const MASKED: &str = "[masked]";

/// The longest message that is kept, in characters.
const MESSAGE_LIMIT: usize = 300;

/// An address, a name or a phone number. `Debug` prints [`MASKED`]; there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal(String);

impl Personal {
    /// Wraps `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for requests and comparisons, never for a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value without white space at its ends; none if nothing is left.
    #[must_use]
    pub fn trimmed(&self) -> Option<&str> {
        Some(self.0.trim()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKED)
    }
}

/// The first of `candidates` that is not blank, trimmed.
pub fn first_present<'a>(candidates: impl IntoIterator<Item = &'a Option<Personal>>) -> Option<Personal> {
    candidates.into_iter().flatten().find_map(Personal::trimmed).map(Personal::new)
}

/// Takes personal data out of messages.
#[derive(Clone, Default)]
pub struct Mask {
    /// Lower-case spellings, each with whether it may only be taken out as a whole word.
    spellings: Vec<(Vec<char>, bool)>,
    /// The last digits of phone numbers, which messages write with any separators.
    numbers: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} spellings)", self.spellings.len())
    }
}

/// Everything but what no encoder touches.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, as encoders of form data and lenient encoders of paths leave it.
const ENCODED_LENIENT: &AsciiSet = &ENCODED.remove(b'@').remove(b'+').remove(b'\'');

/// A message as it is read: each character with its place in the message as it came.
type View = Vec<(char, Range<usize>)>;

/// A message can have been escaped by one program, and once more by the next.
const ESCAPED_TIMES: usize = 2;
/// The longest escape of one character, in characters: a surrogate pair.
const LONGEST_ESCAPE: usize = 12;
/// HTML's names of the letters `à` to `ÿ` (and of `÷` among them), whose capitals are named alike.
const LATIN_LETTERS: [&str; 32] = [
    "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc",
    "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde",
    "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

/// A number of which so many last digits are seen counts as the number.
const TELLING_DIGITS: usize = 7;
/// Shorter values are taken out only as whole words: a first name `Bo` must not eat half of every message.
const SHORTEST_INSIDE_A_WORD: usize = 3;

impl Mask {
    /// Adds a value of this sync: an address, a name, a phone number, a token.
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        if let Some((local, _)) = value.rsplit_once('@')
            && local.chars().count() >= SHORTEST_INSIDE_A_WORD
        {
            self.add(local);
        }
        let percent = utf8_percent_encode(value, ENCODED).to_string();
        for spelling in [
            value.to_owned(),
            percent.replace("%20", "+"),
            percent,
            utf8_percent_encode(value, ENCODED_LENIENT).to_string(),
            json_escaped(value),
            html_escaped(value, |c| format!("&#{};", c as u32)),
            html_escaped(value, |c| format!("&#x{:x};", c as u32)),
        ] {
            let spelling: Vec<char> = spelling.chars().flat_map(char::to_lowercase).collect();
            if !self.spellings.iter().any(|(known, _)| *known == spelling) {
                let only_whole = spelling.len() < SHORTEST_INSIDE_A_WORD;
                self.spellings.push((spelling, only_whole));
            }
        }
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        if digits.len() >= TELLING_DIGITS {
            self.numbers.push(digits[digits.len() - TELLING_DIGITS..].to_owned());
        }
    }

    /// Adds a value where there is one.
    pub fn add_personal<'a>(&mut self, values: impl IntoIterator<Item = &'a Option<Personal>>) {
        for value in values.into_iter().flatten() {
            self.add(value.as_str());
        }
    }

    /// `message` without personal data and control characters, and cut to a length that a log line bears.
    #[must_use]
    pub fn apply(&self, message: &str) -> String {
        let chars: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut hidden = vec![false; chars.len()];
        let mut view: View = chars.iter().enumerate().map(|(at, c)| (*c, at..at + 1)).collect();
        for _ in 0..=ESCAPED_TIMES {
            self.hide_spellings(&view, &mut hidden);
            view = unescaped(&view);
        }
        self.hide_numbers(&chars, &mut hidden);
        hide_addresses(&chars, &mut hidden);

        let mut kept = String::with_capacity(message.len());
        for (at, c) in chars.iter().enumerate() {
            if !hidden[at] {
                kept.push(*c);
            } else if at == 0 || !hidden[at - 1] {
                kept.push_str(MASKED);
            }
        }
        match kept.char_indices().nth(MESSAGE_LIMIT) {
            Some((end, _)) => format!("{}…", &kept[..end]),
            None => kept,
        }
    }

    fn hide_spellings(&self, view: &View, hidden: &mut [bool]) {
        let lower = |(c, place): &(char, Range<usize>)| {
            let place = place.clone();
            c.to_lowercase().map(move |lower| (lower, place.clone()))
        };
        let folded: View = view.iter().flat_map(lower).collect();
        let word =
            |at: Option<usize>| at.and_then(|at| folded.get(at)).is_some_and(|(c, _)| c.is_alphanumeric());
        for (spelling, only_whole) in &self.spellings {
            for start in 0..folded.len().saturating_sub(spelling.len() - 1) {
                let end = start + spelling.len();
                if !folded[start..end].iter().map(|(c, _)| c).eq(spelling) {
                    continue;
                }
                if *only_whole && (word(start.checked_sub(1)) || word(Some(end))) {
                    continue;
                }
                hidden[folded[start].1.start..folded[end - 1].1.end].fill(true);
            }
        }
    }

    fn hide_numbers(&self, chars: &[char], hidden: &mut [bool]) {
        let separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '+' | '\u{a0}');
        let mut at = 0;
        while at < chars.len() {
            let run = chars[at..].iter().take_while(|c| c.is_ascii_digit() || separator(**c)).count();
            let digits: String = chars[at..at + run].iter().filter(|c| c.is_ascii_digit()).collect();
            if self.numbers.iter().any(|number| digits.contains(number.as_str())) {
                let blank = |c: &&char| c.is_whitespace();
                let before = chars[at..at + run].iter().take_while(blank).count();
                let after = chars[at..at + run].iter().rev().take_while(blank).count();
                hidden[at + before..at + run - after].fill(true);
            }
            at += run.max(1);
        }
    }
}

/// Hides every word that holds an `@` in one of its spellings.
fn hide_addresses(chars: &[char], hidden: &mut [bool]) {
    const SPELLINGS: [&str; 6] = ["@", "%40", "&#64;", "&#x40;", "&commat;", "\\u0040"];
    let mut start = 0;
    for word in chars.split(|c| c.is_whitespace()) {
        let text: String = word.iter().collect::<String>().to_lowercase();
        if SPELLINGS.iter().any(|at| text.contains(at)) {
            hidden[start..start + word.len()].fill(true);
        }
        start += word.len() + 1;
    }
}

/// The message with one layer of escapes taken back: HTML's, URLs' and JSON's, in any mixture.
fn unescaped(view: &View) -> View {
    let mut plain = View::with_capacity(view.len());
    let mut at = 0;
    while let Some((first, place)) = view.get(at) {
        let text: String = view[at..].iter().take(LONGEST_ESCAPE).map(|(c, _)| *c).collect();
        let (c, length) = match first {
            '&' => html_character(&text),
            '%' => percent_character(&text),
            '\\' => json_character(&text),
            _ => None,
        }
        .unwrap_or((*first, 1));
        let end = view.get(at + length - 1).map_or(place.end, |(_, last)| last.end);
        plain.push((c, place.start..end));
        at += length;
    }
    plain
}

/// The character that `text` begins with as a reference, and how many characters that takes.
fn html_character(text: &str) -> Option<(char, usize)> {
    let (name, _) = text.strip_prefix('&')?.split_once(';')?;
    let lower = name.to_ascii_lowercase();
    let c = match (lower.strip_prefix("#x"), lower.strip_prefix('#')) {
        (Some(hex), _) => char::from_u32(u32::from_str_radix(hex, 16).ok()?)?,
        (_, Some(decimal)) => char::from_u32(decimal.parse().ok()?)?,
        _ => match lower.as_str() {
            "amp" => '&',
            "apos" => '\'',
            "quot" => '"',
            "commat" => '@',
            "szlig" => 'ß',
            letter => ('à'..='ÿ').zip(LATIN_LETTERS).find(|(_, name)| *name == letter)?.0,
        },
    };
    Some((c, name.chars().count() + 2))
}

/// The same, percent-encoded UTF-8.
fn percent_character(text: &str) -> Option<(char, usize)> {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).take(4).collect();
    let (c, length) = (1..=bytes.len()).find_map(|length| {
        let c = std::str::from_utf8(&bytes[..length]).ok()?.chars().next()?;
        Some((c, length))
    })?;
    let is_encoded = |(at, c): (usize, char)| if at % 3 == 0 { c == '%' } else { c.is_ascii_hexdigit() };
    let encoded = text.chars().enumerate().take_while(|it| is_encoded(*it)).count();
    (encoded >= 3 * length).then_some((c, 3 * length))
}

/// The same, as `\u` and its UTF-16.
fn json_character(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u16::from_str_radix(text.get(at..)?.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let units = [unit(0)?, unit(6).unwrap_or_default()];
    let c = char::decode_utf16(units).next()?.ok()?;
    Some((c, 6 * c.len_utf16()))
}

fn json_escaped(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            escaped.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

fn html_escaped(value: &str, numeric: impl Fn(char) -> String) -> String {
    value
        .chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c if c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '_' | '@' | '+') => c.to_string(),
            c => numeric(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(values: &[&str]) -> Mask {
        let mut mask = Mask::default();
        values.iter().for_each(|value| mask.add(value));
        mask
    }

    #[test]
    fn a_personal_value_shows_nothing_when_printed() {
        assert_eq!(format!("{:?}", Some(Personal::new("kari@example.com"))), "Some([masked])");
    }

    #[test]
    fn own_values_are_taken_out_in_any_case_and_encoding() {
        let mask = mask(&["Kåri+nyhet@example.com", "Kåri", "O'Næss", "+47 999 88 777"]);
        for (message, expected) in [
            ("no such user: KÅRI", "no such user: [masked]"),
            ("name K%C3%A5ri is odd", "name [masked] is odd"),
            ("name k%c3%a5ri is odd", "name [masked] is odd"),
            (r"name K\u00e5ri is odd", "name [masked] is odd"),
            ("name O&#39;N&#230;ss is odd", "name [masked] is odd"),
            ("name O&#x27;N&#xE6;ss is odd", "name [masked] is odd"),
            ("name O&#039;Næss is odd", "name [masked] is odd"),
            ("name O&apos;N&AElig;SS is odd", "name [masked] is odd"),
            ("name O%27Næss is odd", "name [masked] is odd"),
            ("name O%2527N%25C3%25A6ss is odd", "name [masked] is odd"),
            (r"name O\u0027Næss is odd", "name [masked] is odd"),
            ("100 % of &c; \\ and \\u12 %", "100 % of &c; \\ and \\u12 %"),
            ("phone 4799988777 taken", "phone [masked] taken"),
            ("phone 999-88-777!", "phone [masked]!"),
            ("a plain word", "a plain word"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(mask.apply(message), expected, "{message}");
        }
    }

    #[test]
    fn whatever_holds_an_at_sign_goes_even_if_it_is_somebody_elses() {
        let mask = Mask::default();
        for message in ["ola@example.com", "<ola@example.com>,", "ola%40example.com", "ola&#64;example.com"] {
            assert_eq!(mask.apply(&format!("taken by {message} now")), "taken by [masked] now");
        }
    }

    #[test]
    fn a_short_name_is_taken_out_as_a_word_and_not_from_within_words() {
        assert_eq!(mask(&["Bo"]).apply("Bo has about 2 bo-xes"), "[masked] has about 2 [masked]-xes");
    }

    #[test]
    fn a_message_is_cut_after_it_is_masked() {
        let long = mask(&["secret"]).apply(&format!("{}secret", "x".repeat(297)));
        assert_eq!(long.chars().count(), 301);
        assert!(!long.contains("sec"));
    }

    proptest! {
        #[test]
        fn no_value_survives_in_any_surroundings(
            value in "[a-zæøå]{3,12}", before in ".{0,20}", after in ".{0,20}", upper: bool
        ) {
            let shown = if upper { value.to_uppercase() } else { value.clone() };
            let masked = mask(&[&value]).apply(&format!("{before}{shown}{after}"));
            let rest = masked.replace(MASKED, " ").to_lowercase();
            prop_assert!(!rest.contains(&value), "{rest}");
        }
    }
}
