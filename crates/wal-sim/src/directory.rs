//! The directory: which name means which file, now and after a power cut.
//!
//! Knows files by number only. Entries change at once for programs; the device learns of a change
//! when the directory is synced. Until then a power cut may keep any set of the changes that is
//! closed: a change survives only with all earlier changes to the same names or the same file, so
//! that a rename is atomic and never works on an entry that was not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::choice::Chooser;

/// The number of a file, never used twice on one disk.
pub(crate) type Ino = u64;

pub(crate) type Entries = BTreeMap<Arc<str>, Ino>;

/// A directory of the disk by the beginning of its names, such as `orders/`, the root's empty;
/// `None`: all names of the disk, as if it had one directory.
pub(crate) type Within = Option<Arc<str>>;

/// Whether the file `name` lies in the directory `within`, and not deeper.
pub(crate) fn lies(name: &str, within: &Within) -> bool {
    let inside = |dir: &Arc<str>| name.strip_prefix(&**dir).is_some_and(|rest| !rest.contains('/'));
    within.as_ref().is_none_or(inside)
}

/// The entries as programs see them, and as the device holds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    written: Arc<Entries>,
    durable: Arc<Entries>,
    pending: Vec<Change>,
    /// Changes made so far.
    changes: u64,
}

#[derive(Clone, Debug)]
struct Change {
    ino: Ino,
    /// Its number among all changes, from 1.
    number: u64,
    kind: ChangeKind,
    /// Cleared by a failed sync: no later one makes the change durable.
    dirty: bool,
}

#[derive(Clone, Debug)]
enum ChangeKind {
    Create { name: Arc<str> },
    Rename { from: Arc<str>, to: Arc<str> },
    Remove { name: Arc<str> },
}

impl Directory {
    /// A directory as a power cut left it.
    pub(crate) fn settled(entries: Entries) -> Self {
        let entries = Arc::new(entries);
        Self { written: Arc::clone(&entries), durable: entries, pending: Vec::new(), changes: 0 }
    }

    /// The entries as programs see them.
    pub(crate) fn written(&self) -> &Entries {
        &self.written
    }

    /// The entries that are sure to survive a power cut.
    pub(crate) fn durable(&self) -> &Entries {
        &self.durable
    }

    /// Whether any name, now or after a power cut, may mean `ino`.
    pub(crate) fn may_name(&self, ino: Ino) -> bool {
        self.written.values().chain(self.durable.values()).any(|&named| named == ino)
            || self.pending.iter().any(|change| change.ino == ino)
    }

    pub(crate) fn create(&mut self, name: &str, ino: Ino) {
        self.change(ino, ChangeKind::Create { name: name.into() });
    }

    /// The caller has made sure that `from` means `ino`.
    pub(crate) fn rename(&mut self, from: &str, to: &str, ino: Ino) {
        self.change(ino, ChangeKind::Rename { from: from.into(), to: to.into() });
    }

    /// The caller has made sure that `name` means `ino`.
    pub(crate) fn remove(&mut self, name: &str, ino: Ino) {
        self.change(ino, ChangeKind::Remove { name: name.into() });
    }

    fn change(&mut self, ino: Ino, kind: ChangeKind) {
        self.changes += 1;
        let change = Change { ino, number: self.changes, kind, dirty: true };
        change.apply(Arc::make_mut(&mut self.written));
        self.pending.push(change);
    }

    /// This moment, as [`sync_to`](Self::sync_to) takes it.
    pub(crate) fn mark(&self) -> u64 {
        self.changes
    }

    /// Makes durable every change made up to `mark` to names `within` that directory, except those
    /// a failed sync has lost.
    pub(crate) fn sync_to(&mut self, mark: u64, within: Within) {
        let mut doubtful: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if change.dirty && change.number <= mark && change.lies(&within) {
                // A lost change which this one builds upon is contained in it.
                doubtful.retain(|lost| !change.depends_on(lost));
                change.apply(Arc::make_mut(&mut self.durable));
            } else {
                doubtful.push(change);
            }
        }
        self.pending = doubtful;
    }

    /// A sync fails: what it covered may or may not be on the device, now and for ever.
    pub(crate) fn fail_sync(&mut self, within: &Within) {
        for change in self.pending.iter_mut().filter(|change| change.lies(within)) {
            change.dirty = false;
        }
    }

    /// The entries which a power cut leaves.
    ///
    /// Also says how many changes are lost.
    pub(crate) fn survive(&self, chooser: &mut dyn Chooser) -> (Entries, u64) {
        let mut entries = Entries::clone(&self.durable);
        let mut lost: Vec<&Change> = Vec::new();
        for change in &self.pending {
            let possible = !lost.iter().any(|earlier| change.depends_on(earlier));
            if possible && chooser.choose(2) == 1 {
                change.apply(&mut entries);
            } else {
                lost.push(change);
            }
        }
        (entries, lost.len() as u64)
    }
}

impl Change {
    /// Whether this change, the later one, touches a name or the file of `earlier`.
    fn depends_on(&self, earlier: &Self) -> bool {
        let mine = self.names();
        self.ino == earlier.ino
            || earlier.names().into_iter().flatten().any(|name| mine.contains(&Some(name)))
    }

    /// No rename leads out of its directory.
    fn lies(&self, within: &Within) -> bool {
        self.names().into_iter().flatten().all(|name| lies(name, within))
    }

    fn names(&self) -> [Option<&str>; 2] {
        match &self.kind {
            ChangeKind::Create { name } | ChangeKind::Remove { name } => [Some(name), None],
            ChangeKind::Rename { from, to } => [Some(from), Some(to)],
        }
    }

    /// Goes by file as well as by name, so that it is right even if an earlier change was lost.
    fn apply(&self, entries: &mut Entries) {
        match &self.kind {
            ChangeKind::Create { name } => {
                entries.insert(name.clone(), self.ino);
            }
            ChangeKind::Rename { from, to } => {
                entries.retain(|_, ino| *ino != self.ino);
                entries.remove(from);
                entries.insert(to.clone(), self.ino);
            }
            ChangeKind::Remove { name } => {
                entries.retain(|_, ino| *ino != self.ino);
                entries.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Paths;

    /// Every set of entries a power cut may leave, written `name=ino name=ino`.
    fn outcomes(directory: &Directory) -> Vec<String> {
        let mut paths = Paths::default();
        let mut outcomes = Vec::new();
        while paths.advance() {
            let (entries, _) = directory.survive(&mut paths);
            let entries: Vec<String> =
                entries.iter().map(|(name, ino)| format!("{name}={ino}")).collect();
            outcomes.push(entries.join(" "));
        }
        outcomes.sort();
        outcomes
    }

    fn synced(entries: &[(&str, Ino)]) -> Directory {
        Directory::settled(entries.iter().map(|&(name, ino)| (name.into(), ino)).collect())
    }

    #[test]
    fn unsynced_creations_survive_in_any_combination() {
        let mut directory = Directory::default();
        directory.create("a", 1);
        directory.create("b", 2);
        assert_eq!(outcomes(&directory), ["", "a=1", "a=1 b=2", "b=2"]);
    }

    #[test]
    fn a_rename_leaves_either_name_and_replaces_whole() {
        let mut directory = synced(&[("new", 2), ("old", 1)]);
        directory.rename("new", "old", 2);
        assert_eq!(outcomes(&directory), ["new=2 old=1", "old=2"]);
    }

    #[test]
    fn a_rename_survives_only_with_the_creation_it_builds_upon() {
        let mut directory = Directory::default();
        directory.create("a.tmp", 1);
        directory.rename("a.tmp", "a", 1);
        assert_eq!(outcomes(&directory), ["", "a.tmp=1", "a=1"]);
    }

    #[test]
    fn a_removal_may_overtake_an_unrelated_rename() {
        let mut directory = synced(&[("gone", 1), ("x.tmp", 2)]);
        directory.rename("x.tmp", "x", 2);
        directory.remove("gone", 1);
        assert_eq!(outcomes(&directory), ["gone=1 x.tmp=2", "gone=1 x=2", "x.tmp=2", "x=2"]);
    }

    #[test]
    fn a_name_used_again_never_loses_the_file_it_was_moved_from() {
        let mut directory = synced(&[("a", 1)]);
        directory.rename("a", "b", 1);
        directory.create("a", 2);
        assert_eq!(outcomes(&directory), ["a=1", "a=2 b=1", "b=1"]);
    }

    #[test]
    fn a_sync_leaves_nothing_to_chance() {
        let mut directory = synced(&[("a", 1)]);
        directory.rename("a", "b", 1);
        directory.create("c", 2);
        directory.sync_to(directory.mark(), None);
        assert_eq!(outcomes(&directory), ["b=1 c=2"]);
    }

    #[test]
    fn a_sync_up_to_a_moment_leaves_later_changes_in_doubt() {
        let mut directory = Directory::default();
        directory.create("a", 1);
        let mark = directory.mark();
        directory.create("b", 2);
        directory.sync_to(mark, None);
        assert_eq!(outcomes(&directory), ["a=1", "a=1 b=2"]);
    }

    #[test]
    fn a_failed_sync_is_not_mended_by_a_later_one() {
        let mut directory = Directory::default();
        directory.create("lost", 1);
        directory.fail_sync(&None);
        directory.create("kept", 2);
        directory.sync_to(directory.mark(), None);
        assert_eq!(outcomes(&directory), ["kept=2", "kept=2 lost=1"]);
    }

    #[test]
    fn a_durable_change_contains_the_lost_ones_it_builds_upon() {
        let mut directory = synced(&[("b", 9)]);
        directory.create("a.tmp", 1);
        directory.rename("a.tmp", "b", 1);
        directory.fail_sync(&None);
        directory.rename("b", "c", 1);
        directory.sync_to(directory.mark(), None);
        assert_eq!(outcomes(&directory), ["c=1"]);
    }

    #[test]
    fn files_that_may_come_back_are_remembered() {
        let mut directory = synced(&[("a", 1)]);
        directory.remove("a", 1);
        assert!(directory.may_name(1));
        directory.sync_to(directory.mark(), None);
        assert!(!directory.may_name(1));
    }
}
