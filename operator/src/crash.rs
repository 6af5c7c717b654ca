//! Named points behind each write of a reconcile, for the tests that end an operator there.
//!
//! With `FAILPOINTS="apply::after-Deployment=return"` in the environment the process ends at that point as SIGKILL
//! would end it. Only in builds with debug assertions: in a release a point is nothing.
//!
//! | name | where |
//! |---|---|
//! | `lease::after-acquire` | it leads, and has reconciled nothing |
//! | `finalizer::after-change` | the finalizer is set, or taken away |
//! | `apply::after-take-back` | what was set with kubectl is the operator's, and still there |
//! | `apply::after-<Kind>` | the object of that kind is written, those behind it are not |
//! | `apply::after-scale` | the Deployment has another number of workers, and is else what it was |
//! | `apply::after-delete` | an object is deleted: one that is not wanted, or in the course of a deletion |
//! | `scale::after-write` | the pipeline has the number of workers that its lag asks for, which is not told |
//! | `events::after-tell` | an Event is told, and of a status is not written yet |
//! | `status::after-write` | the status is written |

use std::fmt::Display;

/// Ends the process here if the environment says so.
#[inline]
pub fn point(name: impl Display) {
    if cfg!(debug_assertions) {
        fail::fail_point!(&name.to_string(), |_| std::process::abort());
    }
}
