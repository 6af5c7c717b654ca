//! `tips-query`
fn main() {}
