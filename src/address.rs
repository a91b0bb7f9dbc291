//! What an e-mail address is to this service: whether one can be used, and whether two spellings are the same address.
//!
//! Pure. Only white space is trimmed, as it is of every other value. An invisible character at either end makes an address
//! unusable, as one inside does: it is no white space to Unicode, so Sesamy and Mailmojo take the address with it for
//! another one, and a look-alike account must not write to the contact of the address that it looks like.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a contact can be made of `address`: after trimming it has an `@`, and no white space, control or invisible
/// character. More is not checked: whether mail arrives is for Mailmojo to find out.
#[must_use]
pub fn is_usable(address: &str) -> bool {
    let address = address.trim();
    address.contains('@') && !address.contains(is_odd)
}

/// Whether two spellings are the same address (see [`key`]).
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    key(one) == key(other)
}

/// What `address` is compared and found by: trimmed, in lower case, and with the domain in its ASCII form, so that
/// `Kari@blåbær.no` and `kari@xn--blbr-roah.no` have the same key. `None` if nothing is left of it.
///
/// Errors: a domain that has no ASCII form is compared in lower case alone.
/// Source: Mailmojo may answer either form of a domain (assumed); the forms are those of UTS 46.
#[must_use]
pub fn key(address: &str) -> Option<String> {
    let address = address.trim();
    let key = match address.rsplit_once('@') {
        Some((mailbox, domain)) => {
            let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase());
            format!("{}@{domain}", mailbox.to_lowercase())
        }
        None => address.to_lowercase(),
    };
    Some(key).filter(|key| !key.is_empty())
}

/// What a text search may find `address` by: as it is, trimmed, and, if its domain has two forms (ASCII and Unicode),
/// with the other one.
#[must_use]
pub fn spellings(address: &str) -> Vec<String> {
    let address = address.trim();
    let other = address.rsplit_once('@').and_then(|(mailbox, domain)| {
        let forms = [idna::domain_to_ascii(domain).ok()?, idna::domain_to_unicode(domain).0];
        let other = forms.into_iter().find(|form| *form != domain.to_lowercase())?;
        Some(format!("{mailbox}@{other}"))
    });
    [address.to_owned()].into_iter().chain(other).collect()
}

/// Invisible are the format characters (category Cf: soft hyphen, zero width space, byte order mark, …) and all others
/// that Unicode says to show as nothing. U+FFFD stands for a character that was lost on the way: the address is another one.
fn is_odd(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || c == char::REPLACEMENT_CHARACTER
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_with_a_character_that_nobody_sees_is_not_usable() {
        for (address, expected) in [
            ("kari@example.com", true),
            (" Kari+avis@Example.com\r\n", true),
            ("kåri@blåbær.no", true),
            ("संपर्क@डाटामेल.भारत", true),
            ("", false),
            ("kari.example.com", false),
            ("kari nordmann@example.com", false),
            ("kari@exam\u{a0}ple.com", false),
            ("kari@exam\u{2028}ple.com", false),
            ("kari@exam\u{7}ple.com", false),
            ("\0kari@example.com", false),
            ("kari\u{fffd}@example.com", false),
        ] {
            assert_eq!(is_usable(address), expected, "{address:?}");
        }
        let invisible = [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0061}',
        ];
        for c in invisible {
            for address in [
                format!("ka{c}ri@example.com"),
                format!("{c}kari@example.com"),
                format!("kari@example.com{c}"),
            ] {
                assert!(!is_usable(&address), "{address:?}");
            }
        }
    }

    #[test]
    fn two_spellings_of_one_address_have_one_key() {
        for (address, expected) in [
            ("Kari@Example.COM ", Some("kari@example.com")),
            ("ÅSE@example.com", Some("åse@example.com")),
            ("kari@blåbær.no", Some("kari@xn--blbr-roah.no")),
            ("kari@XN--BLBR-ROAH.NO", Some("kari@xn--blbr-roah.no")),
            ("kari@BLA\u{30a}BÆR.no", Some("kari@xn--blbr-roah.no")),
            ("\"k@ri\"@Example.com", Some("\"k@ri\"@example.com")),
            ("kari@EXAMPLE_1..com", Some("kari@example_1..com")),
            ("kari@XN--A", Some("kari@xn--a")),
            ("Kari", Some("kari")),
            ("@", Some("@")),
            (" ", None),
        ] {
            assert_eq!(key(address).as_deref(), expected, "{address:?}");
        }
        assert!(is_same("kari@blåbær.no", " KARI@xn--blbr-roah.no"));
        assert!(!is_same("kari@example.com", "kari@example.com.au"));
        assert!(!is_same("kari@faß.de", "kari@fass.de"));
        assert!(!is_same("xn--blbr-roah.no@example.com", "blåbær.no@example.com"));
    }

    #[test]
    fn an_address_with_two_forms_of_its_domain_is_searched_by_both() {
        for (address, expected) in [
            (" Kari@Example.com", &["Kari@Example.com"][..]),
            ("kari@blåbær.no", &["kari@blåbær.no", "kari@xn--blbr-roah.no"]),
            ("kari@BLÅBÆR.no", &["kari@BLÅBÆR.no", "kari@xn--blbr-roah.no"]),
            ("kari@xn--blbr-roah.no", &["kari@xn--blbr-roah.no", "kari@blåbær.no"]),
            ("kari@xn--a", &["kari@xn--a"]),
            ("kari", &["kari"]),
        ] {
            assert_eq!(spellings(address), expected);
        }
    }

    proptest! {
        #[test]
        fn neither_letter_case_nor_the_form_of_the_domain_makes_another_address(
            mailbox in "[a-zæøå0-9.+_-]{1,12}",
            name in "[a-zæøåéüあ中0-9]{1,12}",
            pad in "[ \t\r\n]{0,2}",
        ) {
            let address = format!("{mailbox}@{name}.no");
            let ascii = format!("{mailbox}@{}.no", idna::domain_to_ascii(&name).unwrap());
            let unicode = format!("{mailbox}@{}.no", idna::domain_to_unicode(&name).0);
            for other in [ascii, unicode, address.to_uppercase(), format!("{pad}{address}{pad}")] {
                prop_assert!(is_same(&address, &other), "{:?} and {:?}", address, other);
            }
            let other = format!("x{address}");
            prop_assert!(!is_same(&address, &other));
        }

        #[test]
        fn a_key_is_its_own_key(address in "\\PC{0,12}@?\\PC{0,12}") {
            if let Some(first) = key(&address) {
                prop_assert_eq!(key(&first), Some(first));
            }
        }
    }
}
