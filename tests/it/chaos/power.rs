//! The oracle and the attack are worth something: what is wrong is found, by tampering and in a loader that forgets.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::attack::{Plan, attack};
use super::oracle::{Verdict, judge};
use super::{drain, faults, prepare, seed, sqlite};
use crate::e2e::project::Db;
use crate::skip;

const LEASE: f64 = 3.0;
/// A loader that forgets is caught within seconds; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_loader_that_forgets_is_caught() {
    let forgets = vec![("LOADLINE_FAILPOINTS".to_owned(), "ledger.forgets=on".to_owned())];
    let (site, mut world, _disk) = sqlite(forgets, LEASE, false);
    prepare(&site);
    let plan = Plan {
        seed: seed(),
        time: PATIENCE,
        workers: 2,
        lease: LEASE,
        reloads: false,
        weights: &faults::KILLS,
        pause: 0.4,
        backlog: 30,
        ends_when_doubled: true,
    };
    let outcome = attack(&plan, &site, &mut world, None, None);
    let verdict = judge(&site, &world);
    skip::say(&format!(
        "a loader that forgets: {} kills in {:.1} s, {} rows doubled",
        outcome.faults.of("kill -9 of a worker"),
        outcome.seconds,
        verdict.doubled
    ));
    assert!(verdict.doubled > 0, "it was not caught: {verdict:?}");
}

/// Whether the violation was seen as what it is.
type IsFound = fn(&Verdict) -> bool;

fn assert_finds(what: &str, verdict: &Verdict, is_found: IsFound) {
    assert!(!verdict.is_clean() && is_found(verdict), "{what}: {verdict:?}");
    assert!(!verdict.named.is_empty(), "{what}: nothing is named");
}

#[test]
fn the_oracle_sees_one_row_that_is_not_where_it_belongs() {
    let (site, mut world, _disk) = sqlite(vec![], LEASE, false);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    prepare(&site);
    while world.files.iter().all(|file| file.versions[0].bad.is_empty()) || world.files.len() < 12 {
        world.add(&mut random);
    }
    assert_eq!(drain::drain(&site), Vec::<String>::new());
    let clean = judge(&site, &world);
    assert!(clean.is_clean(), "{clean:?}");

    let row = "SELECT min(id) FROM events";
    let tampered: [(&str, &str, &str, IsFound); 7] = [
        (
            "a row is gone",
            "CREATE TABLE kept AS SELECT * FROM events WHERE id = (ID); DELETE FROM events WHERE id = (ID)",
            "INSERT INTO events SELECT * FROM kept; DROP TABLE kept",
            |verdict| verdict.lost == 1 && verdict.partial == 1,
        ),
        (
            "a row is there twice",
            "INSERT INTO events (_file, _record, id, amount, note) \
             SELECT _file, _record + 100000, id, amount, note FROM events WHERE id = (ID)",
            "DELETE FROM events WHERE _record > 100000",
            |verdict| verdict.doubled == 1,
        ),
        (
            "a reject is gone",
            "CREATE TABLE kept AS SELECT * FROM loadline_rejects LIMIT 1; \
             DELETE FROM loadline_rejects WHERE (file, record) IN (SELECT file, record FROM kept)",
            "INSERT INTO loadline_rejects SELECT * FROM kept; DROP TABLE kept",
            |verdict| verdict.rejects_lost == 1,
        ),
        (
            "a row of no file",
            "INSERT INTO events (_file, _record, id, amount, note) \
             SELECT 999999, _record, id, amount, note FROM events WHERE id = (ID)",
            "DELETE FROM events WHERE _file = 999999",
            |verdict| verdict.foreign == 1,
        ),
        (
            "the ledger counts another row",
            "UPDATE loadline_files SET `rows` = `rows` + 1 WHERE file = 1",
            "UPDATE loadline_files SET `rows` = `rows` - 1 WHERE file = 1",
            |verdict| verdict.wrong == 1,
        ),
        (
            "a file is not complete",
            "UPDATE loadline_files SET complete = 0 WHERE file = 1",
            "UPDATE loadline_files SET complete = 1 WHERE file = 1",
            |verdict| verdict.partial == 1,
        ),
        (
            "a value is another",
            "UPDATE events SET amount = amount + 1 WHERE id = (ID)",
            "UPDATE events SET amount = amount - 1 WHERE id = (ID)",
            |verdict| verdict.wrong == 1,
        ),
    ];
    for (what, tamper, mend, is_found) in tampered {
        site.execute(Db::Reporting, &tamper.replace("ID", row));
        assert_finds(what, &judge(&site, &world), is_found);
        site.execute(Db::Reporting, &mend.replace("ID", row));
        let mended = judge(&site, &world);
        assert!(mended.is_clean(), "{what}, mended: {mended:?}");
    }
    site.execute(Db::Metadata, "UPDATE scanner_jobs SET status = 'PROCESSING' WHERE id = 1");
    assert_finds("a job at work", &judge(&site, &world), |verdict| verdict.wrong == 1);
    site.execute(Db::Metadata, "UPDATE scanner_jobs SET status = 'LOADED' WHERE id = 1");

    // Overwritten, and the scanner did not see it.
    while !world.overwrite(&mut random) {}
    assert_finds("an old version that is not in quarantine", &judge(&site, &world), |verdict| verdict.wrong >= 1);
}
