//! The tipstream operator: from TipsPipelines to workloads, and from workloads to the status of TipsPipelines.
//!
//! [`cluster`] is what is there, kept by watches. [`reconcile`] passes over a pipeline in stages; [`build`] is the
//! stage that says what should be there, and [`queue`] what waits for a pass. [`run`] wires them, [`leader`] says
//! whether this operator is the one, [`check`] whether it can be.

pub mod build;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod crash;
pub mod error;
pub mod events;
pub mod http;
pub mod kind;
pub mod leader;
pub mod metrics;
pub mod queue;
pub mod rbac;
pub mod reconcile;
pub mod reference;
pub mod run;
