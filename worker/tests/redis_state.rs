//! The state in Redis, against a real server: it says what the memory state says, whatever it is given, and what
//! happens to the server never leaves half of a delta.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

#[path = "redis_state/access.rs"]
mod access;
#[path = "redis_state/deltas.rs"]
mod deltas;
#[path = "redis_state/faults.rs"]
mod faults;
#[path = "redis_state/history.rs"]
mod history;
#[path = "redis_state/purge.rs"]
mod purge;
#[path = "redis_state/server.rs"]
mod server;
#[path = "redis_state/topology.rs"]
mod topology;
#[path = "redis_state/twins.rs"]
mod twins;
