//! One operator reconciles, the others stand by: a Lease of coordination.k8s.io (O6).
//!
//! The rules are client-go's. Time is measured by one's own clock since the Lease was last seen to change, so the
//! clocks of two machines need not agree. Every write names the version that it was decided on, so of two that want
//! it one gets it. A leader that cannot renew in time stops before another may begin. (Of the crates for this,
//! `kube-lease-manager` writes without a version and does not notice that it cannot renew, `kubert` and
//! `kube-leader-election` are built on older kube.)

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A standby may take a Lease over that has not changed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// A leader that has not renewed for so long is none any more.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews.
const RENEW_INTERVAL: Duration = Duration::from_secs(4);
/// How often a standby looks, and anybody tries again.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long an answer is waited for where no deadline is nearer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Somebody who wants to lead.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    /// The Lease as last seen, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
}

/// How leading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the token that was given.
    Stopped,
    /// The Lease could not be renewed, or is somebody else's: another may lead by now.
    Lost,
}

impl Candidate {
    /// Who wants the Lease `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Candidate {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
        }
    }

    /// Waits until this one leads.
    pub async fn acquire(&mut self) {
        loop {
            match timeout(REQUEST_TIMEOUT, self.try_acquire()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "cannot ask for the Lease"),
                Err(_) => tracing::warn!(lease = self.name, "asked for the Lease and got no answer"),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Renews until `stop` or until another may lead.
    pub async fn hold(&mut self, stop: &CancellationToken) -> Ended {
        let mut renewed = Instant::now();
        let mut pause = RENEW_INTERVAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ended::Stopped,
                () = sleep(pause) => {}
            }
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            let started = Instant::now();
            match timeout(left, self.try_acquire()).await {
                Ok(Ok(true)) => {
                    renewed = started;
                    pause = RENEW_INTERVAL;
                    continue;
                }
                Ok(Ok(false)) => return Ended::Lost,
                Ok(Err(error)) => tracing::warn!(%error, lease = self.name, "cannot renew the Lease"),
                Err(_) => return Ended::Lost,
            }
            pause = RETRY_INTERVAL.min(RENEW_DEADLINE.saturating_sub(renewed.elapsed()));
        }
    }

    /// Gives the Lease up, so that another need not wait.
    ///
    /// # Errors
    /// Where it could not be written, or not in time; it then runs out by itself.
    pub async fn release(&mut self) -> anyhow::Result<()> {
        let Some((lease, _)) = self.seen.take().filter(|(lease, _)| holder(lease) == Some(&*self.identity))
        else {
            return Ok(());
        };
        let mut lease = lease;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let params = PostParams::default();
        let write = self.leases.replace(&self.name, &params, &lease);
        _ = timeout(REQUEST_TIMEOUT, write).await.context("no answer")??;
        Ok(())
    }

    async fn try_acquire(&mut self) -> kube::Result<bool> {
        // A leader knows the Lease; whoever changed it meanwhile makes the write fail.
        let known =
            self.seen.as_ref().map(|(lease, _)| lease).filter(|lease| holder(lease) == Some(&*self.identity));
        let found = match known {
            Some(lease) => Some(lease.clone()),
            None => self.leases.get_opt(&self.name).await?,
        };
        let written = match found {
            None => self.leases.create(&PostParams::default(), &self.claim(None)).await,
            Some(lease) => {
                self.see(lease.clone());
                if self.is_held_by_another(&lease) {
                    return Ok(false);
                }
                self.leases.replace(&self.name, &PostParams::default(), &self.claim(Some(lease))).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let lease = self.leases.get(&self.name).await?;
                let mine = holder(&lease) == Some(&*self.identity);
                self.see(lease);
                Ok(mine)
            }
            Err(error) => {
                // Where it was deleted meanwhile, the next try makes a new one.
                self.seen = None;
                Err(error)
            }
        }
    }

    fn see(&mut self, lease: Lease) {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|(seen, _)| version(seen) != version(&lease)) {
            self.seen = Some((lease, Instant::now()));
        }
    }

    fn is_held_by_another(&self, lease: &Lease) -> bool {
        let Some(holder) = holder(lease).filter(|holder| *holder != self.identity) else { return false };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration = seconds.and_then(|s| s.try_into().ok()).map_or(DURATION, Duration::from_secs);
        let fresh = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() < duration);
        tracing::debug!(holder, fresh, "the Lease is held");
        fresh
    }

    fn claim(&self, lease: Option<Lease>) -> Lease {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        let mut lease = lease.unwrap_or(Lease { metadata, ..Lease::default() });
        let taken_over = holder(&lease) != Some(&*self.identity);
        let now = MicroTime(Timestamp::now());
        let before = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: if taken_over { Some(now.clone()) } else { before.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(taken_over)),
            ..LeaseSpec::default()
        });
        lease
    }
}

/// Who holds `lease`, if anybody does.
pub(crate) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}
