//! The store on the memory backend, on storage that counts, and on storage that fills up.

mod wrap;
mod opening;
mod appending;
mod joining;
mod preparing;
mod growing;
mod recycling;
mod retiring;
mod full_disk;
mod held_back;
