//! A command that something happens to on its way.

use std::process::Child;

use tempfile::TempDir;

use crate::e2e::project::{Project, Ran, eventually};

/// A running command with failpoints. Dropped, it is killed.
pub struct Attempt<'p> {
    project: &'p Project,
    arguments: Vec<&'static str>,
    failpoints: String,
    /// Where it says what it has reached, and is told to go on.
    folder: TempDir,
    child: Option<Child>,
}

impl<'p> Attempt<'p> {
    /// `failpoints`, such as `taken=stall,heartbeat=stall`: see `src/failpoint.rs`.
    pub fn start(project: &'p Project, arguments: &[&'static str], failpoints: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variables =
            [("LOADLINE_FAILPOINTS", failpoints), ("LOADLINE_FAILPOINT_DIR", folder.path().to_str().unwrap())];
        let child = Some(project.start_with(arguments, &variables));
        Self { project, arguments: arguments.to_vec(), failpoints: failpoints.to_owned(), folder, child }
    }

    /// Starts it and returns when it has reached the place.
    pub fn until(project: &'p Project, arguments: &[&'static str], failpoints: &str, point: &str) -> Self {
        let mut attempt = Self::start(project, arguments, failpoints);
        attempt.reaches(point);
        attempt
    }

    /// Waits until something has happened there.
    pub fn reaches(&mut self, point: &str) {
        eventually(&format!("{point} is reached, or the command ends"), || self.has_reached(point) || self.is_over());
        assert!(self.has_reached(point), "{point} was not reached: {}", self.over());
    }

    pub fn has_reached(&self, point: &str) -> bool {
        self.folder.path().join(format!("{point}.reached")).exists()
    }

    pub fn is_over(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Lets one place go on.
    pub fn release(&self, point: &str) {
        std::fs::write(self.folder.path().join(format!("{point}.go")), "").unwrap();
    }

    /// Waits for the end.
    pub fn over(&mut self) -> Ran {
        self.project.finish(&self.arguments, self.child.take().unwrap())
    }

    /// Lets every place go on, and waits for the end.
    pub fn go_on(mut self) -> Ran {
        let names = self.failpoints.split(',').filter_map(|part| part.split_once('='));
        names.for_each(|(name, _)| self.release(name));
        self.over()
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
