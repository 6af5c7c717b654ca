//! The books balance (I5): every record consumed has exactly one outcome. The books of a shard and what it holds
//! are read in one transaction, so this is exact on a live pipeline too.

use indicatif::HumanCount;

use super::report::Check;
use crate::core::books::{Books, Outcome};
use crate::core::shard::Topic;
use crate::state::View;

const NAME: &str = "books";

/// A check that is not made.
pub fn not_made(why: &str) -> Check {
    Check::not_made(NAME, why)
}

/// Checks the books of every shard.
pub fn check(views: &[View]) -> Check {
    let mut check = Check::new(NAME);
    let all: Books = views.iter().map(|view| view.books).sum();
    for (shard, view) in views.iter().enumerate() {
        for topic in Topic::ALL {
            of_topic(&mut check, shard, topic, &view.books);
        }
        pending(&mut check, shard, view);
    }
    let total = |topic: Topic| {
        let account = all.of(topic);
        let outcomes = Outcome::ALL.iter().filter(|outcome| account.get(**outcome) != 0);
        let outcomes: Vec<String> =
            outcomes.map(|outcome| format!("{} {}", account.get(*outcome), outcome.name())).collect();
        let consumed = HumanCount(account.consumed.max(0) as u64);
        format!("{}: {consumed} consumed = {}", topic.name(), outcomes.join(" + "))
    };
    check.looked_at(Topic::ALL.map(total).join("\n"))
}

fn of_topic(check: &mut Check, shard: usize, topic: Topic, books: &Books) {
    let (account, name) = (books.of(topic), topic.name());
    if !account.balances() {
        let outcomes: i64 = Outcome::ALL.iter().map(|outcome| account.get(*outcome)).sum();
        check.find(format!("shard {shard}: {} {name} consumed, {outcomes} outcomes", account.consumed));
    }
    for outcome in Outcome::ALL.into_iter().filter(|outcome| account.get(*outcome) < 0) {
        check.find(format!("shard {shard}: {} {name} are {}", account.get(outcome), outcome.name()));
    }
}

/// Under an id waits a ride, a fare, or one of each. To tell which would cost a reading of all; the ids alone are
/// counted by the server, and bound both.
fn pending(check: &mut Check, shard: usize, view: &View) {
    let pending = |topic| view.books.of(topic).get(Outcome::Pending);
    let (rides, fares) = (pending(Topic::Rides), pending(Topic::Fares));
    let ids = view.waiting as i64;
    if ids < rides.max(fares) || ids > rides + fares {
        check.find(format!("shard {shard}: {rides} rides and {fares} fares pending, under {ids} ids"));
    }
}
