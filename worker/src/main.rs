//! tips-worker
fn main() {}
