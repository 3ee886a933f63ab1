//! Sizes, durations and times as people write them: `256MiB`, `72h`, `2026-01-01`.
//!
//! Invariant: what is printed reads back as the same value, and every duration may be added to or taken from any time
//! without leaving the calendar.

use std::time::Duration;

use bytesize::ByteSize;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::suggest::shown;

const YEARS_MAX: u64 = 100;
const DURATION_MAX: Duration = Duration::from_secs(YEARS_MAX * 366 * 24 * 60 * 60);

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |_| {
        let text = shown(text);
        format!("`{text}` is not a duration; write a number and its unit, such as 30s, 15m, 72h or 7d")
    };
    let duration = humantime::parse_duration(text).map_err(wrong)?;
    if duration > DURATION_MAX {
        return Err(format!("`{}` is too long; at most {YEARS_MAX} years", shown(text)));
    }
    Ok(duration)
}

/// In whole hours, minutes or seconds, as one would write it in the config.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() != 0 {
        humantime::format_duration(duration).to_string()
    } else if seconds != 0 && seconds.is_multiple_of(3600) {
        format!("{}h", seconds / 3600)
    } else if seconds != 0 && seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.trim().parse().map_err(|_| {
        let text = shown(text);
        format!("`{text}` is not a size; write a number and its unit, such as 64MiB, 256MiB or 1GB")
    })?;
    Ok(size.as_u64())
}

/// In the largest binary unit that keeps it exact.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(bytesize::TIB, "TiB"), (bytesize::GIB, "GiB"), (bytesize::MIB, "MiB"), (bytesize::KIB, "KiB")];
    let exact = units.iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// A time with its offset, or a date: its first moment, UTC.
pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok();
    let date = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    time.or_else(date).ok_or_else(|| {
        format!("`{}` is not a time; write it as 2026-01-31T00:00:00Z, or as the date 2026-01-31 (UTC)", shown(text))
    })
}

pub(super) fn show_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["0s", "1h", "72h", "90s", "15m", "1500ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&show_duration(duration)).unwrap(), duration, "{text}");
        }
        assert_eq!(show_duration(parse_duration("3d").unwrap()), "72h");
        for (text, shown) in [("256MiB", "256MiB"), ("1 GB", "1000000000B"), ("1024", "1KiB"), ("2gib", "2GiB")] {
            assert_eq!(show_size(parse_size(text).unwrap()), shown);
            assert_eq!(parse_size(shown).unwrap(), parse_size(text).unwrap());
        }
    }

    #[test]
    fn times_have_an_offset_or_are_dates() {
        assert_eq!(show_time(parse_time("2026-01-31").unwrap()), "2026-01-31T00:00:00Z");
        assert_eq!(show_time(parse_time("2026-01-31T02:00:00+02:00").unwrap()), "2026-01-31T00:00:00Z");
        assert!(parse_time("2026-01-31 02:00").is_err());
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn durations_stay_within_the_calendar() {
        for text in ["72", "-1h", "", "3parsecs", "101years"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
