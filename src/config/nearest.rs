//! The name that was meant, where one is misspelt.

/// The name out of `known` that `wrong` was probably meant to be; `None` if no name is close to it.
pub(super) fn nearest<S: AsRef<str>>(wrong: &str, known: impl IntoIterator<Item = S>) -> Option<S> {
    let wrong = wrong.to_lowercase();
    let slips = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let bound = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (slips(name.as_ref()), name))
        .filter(|(slips, _)| *slips <= bound)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        let known = ["list_id", "api_token", "burst"];
        assert_eq!(nearest("lst_id", known), Some("list_id"));
        assert_eq!(nearest("APITOKEN", known), Some("api_token"));
        assert_eq!(nearest("bursts", known), Some("burst"));
        assert_eq!(nearest("colour", known), None);
    }
}
