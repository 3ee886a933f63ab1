//! Who holds a lease, in words a person understands and a neighbour can check.
//!
//! A worker that was killed leaves its lease behind for up to a minute. Another worker on the same host can see at once
//! that the process is gone and need not wait. A wrong guess costs work only: the ledger's epoch decides who commits.

use std::path::Path;

/// `host/pid-start@namespace-boot/worker`: the start time tells a process from a later one with the same number, the
/// process-id namespace tells containers with one host name apart, and the boot id machines: outside containers all have
/// the same namespace, and cloned ones the same name. Without `/proc`, only `host/pid/worker`.
pub fn owner(worker: usize) -> String {
    let pid = std::process::id();
    match (start_time(pid), namespace()) {
        (Some(start), Some(namespace)) => format!("{}/{pid}-{start}@{namespace}/{worker}", host_name()),
        _ => format!("{}/{pid}/{worker}", host_name()),
    }
}

/// True only where the owner was a process of this host and namespace that is no more.
pub fn is_dead(owner: &str) -> bool {
    let mut parts = owner.split('/');
    let (Some(host), Some(process)) = (parts.next(), parts.next()) else { return false };
    let Some((process, owners_namespace)) = process.split_once('@') else { return false };
    let Some((pid, start)) = process.split_once('-') else { return false };
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let here = host == host_name() && namespace().as_deref() == Some(owners_namespace);
    here && shows_others() && start_time(pid).as_deref() != Some(start)
}

/// Field 22 of `/proc/PID/stat`, in clock ticks since boot; see proc(5). The name in field 2 may hold anything.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace();
    // A zombie has died, though its parent has not noticed yet.
    let is_zombie = fields.next()? == "Z";
    fields.nth(18).filter(|_| !is_zombie).map(str::to_owned)
}

/// Whether `/proc` shows the processes of other users: mounted with `hidepid`, it hides them as if they were gone, and
/// with them the first process.
fn shows_others() -> bool {
    start_time(1).is_some()
}

/// Number of the process-id namespace, and the beginning of the machine's boot id.
fn namespace() -> Option<String> {
    let link = std::fs::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot: String = boot.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    (!digits.is_empty() && !boot.is_empty()).then(|| format!("{digits}-{boot}"))
}

fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    named.map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_host_that_is_gone_counts_as_dead() {
        let me = owner(1);
        assert!(!is_dead(&me), "{me}");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let namespace = namespace().unwrap();
        assert!(is_dead(&format!("{}/{pid}-1@{namespace}/1", host_name())));
        assert!(!is_dead(&format!("elsewhere/{pid}-1@{namespace}/1")));
        assert!(!is_dead(&format!("{}/{pid}-1@1/1", host_name())));
        // A clone of this machine: the same name, and the one namespace of all that is outside containers.
        let (number, _) = namespace.split_once('-').unwrap();
        assert!(!is_dead(&format!("{}/{pid}-1@{number}/1", host_name())));
        assert!(!is_dead(&format!("{}/{pid}-1@{number}-0123456789ab/1", host_name())));
        assert!(!is_dead("somebody"));
    }
}
