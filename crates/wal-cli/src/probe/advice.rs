//! What the figures say about the options of a log. Pure.

/// One figure of a way: its name, its median in microseconds, and its rate a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) p50_us: f64,
    pub(crate) per_second: f64,
}

/// The options to choose, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// As `wal append --sync-method` names it.
    pub(crate) sync_method: &'static str,
    pub(crate) direct: bool,
    /// Sentences for a person.
    pub(crate) reasons: Vec<String>,
}

/// A way other than the default must be better by so much: less is noise.
const WORTH: f64 = 0.9;

/// Two at once are worth it from this gain on.
const TOGETHER: f64 = 1.3;

/// What to choose; the default unless something else was clearly better.
pub(crate) fn advise(figures: &[Figure]) -> Advice {
    let of = |name: &str| figures.iter().find(|figure| figure.name == name);
    let Some(default) = of("data_sync") else {
        let reasons = vec!["Nothing was measured: the default stays.".to_owned()];
        return Advice { sync_method: "data-sync", direct: false, reasons };
    };
    let choices = [
        ("write_through", "write-through", false),
        ("direct_write_through", "write-through", true),
    ];
    let best = choices
        .into_iter()
        .filter_map(|(name, method, direct)| of(name).map(|figure| (figure, method, direct)))
        .filter(|(figure, ..)| figure.p50_us < WORTH * default.p50_us)
        .min_by(|(one, ..), (two, ..)| one.p50_us.total_cmp(&two.p50_us));
    let mut reasons = Vec::new();
    let (sync_method, direct) = match best {
        Some((figure, method, direct)) => {
            let share = figure.p50_us / default.p50_us;
            reasons.push(format!("It takes {share:.2} of the median time of write and fdatasync."));
            (method, direct)
        }
        None => {
            reasons.push("No other way takes less than 0.9 of its median time.".to_owned());
            ("data-sync", false)
        }
    };
    let against = |name, said: &str, other: &str| {
        let figure = of(name)?;
        let times = figure.p50_us / default.p50_us;
        Some(if times > 1.0 / WORTH {
            format!("{said} would take {times:.2} times as long: zeros written ahead are worth it.")
        } else {
            format!("{said} takes {times:.2} of the time: {other}")
        })
    };
    let no_use = "zeros written ahead buy little here.";
    reasons.extend(against("reserved", "Space that is reserved and not written", no_use));
    if let Some(two) = of("two_at_once") {
        let gain = two.per_second / default.per_second.max(f64::MIN_POSITIVE);
        let takes = if gain >= TOGETHER {
            "several flushes at a time"
        } else {
            "one flush after the other"
        };
        reasons.push(format!(
            "Two files at once make {gain:.2} times as many writes durable as one: the device \
             takes {takes}."
        ));
    }
    Advice { sync_method, direct, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &'static str, p50_us: f64) -> Figure {
        Figure { name, p50_us, per_second: 1e6 / p50_us }
    }

    #[test]
    fn the_default_stays_unless_another_way_is_clearly_better() {
        let close = [figure("data_sync", 100.0), figure("direct_write_through", 95.0)];
        assert_eq!((advise(&close).sync_method, advise(&close).direct), ("data-sync", false));
        let clear = [figure("data_sync", 100.0), figure("direct_write_through", 50.0)];
        assert_eq!((advise(&clear).sync_method, advise(&clear).direct), ("write-through", true));
        let both = [figure("data_sync", 100.0), figure("write_through", 40.0), clear[1]];
        assert_eq!((advise(&both).sync_method, advise(&both).direct), ("write-through", false));
    }

    #[test]
    fn it_says_whether_zeros_and_flushes_at_once_are_worth_it() {
        let worth =
            [figure("data_sync", 100.0), figure("reserved", 300.0), figure("two_at_once", 50.0)];
        let said = advise(&worth).reasons.join(" ");
        assert!(said.contains("are worth it") && said.contains("several flushes"), "{said}");
        let not =
            [figure("data_sync", 100.0), figure("reserved", 100.0), figure("two_at_once", 100.0)];
        let said = advise(&not).reasons.join(" ");
        assert!(
            said.contains("buy little") && said.contains("one flush after the other"),
            "{said}"
        );
    }

    #[test]
    fn without_figures_the_default_stays() {
        assert_eq!(advise(&[]).sync_method, "data-sync");
    }
}
