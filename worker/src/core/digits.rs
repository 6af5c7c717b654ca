//! Decimal digits, eight at a time: columns are a few bytes long, and a branch for each byte costs more than all else.
//!
//! A byte of a word is one character, the first in the lowest bits.

/// The top bit of each byte.
const TOP: u64 = u64::from_ne_bytes([0x80; 8]);

/// What eight characters may be.
pub(super) struct Shape {
    characters: u64,
    /// Added to what is left of a character it has the top bit set where the character is another.
    beyond: u64,
}

impl Shape {
    /// A digit where `pattern` has `0`; elsewhere its own character.
    pub(super) const fn new(pattern: &[u8; 8]) -> Self {
        let mut beyond = [0x7f; 8];
        let mut i = 0;
        while i < 8 {
            if pattern[i] == b'0' {
                beyond[i] = 0x7f - 9;
            }
            i += 1;
        }
        Shape { characters: u64::from_le_bytes(*pattern), beyond: u64::from_le_bytes(beyond) }
    }

    /// The digits of `text`, where they stand; `None` where it is of another shape.
    pub(super) fn digits(&self, text: [u8; 8]) -> Option<[u8; 8]> {
        let left = u64::from_le_bytes(text) ^ self.characters;
        // A byte of 0x80 or more is refused for its own top bit; of those below, no sum carries into the next.
        let refused = (left.wrapping_add(self.beyond) | left) & TOP;
        (refused == 0).then(|| left.to_le_bytes())
    }
}

/// The number that eight digits are; `None` where one is none.
pub(super) fn eight(text: [u8; 8]) -> Option<i64> {
    const DIGITS: Shape = Shape::new(b"00000000");
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const FOURS: u64 = 0x0000_ffff_0000_ffff;
    let digits = u64::from_le_bytes(DIGITS.digits(text)?);
    // Neighbours are put together: ones to tens, tens to thousands. No sum passes its lane.
    let pairs = (digits * 10 + (digits >> 8)) & PAIRS;
    let fours = (pairs * 100 + (pairs >> 16)) & FOURS;
    Some(((fours * 10_000 + (fours >> 32)) & u64::from(u32::MAX)) as i64)
}

/// The number that up to eighteen digits are, 0 where there is none; `None` where one is none.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let (eights, ones) = text.as_chunks();
    let mut number = 0;
    for text in eights {
        number = number * 100_000_000 + eight(*text)?;
    }
    for byte in ones {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

/// The top bit of each byte of `text` that is `character`.
pub(super) const fn places(text: [u8; 8], character: u8) -> u64 {
    let different = u64::from_le_bytes(text) ^ u64::from_ne_bytes([character; 8]);
    // No byte's sum carries into the next, so a byte's top bit stays 0 where all its bits are.
    !(((different & !TOP) + !TOP) | different | !TOP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn eight_characters_are_a_number_where_all_are_digits(text in "[0-9]{8}|[0-9/:\x00\x7f-]{8}") {
            let text: [u8; 8] = text.as_bytes().try_into().expect("eight");
            let digits = text.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            prop_assert_eq!(eight(text), number.filter(|_| digits));
        }

        #[test]
        fn any_bytes_are_of_a_shape_or_not(text: [u8; 8]) {
            let pattern = b"0-00 0:0";
            let is = |(have, want): (&u8, &u8)| if *want == b'0' { have.is_ascii_digit() } else { have == want };
            let fits = text.iter().zip(pattern).all(is);
            prop_assert_eq!(Shape::new(pattern).digits(text).is_some(), fits);
            prop_assert_eq!(eight(text).is_some(), text.iter().all(u8::is_ascii_digit));
        }

        #[test]
        fn places_are_those_of_the_character(text: [u8; 8], character: u8, at in 0..8_usize) {
            let text: [u8; 8] = std::array::from_fn(|i| if i == at { character } else { text[i] });
            let expected = (0..8).filter(|i| text[*i] == character).fold(0, |all, i| all | 0x80 << (8 * i));
            prop_assert_eq!(places(text, character), expected);
        }
    }

    #[test]
    fn digits_stand_where_they_stood() {
        assert_eq!(Shape::new(b"0000-00-").digits(*b"2013-09-"), Some([2, 0, 1, 3, 0, 0, 9, 0]));
    }
}
