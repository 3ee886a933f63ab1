//! Many cases in one test.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// Cases at a time: they wait for commits more than they compute.
const AT_A_TIME: usize = 3;

/// Runs every case, some at a time, and names those that failed.
pub fn all_hold<T: Display + Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    assert!(!cases.is_empty(), "no case is left");
    let (next, failed) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(case) = next.lock().unwrap().next() else { break };
            let begun = Instant::now();
            let held = catch_unwind(AssertUnwindSafe(|| run(case))).is_ok();
            println!("{case}: {:?}, {}", begun.elapsed(), if held { "holds" } else { "FAILS" });
            if !held {
                failed.lock().unwrap().push(case.to_string());
            }
        }
    };
    std::thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}
