//! How many partitions there are, and what they are called.

/// The partitions of a root: fixed when they are created, and named by every opening.
///
/// Made of a number, whose partitions are called `p000`, `p001` and so on, or of names: 1 to 64 of
/// a-z, 0-9, - and _ each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(crate) names: Vec<String>,
}

impl From<usize> for Layout {
    fn from(count: usize) -> Self {
        // Beyond what can be the names are not made: the opening refuses the number.
        let names = (0..count.min(1 << 16)).map(|index| format!("p{index:03}")).collect();
        Self { names }
    }
}

impl<const N: usize> From<[&str; N]> for Layout {
    fn from(names: [&str; N]) -> Self {
        Self { names: names.map(str::to_owned).to_vec() }
    }
}

impl From<Vec<String>> for Layout {
    fn from(names: Vec<String>) -> Self {
        Self { names }
    }
}
