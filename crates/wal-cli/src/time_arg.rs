//! Points in time as arguments and in output: UTC, to the second.
//!
//! Calendar arithmetic is that of the proleptic Gregorian calendar, in 400-year eras that begin in
//! March, so that a leap day ends a year.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;
/// Days from the first of March of the year 0 to the first of January 1970.
const EPOCH_DAYS: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;
/// Far enough for any log, and no sum below overflows.
const YEAR_MAX: u64 = 9999;

/// Microseconds since 1970: `2026-11-21T13:30:00Z`, a date alone, seconds since 1970, or how long
/// ago, as `90s`, `15m`, `2h` or `3d`.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    let seconds = ago(text).or_else(|| text.parse().ok()).or_else(|| calendar(text));
    seconds.and_then(|seconds: u64| seconds.checked_mul(1_000_000)).ok_or_else(|| {
        format!(
            "`{text}` is no time: give 2026-11-21T13:30:00Z (or the date alone), seconds since 1970, \
             or 90s, 15m, 2h, 3d for that long ago"
        )
    })
}

/// As `2026-11-21T13:30:00Z`.
pub(crate) fn shown(unix_us: u64) -> String {
    let seconds = unix_us / 1_000_000;
    let (days, rest) = (seconds / DAY_S + EPOCH_DAYS, seconds % DAY_S);
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn ago(text: &str) -> Option<u64> {
    let unit_s = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY_S,
        _ => return None,
    };
    let count: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(now.saturating_sub(count.checked_mul(unit_s)?))
}

fn calendar(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = match clock.matches(':').count() {
        1 => numbers(&format!("{clock}:00"), ':')?,
        _ => numbers(clock, ':')?,
    };
    let known = (1970..=YEAR_MAX).contains(&year) && (1..=12).contains(&month);
    if !known
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let year_of_era = year % 400;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = (year / 400 * ERA_DAYS + of_era).checked_sub(EPOCH_DAYS)?;
    Some(days * DAY_S + hour * 3600 + minute * 60 + second)
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let parts: Vec<u64> =
        text.split(between).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_seconds_or_how_long_ago() {
        assert_eq!(time("1970-01-01"), Ok(0));
        assert_eq!(time("2000-02-29T12:00:00Z"), Ok(951_825_600_000_000));
        assert_eq!(time("2026-11-21 13:30"), Ok(1_795_267_800_000_000));
        assert_eq!(time("1795267800"), Ok(1_795_267_800_000_000));
        assert!(time("2h").unwrap() < time("1h").unwrap());
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "x",
            "2023-02-29",
            "2026-13-01",
            "2026-11-21T24:00:00Z",
            "1969-12-31",
            "-5",
            "m",
            "ü",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_as_it_is_given() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T12:00:01Z",
            "2026-12-31T23:59:59Z",
            "2100-03-01T00:00:00Z",
        ] {
            assert_eq!(shown(time(text).unwrap()), text);
        }
    }
}
