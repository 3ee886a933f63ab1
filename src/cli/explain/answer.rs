//! From what is known of a file to the answer: one word, the reasons, and the way on.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::facts::{Facts, FeedFacts, Verdict, time};
use crate::cli::{Context, GlobalArgs, human, report, shell, wrap};
use crate::config::{Config, ScannerConfig};
use crate::fingerprint::Fingerprint;
use crate::job::{FileRecord, FileState, Job, JobStatus};
use crate::source::{Entry, Ignored};
use crate::warehouse::LedgerEntry;

/// What a file is to one feed.
pub struct Answer {
    /// `None`: to no feed.
    feed: Option<String>,
    /// Stable, for programs.
    word: &'static str,
    why: Vec<String>,
    next: Vec<Step>,
    record: Option<FileRecord>,
    job: Option<Job>,
    ledger: Option<LedgerEntry>,
}

/// What a command is good for, and the command.
struct Step {
    what: String,
    command: String,
}

/// One for each feed that has the file, or would take it; else one that says why none does.
pub fn answers(facts: &Facts, uri: &str, context: &Context) -> Vec<Answer> {
    let concerns = |feed: &&FeedFacts| feed.record.is_some() || feed.ledger.is_some() || feed.place.is_ok();
    let teller = |feed| Teller { facts, feed, uri, global: &context.global, settings: &context.config.scanner };
    let answers: Vec<Answer> = facts.feeds.iter().filter(concerns).map(|feed| teller(feed).answer()).collect();
    if answers.is_empty() { vec![no_feed(facts, context)] } else { answers }
}

impl Answer {
    fn new(feed: Option<&str>, word: &'static str, why: impl Into<String>) -> Self {
        let feed = feed.map(str::to_owned);
        Self { feed, word, why: vec![why.into()], next: Vec::new(), record: None, job: None, ledger: None }
    }

    pub fn elsewhere(config: &Config) -> Self {
        let url = &config.source.url;
        let why = format!("it does not lie below the source {url}: only files of the source are loaded");
        let mut answer = Self::new(None, "NOT_OF_THE_SOURCE", why);
        answer
            .why
            .push("if the source has moved, give the path below it: feed and path are what a file is known by".into());
        answer
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    fn step(mut self, what: impl Into<String>, command: String) -> Self {
        self.next.push(Step { what: what.into(), command });
        self
    }

    pub fn render(&self, text: &mut String) {
        let whose = self.feed.as_ref().map(|feed| format!("feed {feed}: ")).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{whose}{}", self.word.replace('_', " "));
        for why in &self.why {
            let _ = writeln!(text, "  {}", report::lines(why, wrap::of_stdout(), "  "));
        }
        for step in &self.next {
            let _ = writeln!(text, "  {}:\n    {}", step.what, step.command);
        }
    }

    pub fn json(&self) -> Value {
        let next = self.next.iter().map(|step| json!({"what": step.what, "command": step.command}));
        json!({
            "feed": self.feed,
            "answer": self.word,
            "why": self.why,
            "next": next.collect::<Vec<_>>(),
            "file": self.record.as_ref().map(file_json),
            "job": self.job.as_ref().map(job_json),
            "ledger": self.ledger.as_ref().map(ledger_json),
        })
    }
}

fn file_json(file: &FileRecord) -> Value {
    json!({
        "id": file.id, "state": file.state.as_str(), "version": file.version, "size_in_bytes": file.size,
        "modified_time": time(file.modified), "hour": time(file.hour), "job_id": file.job_id,
        "rows_loaded": file.rows_loaded, "rows_rejected": file.rows_rejected, "error": file.error,
        "found_time": time(file.found_time), "loaded_time": file.loaded_time.map(time),
    })
}

fn job_json(job: &Job) -> Value {
    json!({
        "id": job.id, "status": job.status.as_str(), "failure_msg": job.failure_msg, "attempts": job.attempts,
        "expiries": job.expiries, "lease_owner": job.lease_owner, "lease_until": job.lease_until.map(time),
        "run_after": time(job.run_after), "started_time": job.started_time.map(time),
        "finished_time": job.finished_time.map(time),
    })
}

fn ledger_json(entry: &LedgerEntry) -> Value {
    json!({
        "file": entry.file, "job": entry.job, "version": entry.version, "target_table": entry.table,
        "records_done": entry.progress.records_done, "rows": entry.progress.rows, "rejects": entry.progress.rejects,
        "checksum": entry.progress.checksum, "bytes": entry.progress.fingerprint.map(|print| print.bytes),
        "sha256": entry.progress.fingerprint.as_ref().map(Fingerprint::hex),
        "complete": entry.progress.complete, "completed_time": entry.completed.map(time),
        "unloaded_time": entry.unloaded.map(time),
    })
}

fn no_feed(facts: &Facts, context: &Context) -> Answer {
    let path = context.config.path.display();
    let mut answer = Answer::new(None, "OF_NO_FEED", format!("no feed of {path} takes it:"));
    for FeedFacts { feed, place, .. } in &facts.feeds {
        let why = match place {
            _ if !feed.prefix.is_empty() && !facts.key.starts_with(&feed.prefix) => {
                format!("it does not begin with the prefix `{}`", feed.prefix)
            }
            Err(Ignored::Layout) => format!("its folders are not those of the layout `{}`", feed.layout),
            Err(Ignored::Name) => format!("its name does not match `{}` (files)", feed.files.as_str()),
            Err(Ignored::Dotfile) => "a name in its path begins with `.`".to_owned(),
            Err(Ignored::Marker) => "its name begins with `_`, or is that of a folder".to_owned(),
            Err(other) => other.reason().to_owned(),
            Ok(_) => continue,
        };
        answer = answer.because(format!("feed {}: {why}", feed.name));
    }
    answer.step(
        "after a change of the feed in the config, or of the name",
        shell::command(&context.global, "scan --full"),
    )
}

/// One feed's part of the story.
struct Teller<'a> {
    facts: &'a Facts,
    feed: &'a FeedFacts,
    uri: &'a str,
    global: &'a GlobalArgs,
    settings: &'a ScannerConfig,
}

impl Teller<'_> {
    fn answer(&self) -> Answer {
        let mut answer = match &self.feed.record {
            Some(record) => self.recorded(record),
            None => self.unrecorded(),
        };
        answer.record = self.feed.record.clone();
        answer.job = self.feed.job.clone();
        answer.ledger = self.feed.ledger.clone();
        answer
    }

    fn say(&self, word: &'static str, why: impl Into<String>) -> Answer {
        Answer::new(Some(&self.feed.feed.name), word, why)
    }

    fn command(&self, command: &str) -> String {
        shell::command(self.global, command)
    }

    fn ago(&self, at: DateTime<Utc>) -> String {
        format!("{} ({} ago)", time(at), human::age((self.facts.now - at).max(chrono::Duration::zero())))
    }

    // -- files that the registry has -------------------------------------------------------------------------------

    fn recorded(&self, record: &FileRecord) -> Answer {
        let answer = match record.state {
            FileState::Found => self.found(record),
            FileState::InJob => self.in_job(record),
            FileState::Loaded => self.loaded(record),
            FileState::Failed => self.failed(record),
            FileState::Quarantined => return self.quarantined(record),
            FileState::Unloaded => self.unloaded(),
        };
        match &self.facts.entry {
            Some(None) => answer.because("it is gone from the source"),
            Some(Some(entry)) if entry.version != record.version => self.changed(answer, record, entry),
            _ => answer,
        }
    }

    fn changed(&self, answer: Answer, record: &FileRecord, entry: &Entry) -> Answer {
        let why = format!("it has changed at the source: known version {}, now {}", record.version, entry.version);
        let answer = answer.because(why);
        // A file that failed is retried as it is now.
        if record.state == FileState::Failed {
            answer
        } else {
            answer.because("a scan that sees it so applies the policy for changed files")
        }
    }

    fn found(&self, record: &FileRecord) -> Answer {
        let answer =
            self.say("FOUND", format!("a scan found it at {}; it is in no job yet", self.ago(record.found_time)));
        let wait = self.settings.limits.wait_max;
        let answer = if wait.is_zero() {
            answer
        } else {
            let until = time(record.found_time + wait);
            answer.because(format!("a job that is not full waits for more files (scanner.max_wait), until {until}"))
        };
        answer.step("a scan forms the job", self.command(&format!("scan --feed {}", self.feed.feed.name)))
    }

    fn in_job(&self, record: &FileRecord) -> Answer {
        let Some(job) = &self.feed.job else {
            return self
                .say("IN_JOB", format!("it is in job {:?}, which is not there", record.job_id.unwrap_or_default()));
        };
        let etl = || self.command(&format!("etl --feed {}", self.feed.feed.name));
        if job.status == JobStatus::Processing {
            return self.at_work(job, etl());
        }
        let mut answer = self.say("WAITING", format!("job {} waits for a worker ({})", job.id, job.status.as_str()));
        if let Some(message) = &job.failure_msg {
            answer = answer.because(format!("put off after attempt {}: {message}", job.attempts));
        }
        if job.run_after > self.facts.now {
            answer = answer.because(format!("not before {}", time(job.run_after)));
        }
        answer.step("the next etl takes it", etl())
    }

    fn at_work(&self, job: &Job, etl: String) -> Answer {
        let owner = job.lease_owner.as_deref().unwrap_or("nobody");
        let mut answer =
            self.say("AT_WORK", format!("job {} is at work: attempt {}, by {owner}", job.id, job.attempts));
        if let Some(entry) = &self.feed.ledger {
            let progress = &entry.progress;
            let whole = if progress.complete { ", which is all of it" } else { "" };
            answer = answer.because(format!("{} done so far{whole}", human::counted(progress.records_done, "record")));
        }
        match job.lease_until {
            Some(until) if until < self.facts.now => answer
                .because(format!("its lease ended at {}: the worker is dead or cut off", self.ago(until)))
                .step("the next etl takes it over", etl),
            _ => answer,
        }
    }

    fn loaded(&self, record: &FileRecord) -> Answer {
        let at = record.loaded_time.map(|at| format!(" at {}", self.ago(at))).unwrap_or_default();
        let by = record.job_id.or(self.feed.ledger.as_ref().map(|entry| entry.job));
        let by = by.map(|job| format!(" by job {job}")).unwrap_or_default();
        let (rows, rejects) = (record.rows_loaded.unwrap_or_default(), record.rows_rejected.unwrap_or_default());
        let answer = self.say("LOADED", format!("it was loaded{at}{by}")).because(format!(
            "{} and {}",
            human::counted(rows, "row"),
            human::counted(rejects, "reject")
        ));
        let answer = self.where_its_rows_are(answer);
        let answer = match record.job_id {
            Some(job) if rejects > 0 => {
                answer.step("the records that did not load", self.command(&format!("rejects --job {job}")))
            }
            _ => answer,
        };
        answer.step("to take it out again", self.unload())
    }

    fn where_its_rows_are(&self, answer: Answer) -> Answer {
        let Some(entry) = &self.feed.ledger else { return answer };
        let (table, file) = (&entry.table, entry.file);
        answer.because(format!("in table {table}, as file {file} of the ledger: SELECT ... WHERE _file = {file}"))
    }

    fn failed(&self, record: &FileRecord) -> Answer {
        let reason = record.error.as_deref().or(self.feed.job.as_ref().and_then(|job| job.failure_msg.as_deref()));
        let answer =
            self.say("FAILED", reason.unwrap_or("no reason is recorded")).because("nothing of it is in the table");
        let Some(job) = record.job_id else { return answer };
        let attempts = self.feed.job.as_ref().map(|job| format!(", attempt {}", job.attempts)).unwrap_or_default();
        answer
            .because(format!("its job is {job}{attempts}"))
            .step("when the file or the schema file is repaired", self.command(&format!("retry {job}")))
            .step("and then", self.command(&format!("etl --feed {}", self.feed.feed.name)))
    }

    fn quarantined(&self, record: &FileRecord) -> Answer {
        let answer = self.say("QUARANTINED", record.error.as_deref().unwrap_or("it has changed at the source"));
        if record.loaded_time.is_some() {
            let answer = self.where_its_rows_are(answer.because("the rows of the old version stay in the table"));
            let answer = answer.step("to load the new version, take the old one out", self.unload());
            return self.load_again(answer, "let the file be found again, as it is now");
        }
        let answer = answer.because("nothing of it is in the table");
        match (&self.feed.job, record.job_id) {
            (_, None) => answer
                .step("to load it as it is now", self.command("retry --quarantined"))
                .step("and then", self.command("scan")),
            (Some(job), Some(id)) if job.status != JobStatus::Failed => answer
                .because(format!("its job {id} is {}, and ends as FAILED without it", job.status.as_str()))
                .step("end the job first", self.command("etl"))
                .step("to load it as it is now", self.command(&format!("retry {id}"))),
            (_, Some(id)) => answer
                .step("to load it as it is now", self.command(&format!("retry {id}")))
                .step("and then", self.command("etl")),
        }
    }

    fn unload(&self) -> String {
        self.command(&format!("unload {} --yes", self.this_file()))
    }

    /// The file as options name it, with its feed where several feeds have it.
    fn this_file(&self) -> String {
        let uri = shell::word(self.uri);
        let several = self.facts.feeds.iter().filter(|feed| feed.record.is_some()).count() > 1;
        if several { format!("--file {uri} --feed {}", self.feed.feed.name) } else { format!("--file {uri}") }
    }

    fn load_again(&self, answer: Answer, what: &str) -> Answer {
        let feed = &self.feed.feed.name;
        answer
            .step(what, self.command(&format!("retry --unloaded {}", self.this_file())))
            .step("then put it into a job", self.command(&format!("scan --feed {feed}")))
            .step("and load it", self.command(&format!("etl --feed {feed}")))
    }

    fn unloaded(&self) -> Answer {
        let when = self.feed.ledger.as_ref().and_then(|entry| entry.unloaded);
        let when = when.map(|at| format!(" at {}", self.ago(at))).unwrap_or_default();
        let why = format!("a person took it out of the table{when}; it is not loaded again by itself");
        self.load_again(self.say("UNLOADED", why), "to load it again, under the schema file of today")
    }

    // -- files that the registry does not have ---------------------------------------------------------------------

    fn unrecorded(&self) -> Answer {
        match &self.feed.ledger {
            Some(entry) if entry.unloaded.is_some() => return self.unloaded(),
            Some(entry) if entry.progress.complete => return self.only_in_the_ledger(entry),
            _ => {}
        }
        if !self.feed.registry_known {
            return self.say("UNKNOWN", "it is a file of this feed by its name; whether it was found is not known");
        }
        let scan = || self.command(&format!("scan --feed {}", self.feed.feed.name));
        match (&self.facts.entry, self.feed.verdict) {
            (Some(None), _) => self
                .say("NOT_THERE", "no scan has seen it, and the source has nothing under this key")
                .step("when it is there", scan()),
            (None, _) | (_, None) => self.say("NEVER_LISTED", "no scan has seen it").step("to look for it", scan()),
            (Some(Some(entry)), Some(verdict)) => self.at_the_source(entry, verdict),
        }
    }

    fn at_the_source(&self, entry: &Entry, verdict: Verdict) -> Answer {
        let scan = || self.command(&format!("scan --feed {}", self.feed.feed.name));
        match verdict {
            Verdict::File => self
                .say("NOT_LISTED_YET", "it is at the source, and no scan has seen it yet")
                .step("the next scan finds it", scan()),
            Verdict::BehindLookBack => {
                let why = "its folder is further back than the look-back of a scan (scanner.lookback) reaches";
                let full = "a full listing (scanner.full_every) finds it";
                self.say("BEHIND_THE_LOOK_BACK", why).because(full).step("to find it now", self.backfill())
            }
            Verdict::Ignored(Ignored::OutsideWindow) => {
                let start = self.settings.start_from.map(time).unwrap_or_default();
                let why = format!("its folder is of a time before scanner.start_from, {start}");
                self.say("BEFORE_START_FROM", why).step("to load it all the same", self.backfill())
            }
            Verdict::Ignored(Ignored::Empty) => self
                .say("EMPTY", "it holds no byte: a marker, or a file whose writing has not begun")
                .step("when it holds something", scan()),
            Verdict::Ignored(Ignored::Unsettled) => {
                let why = format!(
                    "it was written at {}, and may not be whole yet (scanner.settle)",
                    self.ago(entry.modified)
                );
                self.say("NOT_SETTLED", why).step("when it has been left alone for that long", scan())
            }
            Verdict::Ignored(other) => self.say("IGNORED", other.reason()),
        }
    }

    /// Lists the file's hour or day, whatever the last scan has seen.
    fn backfill(&self) -> String {
        let feed = &self.feed.feed;
        let from = self.feed.place.unwrap_or_default();
        let [from, to] = [from, from + feed.layout.period()].map(|at| at.format("%Y-%m-%dT%H").to_string());
        self.command(&format!("scan --feed {} --from {from} --to {to}", feed.name))
    }

    fn only_in_the_ledger(&self, entry: &LedgerEntry) -> Answer {
        let at = entry.completed.map(|at| format!(" at {}", self.ago(at))).unwrap_or_default();
        let (rows, rejects) = (entry.progress.rows, entry.progress.rejects);
        let answer = self
            .say("LOADED", format!("it was loaded{at} by job {}, the ledger says", entry.job))
            .because(format!("{} and {}", human::counted(rows, "row"), human::counted(rejects, "reject")));
        let answer = self.where_its_rows_are(answer);
        if !self.feed.registry_known {
            return answer;
        }
        answer.because("the metadata database does not have it; scan and etl put it back, and load nothing twice")
    }
}
