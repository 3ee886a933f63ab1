//! Points in time as people type them. Always UTC unless an offset is written.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// `2026-01-31` (its midnight), `2026-01-31T05` (that hour) or RFC 3339 such as `2026-01-31T05:30:00Z`.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let wrong = || format!("`{text}` is no time: write 2026-01-31, 2026-01-31T05 or 2026-01-31T05:30:00Z (UTC)");
    let (date, hour) = match text.split_once('T') {
        Some((date, hour)) if hour.len() == 2 => (date, hour.parse().map_err(|_| wrong())?),
        Some(_) => return Err(wrong()),
        None => (text, 0),
    };
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|_| wrong())?;
    let time = NaiveTime::from_hms_opt(hour, 0, 0).ok_or_else(wrong)?;
    Ok(date.and_time(time).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_to_write_a_time() {
        for (text, time) in [
            ("2026-01-31", "2026-01-31T00:00:00+00:00"),
            ("2026-01-31T05", "2026-01-31T05:00:00+00:00"),
            ("2026-01-31T05:30:00Z", "2026-01-31T05:30:00+00:00"),
            ("2026-01-31T05:30:00+02:00", "2026-01-31T03:30:00+00:00"),
        ] {
            assert_eq!(parse_time(text).unwrap().to_rfc3339(), time, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms() {
        for text in ["", "2026", "2026-02-30", "2026-01-31T24", "2026-01-31T5", "2026-01-31T05:30", "now"] {
            assert!(parse_time(text).unwrap_err().contains("write 2026-01-31"), "{text}");
        }
    }
}
