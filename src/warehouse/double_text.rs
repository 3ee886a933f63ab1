//! The text of a double, as MySQL, MariaDB and this program write it alike.
//!
//! The digits are the fewest that read back to the same bits, the nearest such ones, and where two are as near, those that
//! end evenly. Servers write whole numbers from 10^15 on with an exponent (`1e15`, `-1.5e300`), the rest without one. How
//! they write small numbers, and whether with all digits, depends on the server (`0.000001` or `1e-6`). So a value whose
//! size is below 2^-8 is multiplied by 2^500, or below 2^-500 by 2^1074, which loses nothing, and `p-500` or `p-1074`
//! behind it says so.
//!
//! Invariant: two doubles have the same text only if they are equal.

use std::fmt::Write;

/// From here down the servers differ; from the second one down, scaling once is not enough.
const SMALL: f64 = power_of_two(-8);
const TINY: f64 = power_of_two(-500);

const fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Digits before the point, or zeros behind it as a negative number, if there is to be no exponent.
const POINT_MIN: i32 = -2;
const POINT_MAX: i32 = 15;

/// `1.7976931348623157e308` is the longest.
const TEXT_MAX: usize = 24;

/// Appends the text of a finite double. A negative zero is zero.
pub fn push_double(text: &mut String, value: f64) {
    let size = value.abs();
    if value < 0.0 {
        text.push('-');
    }
    if size == 0.0 {
        text.push('0');
    } else if size >= SMALL {
        push_size(text, size);
    } else if size >= TINY {
        push_size(text, size * power_of_two(500));
        text.push_str("p-500");
    } else {
        push_size(text, size * power_of_two(1000) * power_of_two(74));
        text.push_str("p-1074");
    }
}

/// Appends a number above zero.
fn push_size(text: &mut String, size: f64) {
    let shortest = shortest(size);
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    let has_fraction = i32::try_from(digits(mantissa)).is_ok_and(|digits| digits > point);
    if point >= POINT_MIN && (point <= POINT_MAX || has_fraction) {
        push_plain(text, mantissa, point);
    } else {
        text.push_str(&shortest);
    }
}

fn digits(mantissa: &str) -> usize {
    mantissa.len() - usize::from(mantissa.len() > 1)
}

/// As `d.ddde-d`. The standard library rounds up where two texts are as near.
fn shortest(size: f64) -> String {
    let text = scientific(size, None);
    let digits = text.split_once('e').map_or(0, |(mantissa, _)| digits(mantissa));
    if !is_halfway(size, &text, digits) {
        return text;
    }
    // Rounds to even, since this is halfway.
    let even = scientific(size, Some(digits - 1));
    if even.parse() == Ok(size) { even } else { text }
}

fn scientific(size: f64, fraction: Option<usize>) -> String {
    let mut text = String::with_capacity(TEXT_MAX);
    // Writing to memory does not fail.
    let _ = match fraction {
        None => write!(text, "{size:e}"),
        Some(fraction) => write!(text, "{size:.fraction$e}"),
    };
    text
}

/// Whether the number has one digit more than its shortest text, and that digit is a 5. The number is an odd one times a
/// power of two; for its last digit, a 5, to stand at 10^n, that power must be 2^n, and where n is not negative, 5^(n+1)
/// must divide the odd number.
fn is_halfway(size: f64, text: &str, digits: usize) -> bool {
    let exponent = text.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or_default();
    let last_place = i32::try_from(digits).map_or(0, |digits| exponent - digits);
    let bits = size.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) as i32);
    let (whole, power) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    let (odd, power) = (whole >> whole.trailing_zeros(), power + whole.trailing_zeros() as i32);
    let divides = |n: u32| 5_u64.checked_pow(n + 1).is_some_and(|fives| odd % fives == 0);
    power == last_place && u32::try_from(power).map_or(true, divides)
}

/// `mantissa` is `d` or `d.ddd`. The point belongs behind its first `point` digits.
fn push_plain(text: &mut String, mantissa: &str, point: i32) {
    let (first, rest) = (&mantissa[..1], mantissa.get(2..).unwrap_or_default());
    let before = usize::try_from(point).unwrap_or_default();
    if before == 0 {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        text.extend([first, rest]);
    } else if rest.len() < before {
        text.extend([first, rest]);
        text.extend(std::iter::repeat_n('0', before - 1 - rest.len()));
    } else {
        let (whole, fraction) = rest.split_at(before - 1);
        text.extend([first, whole]);
        if !fraction.is_empty() {
            text.extend([".", fraction]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each seen on MySQL 9.7 and MariaDB 10.11.
    #[test]
    fn texts_are_those_of_the_servers() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.00390625, "0.00390625"),
            (100.0, "100"),
            (1234.5, "1234.5"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (1_000_000_000_000_000.5, "1000000000000000.5"),
            (1_000_000_000_000_001.0, "1.000000000000001e15"),
            (9_007_199_254_740_993.0, "9.007199254740992e15"),
            (-1e100, "-1e100"),
            (f64::MAX, "1.7976931348623157e308"),
            (2_f64.powi(-9), "6.393341031047152e147p-500"),
            (-2_f64.powi(-500), "-1p-500"),
            (5e-324, "1p-1074"),
            // Halfway: 576.15997314453125 and 4503599627370497.5.
            (576.159_973_144_531_2, "576.1599731445312"),
            (4_503_599_627_370_497.5, "4.503599627370498e15"),
        ];
        for (value, expected) in cases {
            let mut text = "|".to_owned();
            push_double(&mut text, value);
            assert_eq!(text, format!("|{expected}"), "{value:?}");
        }
    }

    fn read_back(text: &str) -> f64 {
        let parse = |text: &str| text.parse::<f64>().unwrap();
        match text.split_once('p') {
            Some((scaled, "-500")) => parse(scaled) / power_of_two(500),
            Some((scaled, _)) => parse(scaled) / power_of_two(74) / power_of_two(1000),
            None => parse(text),
        }
    }

    proptest::proptest! {
        #[test]
        fn the_text_tells_the_value(bits: u64) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let mut text = String::new();
                push_double(&mut text, value);
                proptest::prop_assert_eq!(read_back(&text), value);
            }
        }
    }
}
