//! Kafka's default partitioner for keyed records, as the Java client computes it (`murmur2`).
//!
//! Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`. Not librdkafka's default, which is CRC-32.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// MurmurHash2, 32 bits, with Kafka's seed.
pub fn murmur2(bytes: &[u8]) -> u32 {
    // Java's lengths are 32 bits; a key is far shorter.
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// The partition of a key among `partitions`: the hash without its sign bit, modulo. 0 when there are none.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    positive.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_java_client() {
        // The vectors of Kafka's own UtilsTest.testMurmur2.
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn the_partition_drops_the_sign_and_takes_the_rest() {
        // -973932308 & 0x7fffffff = 1173551340
        assert_eq!(partition_of(b"21", 32), 1_173_551_340 % 32);
        assert_eq!(partition_of(b"abc", 7), 479_470_107 % 7);
        assert_eq!(partition_of(b"abc", 1), 0);
        assert_eq!(partition_of(b"abc", 0), 0);
    }
}
