//! LSNs and kinds as arguments.

use wal::{Lsn, RecordKind};

/// An LSN, decimal or hexadecimal with `0x`; rounded down to a multiple of 8.
pub(crate) fn lsn(text: &str) -> Result<Lsn, String> {
    let raw = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|error| format!("`{text}` is not an LSN: {error}"))?;
    Ok(Lsn::new(raw - raw % 8).unwrap_or(Lsn::NONE))
}

/// A kind by its name in `wal dump`, or by its number.
pub(crate) fn kind(text: &str) -> Result<RecordKind, String> {
    let by_name = RecordKind::FORMAT_KINDS
        .iter()
        .chain(&[RecordKind::DATA])
        .find(|kind| kind.to_string() == text);
    if let Some(kind) = by_name {
        return Ok(*kind);
    }
    let number = match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.ok().and_then(RecordKind::new).ok_or_else(|| {
        let names: Vec<String> =
            RecordKind::FORMAT_KINDS.iter().map(|kind| kind.to_string()).collect();
        format!(
            "`{text}` is neither a number from 1 to 255, nor `data`, nor one of: {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_decimal_or_hexadecimal() {
        assert_eq!(lsn("4096"), Ok(Lsn::FIRST));
        assert_eq!(lsn("0x1000"), Ok(Lsn::FIRST));
        assert_eq!(lsn("4099"), Ok(Lsn::FIRST));
        assert!(lsn("four").is_err());
    }

    #[test]
    fn a_kind_has_a_name_or_a_number() {
        assert_eq!(kind("commit"), Ok(RecordKind::COMMIT));
        assert_eq!(kind("data"), Ok(RecordKind::DATA));
        assert_eq!(kind("0x40"), Ok(RecordKind::DATA));
        assert!(kind("0").is_err());
        assert!(kind("no-such-kind").is_err());
    }
}
