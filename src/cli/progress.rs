//! Shows a running scan or load to whoever watches: bars on a terminal, a line per ended job otherwise, JSON lines for
//! programs.
//!
//! Invariant: the work never waits for its picture and never fails because of it; and where nothing was done, nothing
//! is shown.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{clipped, printable};
use super::summary::{Summary, job_json, job_line};
use super::{GlobalArgs, LogFormat, human, report};
use crate::job::JobId;
use crate::progress::{Event, JobEnd, Observer, Outcome};

const JOB_BAR: &str = "{prefix} [{bar:24}] {bytes}/{total_bytes} {binary_bytes_per_sec} {msg} {eta} left";
const LISTING: &str = "{spinner} {msg}";
const FEED_LENGTH_MAX: usize = 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bars,
    Lines,
    Json,
}

/// Hand [`Watcher::observer`] to the work, then call [`Watcher::finish`].
pub struct Watcher {
    shared: Arc<Shared>,
}

struct Shared {
    form: Form,
    quiet: bool,
    bars: MultiProgress,
    state: Mutex<State>,
}

struct State {
    started: Instant,
    summary: Summary,
    jobs: HashMap<JobId, JobBar>,
    listings: HashMap<String, ProgressBar>,
}

struct JobBar {
    bar: ProgressBar,
    started: Instant,
    rows: u64,
}

impl Watcher {
    /// Bars where stderr is a terminal that can draw them and nobody asked for anything else.
    pub fn new(global: &GlobalArgs) -> Self {
        let drawable = io::stderr().is_terminal() && !report::is_dumb();
        let form = match global.log_format {
            LogFormat::Json => Form::Json,
            LogFormat::Text if drawable && !global.quiet && !global.no_progress => Form::Bars,
            LogFormat::Text => Form::Lines,
        };
        Self::with_form(form, global.quiet)
    }

    fn with_form(form: Form, quiet: bool) -> Self {
        let target =
            if form == Form::Bars { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let state = State {
            started: Instant::now(),
            summary: Summary::default(),
            jobs: HashMap::new(),
            listings: HashMap::new(),
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { shared: Arc::new(Shared { form, quiet, bars, state: Mutex::new(state) }) }
    }

    /// What everything else that writes to the terminal must step around, see [`super::logging::init`].
    pub fn bars(&self) -> MultiProgress {
        self.shared.bars.clone()
    }

    pub fn observer(&self) -> Observer {
        let shared = self.shared.clone();
        Arc::new(move |event| shared.see(event))
    }

    /// Prints a line beside the bars.
    pub fn say(&self, line: &str) {
        self.shared.bars.suspend(|| report::line(line));
    }

    /// Takes the bars away and says what the run came to so far. Prints nothing.
    pub fn finish(&self) -> Summary {
        let mut state = self.shared.state();
        for (_, job) in state.jobs.drain() {
            job.bar.finish_and_clear();
        }
        for (_, listing) in state.listings.drain() {
            listing.finish_and_clear();
        }
        Summary { elapsed: state.started.elapsed(), ..state.summary.clone() }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// A panic elsewhere must not end the picture of the other jobs.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, event: Event) {
        match event {
            Event::Listed { feed, keys } => self.listed(feed, keys),
            Event::ListingEnded { feed } => self.listing_ended(&feed),
            Event::JobStarted { job, feed, files, bytes } => self.started(job, &feed, files, bytes),
            Event::Advanced { job, bytes, rows } => self.advanced(job, bytes, rows),
            Event::JobEnded(end) => self.ended(&end),
        }
    }

    fn listed(&self, feed: String, keys: u64) {
        if self.form != Form::Bars {
            return;
        }
        let message = format!("listing {}: {}", printable(&feed), human::counted(keys, "key"));
        let mut state = self.state();
        let listing = state.listings.entry(feed).or_insert_with(|| {
            let spinner = self.bars.add(ProgressBar::new_spinner().with_style(style(LISTING)));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        listing.set_message(message);
    }

    fn listing_ended(&self, feed: &str) {
        if let Some(listing) = self.state().listings.remove(feed) {
            listing.finish_and_clear();
            self.bars.remove(&listing);
        }
    }

    fn started(&self, job: JobId, feed: &str, files: usize, bytes: u64) {
        if self.form != Form::Bars {
            return;
        }
        let mut state = self.state();
        let bar = self.bars.add(ProgressBar::new(bytes).with_style(style(JOB_BAR)));
        let feed = clipped(feed, FEED_LENGTH_MAX);
        bar.set_prefix(format!("job {job} ({feed}, {})", human::counted(files as u64, "file")));
        bar.enable_steady_tick(Duration::from_millis(200));
        state.jobs.insert(job, JobBar { bar, started: Instant::now(), rows: 0 });
    }

    fn advanced(&self, job: JobId, bytes: u64, rows: u64) {
        let mut state = self.state();
        if let Some(job) = state.jobs.get_mut(&job) {
            job.rows += rows;
            let rate = human::per_second(job.rows, job.started.elapsed());
            job.bar.inc(bytes);
            job.bar.set_message(format!("{}, {}/s", human::counted(job.rows, "row"), human::count(rate)));
        }
    }

    fn ended(&self, end: &JobEnd) {
        let mut state = self.state();
        state.summary.add(end);
        if let Some(job) = state.jobs.remove(&end.job) {
            job.bar.finish_and_clear();
            self.bars.remove(&job.bar);
        }
        if let Some(line) = ended_line(self.form, self.quiet, end) {
            self.bars.suspend(|| report::line(&line));
        }
    }
}

fn ended_line(form: Form, quiet: bool, end: &JobEnd) -> Option<String> {
    if quiet && !matches!(end.outcome, Outcome::Failed(_)) {
        return None;
    }
    Some(if form == Form::Json { job_json(end) } else { report::wrapped(&job_line(end)) })
}

/// The templates are constants; should one be wrong, a plain bar does as well.
fn style(template: &str) -> ProgressStyle {
    let plain = || if template == LISTING { ProgressStyle::default_spinner() } else { ProgressStyle::default_bar() };
    plain().template(template).map(|style| style.progress_chars("=> ")).unwrap_or_else(|_| plain())
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::end;
    use super::*;

    #[test]
    fn templates_are_sound() {
        for template in [JOB_BAR, LISTING] {
            assert!(ProgressStyle::default_bar().template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn quiet_shows_failures_only() {
        let failed = end(2, Outcome::Failed("bad".to_owned()));
        let loaded = end(1, Outcome::Loaded);
        assert_eq!(ended_line(Form::Lines, true, &loaded), None);
        assert!(ended_line(Form::Lines, true, &failed).is_some());
        assert!(ended_line(Form::Json, false, &loaded).is_some_and(|line| line.starts_with('{')));
    }

    #[test]
    fn a_watched_run_is_summed_up_whatever_the_form() {
        for form in [Form::Bars, Form::Lines, Form::Json] {
            let watcher = Watcher::with_form(form, true);
            let observer = watcher.observer();
            observer(Event::Listed { feed: "loans".to_owned(), keys: 30 });
            observer(Event::JobStarted { job: 1, feed: "loans".to_owned(), files: 6, bytes: 1 << 20 });
            observer(Event::Advanced { job: 1, bytes: 1 << 19, rows: 10_000 });
            observer(Event::Advanced { job: 9, bytes: 1, rows: 1 });
            observer(Event::JobEnded(end(1, Outcome::Loaded)));
            let summary = watcher.finish();
            assert_eq!((summary.jobs_loaded, summary.records()), (1, 21_010));
        }
    }
}
