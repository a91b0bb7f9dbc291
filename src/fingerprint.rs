//! Comparing what a caller sent with what is secret.
//!
//! The time that takes must depend neither on how close a guess was nor on which of several secrets it was close to. So a
//! [`Fingerprint`] has no `==`, and can only be looked for among others, all of which are compared to their end.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A hash of a token, or a signature: 32 bytes. They are a parameter so that the comparison below can use no more of them
/// than [`ConstantTimeEq`].
#[derive(Clone)]
pub(crate) struct Fingerprint<Byte = u8>([Byte; 32]);

impl Fingerprint {
    /// Of a token: its SHA-256, so that all are of one length and a comparison does not show how long a token is.
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Of what was sent as 64 hex digits in any case; `None` if it is anything else.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// As 64 hex digits.
    pub(crate) fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl<Byte: ConstantTimeEq> Fingerprint<Byte> {
    /// Which of `known` this is. Each of them is compared, also after the one that it is.
    pub(crate) fn find_in<'a>(&self, known: impl IntoIterator<Item = &'a Self>) -> Option<usize>
    where
        Byte: 'a,
    {
        let mut found = None;
        for (at, one) in known.into_iter().enumerate() {
            if one.0[..].ct_eq(&self.0[..]).into() {
                found = Some(at);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use subtle::Choice;

    use super::*;

    /// A byte that can be compared by this alone, and counts it.
    struct Counted<'a>(u8, &'a Cell<usize>);

    impl ConstantTimeEq for Counted<'_> {
        fn ct_eq(&self, other: &Self) -> Choice {
            self.1.set(self.1.get() + 1);
            self.0.ct_eq(&other.0)
        }
    }

    #[test]
    fn each_byte_of_each_is_compared_whichever_it_is() {
        let compared = Cell::new(0);
        let counted = |byte| Fingerprint(std::array::from_fn(|_| Counted(byte, &compared)));
        let known = [1, 2, 3, 4].map(counted);
        for (sent, found) in [(1, Some(0)), (2, Some(1)), (4, Some(3)), (9, None)] {
            compared.set(0);
            assert_eq!(counted(sent).find_in(&known), found);
            assert_eq!(compared.get(), known.len() * 32, "{sent}");
        }
    }

    #[test]
    fn a_fingerprint_is_found_by_all_of_its_bytes() {
        let known = [Fingerprint::of(b"a"), Fingerprint::of(b"b")];
        assert_eq!(Fingerprint::of(b"b").find_in(&known), Some(1));
        assert_eq!(Fingerprint::of(b"").find_in(&known), None);
        assert_eq!(Fingerprint::of(b"b").find_in(&[]), None);
        for byte in 0..32 {
            let mut other = Fingerprint::of(b"a").0;
            other[byte] ^= 1;
            assert_eq!(Fingerprint::from(other).find_in(&known), None, "byte {byte}");
        }
    }

    #[test]
    fn hex_is_read_in_any_case_and_in_one_length() {
        let hex = Fingerprint::of(b"a").to_hex();
        for right in [hex.clone(), hex.to_uppercase()] {
            let read = Fingerprint::from_hex(right.as_bytes()).unwrap();
            assert_eq!(read.find_in(&[Fingerprint::of(b"a")]), Some(0));
        }
        for wrong in ["", "00", &hex[1..], &format!("{hex}00"), &"g".repeat(64)] {
            assert!(Fingerprint::from_hex(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
