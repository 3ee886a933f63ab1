//! The live picture on stderr: on a terminal the whole screen, as `top` has it, a line now and then elsewhere.
//!
//! Invariant: no line is wider than the terminal, and there are never more than it has; and the screen that was there
//! before comes back.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use console::Term;

use super::super::output::clipped;
use super::super::{GlobalArgs, LogFormat, human, report};
use super::colour::{Colour, painted};
use crate::demo::chaos::{Phase, Picture, Shown, State, Tally};

const REDRAWN_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// To the terminal's other screen, without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// On a narrower terminal process ids are left out.
const WIDTH_OF_TWO_TEAMS: usize = 100;
/// Columns of the table of counts: what, and the two sides.
const COLUMNS: (usize, usize) = (32, 18);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Live,
    Lines,
    Silent,
}

pub struct Screen {
    form: Form,
    colours: bool,
    terminal: Term,
    /// Whether the picture has taken the screen.
    taken: bool,
    last: Option<Instant>,
}

impl Screen {
    pub fn new(global: &GlobalArgs) -> Self {
        let live = io::stderr().is_terminal() && !report::is_dumb() && !global.no_progress;
        let form = match global.log_format {
            _ if global.quiet => Form::Silent,
            LogFormat::Json => Form::Silent,
            LogFormat::Text if live => Form::Live,
            LogFormat::Text => Form::Lines,
        };
        Self { form, colours: report::colours(&io::stderr()), terminal: Term::stderr(), taken: false, last: None }
    }

    pub fn show(&mut self, picture: &Picture<'_>) {
        let every = match self.form {
            Form::Live => REDRAWN_EVERY,
            Form::Lines => LINE_EVERY,
            Form::Silent => return,
        };
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < every) {
            return;
        }
        let first = self.last.is_none();
        self.last = Some(now);
        match self.form {
            Form::Live => self.redraw(picture),
            // Nothing has happened yet.
            _ if first => {}
            _ => report::line(&line(picture)),
        }
    }

    /// Takes the picture away.
    pub fn clear(&mut self) {
        if self.taken {
            write_out(LEAVE);
            self.taken = false;
        }
    }

    fn redraw(&mut self, picture: &Picture<'_>) {
        let (rows, columns) = self.terminal.size();
        let mut lines = Lines { width: columns.into(), colours: self.colours, lines: Vec::new() };
        lines.picture(picture, rows.into());
        let enter = if self.taken { "" } else { ENTER };
        self.taken = true;
        // The last line ends without a line break, which would push the first one out.
        write_out(&format!("{enter}\x1b[H{}\x1b[K\x1b[J", lines.lines.join("\x1b[K\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// In one piece, so that it does not flicker.
fn write_out(text: &str) {
    // Nobody is left to tell where stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// What a line of a log says of it.
fn line(picture: &Picture<'_>) -> String {
    let faults = human::counted(picture.faults.values().map(|sides| sides[0].max(sides[1])).sum(), "fault");
    let mut text = format!("{:>5} s  {}, {faults}", picture.since_start.as_secs(), arrived(picture));
    if let Some([loadline, naive]) = picture.tallies {
        for (name, tally) in [("loadline", loadline), ("naive loader", naive)] {
            let (rows, doubled) = (human::count(tally.rows), human::count(tally.doubled));
            let _ = write!(text, "; {name} {rows} rows, {doubled} doubled");
        }
    }
    if picture.phase == Phase::Draining {
        text.push_str("; no more faults, both load what is left");
    }
    text
}

fn arrived(picture: &Picture<'_>) -> String {
    format!("{} of {}", human::counted(picture.files as u64, "file"), human::counted(picture.records, "record"))
}

struct Lines {
    width: usize,
    colours: bool,
    lines: Vec<String>,
}

/// A piece of a line, in a colour or none.
type Piece = (Option<Colour>, String);

impl Lines {
    fn picture(&mut self, picture: &Picture<'_>, rows: usize) {
        self.title(picture);
        self.blank();
        self.processes(picture);
        self.blank();
        self.counts(picture);
        self.blank();
        let faults: u64 = picture.faults.values().map(|sides| sides[0].max(sides[1])).sum();
        self.push(vec![(Some(Colour::Bold), format!("  {} so far", human::counted(faults, "fault")))]);
        let room = rows.saturating_sub(self.lines.len());
        let older = picture.log.len().saturating_sub(room);
        for line in picture.log.iter().skip(older) {
            let colour = if line.kind.is_of_processes() { Colour::Red } else { Colour::Yellow };
            let at = (Some(Colour::Dim), format!("  {:>6.1} s  ", line.at.as_secs_f64()));
            let kind = (Some(colour), format!("{:<34}", line.kind.to_string()));
            self.push(vec![at, kind, (None, line.text.clone())]);
        }
        self.lines.truncate(rows);
    }

    fn title(&mut self, picture: &Picture<'_>) {
        let left = match picture.phase {
            Phase::Faults { left } => format!("{} s left", left.as_secs()),
            Phase::Draining => "no more faults: both load what is left".to_owned(),
        };
        self.push(vec![
            (Some(Colour::Bold), "  loadline demo --chaos".to_owned()),
            (Some(Colour::Cyan), format!("   seed {}", picture.seed)),
            (Some(Colour::Bold), format!("   {left}")),
            (Some(Colour::Dim), format!("   {}", arrived(picture))),
        ]);
    }

    /// Both teams side by side.
    fn processes(&mut self, picture: &Picture<'_>) {
        let [loadline, naive] = &picture.teams;
        let (half, with_pids) = (self.width / 2, self.width >= WIDTH_OF_TWO_TEAMS);
        for index in 0..loadline.len().max(naive.len()) {
            let [mut pieces, others] = [loadline, naive]
                .map(|team| team.get(index).map(|shown| process(shown, with_pids)).unwrap_or_default());
            let length: usize = pieces.iter().map(|(_, text)| text.chars().count()).sum();
            pieces.push((None, " ".repeat(half.saturating_sub(length))));
            pieces.extend(others);
            self.push(pieces);
        }
    }

    fn counts(&mut self, picture: &Picture<'_>) {
        let (first, other) = COLUMNS;
        let heading = format!("  {:first$}{:>other$}{:>other$}", "counted in the tables", "loadline", "naive loader");
        self.push(vec![(Some(Colour::Bold), heading)]);
        let empty = [Tally::default(), Tally::default()];
        let tallies = picture.tallies.unwrap_or(&empty);
        self.count("rows", tallies, |tally| tally.rows, None);
        self.count("not there yet, or lost", tallies, |tally| tally.lost, Some(Colour::Yellow));
        self.count("doubled", tallies, |tally| tally.doubled, Some(Colour::Red));
        self.count("of bytes since overwritten", tallies, |tally| tally.outdated, Some(Colour::Yellow));
    }

    /// A row of two counts; `bad` is the colour of one that is not 0.
    fn count(&mut self, name: &str, tallies: &[Tally; 2], of: impl Fn(&Tally) -> u64, bad: Option<Colour>) {
        let (first, other) = COLUMNS;
        let mut pieces = vec![(None, format!("  {name:first$}"))];
        for tally in tallies {
            let number = of(tally);
            let colour = bad.map(|bad| if number == 0 { Colour::Green } else { bad });
            pieces.push((colour, format!("{:>other$}", human::count(number))));
        }
        self.push(pieces);
    }

    fn blank(&mut self) {
        self.lines.push(String::new());
    }

    /// Cuts the line where the terminal ends.
    fn push(&mut self, pieces: Vec<Piece>) {
        let mut left = self.width;
        let mut line = String::new();
        for (colour, text) in pieces {
            if left == 0 {
                break;
            }
            let text = clipped(&text, left);
            left -= text.chars().count();
            line.push_str(&painted(&text, colour, self.colours));
        }
        self.lines.push(line);
    }
}

fn process(shown: &Shown, with_pid: bool) -> Vec<Piece> {
    let now = Instant::now();
    let seconds = |until: Instant| format!("{:.1} s", until.saturating_duration_since(now).as_secs_f64());
    let (colour, mark, state) = match shown.state {
        State::Running { .. } => (Colour::Green, "●", "runs".to_owned()),
        State::Frozen { until } => (Colour::Cyan, "❄", format!("frozen {}", seconds(until))),
        State::Ending => (Colour::Yellow, "●", "ends".to_owned()),
        State::Down { until } => (Colour::Red, "✗", format!("down, back in {}", seconds(until))),
        State::Done => (Colour::Dim, "·", "has ended".to_owned()),
    };
    let pid = shown.pid.filter(|_| with_pid).map(|pid| format!("{pid:>8}  "));
    let pid = pid.unwrap_or_else(|| " ".repeat(if with_pid { 10 } else { 0 }));
    vec![
        (Some(colour), format!("  {mark} ")),
        (None, format!("{:<16}", shown.name)),
        (Some(Colour::Dim), pid),
        (Some(colour), state),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use super::*;
    use crate::demo::chaos::{FaultKind, LogLine};

    fn with_picture(see: impl FnOnce(&Picture<'_>)) {
        let now = Instant::now();
        let shown = |name: &str, state| vec![Shown { name: name.to_owned(), pid: Some(4_242), state }; 3];
        let teams = [
            shown("loadline run 1", State::Running { since: now }),
            shown("naive loader 1", State::Frozen { until: now + Duration::from_secs(9) }),
        ];
        let tallies =
            [Tally { rows: 120_000, ..Tally::default() }, Tally { rows: 130_000, doubled: 10_000, ..Tally::default() }];
        let kind = FaultKind::Killed;
        let at = Duration::from_millis(12_340);
        let log: VecDeque<LogLine> = (0..12).map(|n| LogLine { at, kind, text: format!("no. {n}") }).collect();
        see(&Picture {
            seed: 4711,
            phase: Phase::Faults { left: Duration::from_secs(43) },
            since_start: at,
            files: 210,
            records: 120_000,
            teams,
            tallies: Some(&tallies),
            faults: &BTreeMap::from([(kind, [7, 6])]),
            log: &log,
        });
    }

    fn drawn(width: usize, rows: usize, colours: bool) -> Vec<String> {
        let mut lines = Lines { width, colours, lines: Vec::new() };
        with_picture(|picture| lines.picture(picture, rows));
        lines.lines
    }

    #[test]
    fn it_fits_any_terminal() {
        for (width, rows) in [(130, 40), (79, 23), (20, 5), (0, 0)] {
            let lines = drawn(width, rows, false);
            assert!(lines.len() <= rows && lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
    }

    #[test]
    fn it_shows_both_sides_and_the_newest_faults() {
        let text = drawn(100, 30, false).join("\n");
        for part in ["seed 4711   43 s left", "210 files of 120,000 records", "frozen ", "130,000", "10,000"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("7 faults so far") && text.contains("no. 11"), "{text}");
        let short = drawn(100, 16, false).join("\n");
        assert!(short.contains("no. 11") && !short.contains("no. 0"), "{short}");
        assert!(drawn(100, 30, true).join("").contains("\x1b[1;31m"));
    }

    #[test]
    fn a_log_has_a_line_with_the_same_counts() {
        with_picture(|picture| {
            let text = line(picture);
            assert!(text.contains("7 faults; loadline 120,000 rows, 0 doubled; naive loader 130,000 rows, 10,000 d"));
        });
    }
}
