//! Two slots, and what is left when one write or another goes wrong.

use wal_format::LogId;

use super::*;
use crate::backend::MemoryStorage;

fn slot() -> ControlSlot {
    ControlSlot {
        log_id: LogId::from_bytes([7; 16]),
        sequence: 1,
        epoch: Epoch::FIRST,
        head: Lsn::FIRST,
        newest_base: Lsn::NONE,
        newest_epoch: Epoch::NONE,
        durable: Lsn::NONE,
        clean: None,
        checkpoints: vec![],
    }
}

fn created() -> (Arc<dyn Storage>, ControlFile) {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let control = ControlFile::create(&storage, &slot()).unwrap();
    (storage, control)
}

fn view(storage: &Arc<dyn Storage>) -> ControlView {
    ControlView::read(storage.as_ref()).unwrap()
}

fn damage(storage: &Arc<dyn Storage>, slot: usize) {
    let file = storage.open(CONTROL_NAME, Access::Write).unwrap();
    let offset = (slot * BLOCK_BYTES) as u64;
    file.write_at(&[IoSlice::new(b"rubble, rubble")], offset).unwrap();
}

fn sequences(view: &ControlView) -> [Option<u64>; 2] {
    [0, 1].map(|index| view.slots[index].whole().map(|slot| slot.sequence))
}

/// A whole, valid block of a version that does not exist yet.
fn newer_block() -> [u8; BLOCK_BYTES] {
    let mut block = slot().encode().unwrap();
    block[12] = 2;
    let sum = crc32c_of(&block[12..]);
    block[8..12].copy_from_slice(&sum.to_le_bytes());
    block
}

/// Bit by bit: a test must not trust the code it tests.
fn crc32c_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

#[test]
fn no_file_reads_as_two_missing_slots() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let view = view(&storage);
    assert_eq!(view.slots, [SlotState::Missing, SlotState::Missing]);
    assert!(view.both_lost() && !view.exists() && view.current().is_none());
    assert_eq!(storage.list().unwrap(), [], "reading makes nothing");
}

#[test]
fn a_new_file_has_two_whole_slots() {
    let (storage, control) = created();
    assert_eq!(sequences(&view(&storage)), [Some(1), Some(2)]);
    assert_eq!(view(&storage).current(), Some(control.current()));
    assert_eq!(storage.list().unwrap().len(), 1, "no temporary file is left");
}

#[test]
fn r04_slots_are_written_in_turn_in_blocks_of_their_own() {
    let (storage, mut control) = created();
    for (expected, head) in [([3, 2], 4096), ([3, 4], 8192), ([5, 4], 12_288)] {
        control.update(|slot| slot.head = Lsn::new(head).unwrap()).unwrap();
        assert_eq!(sequences(&view(&storage)), expected.map(Some));
        assert_eq!(view(&storage).current().unwrap().head.get(), head);
    }
    assert_eq!(storage.list().unwrap()[0].len, 8192);
}

#[test]
fn r04_one_damaged_slot_falls_back_to_the_other_and_is_written_next() {
    for lost in [0, 1] {
        let (storage, mut control) = created();
        control.update(|_| ()).unwrap(); // slot 0 has 3, slot 1 has 2
        drop(control);
        damage(&storage, lost);
        assert!(!view(&storage).both_whole() && !view(&storage).both_lost());
        let kept = [2, 3][lost];
        assert_eq!(view(&storage).current().unwrap().sequence, kept);
        let mut control = ControlFile::open(&storage).unwrap();
        control.update(|_| ()).unwrap();
        let expected = if lost == 0 { [kept + 1, kept] } else { [kept, kept + 1] };
        assert_eq!(sequences(&view(&storage)), expected.map(Some));
    }
}

#[test]
fn a_slot_damaged_under_the_writer_is_written_next_and_not_the_whole_one() {
    let (storage, mut control) = created();
    // The one that counts: writing over the other would leave none for a moment.
    damage(&storage, 1);
    control.update(|_| ()).unwrap();
    assert_eq!(sequences(&view(&storage)), [Some(1), Some(3)]);
}

#[test]
fn both_slots_lost_is_said_and_not_written_over() {
    let (storage, control) = created();
    drop(control);
    damage(&storage, 0);
    damage(&storage, 1);
    assert!(view(&storage).both_lost() && view(&storage).exists());
    assert!(matches!(ControlFile::open(&storage), Err(IoError::Malformed { .. })));
    // But replaced as a whole.
    ControlFile::create(&storage, &slot()).unwrap();
    assert!(view(&storage).both_whole());
}

#[test]
fn a_slot_of_a_newer_version_is_not_lost_and_not_written_over() {
    let (storage, control) = created();
    drop(control);
    let file = storage.open(CONTROL_NAME, Access::Write).unwrap();
    file.write_at(&[IoSlice::new(&newer_block())], 0).unwrap();
    assert_eq!(view(&storage).newer_version(), Some(2));
    file.write_at(&[IoSlice::new(&newer_block())], 4096).unwrap();
    assert!(!view(&storage).both_lost());
    assert!(matches!(
        ControlFile::open(&storage),
        Err(IoError::Malformed { source: DecodeError::UnsupportedVersion { found: 2 }, .. })
    ));
}

#[test]
fn a_file_cut_short_has_a_missing_and_a_damaged_slot() {
    let (storage, control) = created();
    drop(control);
    let file = storage.open(CONTROL_NAME, Access::Write).unwrap();
    file.set_len(4096).unwrap();
    assert_eq!(view(&storage).slots[1], SlotState::Missing);
    assert!(view(&storage).slots[0].whole().is_some());
    file.set_len(100).unwrap();
    let cut = SlotState::Damaged(DecodeError::Incomplete { needed: 4096 });
    assert_eq!(view(&storage).slots, [cut, SlotState::Missing]);
}

#[test]
fn r17_a_superseded_writer_stops() {
    let (storage, mut old) = created();
    let mut new = ControlFile::open(&storage).unwrap();
    new.update(|slot| slot.epoch = Epoch::new(2)).unwrap();
    let before = view(&storage);
    let error = old.update(|slot| slot.head = Lsn::MAX).unwrap_err();
    let (ours, newer) = (Epoch::FIRST, Epoch::new(2));
    assert!(matches!(error, IoError::Superseded { ours: o, newer: n } if (o, n) == (ours, newer)));
    assert!(matches!(old.update(|_| ()), Err(IoError::Poisoned { .. })));
    assert_eq!(view(&storage), before);
}

#[test]
fn what_cannot_be_encoded_is_refused_before_anything_is_written() {
    let (storage, mut control) = created();
    let lsn = |raw| Lsn::new(raw).unwrap();
    let pointer = wal_format::CheckpointPointer {
        begin: lsn(4096),
        redo_from: lsn(4096),
        record: lsn(4096),
        end: lsn(4160),
    };
    let before = view(&storage);
    let error = control.update(|slot| slot.checkpoints = vec![pointer; 9]).unwrap_err();
    assert!(matches!(error, IoError::OutOfRange { .. }));
    assert_eq!(view(&storage), before);
    control.update(|_| ()).unwrap();
}
