//! Which books disagree, over every state of the registry and of the ledger.

use chrono::{DateTime, Duration, Utc};

use super::compare::{self, AtSource, Registered, Rules, digest};
use super::kind::Kind;
use crate::job::{FileState, OnOverwrite};
use crate::warehouse::{AuditedFile, LedgerEntry, Progress};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn rules() -> Rules {
    Rules { now: now(), rejects_kept: None, on_overwrite: OnOverwrite::Quarantine }
}

fn registered(state: FileState, was_loaded: bool) -> Registered {
    let counts = was_loaded.then_some((3, 1));
    Registered {
        id: 1,
        job: Some(1),
        rows: counts.map(|(rows, _)| rows),
        rejects: counts.map(|(_, rejects)| rejects),
        version: digest("v1"),
        state,
        was_loaded,
    }
}

/// A complete file of three rows and a reject.
fn complete() -> AuditedFile {
    let progress =
        Progress { records_done: 4, rows: 3, rejects: 1, checksum: 7, complete: true, ..Progress::default() };
    AuditedFile {
        key: "a.csv".to_owned(),
        hour: now(),
        entry: LedgerEntry {
            file: 1,
            job: 1,
            version: "v1".to_owned(),
            table: "t".to_owned(),
            completed: Some(now()),
            unloaded: None,
            progress,
        },
        walking_back: false,
        rows: 3,
        surplus: 0,
        rejects: 1,
        checksum: Some(7),
    }
}

/// The first segment of it.
fn partly() -> AuditedFile {
    let mut file = complete();
    file.entry.progress =
        Progress { records_done: 2, rows: 1, rejects: 1, checksum: 5, complete: false, ..Progress::default() };
    (file.entry.completed, file.rows, file.checksum) = (None, 1, Some(5));
    file
}

fn nothing() -> AuditedFile {
    let mut file = complete();
    file.entry.progress = Progress::default();
    (file.entry.completed, file.rows, file.rejects, file.checksum) = (None, 0, 0, Some(0));
    file
}

fn unloaded() -> AuditedFile {
    let mut file = nothing();
    file.entry.unloaded = Some(now());
    file
}

#[test]
fn every_state_against_every_ledger() {
    use {FileState as State, Kind as K};
    const NONE: &[Kind] = &[];
    let ledgers = [None, Some(nothing()), Some(partly()), Some(complete()), Some(unloaded())];
    // State, whether it was loaded, whether its job is open; then what is found beside each ledger.
    let lost: [&[Kind]; 5] = [&[K::RowsLost], &[K::RowsLost], &[K::RowsLost], NONE, &[K::RowsLost]];
    let out: [&[Kind]; 5] = [NONE, NONE, &[K::StateDiffers], &[K::StateDiffers], NONE];
    let cases = [
        (Some((State::Loaded, true, false)), lost),
        (Some((State::Loaded, true, true)), lost),
        (Some((State::Quarantined, true, false)), lost),
        (Some((State::Found, false, false)), [NONE; 5]),
        (Some((State::InJob, false, true)), [NONE; 5]),
        (Some((State::Quarantined, false, true)), [NONE; 5]),
        (Some((State::InJob, false, false)), [&[K::StateDiffers]; 5]),
        (Some((State::Quarantined, false, false)), out),
        (Some((State::Failed, false, false)), out),
        (Some((State::Unloaded, false, false)), out),
        (None, [NONE, NONE, &[K::Unfinished], &[K::NotRegistered], &[K::NotRegistered]]),
    ];
    for (case, expected) in cases {
        let file = case.map(|(state, was_loaded, _)| registered(state, was_loaded));
        let is_open = case.is_some_and(|(.., is_open)| is_open);
        for (ledger, expected) in ledgers.iter().zip(expected) {
            let kinds = compare::books(file.as_ref(), is_open, ledger.as_ref(), &rules());
            assert_eq!(kinds, expected, "{case:?} beside {ledger:?}");
        }
    }
}

#[test]
fn loaded_files_are_compared_by_version_and_counts() {
    let found = |change: &dyn Fn(&mut Registered)| {
        let mut file = registered(FileState::Loaded, true);
        change(&mut file);
        compare::books(Some(&file), false, Some(&complete()), &rules())
    };
    assert_eq!(found(&|_| {}), []);
    assert_eq!(found(&|file| file.version = digest("v2")), [Kind::VersionDiffers]);
    assert_eq!(found(&|file| file.rows = Some(4)), [Kind::CountsDiffer]);
    assert_eq!(found(&|file| file.rejects = None), [Kind::CountsDiffer]);
    // The version in quarantine may be the new one.
    assert_eq!(found(&|file| (file.state, file.version) = (FileState::Quarantined, digest("v2"))), []);
}

#[test]
fn the_tables_are_compared_with_the_ledger() {
    let found = |mut file: AuditedFile, change: &dyn Fn(&mut AuditedFile)| {
        change(&mut file);
        compare::books(Some(&registered(FileState::Found, false)), false, Some(&file), &rules())
    };
    for file in [complete(), partly(), nothing()] {
        assert_eq!(found(file.clone(), &|_| {}), []);
        assert_eq!(found(file.clone(), &|file| file.rows += 1), [Kind::RowsDiffer]);
        assert_eq!(found(file.clone(), &|file| (file.rows, file.surplus) = (file.rows + 1, 1)), [Kind::RowsDoubled]);
        assert_eq!(found(file.clone(), &|file| file.rejects += 1), [Kind::RejectsDiffer]);
        assert_eq!(found(file, &|file| file.entry.progress.records_done += 1), [Kind::RecordsDiffer]);
    }
    // One missing and one doubled do not make up for each other.
    assert_eq!(found(complete(), &|file| file.surplus = 1), [Kind::RowsDiffer, Kind::RowsDoubled]);
    assert_eq!(found(complete(), &|file| file.checksum = Some(8)), [Kind::ChecksumDiffers]);
    assert_eq!(found(complete(), &|file| file.checksum = None), []);
    // On the way out the counts are those of before, and only what stands is compared.
    let walking = |file: &mut AuditedFile| {
        (file.entry.progress.complete, file.walking_back, file.entry.progress.records_done) = (false, true, 2);
        (file.rows, file.rejects) = (1, 1);
    };
    assert_eq!(found(complete(), &walking), []);
    assert_eq!(
        found(complete(), &|file| {
            walking(file);
            file.rows = 2;
        }),
        [Kind::RowsDiffer]
    );
}

#[test]
fn rejects_may_be_missing_once_they_are_old() {
    let found = |kept: Option<Duration>, rejects: u64| {
        let mut file = complete();
        file.rejects = rejects;
        file.entry.completed = Some(now() - Duration::days(2));
        let rules = Rules { rejects_kept: kept, ..rules() };
        compare::books(Some(&registered(FileState::Loaded, true)), false, Some(&file), &rules)
    };
    assert_eq!(found(Some(Duration::days(1)), 0), []);
    assert_eq!(found(Some(Duration::days(3)), 0), [Kind::RejectsDiffer]);
    assert_eq!(found(None, 0), [Kind::RejectsDiffer]);
    assert_eq!(found(Some(Duration::days(1)), 2), [Kind::RejectsDiffer], "too many are never old");
}

#[test]
fn an_unload_that_was_cut_short_is_said_where_the_registry_is_lost() {
    let mut file = partly();
    (file.entry.unloaded, file.walking_back) = (Some(now()), true);
    assert_eq!(compare::books(None, false, Some(&file), &rules()), [Kind::NotRegistered, Kind::StateDiffers]);
}

#[test]
fn the_source_is_compared_by_version() {
    let says = |state, was_loaded, listed: Option<&str>, on_overwrite| {
        let rules = Rules { on_overwrite, ..rules() };
        compare::source(&registered(state, was_loaded), listed.map(digest), &rules)
    };
    use {FileState as State, OnOverwrite as Policy};
    for state in FileState::ALL {
        let was_loaded = state == State::Loaded;
        assert_eq!(says(state, was_loaded, Some("v1"), Policy::Quarantine), AtSource::AsRegistered);
        let gone = match state {
            State::Found | State::InJob => AtSource::Wrong(Kind::Missing),
            _ => AtSource::Gone,
        };
        assert_eq!(says(state, was_loaded, None, Policy::Quarantine), gone, "{state:?}");
    }
    assert_eq!(says(State::Loaded, true, Some("v2"), Policy::Quarantine), AtSource::Wrong(Kind::Changed));
    assert_eq!(says(State::Loaded, true, Some("v2"), Policy::Reload), AtSource::Replaced);
    assert_eq!(says(State::Loaded, true, Some("v2"), Policy::Ignore), AtSource::Replaced);
    assert_eq!(says(State::Quarantined, true, Some("v2"), Policy::Quarantine), AtSource::Replaced);
    assert_eq!(says(State::Found, false, Some("v2"), Policy::Quarantine), AtSource::Replaced);
}

#[test]
fn kinds_have_names_of_their_own() {
    let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Kind::ALL.len());
}
