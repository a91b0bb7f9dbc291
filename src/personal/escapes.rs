//! Escapes taken back: a message as one that reads it sees it, each character with its place in the message as it came.

use std::ops::Range;

/// A message as it is read: each character with its place in the message as it came.
pub(super) type View = Vec<(char, Range<usize>)>;

/// The longest escape of one character, in characters: a surrogate pair.
const LONGEST_ESCAPE: usize = 12;
/// HTML's names of the letters `à` to `ÿ` (and of `÷` among them), whose capitals are named alike.
const LATIN_LETTERS: [&str; 32] = [
    "agrave", "aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute", "ecirc",
    "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute", "ocirc", "otilde",
    "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml", "yacute", "thorn", "yuml",
];

/// The message with one layer of escapes taken back: HTML's, URLs' and JSON's, in any mixture.
pub(super) fn unescaped(view: &View) -> View {
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

/// The same, as JSON has it: `\u` and its UTF-16, or a backslash and one character.
fn json_character(text: &str) -> Option<(char, usize)> {
    let short = match text.strip_prefix('\\')?.chars().next()? {
        c @ ('"' | '\\' | '/' | '\'') => Some(c),
        'b' | 'f' | 'n' | 'r' | 't' => Some(' '), // a control character, which no message keeps
        _ => None,
    };
    if let Some(c) = short {
        return Some((c, 2));
    }
    let unit = |at: usize| u16::from_str_radix(text.get(at..)?.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let units = [unit(0)?, unit(6).unwrap_or_default()];
    let c = char::decode_utf16(units).next()?.ok()?;
    Some((c, 6 * c.len_utf16()))
}
