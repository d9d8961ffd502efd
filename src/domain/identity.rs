//! Identities in state: 64-bit keyed hashes. The key is the transaction topic's id, so it is the same for every
//! member and after every restart; placement in hash tables is another matter and seeded per process.

use std::hash::Hasher;

use bytes::{Buf, BufMut};
use siphasher::{sip::SipHasher13, sip128};

use super::{
    phone::Phone,
    stored::{Damaged, Stored},
    transaction::{Counterparty, CounterpartyId, Transaction},
};

/// The 16 bytes of the transaction topic's id, key of every identity and first part of every verdict's `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// The first 4 bytes in lower-case hex: `source.log` of a verdict.
    pub fn short(&self) -> String {
        self.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// All 16 bytes in lower-case hex.
    pub fn hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// The id of 32 lower-case hex digits that are not all 0.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u128::from_str_radix(text, 16).ok())??;
        (number != 0).then(|| Self(number.to_be_bytes()))
    }

    /// Whether a text could be the [`LogId::short`] of a log.
    pub fn is_short(text: &str) -> bool {
        text.len() == 8 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    }
}

/// A hashed identity; [`Identity::ABSENT`] stands for an absent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u64);

impl Identity {
    /// No value was sent. For devices and places that is a value of its own; an absent counterparty is none.
    pub const ABSENT: Self = Self(0);
}

/// Whose history it is: phone, and institution where windows are kept apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject([u64; 3]);

impl Subject {
    /// No phone is it: numbers do not begin with 0.
    pub const NOBODY: Self = Self([0; 3]);
}

/// The identities of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identities {
    /// Institution and transaction id together.
    pub transaction: Identity,
    /// The counterparty, kept apart by type.
    pub counterparty: Identity,
    /// The device, as sent.
    pub device: Identity,
    /// The folded place name.
    pub place: Identity,
}

impl Stored for Subject {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|word| out.put_u64_le(*word));
    }

    fn take(from: &mut &[u8]) -> Result<Self, Damaged> {
        Ok(Self([from.try_get_u64_le()?, from.try_get_u64_le()?, from.try_get_u64_le()?]))
    }
}

/// What a hash is of; equal texts of different kinds hash apart.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Domain {
    Transaction = 1,
    Counterparty,
    Device,
    Place,
    Institution,
}

impl LogId {
    /// The identities of `transaction`; `folded_place` is its place's folded name.
    pub fn identities(&self, transaction: &Transaction<'_>, folded_place: Option<&str>) -> Identities {
        let institution = transaction.institution_id.as_deref().unwrap_or_default();
        let id = transaction.transaction_id.as_bytes();
        Identities {
            transaction: self.hash(Domain::Transaction, institution.len() as u8, &[institution.as_bytes(), id]),
            counterparty: transaction.counterparty.as_ref().map_or(Identity::ABSENT, |other| self.counterparty(other)),
            device: self.optional(Domain::Device, transaction.device_id.as_deref()),
            place: self.optional(Domain::Place, folded_place),
        }
    }

    /// The key of the history that `phone` has at `institution` (`None` where histories span institutions).
    ///
    /// A number is its own key, exactly; an opaque subject is hashed to 127 bits.
    pub fn subject(&self, phone: Phone, institution: Option<&str>) -> Subject {
        let institution = institution.map_or(0, |name| self.hash(Domain::Institution, 0, &[name.as_bytes()]).0);
        match phone {
            Phone::E164(digits) => Subject([0, digits, institution]),
            Phone::Subject(bytes) => {
                let mut hasher = sip128::SipHasher13::new_with_key(&self.0);
                hasher.write(&bytes);
                let hash = sip128::Hasher128::finish128(&hasher);
                Subject([hash.h1 | 1 << 63, hash.h2, institution])
            }
        }
    }

    fn counterparty(&self, other: &Counterparty<'_>) -> Identity {
        let kind = other.kind.map_or(u8::MAX, |kind| kind.code());
        match &other.id {
            CounterpartyId::Phone(Phone::E164(digits)) => {
                self.hash(Domain::Counterparty, 0, &[b"+", &digits.to_le_bytes()])
            }
            CounterpartyId::Phone(Phone::Subject(bytes)) => self.hash(Domain::Counterparty, 0, &[b"#", bytes]),
            CounterpartyId::Other(text) => self.hash(Domain::Counterparty, kind, &[b"=", text.as_bytes()]),
        }
    }

    fn optional(&self, domain: Domain, text: Option<&str>) -> Identity {
        text.map_or(Identity::ABSENT, |text| self.hash(domain, 0, &[text.as_bytes()]))
    }

    fn hash(&self, domain: Domain, tag: u8, parts: &[&[u8]]) -> Identity {
        // As `new_with_key` has it, which is no function to inline.
        let [first, second] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| self.0[at + byte])));
        let hasher = SipHasher13::new_with_keys(first, second);
        let mut text = [0; AT_ONCE];
        let hash = match join(&mut text, &[domain as u8, tag], parts) {
            Some(text) => hasher.hash(text),
            None => in_pieces(hasher, &[domain as u8, tag], parts),
        };
        // 0 is kept for absent values.
        Identity(hash.max(1))
    }
}

/// Texts up to this many bytes are hashed at once, which is quicker than piece by piece and gives the same.
const AT_ONCE: usize = 64;

/// The pieces in one; `None` where they do not fit.
fn join<'a>(text: &'a mut [u8; AT_ONCE], head: &[u8; 2], parts: &[&[u8]]) -> Option<&'a [u8]> {
    text[..head.len()].copy_from_slice(head);
    let mut length = head.len();
    for part in parts {
        text.get_mut(length..length + part.len())?.copy_from_slice(part);
        length += part.len();
    }
    Some(&text[..length])
}

fn in_pieces(mut hasher: SipHasher13, head: &[u8; 2], parts: &[&[u8]]) -> u64 {
    hasher.write(head);
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_hashes_the_same_at_once_and_in_pieces() {
        let long = [b'x'; 2 * AT_ONCE];
        for length in 0..2 * AT_ONCE {
            let parts: [&[u8]; 2] = [&long[..length / 3], &long[length / 3..length]];
            let pieces = in_pieces(SipHasher13::new_with_key(&[9; 16]), &[3, 7], &parts);
            let mut text = [0; AT_ONCE];
            let joined = join(&mut text, &[3, 7], &parts);
            assert_eq!(joined.is_some(), length + 2 <= AT_ONCE);
            assert!(joined.is_none_or(|text| SipHasher13::new_with_key(&[9; 16]).hash(text) == pieces));
            assert_eq!(LogId([9; 16]).hash(Domain::Device, 7, &parts), Identity(pieces.max(1)));
        }
    }
}
