//! The picture on one screen of 100 columns, for people.

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};

use super::picture::{self, FeedPicture, Picture, Quarantined};
use crate::cli::output::{Format, Table, Value, clipped, shortened};
use crate::cli::{GlobalArgs, human, shell};
use crate::job::{Job, JobStatus};

const WIDTH: usize = 100;
/// How many of a kind are told one by one.
const ITEMS: usize = 5;
const NAME: usize = 24;

pub fn render(picture: &Picture, global: &GlobalArgs) -> String {
    let mut page = Page { picture, global, text: String::new() };
    page.feeds();
    page.totals();
    page.at_work();
    page.stale();
    page.failed();
    page.quarantined();
    page.reporting();
    page.text
}

struct Page<'a> {
    picture: &'a Picture,
    global: &'a GlobalArgs,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn feeds(&mut self) {
        let now = self.picture.now;
        let mut table = Table::new(["feed", "scanned", "waiting", "bytes", "oldest hour", "behind", "fresh"]);
        table.rows.extend(self.picture.feeds.iter().map(|feed| feed_row(feed, now)));
        if self.picture.feeds.len() > 1 {
            let (files, bytes, oldest) = self.picture.backlog();
            let (scanned, oldest) = (ago(self.picture.last_scan(), now), hour(oldest));
            table.rows.push(vec!["all".into(), scanned, count(files), size(bytes), oldest, "".into(), "".into()]);
        }
        let mut out = Vec::new();
        // Nor does writing to a Vec.
        let _ = table.print(Format::Table, &mut out);
        self.text.push_str(&String::from_utf8_lossy(&out));
    }

    fn totals(&mut self) {
        let jobs = |status| human::count(self.picture.jobs(status));
        let (waiting, held) = (jobs(JobStatus::SentForEtl), jobs(JobStatus::Processing));
        let (loaded, failed) = (jobs(JobStatus::Loaded), jobs(JobStatus::Failed));
        let now = self.picture.now.format("%Y-%m-%d %H:%M:%S");
        self.line(&format!("at {now} UTC; jobs: {waiting} waiting, {held} at work, {loaded} loaded, {failed} FAILED"));
        let kept = |kept: Option<Duration>| kept.map_or_else(|| "for ever".to_owned(), human::age);
        let retention = &self.picture.retention;
        let (rejects, jobs) = (kept(retention.rejects), kept(retention.jobs));
        self.line(&format!("kept: rejects {rejects}, LOADED jobs {jobs}, file records for ever"));
    }

    fn at_work(&mut self) {
        let jobs = &self.picture.at_work;
        if jobs.is_empty() {
            return;
        }
        self.line("\nAt work:");
        // What is stuck comes first.
        let mut jobs: Vec<&Job> = jobs.iter().collect();
        jobs.sort_by_key(|job| (!picture::has_expired(job, self.picture.now), job.id));
        for job in jobs.iter().take(ITEMS) {
            self.job_at_work(job);
        }
        self.more(jobs.len(), "jobs --status PROCESSING");
    }

    fn job_at_work(&mut self, job: &Job) {
        let now = self.picture.now;
        let since = job.started_time.map(|at| format!(", since {}", human::age(now - at))).unwrap_or_default();
        let files = human::counted(picture::file_count(job), "file");
        let size = human::size(job.total_size_in_bytes);
        let (id, feed, attempt) = (job.id, shortened(&job.feed, NAME), job.attempts);
        self.line(&format!("  job {id} ({feed}): {files}, {size}, attempt {attempt}{since}"));
        let owner = clipped(job.lease_owner.as_deref().unwrap_or("nobody"), WIDTH - 12);
        self.line(&format!("    by {owner}"));
        if let Some(until) = job.lease_until.filter(|until| *until < now) {
            let (ago, etl) = (human::age(now - until), shell::command(self.global, "etl"));
            self.line(&format!("    its lease ended {ago} ago, its worker is dead or cut off; taken over by: {etl}"));
        }
        if job.expiries > 0 {
            self.line(&format!("    {} died on it so far", human::counted(job.expiries.into(), "worker")));
        }
    }

    fn stale(&mut self) {
        let now = self.picture.now;
        let stale: Vec<(String, String, Duration)> = self
            .picture
            .feeds
            .iter()
            .filter_map(|feed| Some((feed.overview.feed.clone(), feed.staleness(now)?, feed.fresh_within?)))
            .collect();
        if stale.is_empty() {
            return;
        }
        self.line("\nStale:");
        for (feed, why, within) in stale.iter().take(ITEMS) {
            self.line(&format!("  {}: {why}; fresh_within is {}", shortened(feed, NAME), human::age(*within)));
        }
        self.more(stale.len(), "status -o json");
        let (scan, etl) = (shell::command(self.global, "-v scan"), shell::command(self.global, "etl"));
        self.line(&format!("  to see whether files arrive:\n    {scan}\n  and to load them:\n    {etl}"));
    }

    fn failed(&mut self) {
        let failed = &self.picture.failed;
        if failed.is_empty() {
            return;
        }
        self.line("\nFailed, the last one first; repair the file or the schema file, then retry and `etl`:");
        for job in failed.iter().take(ITEMS) {
            let ago = job.finished_time.map(|at| format!(", {} ago", human::age(self.picture.now - at)));
            let head = format!("  job {} ({}{})", job.id, shortened(&job.feed, NAME), ago.unwrap_or_default());
            self.line(&format!("{head}: {}", clipped(picture::cause(job), WIDTH.saturating_sub(head.len() + 2))));
            self.line(&format!("    {}", picture::retry(job, self.global)));
        }
        self.more(failed.len(), "jobs --status FAILED");
    }

    fn quarantined(&mut self) {
        let (loaded, never): (Vec<&Quarantined>, Vec<&Quarantined>) =
            self.picture.quarantined.iter().partition(|file| file.was_loaded());
        self.quarantine("\nQuarantined, changed before they were loaded; not in the table:", &never);
        self.quarantine("\nQuarantined, changed after they were loaded; the old rows stay:", &loaded);
    }

    fn quarantine(&mut self, heading: &str, files: &[&Quarantined]) {
        if files.is_empty() {
            return;
        }
        self.line(heading);
        for quarantined in files.iter().take(ITEMS) {
            let key = shortened(&quarantined.file.key, WIDTH - 4 - NAME - 2);
            self.line(&format!("  {}: {key}", shortened(&quarantined.file.feed, NAME)));
            self.line(&format!("    {}", quarantined.next_step(self.global)));
        }
        self.more(files.len(), "status -o json");
    }

    fn reporting(&mut self) {
        if let Some(error) = &self.picture.reporting_error {
            let error = clipped(error, WIDTH);
            self.line(&format!("\nThe reporting database can't be used, so nothing can be loaded:\n{error}"));
        }
    }

    fn more(&mut self, all: usize, command: &str) {
        if all > ITEMS {
            let more = human::count((all - ITEMS) as u64);
            self.line(&format!("  and {more} more: {}", shell::command(self.global, command)));
        }
    }
}

fn feed_row(feed: &FeedPicture, now: DateTime<Utc>) -> Vec<Value> {
    let overview = &feed.overview;
    let fresh = match (feed.fresh_within, feed.staleness(now)) {
        (None, _) => "",
        (Some(_), None) => "yes",
        (Some(_), Some(_)) => "STALE",
    };
    vec![
        shortened(&overview.feed, NAME).into(),
        ago(overview.last_scan, now),
        count(overview.backlog_files),
        size(overview.backlog_bytes),
        hour(overview.oldest_unloaded_hour),
        feed.lag(now).map_or_else(|| "never".to_owned(), human::age).into(),
        fresh.into(),
    ]
}

fn ago(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Value {
    // A clock that is ahead has just scanned.
    at.map_or_else(|| "never".to_owned(), |at| human::age((now - at).max(Duration::zero()))).into()
}

fn count(files: u64) -> Value {
    human::count(files).into()
}

fn size(bytes: u64) -> Value {
    if bytes == 0 { "".into() } else { human::size(bytes).into() }
}

fn hour(hour: Option<DateTime<Utc>>) -> Value {
    hour.map(|hour| hour.format("%Y-%m-%dT%H").to_string()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;
    use crate::cli::fakes::{at, file, job};
    use crate::config::RetentionConfig;
    use crate::job::{FeedOverview, FileState};

    fn global() -> GlobalArgs {
        Cli::try_parse_from(["loadline", "status"]).unwrap().global
    }

    fn feed(name: &str, behind: i64, fresh_within: Option<i64>) -> FeedPicture {
        let overview = FeedOverview {
            feed: name.to_owned(),
            last_scan: Some(at() - Duration::minutes(3)),
            newest_loaded_hour: Some(at() - Duration::hours(behind + 1)),
            ..Default::default()
        };
        FeedPicture { overview, fresh_within: fresh_within.map(Duration::hours), period: Duration::hours(1) }
    }

    fn calm(feeds: Vec<FeedPicture>) -> Picture {
        Picture {
            now: at(),
            feeds,
            failed: Vec::new(),
            quarantined: Vec::new(),
            at_work: Vec::new(),
            retention: RetentionConfig::default(),
            reporting_error: None,
        }
    }

    fn quarantined(key: &str, loaded: bool, in_failed_job: bool, job: Option<i64>) -> Quarantined {
        let mut file = file(7, key, FileState::Quarantined, Some("changed"));
        file.job_id = job;
        file.loaded_time = loaded.then(at);
        Quarantined { uri: format!("file:///in/{key}"), file, in_failed_job }
    }

    /// Everything at once, as large and as long as it gets.
    fn the_worst() -> Picture {
        let long = |i: usize| format!("feed_{i}_{}", "with_a_very_long_name".repeat(3));
        let mut picture = calm((0..30).map(|i| feed(&long(i), 1 + 1000 * i as i64, Some(3))).collect());
        for feed in &mut picture.feeds {
            feed.overview.backlog_files = 9_999_999;
            feed.overview.backlog_bytes = 1023 << 40;
            feed.overview.oldest_unloaded_hour = Some(at());
            feed.overview.jobs = vec![(JobStatus::Loaded, 1_000_000), (JobStatus::Failed, 1_000)];
        }
        for id in 0..20 {
            let reason = format!("2026/01/01/00/{}.csv: \u{1b}[31munterminated quote\nnext line", "x".repeat(200));
            let mut failed = job(1_000_000 + id, JobStatus::Failed, Some(&reason));
            failed.feed = long(1);
            picture.failed.push(failed);
            let mut held = job(id, JobStatus::Processing, None);
            held.feed = long(2);
            held.lease_owner = Some(format!("{}:123:0", "host.".repeat(40)));
            held.lease_until = Some(at() - Duration::seconds(90) + Duration::minutes(id));
            held.expiries = 2;
            picture.at_work.push(held);
            picture.quarantined.push(quarantined(
                &format!("2026/{}.csv", "y".repeat(150)),
                id % 2 == 0,
                true,
                Some(id),
            ));
        }
        picture.reporting_error = Some("z".repeat(300));
        picture
    }

    #[test]
    fn the_worst_fits_100_columns_but_for_uris() {
        let text = render(&the_worst(), &global());
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        // A command is there to be pasted, and is never cut.
        assert!(wide.iter().all(|line| line.contains("loadline explain ")), "{wide:#?}");
        assert!(!text.contains('\u{1b}') && !text.contains("next line"), "{text}");
        for said in
            ["job 1000000 (feed_1_with_…", "and 15 more: loadline jobs --status FAILED", "its lease ended 1 min ago"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn a_calm_screen_is_short() {
        let text = render(&calm(vec![feed("loans", 1, Some(3))]), &global());
        let expected = "\
┌───────┬─────────┬─────────┬───────┬─────────────┬────────┬───────┐
│ feed  ┆ scanned ┆ waiting ┆ bytes ┆ oldest hour ┆ behind ┆ fresh │
╞═══════╪═════════╪═════════╪═══════╪═════════════╪════════╪═══════╡
│ loans ┆ 3 min   ┆ 0       ┆       ┆             ┆ 1 h    ┆ yes   │
└───────┴─────────┴─────────┴───────┴─────────────┴────────┴───────┘
at 2026-01-01 00:00:00 UTC; jobs: 0 waiting, 0 at work, 0 loaded, 0 FAILED
kept: rejects for ever, LOADED jobs for ever, file records for ever
";
        assert_eq!(text, expected);
        assert!(!calm(vec![feed("loans", 1, Some(3))]).needs_a_person());
    }

    #[test]
    fn stale_is_behind_or_waiting_for_too_long_or_never_loaded() {
        let mut waiting = feed("loans", 1, Some(3));
        waiting.overview.oldest_found = Some(at() - Duration::minutes(181));
        let mut never = feed("loans", 1, Some(3));
        never.overview.newest_loaded_hour = None;
        for (feed, why) in [
            (feed("loans", 3, Some(3)), None),
            (feed("loans", 4, Some(3)), Some("its newest loaded hour ended 4 h ago")),
            (feed("loans", 4000, None), None),
            (waiting, Some("a file has waited for 3 h")),
            (never, Some("nothing of it is loaded")),
        ] {
            assert_eq!(feed.staleness(at()).as_deref(), why);
            assert_eq!(calm(vec![feed]).needs_a_person(), why.is_some());
        }
    }

    #[test]
    fn every_quarantined_file_has_a_way_on() {
        for (file, command, person) in [
            (quarantined("a", false, true, Some(4)), "loadline retry 4", true),
            (quarantined("a", false, false, Some(4)), "loadline etl", true),
            (quarantined("a", false, false, None), "loadline retry --quarantined", true),
            (quarantined("a", true, true, Some(4)), "loadline explain file:///in/a", false),
        ] {
            assert_eq!(file.next_step(&global()), command);
            let picture = Picture { quarantined: vec![file], ..calm(vec![feed("loans", 1, None)]) };
            assert_eq!(picture.needs_a_person(), person, "{command}");
            let json = picture.json(&global());
            assert_eq!(
                (&json["quarantined"][0]["next_step"], &json["needs_a_person"]),
                (&command.into(), &person.into())
            );
        }
    }
}
