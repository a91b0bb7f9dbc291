//! How tags are spelled.

/// What every tag that is ours starts with. Tags without it are somebody else's and are never touched.
pub const PREFIX: &str = "sesamy_";

/// The longest tag, in characters. Source: Sesamy's help centre.
pub const MAX_CHARS: usize = 99;

/// How a tag of the profile begins.
pub(super) const CUSTOM: &str = "sesamy_tag_";

/// How the tags of present access begin: to lose one is to lose what was paid for.
pub(super) const ACTIVE: &str = "sesamy_active_";

/// Whether `tag` is one that we add and remove.
pub fn is_ours(tag: &str) -> bool {
    tag.starts_with(PREFIX)
}

/// `prefix` and the cleaned `parts`, joined by a hyphen and cut at [`MAX_CHARS`]; `None` if a part is empty.
pub(super) fn named(prefix: &str, parts: &[&str]) -> Option<String> {
    let parts: Vec<String> = parts.iter().map(|part| clean(part)).collect();
    if parts.iter().any(String::is_empty) {
        return None;
    }
    let whole = format!("{prefix}{}", parts.join("-"));
    let cut: String = whole.chars().take(MAX_CHARS).collect();
    Some(cut.trim_end_matches('-').to_owned())
}

/// A name as a tag has it: in Unicode lower case, with one hyphen for every run of white space, commas, hyphens and
/// control characters, and none at either end.
pub(super) fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| c.is_whitespace() || c.is_control() || c == ',' || c == '-');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
