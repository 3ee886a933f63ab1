//! How fast each stage of a load is, and all of them together: `cargo bench --bench load`.
//!
//! ```text
//! read        bytes -> records -> text columns     (source)     one core: the guard and arrow-csv's decoder
//! clean       records -> typed rows, verdicts      (engine)     one core: `read`, then DataFusion's expressions
//! bind        typed rows -> cells, checksum        (warehouse)  one core: `cells` memory, `checksum` writing digits
//! end_to_end  files -> SQLite, scan and etl        (all)        the stages' CPU, and the disk at every commit
//!             files -> MariaDB, the same           (all)        the server's CPU, and its synced commits
//! ```
//!
//! One binary, because every further one would link DataFusion again. The records are those of `loadline demo`: made
//! by its generator from its fixed seed, about 51 bytes each. Every iteration checks how many records went through.
//!
//! On a machine that others use, compare figures of one run only, and as ratios.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench that can't go on should stop where it is")]

mod end_to_end;
mod input;
mod stages;

// The servers that the tests start.
#[path = "../../tests/it/read_back.rs"]
mod read_back;
#[path = "../../tests/it/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod servers;
#[path = "../../tests/it/skip.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod skip;

use criterion::{Criterion, criterion_group, criterion_main};

fn few_samples() -> Criterion {
    Criterion::default().sample_size(20)
}

criterion_group! {
    name = benches;
    config = few_samples();
    targets = stages::read, stages::clean, stages::bind, end_to_end::end_to_end
}
criterion_main!(benches);
