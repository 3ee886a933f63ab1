//! The path layout of a feed, such as `{yyyy}/{mm}/{dd}/{HH}/`: from a key to its hour (or day), and back to a folder.
//!
//! Invariant: a layout that parsed yields exactly one UTC hour or day for every key it accepts. All times are UTC.

use std::fmt;

use chrono::{DateTime, Duration, NaiveDate, Utc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
}

const FIELDS: [(&str, Field); 4] =
    [("yyyy", Field::Year), ("mm", Field::Month), ("dd", Field::Day), ("HH", Field::Hour)];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    text: String,
    parts: Vec<Part>,
}

impl Layout {
    /// Reads a layout, or says why it can't be one.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.ends_with('/') || text.starts_with('/') {
            return Err(format!("layout `{text}` must end in `/` and not begin with it"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            let close = rest.find('}').filter(|close| *close > open);
            let close = close.ok_or_else(|| format!("layout `{text}` has a `{{` without its `}}`"))?;
            let name = &rest[open + 1..close];
            let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
            let field = field.ok_or_else(|| {
                format!("layout `{text}`: `{{{name}}}` is unknown; the fields are {{yyyy}}, {{mm}}, {{dd}} and {{HH}}")
            })?;
            if parts.contains(&Part::Field(field)) {
                return Err(format!("layout `{text}` names `{{{name}}}` twice"));
            }
            parts.push(Part::Field(field));
            rest = &rest[close + 1..];
        }
        parts.push(Part::Literal(rest.to_owned()));

        let has = |field| parts.contains(&Part::Field(field));
        if !(has(Field::Year) && has(Field::Month) && has(Field::Day)) {
            return Err(format!(
                "layout `{text}` must name {{yyyy}}, {{mm}} and {{dd}}: a file belongs to a day or an hour"
            ));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The start of the hour (or day) that `key` belongs to and the rest of the key, where it fits. `key` comes
    /// without the feed's prefix. The rest holds no further folder.
    pub fn split<'k>(&self, key: &'k str) -> Option<(DateTime<Utc>, &'k str)> {
        let mut rest = key;
        let (mut year, mut month, mut day, mut hour) = (0, 0, 0, 0);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Field(field) => {
                    let width = if *field == Field::Year { 4 } else { 2 };
                    let digits = rest.get(..width).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
                    let number: u32 = digits.parse().ok()?;
                    match field {
                        Field::Year => year = number,
                        Field::Month => month = number,
                        Field::Day => day = number,
                        Field::Hour => hour = number,
                    }
                    rest = &rest[width..];
                }
            }
        }
        let start = NaiveDate::from_ymd_opt(year as i32, month, day)?.and_hms_opt(hour, 0, 0)?;
        (!rest.is_empty() && !rest.contains('/')).then_some((start.and_utc(), rest))
    }

    /// The folder of `at`, ending in `/`, without the feed's prefix.
    pub fn folder(&self, at: DateTime<Utc>) -> String {
        let mut folder = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => folder.push_str(literal),
                Part::Field(Field::Year) => folder.push_str(&at.format("%Y").to_string()),
                Part::Field(Field::Month) => folder.push_str(&at.format("%m").to_string()),
                Part::Field(Field::Day) => folder.push_str(&at.format("%d").to_string()),
                Part::Field(Field::Hour) => folder.push_str(&at.format("%H").to_string()),
            }
        }
        folder
    }

    /// How long the time is that a folder stands for: an hour, or a day.
    pub fn period(&self) -> Duration {
        if self.parts.contains(&Part::Field(Field::Hour)) { Duration::hours(1) } else { Duration::days(1) }
    }

    /// Whether later folders have greater keys, so that a listing may start after a key.
    pub fn key_order_is_time_order(&self) -> bool {
        let fields: Vec<Field> = self
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Field(field) => Some(*field),
                Part::Literal(_) => None,
            })
            .collect();
        let in_order = [Field::Year, Field::Month, Field::Day, Field::Hour];
        fields == in_order[..fields.len()]
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hourly() -> Layout {
        Layout::parse("{yyyy}/{mm}/{dd}/{HH}/").unwrap()
    }

    #[test]
    fn a_key_yields_its_hour_and_name() {
        let (hour, name) = hourly().split("2026/02/28/23/loans.csv").unwrap();
        assert_eq!((hour.to_rfc3339().as_str(), name), ("2026-02-28T23:00:00+00:00", "loans.csv"));
        assert_eq!(hourly().folder(hour), "2026/02/28/23/");
    }

    #[test]
    fn keys_that_do_not_fit_yield_nothing() {
        for key in
            ["2026/02/30/00/a.csv", "2026/02/28/24/a.csv", "2026/2/28/23/a.csv", "2026/02/28/23/", "2026/02/28/a.csv"]
        {
            assert_eq!(hourly().split(key), None, "{key}");
        }
        assert_eq!(hourly().split("2026/02/28/23/deeper/a.csv"), None);
    }

    #[test]
    fn day_layouts_and_literals() {
        let layout = Layout::parse("dt={yyyy}-{mm}-{dd}/").unwrap();
        let (day, _) = layout.split("dt=2026-01-05/x.csv").unwrap();
        assert_eq!(day.to_rfc3339(), "2026-01-05T00:00:00+00:00");
        assert!(layout.key_order_is_time_order());
        assert_eq!((layout.period(), hourly().period()), (Duration::days(1), Duration::hours(1)));
        assert!(!Layout::parse("{dd}/{mm}/{yyyy}/").unwrap().key_order_is_time_order());
    }

    #[test]
    fn bad_layouts_say_why() {
        for (text, reason) in [
            ("{yyyy}/{mm}/{dd}", "must end in `/`"),
            ("{yyyy}/{mm}/", "must name"),
            ("{yyyy}/{mm}/{dd}/{MM}/", "unknown"),
            ("{yyyy}/{mm}/{dd}/{dd}/", "twice"),
            ("{yyyy/", "without"),
        ] {
            let error = Layout::parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
