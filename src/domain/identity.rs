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

impl Identities {
    /// None of them was sent.
    pub const ABSENT: Self = Self {
        transaction: Identity::ABSENT,
        counterparty: Identity::ABSENT,
        device: Identity::ABSENT,
        place: Identity::ABSENT,
    };
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
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write_u16(u16::from_ne_bytes([domain as u8, tag]));
        parts.iter().for_each(|part| feed(&mut hasher, part));
        // 0 is kept for absent values.
        Identity(hasher.finish().max(1))
    }
}

/// As the hasher's own `write`, for short texts: a number's bytes stay in registers. It takes them in this processor's order.
#[inline(always)]
fn feed(hasher: &mut SipHasher13, text: &[u8]) {
    let (eights, rest) = text.as_chunks();
    eights.iter().for_each(|eight| hasher.write_u64(u64::from_ne_bytes(*eight)));
    let (fours, rest) = rest.as_chunks();
    fours.iter().for_each(|four| hasher.write_u32(u32::from_ne_bytes(*four)));
    let (twos, rest) = rest.as_chunks();
    twos.iter().for_each(|two| hasher.write_u16(u16::from_ne_bytes(*two)));
    rest.iter().for_each(|one| hasher.write_u8(*one));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_hashes_as_the_library_hashes_it() {
        let text: [u8; 100] = std::array::from_fn(|at| at as u8);
        for length in 0..text.len() {
            let parts: [&[u8]; 2] = [&text[..length / 3], &text[length / 3..length]];
            let mut hasher = SipHasher13::new_with_key(&[9; 16]);
            hasher.write(&[Domain::Device as u8, 7]);
            hasher.write(&text[..length]);
            assert_eq!(LogId([9; 16]).hash(Domain::Device, 7, &parts), Identity(hasher.finish().max(1)));
        }
    }
}
