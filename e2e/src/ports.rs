//! Free ports of this machine's addresses that no other test takes.
//!
//! Binding port 0 and closing it again is not enough: the kernel may give the number to an outgoing connection or
//! to another test before the server binds it, and a server that is restarted needs its old number back. So the
//! numbers are from below the ephemeral range, and each is reserved by a file lock, which ends with the process.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Below Linux's ephemeral ports (32768…) and Kubernetes' NodePorts (30000…32767).
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port of an address that is ours while this lives.
#[derive(Debug)]
pub struct Port {
    host: Ipv4Addr,
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port of 127.0.0.1 that nobody listens on.
    pub fn reserve() -> Result<Self> {
        Self::reserve_at(Ipv4Addr::LOCALHOST)
    }

    /// The same of another address, such as that which the pods of a [`Node`](crate::kubernetes::Node) reach.
    pub fn reserve_at(host: Ipv4Addr) -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let locks = env::temp_dir().join("tipstream-ports");
        fs::create_dir_all(&locks).with_context(|| format!("creating {}", locks.display()))?;
        // Test processes that run side by side start looking at different places.
        let first = (process::id() % 200) as u16 * 50;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (first + step) % COUNT;
            let lock = File::create(locks.join(number.to_string())).context("opening a port's lock")?;
            if lock.try_lock().is_ok() && is_free(host, number) {
                return Ok(Self { host, number, _lock: lock });
            }
        }
        bail!("no free port in {FIRST}..{}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address that it is a port of.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// `<host>:<number>`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.number)
    }
}

fn is_free(host: Ipv4Addr, number: u16) -> bool {
    let bound: io::Result<_> = TcpListener::bind((host, number));
    bound.is_ok()
}
