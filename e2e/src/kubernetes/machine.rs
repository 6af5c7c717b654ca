//! The machine that a node believes to have for itself: namespaces of its own for processes, mounts and the network.
//!
//! When their first process ends, the kernel ends all others, pods too, and with them go the mounts, the links and
//! the rules. So nothing of a node outlives its test, whichever way that ends, and two nodes do not meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::network::Network;
use crate::process::run;
use crate::{Process, cache};

const READY: Duration = Duration::from_secs(30);

/// What the first process does: it prepares the mounts, says so, and stays, reaping what others leave.
const INIT: &str = r#"
set -eu
for dir in containerd kubelet cni; do
    mkdir -p "$1/$dir" "/var/lib/$dir"
    mount --bind "$1/$dir" "/var/lib/$dir"
done
mkdir -p "$1/log"
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs /run
# These are the whole machine's. The kubelet leaves alone what is as it wants it.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    copy=/run/sysctl/${setting%=*}
    mkdir -p "${copy%/*}"
    echo "${setting#*=}" >"$copy"
    mount --bind "$copy" "/proc/sys/${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
touch "$1/ready"
sleep infinity &
wait
"#;

/// Running namespaces.
#[derive(Debug)]
pub(super) struct Machine {
    holder: Process,
    init: u32,
}

impl Machine {
    /// Whether who runs this may make namespaces.
    pub(super) fn is_possible() -> Result<bool> {
        let mut command = Command::new(cache::program("unshare")?);
        command.args(["--net", "--mount", "--pid", "--fork", "true"]);
        Ok(command.output().context("starting unshare")?.status.success())
    }

    /// Makes the namespaces; what the node would keep below `/var` is in `dir`.
    pub(super) fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new(cache::program("unshare")?);
        command
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", INIT, "init"])
            .arg(dir);
        let mut holder = Process::start("the node's namespaces", command, &dir.join("init.log"))?;
        let ready = dir.join("ready");
        holder.until("prepared its mounts", READY, || ready.exists())?;
        let init = only_child(holder.pid())?;
        Ok(Self { holder, init })
    }

    /// The program, to be run inside.
    pub(super) fn command(&self, program: PathBuf) -> Result<Command> {
        let mut command = Command::new(cache::program("env")?);
        // nsenter waits for the program, and is not to die before it of a signal that goes to both. The program, as
        // long as it handles the signal, does not notice.
        command
            .arg("--ignore-signal=TERM")
            .arg(cache::program("nsenter")?)
            .args(["--target", &self.init.to_string(), "--net", "--mount", "--pid", "--"])
            .arg(program);
        Ok(command)
    }

    /// Links the machine with ours, so that each reaches the other, and we its pods and Services.
    pub(super) fn connect(&self, network: &Network) -> Result<()> {
        let ip = cache::program("ip")?;
        let ours = |arguments: &str| run(Command::new(&ip).args(arguments.split(' '))).map(drop);
        let theirs = |arguments: &str| run(self.command(ip.clone())?.args(arguments.split(' '))).map(drop);
        let (link, host, node) = (network.link(), network.host(), network.node());
        ours(&format!("link add {link} type veth peer name eth0 netns {}", self.init))?;
        ours(&format!("address add {host}/24 dev {link}"))?;
        ours(&format!("link set {link} up"))?;
        theirs(&format!("address add {node}/24 dev eth0"))?;
        theirs("link set eth0 up")?;
        theirs(&format!("route add default via {host}"))?;
        for inside in [network.pods(), network.services()] {
            ours(&format!("route add {inside} via {node}"))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let init = PathBuf::from(format!("/proc/{}", self.init));
        self.holder.kill9()?;
        // It is gone when all are.
        let deadline = Instant::now() + READY;
        while init.exists() {
            if Instant::now() >= deadline {
                bail!("processes of the node live on: {} is there", init.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "a drop has nobody else to tell")]
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

fn only_child(pid: u32) -> Result<u32> {
    let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
    let text = fs::read_to_string(&children).with_context(|| format!("reading {}", children.display()))?;
    text.trim().parse().with_context(|| format!("{} says {text:?}", children.display()))
}
