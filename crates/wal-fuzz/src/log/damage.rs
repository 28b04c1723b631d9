//! What can happen to the files of a log, chosen by bytes.

use wal_format::layout::BLOCK_BYTES;

use super::base::{Base, one};
use super::files::Files;
use crate::blocks::seal;
use crate::input::Input;

/// Steps at most: what one step cannot break, a hundred rarely do.
const STEPS_MAX: usize = 16;

/// Applies what `input` asks for. Whether a header block was forged: changed, and given a true
/// checksum. Against that a log does not defend; it must stay calm, no more.
pub(super) fn apply(files: &mut Files, base: &Base, input: &mut Input<'_>) -> bool {
    let mut forged = false;
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        forged |= step(files, base, input);
    }
    forged
}

fn step(files: &mut Files, base: &Base, input: &mut Input<'_>) -> bool {
    let what = input.byte();
    let Some(name) = files.name(input.byte()) else { return false };
    if what % 12 >= 9 {
        of_names(files, what, &name, input);
        return false;
    }
    let mut bytes = files.0.get(&name).cloned().unwrap_or_default();
    let at = input.u24() % (bytes.len() + 1);
    let mut forged = false;
    match what % 12 {
        0 => flip(&mut bytes, at, input.byte()),
        1 => overwrite(&mut bytes, at, &input.u64().to_le_bytes()),
        2 => {
            let len = usize::from(input.u16()).min(bytes.len() - at);
            bytes[at..at + len].fill(input.byte());
        }
        3 => bytes.truncate(at),
        4 => bytes.extend(std::iter::repeat_n(input.byte(), usize::from(input.u16()))),
        5 => {
            let (from, len) = (input.u24() % (bytes.len() + 1), usize::from(input.u16()));
            let piece = bytes[from..(from + len).min(bytes.len())].to_vec();
            overwrite(&mut bytes, at, &piece);
        }
        6 => {
            // A sector of another log of the family: written here by mistake.
            let other = one(input.byte());
            let piece = other.files.get(&name).and_then(|bytes| bytes.get(at & !511..));
            let piece = piece.map(|rest| rest[..rest.len().min(512)].to_vec()).unwrap_or_default();
            overwrite(&mut bytes, at & !511, &piece);
        }
        7 => {
            // An older sector comes back.
            let piece = base.files.get(&name).and_then(|bytes| bytes.get(at & !511..));
            let piece = piece.map(|rest| rest[..rest.len().min(512)].to_vec()).unwrap_or_default();
            overwrite(&mut bytes, at & !511, &piece);
        }
        _ => {
            let place = at % 256;
            overwrite(&mut bytes, place, &input.u64().to_le_bytes()[..1 + at % 8]);
            let block = if name == "control" && at % 2 == 1 { BLOCK_BYTES } else { 0 };
            seal(bytes.get_mut(block..).unwrap_or_default());
            forged = true;
        }
    }
    files.0.insert(name, bytes);
    forged
}

/// Files that go, come under another name, or come from nowhere.
fn of_names(files: &mut Files, what: u8, name: &str, input: &mut Input<'_>) {
    match what % 12 {
        9 => {
            files.0.remove(name);
        }
        10 => {
            let target = any_name(input);
            let bytes = files.0.get(name).cloned().unwrap_or_default();
            files.0.insert(target, bytes);
        }
        _ => {
            let target = any_name(input);
            let len = usize::from(input.byte());
            let bytes = input.take(len).to_vec();
            files.0.insert(target, bytes);
        }
    }
}

fn any_name(input: &mut Input<'_>) -> String {
    match input.byte() % 6 {
        0 => "control".to_owned(),
        1 => "spare".to_owned(),
        2 => "control.tmp".to_owned(),
        3 => format!("{:016x}-{:016x}.wal", input.u64(), input.u64()),
        4 => format!("{:016x}-{:016x}.wal", 4096 + u64::from(input.u16()) * 8, input.byte()),
        _ => String::from_utf8_lossy(input.take(9)).replace(['/', '\0'], "_"),
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
}

fn overwrite(bytes: &mut [u8], at: usize, piece: &[u8]) {
    let at = at.min(bytes.len());
    let len = piece.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&piece[..len]);
}
