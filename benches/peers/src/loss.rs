//! What each log loses in a crash: the four ancestors of this repository's log beside it.
//!
//! Each crash is made in the same way for all, and by nothing but processes and files. A process
//! of its own opens the log, commits bodies, and names each on its standard output once the log has
//! acknowledged it. It dies without closing anything, in two of the crashes in the middle of one
//! body more, of which nobody is told; its record is then torn in the middle, as a power loss
//! within the write leaves it. A second process opens the log as its users do, commits as many
//! again and closes it. A third opens it and names what the log's own recovery gives back.
//!
//! What was acknowledged and is not given back is lost. Leaves how each library does it to the
//! files of their names, and the arithmetic to `tally`.

mod subject;

#[cfg(feature = "aegis")]
mod aegis;
#[cfg(feature = "motedb")]
mod motedb;
mod ours;
#[cfg(feature = "reasonkit")]
mod reasonkit;
#[cfg(feature = "sochdb")]
mod sochdb;

mod step;
mod syncs;
mod tally;
mod tear;

mod table;

use subject::Subject;

pub use step::Step;
pub use table::{Arguments, run};

/// The logs which this program was built with, ours first.
const SUBJECTS: &[Subject] = &[
    ours::SUBJECT,
    #[cfg(feature = "sochdb")]
    sochdb::GROUPED,
    #[cfg(feature = "sochdb")]
    sochdb::PLAIN,
    #[cfg(feature = "aegis")]
    aegis::SUBJECT,
    #[cfg(feature = "reasonkit")]
    reasonkit::SUBJECT,
    #[cfg(feature = "motedb")]
    motedb::SYNCHRONOUS,
    #[cfg(feature = "motedb")]
    motedb::RECOMMENDED,
];
