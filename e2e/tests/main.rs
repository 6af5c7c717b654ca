//! The end-to-end tests, one program, since each would be linked with everything: `cargo test -p tips-e2e -- crash::`
//! runs those of a file.

mod bad_input;
mod chaos;
mod chart;
mod cluster;
mod compact;
mod crash;
mod harness;
mod install;
mod kubernetes;
mod local;
mod map;
mod monitoring;
mod no_room;
mod node;
mod observed;
mod operator;
mod oracle;
mod outages;
mod partitions;
mod query;
mod query_clients;
mod query_faults;
mod query_limits;
mod readers;
mod remote_sinks;
mod settings_change;
mod sleeper;
mod standstill;
mod stream;
