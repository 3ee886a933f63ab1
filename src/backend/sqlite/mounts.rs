//! Where a database file lies. SQLite's journal lives in memory that processes share: a file system that spans machines
//! can't hold that, and lets two of them write at once.

use std::path::{Path, PathBuf};

/// File systems behind which there may be another machine.
const NETWORK: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "fuse.glusterfs", "lustre", "fuse.sshfs"];

/// What to do about a database file on a network file system; `None` where it lies on none, or where that can't be told.
pub(super) fn obstacle(path: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let folder = existing_folder(path)?;
    let kind = network_kind(&mounts, &folder)?;
    Some(format!(
        "the SQLite database {} lies on a network file system ({kind}), where its locks can't be relied on: put it on a \
         disk of this machine",
        path.display()
    ))
}

/// The nearest folder above the file that is there, without links.
fn existing_folder(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok())
}

/// The file system's name, where the folder lies on one of [`NETWORK`]. `mounts`: lines of device, mount point, type.
fn network_kind<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // A space in a mount point is written in octal.
        let point = PathBuf::from(fields.next()?.replace("\\040", " "));
        folder.starts_with(&point).then_some((point.components().count(), fields.next()?))
    });
    // Of two on the same place, the later one hides the earlier.
    let (_, kind) = mounted.max_by_key(|(depth, _)| *depth)?;
    NETWORK.contains(&kind).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local\\040disk xfs rw 0 0
";

    #[test]
    fn the_deepest_mount_counts() {
        for (folder, kind) in [
            ("/srv/loads", None),
            ("/home/ada", Some("nfs4")),
            ("/home", Some("nfs4")),
            ("/homes", None),
            ("/home/local disk/loads", None),
        ] {
            assert_eq!(network_kind(MOUNTS, Path::new(folder)), kind, "{folder}");
        }
        assert_eq!(network_kind("", Path::new("/srv")), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_will_be_where_its_parent_is() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().canonicalize().unwrap();
        assert_eq!(existing_folder(&folder.path().join("not/yet/m.db")), Some(parent));
    }
}
