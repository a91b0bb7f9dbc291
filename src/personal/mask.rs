//! The mask: takes a sync's own values out of a message, however they are written there.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

use super::escapes::{View, unescaped};
use super::{MASKED, Personal};

/// The longest message that is kept, in characters.
const MESSAGE_LIMIT: usize = 300;

/// What comes later in a message is matched, but not shown. Whoever has cut a message has to leave twice as much: half a
/// value at its end would not be known as one.
const SHOWN: usize = 1_000;

/// A message can have been escaped by one program, and once more by the next.
const ESCAPED_TIMES: usize = 2;

/// A number of which so many last digits are seen counts as the number.
const TELLING_DIGITS: usize = 7;
/// Shorter values are taken out only as whole words: a first name `Bo` must not eat half of every message.
const SHORTEST_INSIDE_A_WORD: usize = 3;
/// Base64 of fewer characters is too little to tell it from a word.
const SHORTEST_BASE64: usize = 8;

/// A value is known by so many of its first characters, which is as long as messages are, and in pieces: a message may
/// have only the beginning of a long one.
const LONGEST: usize = 2_000;
const PIECE: usize = 200;

/// Takes personal data out of messages.
///
/// It costs next to nothing until there is a message: most syncs end well and have none.
#[derive(Clone, Default)]
pub struct Mask {
    /// Pieces of values, as they came.
    values: Vec<String>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} values)", self.values.len())
    }
}

impl Mask {
    /// Adds a value of this sync: an address, a name, a phone number, a token.
    pub fn add(&mut self, value: &str) {
        let value: Vec<char> = value.trim().chars().take(LONGEST).collect();
        for piece in value.chunks(PIECE).map(|piece| piece.iter().collect()) {
            if !self.values.contains(&piece) {
                self.values.push(piece);
            }
        }
    }

    /// Adds all values of `other`.
    pub fn add_all(&mut self, other: &Self) {
        other.values.iter().for_each(|value| self.add(value));
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
        let kept = Spellings::of(&self.values).hide(message);
        match kept.char_indices().nth(MESSAGE_LIMIT) {
            Some((end, _)) => format!("{}…", &kept[..end]),
            None => kept,
        }
    }
}

/// The values, in all the ways in which they are looked for.
#[derive(Default)]
struct Spellings {
    /// Folded, each with whether it may only be taken out as a whole word.
    folded: Vec<(Vec<char>, bool)>,
    /// The last digits of phone numbers, which messages write with any separators.
    numbers: Vec<String>,
}

impl Spellings {
    fn of(values: &[String]) -> Self {
        let mut spellings = Self::default();
        values.iter().for_each(|value| spellings.add(value));
        spellings
    }

    fn add(&mut self, value: &str) {
        let local = value.rsplit_once('@').map(|(local, _)| local);
        let local = local.filter(|local| local.chars().count() >= SHORTEST_INSIDE_A_WORD);
        for value in [Some(value), local].into_iter().flatten() {
            self.add_folded(value);
            for spelling in [value, &value.to_lowercase()] {
                let all = in_base64(spelling).filter(|encoded| encoded.len() >= SHORTEST_BASE64);
                all.for_each(|encoded| self.add_folded(&encoded));
            }
        }
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        if digits.len() >= TELLING_DIGITS {
            self.numbers.push(digits[digits.len() - TELLING_DIGITS..].to_owned());
        }
    }

    fn add_folded(&mut self, spelling: &str) {
        let mut view: View = spelling.chars().map(|c| (c, 0..0)).collect();
        // A name may have come with escapes in it, which are taken back together with those of the message.
        for _ in 0..=ESCAPED_TIMES {
            let spelling: Vec<char> = folded(&view).into_iter().map(|(c, _)| c).collect();
            if !self.folded.iter().any(|(known, _)| *known == spelling) {
                let only_whole = spelling.len() < SHORTEST_INSIDE_A_WORD;
                self.folded.push((spelling, only_whole));
            }
            view = unescaped(&view);
        }
    }

    /// The first [`SHOWN`] characters of `message`, masked in the light of all of it.
    fn hide(&self, message: &str) -> String {
        let chars: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut hidden = vec![false; chars.len()];
        let mut at_signs = vec![false; chars.len()];
        let mut view: View = chars.iter().enumerate().map(|(at, c)| (*c, at..at + 1)).collect();
        for _ in 0..=ESCAPED_TIMES {
            self.hide_spellings(&view, &mut hidden);
            self.hide_numbers(&view, &mut hidden);
            view.iter().filter(|(c, _)| *c == '@').for_each(|(_, place)| at_signs[place.start] = true);
            view = unescaped(&view);
        }
        hide_addresses(&chars, &at_signs, &mut hidden);

        let mut kept = String::with_capacity(message.len());
        for (at, c) in chars.iter().enumerate().take(SHOWN) {
            if !hidden[at] {
                kept.push(*c);
            } else if at == 0 || !hidden[at - 1] {
                kept.push_str(MASKED);
            }
        }
        if chars.len() > SHOWN {
            kept.push('…');
        }
        kept
    }

    fn hide_spellings(&self, view: &View, hidden: &mut [bool]) {
        let folded = folded(view);
        let letters: Vec<char> = folded.iter().map(|(c, _)| *c).collect();
        let word = |at: Option<usize>| {
            at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric() || combining_class(*c) != 0)
        };
        for (spelling, only_whole) in &self.folded {
            for (start, found) in letters.windows(spelling.len()).enumerate() {
                let end = start + spelling.len();
                if found != spelling || *only_whole && (word(start.checked_sub(1)) || word(Some(end))) {
                    continue;
                }
                folded[start..end].iter().for_each(|(_, place)| hidden[place.clone()].fill(true));
            }
        }
    }

    fn hide_numbers(&self, view: &View, hidden: &mut [bool]) {
        let separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '+' | '\u{a0}');
        let mut at = 0;
        while at < view.len() {
            let run = view[at..].iter().take_while(|(c, _)| c.is_ascii_digit() || separator(*c)).count();
            let number = &view[at..at + run];
            let digits: String = number.iter().map(|(c, _)| *c).filter(char::is_ascii_digit).collect();
            if self.numbers.iter().any(|number| digits.contains(number.as_str())) {
                let blank = |it: &&(char, Range<usize>)| it.0.is_whitespace();
                let before = number.iter().take_while(blank).count();
                let after = number.iter().rev().take_while(blank).count();
                number[before..run - after].iter().for_each(|(_, place)| hidden[place.clone()].fill(true));
            }
            at += run.max(1);
        }
    }
}

/// Hides every word that holds an `@`, as it is or escaped.
fn hide_addresses(chars: &[char], at_signs: &[bool], hidden: &mut [bool]) {
    let mut start = 0;
    for word in chars.split(|c| c.is_whitespace()) {
        let end = start + word.len();
        if at_signs[start..end].contains(&true) {
            hidden[start..end].fill(true);
        }
        start = end + 1;
    }
}

/// The same text in all the ways in which it can be written: without letter case, in decomposed Unicode, each kind of
/// blank a space, and `+` as forms have it: a space too.
fn folded(view: &View) -> View {
    let normalizer = const { DecomposingNormalizerBorrowed::new_nfd() };
    let mut folded = View::with_capacity(view.len());
    for (c, place) in view {
        for part in normalizer.normalize_iter(std::iter::once(*c)) {
            // Down, up and down: `ς` and `σ`, `ß` and `ẞ` and `SS` are then alike.
            let alike = part.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
            folded.extend(alike.map(|c| if is_blank(c) { (' ', place.clone()) } else { (c, place.clone()) }));
        }
    }
    // Marks on one letter have an order of their own, whatever order they are written in.
    for marks in folded.chunk_by_mut(|(a, _), (b, _)| combining_class(*a) != 0 && combining_class(*b) != 0) {
        marks.sort_by_key(|(c, _)| combining_class(*c));
    }
    folded
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '+'
}

fn combining_class(c: char) -> u8 {
    const { CanonicalCombiningClassMapBorrowed::new() }.get_u8(c)
}

/// What of `value` is always the same in base64, whatever stands before and behind it: for each of the three places
/// that it can begin at, in both alphabets.
fn in_base64(value: &str) -> impl Iterator<Item = String> {
    let value = value.as_bytes().to_vec();
    (0..3).flat_map(move |shift| {
        let bytes = [vec![0; shift], value.clone()].concat();
        let own = (shift * 8).div_ceil(6)..bytes.len() * 8 / 6;
        [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
            .map(|encoded| encoded.get(own.clone()).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests;
