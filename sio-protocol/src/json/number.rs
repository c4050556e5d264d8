//! Numbers as JavaScript reads and prints them.
//!
//! JavaScript has one numeric type, the double, and prints the shortest text that reads back as the same
//! double: `1`, not `1.0`; `1e+21`, not `1e21`; `100000000000000000000` in full (ECMA-262, Number::toString).
//! NaN and the infinities have no JSON form and become `null`; negative zero becomes `0`. Integers keep all
//! their digits.

use serde_json::ser::{CompactFormatter, Formatter};

use super::write::Sink;

/// A number as it was read: integers keep their precision, all else is a double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Numeric {
    /// Zero or above.
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    /// Not integral, or beyond the integers above.
    Float(f64),
}

impl Numeric {
    /// Reads the text of a JSON number. What is no number at all becomes NaN.
    pub(crate) fn parse(text: &str) -> Self {
        if let Ok(value) = text.parse::<u64>() {
            Self::Unsigned(value)
        } else if let Ok(value) = text.parse::<i64>() {
            Self::from(value)
        } else {
            Self::from(text.parse().unwrap_or(f64::NAN))
        }
    }

    /// Prints the number as JavaScript would.
    pub(crate) fn write<S: Sink>(self, out: &mut S) {
        match self {
            Self::Unsigned(value) => write_u64(out, value),
            Self::Negative(value) => write_i64(out, value),
            Self::Float(value) => write_f64(out, value),
        }
    }

    /// Gives the nearest double.
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Negative(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Negative(value), Self::Unsigned)
    }
}

impl From<u64> for Numeric {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<i32> for Numeric {
    fn from(value: i32) -> Self {
        i64::from(value).into()
    }
}

impl From<u32> for Numeric {
    fn from(value: u32) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<f64> for Numeric {
    /// Integral doubles that are exact become integers, so that `1` and `1.0` are the same number.
    fn from(value: f64) -> Self {
        if is_exact_integer(value) { Self::from(value as i64) } else { Self::Float(value) }
    }
}

/// Writes a double.
pub(crate) fn write_f64<S: Sink>(out: &mut S, value: f64) {
    if is_exact_integer(value) {
        write_i64(out, value as i64);
    } else if value.is_finite() {
        let mut digits = Printed::default();
        digits.take(|buffer| CompactFormatter.write_f64(buffer, value));
        write_shortest(out, digits.bytes());
    } else {
        out.text("null");
    }
}

/// Writes a single with the digits that a single needs: `0.1` stays `0.1`.
pub(crate) fn write_f32<S: Sink>(out: &mut S, value: f32) {
    if is_exact_integer(value.into()) {
        write_i64(out, value as i64);
    } else if value.is_finite() {
        let mut digits = Printed::default();
        digits.take(|buffer| CompactFormatter.write_f32(buffer, value));
        write_shortest(out, digits.bytes());
    } else {
        out.text("null");
    }
}

macro_rules! integers {
    ($($name:ident($kind:ty))*) => {$(
        /// Writes an integer with all its digits.
        #[inline]
        pub(crate) fn $name<S: Sink>(out: &mut S, value: $kind) {
            let mut digits = Printed::default();
            digits.take(|buffer| CompactFormatter.$name(buffer, value));
            out.all_ascii(digits.bytes());
        }
    )*};
}
integers! { write_u64(u64) write_i64(i64) write_u128(u128) write_i128(i128) }

/// Reformats the shortest digits of a number from the notation of `serde_json` to that of ECMA-262, where the
/// digits are called `s`, their count `k` and the position of the point `n`.
fn write_shortest<S: Sink>(out: &mut S, printed: &[u8]) {
    let mut digits = [0; DIGITS];
    let (mut k, mut n, mut exponent) = (0, 0, 0);
    let (mut in_fraction, mut negative_exponent) = (false, false);
    let mut bytes = printed.iter().copied();
    for byte in bytes.by_ref() {
        match byte {
            b'-' => out.ascii(b'-'),
            b'.' => in_fraction = true,
            b'e' => break,
            // Leading zeros are no digits of the number; behind the point they move it.
            b'0' if k == 0 => n -= i32::from(in_fraction),
            digit => {
                digits[k] = digit;
                k += 1;
                n += i32::from(!in_fraction);
            }
        }
    }
    for byte in bytes {
        match byte {
            b'-' => negative_exponent = true,
            b'+' => {}
            digit => exponent = exponent * 10 + i32::from(digit - b'0'),
        }
    }
    n += if negative_exponent { -exponent } else { exponent };
    while k > 1 && digits[k - 1] == b'0' {
        k -= 1;
    }
    let s = &digits[..k];

    let point = usize::try_from(n).unwrap_or(0);
    if k <= point && n <= 21 {
        out.all_ascii(s);
        out.all_ascii(&ZEROS[..point - k]);
    } else if 0 < n && n <= 21 {
        out.all_ascii(&s[..point]);
        out.ascii(b'.');
        out.all_ascii(&s[point..]);
    } else if -6 < n && n <= 0 {
        out.text("0.");
        out.all_ascii(&ZEROS[..n.unsigned_abs() as usize]);
        out.all_ascii(s);
    } else {
        out.all_ascii(&s[..1]);
        if k > 1 {
            out.ascii(b'.');
            out.all_ascii(&s[1..]);
        }
        out.text(if n > 0 { "e+" } else { "e-" });
        write_u64(out, u64::from((n - 1).unsigned_abs()));
    }
}

/// Says whether a double is an integer below 2^53 in size, where doubles still count in ones. Negative zero
/// is.
fn is_exact_integer(value: f64) -> bool {
    value.abs() < 9_007_199_254_740_992.0 && value.trunc() == value
}

/// Holds the text of one number on the stack.
struct Printed {
    buffer: [u8; DIGITS],
    length: usize,
}

impl Printed {
    #[inline]
    fn take(&mut self, print: impl FnOnce(&mut &mut [u8]) -> std::io::Result<()>) {
        let mut rest = &mut self.buffer[..];
        // A failure would mean that the buffer is too small, and then the number is cut off, which a test
        // rules out.
        let _ = print(&mut rest);
        self.length = DIGITS - rest.len();
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Default for Printed {
    fn default() -> Self {
        Self { buffer: [0; DIGITS], length: 0 }
    }
}

/// The most characters a number has: `i128::MIN`. A double has at most 24.
const DIGITS: usize = 40;
const ZEROS: [u8; 21] = [b'0'; 21];

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: f64) -> String {
        let mut out = String::new();
        write_f64(&mut out, value);
        out
    }

    #[test]
    fn doubles_print_as_javascript_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (4.35, "4.35"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (1e20, "100000000000000000000"),
            (-1e20, "-100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e21, "1.5e+21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (0.000_001, "0.000001"),
            (0.000_001_25, "0.00000125"),
            (1e-7, "1e-7"),
            (-1.25e-7, "-1.25e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (123_456.789, "123456.789"),
            (1_234_567_890_123.456_7, "1234567890123.4568"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(printed(value), text);
        }
    }

    #[test]
    fn singles_print_their_own_digits() {
        for (value, text) in
            [(0.1_f32, "0.1"), (-2.0, "-2"), (1e10, "10000000000"), (1e-10, "1e-10"), (f32::NAN, "null")]
        {
            let mut out = String::new();
            write_f32(&mut out, value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn the_longest_integers_are_complete() {
        let mut out = String::new();
        write_i128(&mut out, i128::MIN);
        out.push(' ');
        write_u128(&mut out, u128::MAX);
        out.push(' ');
        write_i64(&mut out, i64::MIN);
        out.push(' ');
        write_u64(&mut out, u64::MAX);
        assert_eq!(out, format!("{} {} {} {}", i128::MIN, u128::MAX, i64::MIN, u64::MAX));
    }

    #[test]
    fn printed_doubles_read_back_as_themselves() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(printed(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn integral_numbers_are_the_same_number_however_they_are_written() {
        assert_eq!(Numeric::parse("1.0"), Numeric::Unsigned(1));
        assert_eq!(Numeric::parse("-10e-1"), Numeric::Negative(-1));
        assert_eq!(Numeric::parse("-0"), Numeric::Unsigned(0));
        assert_eq!(Numeric::parse("18446744073709551615"), Numeric::Unsigned(u64::MAX));
        assert_eq!(Numeric::parse("1e400"), Numeric::Float(f64::INFINITY));
    }
}
