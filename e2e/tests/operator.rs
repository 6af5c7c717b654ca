//! The operator on a real control plane, with the rights that the chart gives it: what it makes, how it answers what
//! people and faults do to that, what it says, and how little it asks for.

mod beside;
mod check;
mod children;
mod deletion;
mod killed;
mod leader;
mod node;
mod pipeline;
mod quiet;
mod references;
mod rights;
mod rules;
mod scaling;
mod settings;
mod strangers;
mod told;
