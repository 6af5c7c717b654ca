//! The addresses of a node, which no other node has at the same time.
//!
//! They are from 198.18.0.0/15, which is set aside for tests between devices (RFC 2544): no network that the machine
//! is connected to uses it.

use std::env;
use std::fs::{self, File};
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};

const NODES: u8 = 64;

/// The addresses, reserved by a file lock, which ends with the process.
#[derive(Debug)]
pub(super) struct Network {
    number: u8,
    _lock: File,
}

impl Network {
    pub(super) fn reserve() -> Result<Self> {
        let locks = env::temp_dir().join("tipstream-nodes");
        fs::create_dir_all(&locks).with_context(|| format!("creating {}", locks.display()))?;
        for number in 0..NODES {
            let lock = File::create(locks.join(number.to_string())).context("opening a node's lock")?;
            if lock.try_lock().is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("{NODES} nodes run already");
    }

    /// A name that is this node's.
    pub(super) fn name(&self) -> String {
        format!("tips-e2e-{}", self.number)
    }

    /// Our end of the link.
    pub(super) fn link(&self) -> String {
        self.name()
    }

    /// Our address on the link: where the API server listens, and servers that pods are to reach.
    pub(super) fn host(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The node's address.
    pub(super) fn node(&self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// The pods' addresses.
    pub(super) fn pods(&self) -> String {
        format!("{}/24", self.address(1, 0))
    }

    /// The Services' addresses.
    pub(super) fn services(&self) -> String {
        format!("{}/24", self.address(2, 0))
    }

    /// The API server's Service, by convention the first.
    pub(super) fn api_server(&self) -> Ipv4Addr {
        self.address(2, 1)
    }

    /// The DNS server's Service.
    pub(super) fn dns(&self) -> Ipv4Addr {
        self.address(2, 10)
    }

    fn address(&self, net: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.number * 4 + net, host)
    }
}
