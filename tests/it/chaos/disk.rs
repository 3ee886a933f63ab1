//! A small disk of memory under the SQLite files, or under the data of the reporting server, that can be made full.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Unmounted with the value.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Of so many MiB; `None` where nothing may be mounted.
    pub fn mount(folder: &Path, size: u64) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "loadline-chaos"]).arg(folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self { folder: folder.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Not a byte more goes on it, until [`Disk::free`].
    pub fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for chunk in [vec![0; 1024 * 1024], vec![0; 4096]] {
            while file.write_all(&chunk).is_ok() {}
        }
    }

    pub fn free(&self) {
        if self.ballast().exists() {
            fs::remove_file(self.ballast()).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Somebody may still hold a file on it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
