//! A YAML file and the places in it, so that every complaint can say file, line and column.
//!
//! serde names the place of what does not parse. What parses and is wrong all the same (a duration, a layout, a
//! name) is checked later, by key; its place is found by reading the text again and stopping at that key, which
//! costs nothing where all is well.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::suggest;
use crate::error::{Error, Result};

/// Nobody writes a larger one by hand, and what is parsed must have a bound.
const FILE_SIZE_MAX: u64 = 4 * 1024 * 1024;

pub(super) struct Document {
    /// As the user wrote it: for messages.
    name: String,
    text: String,
}

impl Document {
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| Error::config(format!("{name} can't be read")).caused_by(error))?;
        if bytes.len() as u64 > FILE_SIZE_MAX {
            return Err(Error::config(format!("{name} is larger than {} MiB", FILE_SIZE_MAX / 1024 / 1024)));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::config(format!("{name} is not UTF-8")).caused_by(error.utf8_error()))?;
        Ok(Self { name, text })
    }

    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        serde_yaml::from_str(text).map_err(|error| {
            let complaint = suggest::explain(&error);
            let again = complaint.twice.as_deref().and_then(|key| self.place(key, 2));
            let place = again.or_else(|| error.location().map(|at| (at.line(), at.column())));
            Error::config(self.with_place(place, &complaint.text))
        })
    }

    /// `config.yaml:12:3: `scanner.lookback`: ...`, at the key's value or, where the key is left out, at what holds it.
    pub fn fail(&self, key: &str, message: impl Display) -> Error {
        Error::config(self.with_place(self.place(key, 1), &format!("`{key}`: {message}")))
    }

    /// The text of a key that can't do without one.
    pub fn text<'a>(&self, key: &str, value: &'a Option<String>) -> Result<&'a str> {
        value.as_deref().ok_or_else(|| self.fail(key, "needs a value, a text (in quotes where it is empty)"))
    }

    fn with_place(&self, place: Option<(usize, usize)>, message: &str) -> String {
        match place {
            Some((line, column)) => format!("{}:{line}:{column}: {message}", self.name),
            None => format!("{}: {message}", self.name),
        }
    }

    /// Line and column of the value of `key`, such as `feeds[0].layout`; of the `nth` one, where it stands there more
    /// than once.
    fn place(&self, key: &str, nth: usize) -> Option<(usize, usize)> {
        let steps = steps(key);
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        let stop = Stop { steps: &steps, nth }.deserialize(serde_yaml::Deserializer::from_str(text));
        stop.err()?.location().map(|at| (at.line(), at.column()))
    }
}

enum Step {
    Key(String),
    Index(usize),
}

fn steps(key: &str) -> Vec<Step> {
    let parts = key.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index)).collect()
}

/// Walks down to a value and refuses it: the parser then says where it was. Never yields a value.
struct Stop<'a> {
    steps: &'a [Step],
    nth: usize,
}

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("here")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.steps.split_first() else {
            return Err(de::Error::custom("here"));
        };
        let mut left = if rest.is_empty() { self.nth } else { 1 };
        while let Some(found) = map.next_key::<String>()? {
            left -= usize::from(found == *wanted);
            if left == 0 {
                return map.next_value_seed(Stop { steps: rest, nth: self.nth });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(de::Error::custom("not here"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some((Step::Index(wanted), rest)) = self.steps.split_first() {
            for _ in 0..*wanted {
                list.next_element::<IgnoredAny>()?;
            }
            list.next_element_seed(Stop { steps: rest, nth: self.nth })?;
        }
        Err(de::Error::custom("here"))
    }
}
