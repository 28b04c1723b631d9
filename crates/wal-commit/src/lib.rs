//! Placeholder of the walking skeleton: filled by the next commits.
