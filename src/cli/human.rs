//! Numbers as people read them.

use std::time::Duration;

use bytesize::ByteSize;

/// 1234567 as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `2 jobs`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// `0.8 s`, `12 s`, `3 min 4 s`, `2 h 5 min`.
pub fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago, in one unit: `59 s`, `59 min`, `47 h`, `365 d`.
pub fn age(age: chrono::Duration) -> String {
    let seconds = age.num_seconds();
    match seconds {
        ..0 => "ahead".to_owned(),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// So many a second, rounded; 0 where no time has passed.
pub fn per_second(number: u64, took: Duration) -> u64 {
    let seconds = took.as_secs_f64();
    if seconds > 0.0 { (number as f64 / seconds).round() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let texts: Vec<String> = [0, 999, 1000, 110_123, 1_234_567].into_iter().map(count).collect();
        assert_eq!(texts, ["0", "999", "1,000", "110,123", "1,234,567"]);
        assert_eq!((counted(1, "job").as_str(), counted(1200, "file").as_str()), ("1 job", "1,200 files"));
    }

    #[test]
    fn ages_have_one_unit() {
        let texts: Vec<String> =
            [-1, 0, 59, 60, 3599, 3600, 172_799, 172_800].map(chrono::Duration::seconds).map(age).into();
        assert_eq!(texts, ["ahead", "0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 d"]);
    }

    #[test]
    fn sizes_times_and_rates() {
        assert_eq!((size(512).as_str(), size(1_572_864).as_str()), ("512 B", "1.5 MiB"));
        let texts: Vec<String> =
            [0.84, 12.9, 184.0, 7500.0].into_iter().map(Duration::from_secs_f64).map(duration).collect();
        assert_eq!(texts, ["0.8 s", "12 s", "3 min 4 s", "2 h 5 min"]);
        assert_eq!(per_second(1000, Duration::from_millis(500)), 2000);
        assert_eq!(per_second(1000, Duration::ZERO), 0);
    }
}
