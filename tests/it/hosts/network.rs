//! Hosts of their own on one machine: two network namespaces, each with an address and a cable of its own, on a bridge
//! that has an address too, for the servers.
//!
//! Invariant: whatever was made here is gone when the value is dropped, also where only a part of it could be made.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

/// Which of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    A,
    B,
}

pub struct Network {
    /// The name of the bridge; all other names begin with it.
    name: String,
    subnet: [u8; 3],
}

impl Network {
    /// The network, or why it can't be made here.
    pub fn lay() -> Result<Self, String> {
        let drawn = rand::random::<u32>().to_be_bytes();
        let name = format!("ll{:02x}{:02x}{:02x}{:02x}", drawn[0], drawn[1], drawn[2], drawn[3]);
        let network = Self { name, subnet: [10, 200 + drawn[2] % 50, drawn[3]] };
        let bridge = &network.name;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", network.servers()))?;
        ip(&format!("link set {bridge} up"))?;
        for host in [Host::A, Host::B] {
            let (namespace, cable) = (network.namespace(host), network.cable(host));
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {cable} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", network.address(host)))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
        }
        Ok(network)
    }

    /// What the names of all its parts begin with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where servers listen for both hosts.
    pub fn servers(&self) -> IpAddr {
        self.at(1)
    }

    pub fn address(&self, host: Host) -> IpAddr {
        self.at(2 + host as u8)
    }

    fn at(&self, number: u8) -> IpAddr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, number).into()
    }

    /// What stands before a command that is to run on the host.
    pub fn on(&self, host: Host) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(host)].map(str::to_owned).to_vec()
    }

    /// Nothing comes through to the host or from it, and neither side is told.
    pub fn unplug(&self, host: Host) {
        ip(&format!("link set {} down", self.cable(host))).unwrap();
    }

    pub fn plug_in(&self, host: Host) {
        ip(&format!("link set {} up", self.cable(host))).unwrap();
    }

    fn namespace(&self, host: Host) -> String {
        format!("{}{host:?}", self.name)
    }

    /// The name of its other end, on the bridge.
    fn cable(&self, host: Host) -> String {
        format!("{}{host:?}", self.name)
    }
}

impl Drop for Network {
    /// Where it was not made as a whole, some of it is not there.
    fn drop(&mut self) {
        for host in [Host::A, Host::B] {
            let _ = ip(&format!("link del {}", self.cable(host)));
            let _ = ip(&format!("netns del {}", self.namespace(host)));
        }
        let _ = ip(&format!("link del {}", self.name));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let ran = Command::new("ip").args(arguments.split(' ')).output();
    let ran = ran.map_err(|error| format!("ip {arguments}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
}
