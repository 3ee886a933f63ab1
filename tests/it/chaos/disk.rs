//! A small disk of memory under the SQLite files, that can be made full.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIZE: &str = "size=256m";

/// Unmounted with the value.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// `None` where nothing may be mounted.
    pub fn mount(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "loadline-chaos"]).arg(folder).stderr(Stdio::null());
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
