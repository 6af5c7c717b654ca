//! The operator on a real control plane, with the rights that the chart gives it: what it makes, how it answers what
//! people and faults do to that, what it says, and how little it asks for.

#[path = "operator/beside.rs"]
mod beside;
#[path = "operator/check.rs"]
mod check;
#[path = "operator/children.rs"]
mod children;
#[path = "operator/deletion.rs"]
mod deletion;
#[path = "operator/killed.rs"]
mod killed;
#[path = "operator/leader.rs"]
mod leader;
#[path = "operator/node.rs"]
mod node;
#[path = "operator/pipeline.rs"]
mod pipeline;
#[path = "operator/quiet.rs"]
mod quiet;
#[path = "operator/references.rs"]
mod references;
#[path = "operator/rights.rs"]
mod rights;
#[path = "operator/rules.rs"]
mod rules;
#[path = "operator/scaling.rs"]
mod scaling;
#[path = "operator/settings.rs"]
mod settings;
#[path = "operator/told.rs"]
mod told;
