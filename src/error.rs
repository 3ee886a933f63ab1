//! Errors, sorted by what the reader must do about them.
//!
//! Invariant: an [`Error`] never holds a secret or a cell's value, so that it may be printed, logged and stored in
//! `failure_msg` as it is. The kind chooses the exit code; the hint says what to do next.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user's command line, config, schema file or set-up is wrong. Exit code 2.
    Config,
    /// A file or a record is not what the feed says. Exit code 3. Trying again does not help.
    Data,
    /// A file is not the one that was registered: its version has changed since. Exit code 3. Trying again does not
    /// help; a person decides.
    Changed,
    /// A database or the source can't be reached or is busy. Exit code 4. Trying again may help.
    Unavailable,
    /// loadline itself is at fault. Exit code 1.
    Internal,
}

#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    is_outage: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, is_outage: false, source: None }
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    pub fn changed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Changed, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error again, its causes as text: for an error that is held by somebody else's error.
    pub fn duplicate(&self) -> Self {
        let source = self.source().map(|_| {
            let below = self.chain();
            below.strip_prefix(&format!("{}: ", self.message)).unwrap_or(&below).to_owned()
        });
        let source = source.filter(|below| *below != self.message).map(Into::into);
        let (kind, is_outage) = (self.kind, self.is_outage);
        Self { kind, message: self.message.clone(), hint: self.hint.clone(), is_outage, source }
    }

    /// What the user can do about it, as a sentence without a full stop.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks what keeps all work from going on, and not only what met it: a full disk, say.
    pub fn outage(mut self) -> Self {
        self.is_outage = true;
        self
    }

    /// The same error with a larger story around it; kind, hint and mark stay.
    pub fn context(self, message: impl Into<String>) -> Self {
        let (kind, hint, is_outage) = (self.kind, self.hint.clone(), self.is_outage);
        Self { kind, message: message.into(), hint, is_outage, source: Some(Box::new(self)) }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// True where the same work may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    pub fn is_outage(&self) -> bool {
        self.is_outage
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Internal => 1,
            ErrorKind::Config => 2,
            ErrorKind::Data | ErrorKind::Changed => 3,
            ErrorKind::Unavailable => 4,
        }
    }

    /// The message and every cause below it, outermost first, joined by ": ".
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let below = error.to_string();
            // Libraries often repeat their cause in their own message.
            if !text.ends_with(&below) {
                text.push_str(": ");
                text.push_str(&below);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_names_every_cause_once() {
        let inner = Error::data("record 7 is ragged");
        let outer = inner.context("2026/01/01/00/a.csv").context("job 3");
        assert_eq!(outer.chain(), "job 3: 2026/01/01/00/a.csv: record 7 is ragged");
        assert_eq!(outer.exit_code(), 3);
        assert!(!outer.is_outage() && outer.outage().context("job 4").duplicate().is_outage());
    }
}
