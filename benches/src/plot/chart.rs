//! Pictures: panels of lines over a common list of who is who, as SVG.
//!
//! Times and rates stand on logarithmic axes. No font of the system is read: the viewer has its own.

use plotters::coord::Shift;
use plotters::prelude::*;
use wal_bench::Failure;

/// What the horizontal axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Across {
    /// Numbers, each mark twice the last.
    Doubling(&'static str),
    /// Shares of commits, each mark ten times nearer to all.
    Nines(&'static str),
}

impl Across {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Doubling(_) => value.log2(),
            Self::Nines(_) => -(1.0 - value).log10(),
        }
    }

    fn mark(self, place: f64) -> String {
        if (place - place.round()).abs() > 0.01 {
            return String::new();
        }
        match self {
            Self::Doubling(_) => format!("{}", place.exp2().round()),
            Self::Nines(_) if place < 0.5 => "0 %".to_owned(),
            Self::Nines(_) => {
                let digits = (place.round() as usize).saturating_sub(2);
                format!("{:.digits$} %", 100.0 * (1.0 - 10_f64.powf(-place.round())))
            }
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Doubling(label) | Self::Nines(label) => label,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One coordinate system.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) across: Across,
    pub(crate) series: Vec<Series>,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) file: String,
    pub(crate) panels: Vec<Panel>,
}

const PANEL: (u32, u32) = (420, 300);
const NAMES_WIDTH: u32 = 170;
const FONT: &str = "sans-serif";

impl Picture {
    /// The names of all lines, as they first come: the same name has the same colour everywhere.
    fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if !names.contains(&series.name.as_str()) {
                names.push(series.name.as_str());
            }
        }
        names
    }

    /// The picture as text.
    pub(crate) fn svg(&self) -> Result<String, Failure> {
        let columns = if self.panels.len() > 1 { 2 } else { 1 };
        let rows = self.panels.len().div_ceil(columns).max(1);
        let (wide, high) = (columns as u32 * PANEL.0, rows as u32 * PANEL.1);
        let names = self.names();
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (wide + NAMES_WIDTH, high));
            let root = root.into_drawing_area();
            root.fill(&WHITE).map_err(told)?;
            let (charts, list) = root.split_horizontally(wide);
            for (panel, area) in self.panels.iter().zip(charts.split_evenly((rows, columns))) {
                panel.draw(&area, &names)?;
            }
            draw_names(&list, &names)?;
            root.present().map_err(told)?;
        }
        Ok(text)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Panel {
    fn draw(&self, area: &Area<'_>, names: &[&str]) -> Result<(), Failure> {
        let places: Vec<(&str, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| {
                let place = |&(x, y): &(f64, f64)| (self.across.place(x), y);
                let places = series.points.iter().map(place);
                let shown = |(x, y): &(f64, f64)| x.is_finite() && *y > 0.0;
                (series.name.as_str(), places.filter(shown).collect())
            })
            .collect();
        let all = || places.iter().flat_map(|(_, points)| points.iter().copied());
        let Some((left, right)) = bounds(all().map(|(x, _)| x)) else { return Ok(()) };
        let Some((low, high)) = bounds(all().map(|(_, y)| y)) else { return Ok(()) };
        let (low, high) = decades(low, high);
        let right = if right > left { right } else { left + 1.0 };
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .caption(&self.title, (FONT, 14))
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(left..right, (low..high).log_scale())
            .map_err(told)?;
        chart
            .configure_mesh()
            .light_line_style(BLACK.mix(0.04))
            .bold_line_style(BLACK.mix(0.15))
            .label_style((FONT, 11))
            .x_desc(self.across.label())
            .x_labels((right - left).ceil() as usize + 1)
            .x_label_formatter(&|place| self.across.mark(*place))
            .y_labels(8)
            .y_label_formatter(&|value| short(*value))
            .draw()
            .map_err(told)?;
        for (name, points) in places {
            let colour = colour(name, names);
            let dots: Vec<_> =
                points.iter().map(|&point| Circle::new(point, 2, colour.filled())).collect();
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(told)?;
            chart.draw_series(dots).map_err(told)?;
        }
        Ok(())
    }
}

fn draw_names(area: &Area<'_>, names: &[&str]) -> Result<(), Failure> {
    for (row, name) in names.iter().enumerate() {
        let y = 24 + 18 * i32::try_from(row)?;
        let colour = colour(name, names);
        area.draw(&Rectangle::new([(8, y - 2), (28, y + 2)], colour.filled())).map_err(told)?;
        let text = Text::new((*name).to_owned(), (34, y - 6), (FONT, 12).into_font());
        area.draw(&text).map_err(told)?;
    }
    Ok(())
}

/// The bare device is black and our log blue, whoever else is there.
fn colour(name: &str, names: &[&str]) -> RGBColor {
    let others = names.iter().filter(|name| !matches!(**name, "raw" | "wal"));
    let at = others.enumerate().find(|(_, other)| **other == name).map_or(0, |(at, _)| at);
    match name {
        "raw" => BLACK,
        "wal" => RGBColor(0, 84, 200),
        _ => {
            // Its third is yellow, which is hard to see on white.
            let (red, green, blue) = Palette99::pick(at + usize::from(at >= 2)).rgb();
            RGBColor(red, green, blue)
        }
    }
}

/// The powers of ten around: only those have marks.
fn decades(low: f64, high: f64) -> (f64, f64) {
    let (below, above) = (low.log10().floor(), high.log10().ceil());
    (10_f64.powf(below), 10_f64.powf(if above > below { above } else { below + 1.0 }))
}

fn bounds(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    Some((values.clone().reduce(f64::min)?, values.reduce(f64::max)?))
}

/// A number as a mark beside an axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

fn told(error: impl std::fmt::Display) -> Failure {
    format!("not drawn: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(names: &[&str]) -> Panel {
        let series = |name: &&str| Series {
            name: (*name).to_owned(),
            points: vec![(1.0, 100.0), (2.0, 150.0), (8.0, 900.0)],
        };
        let series = names.iter().map(series).collect();
        Panel { title: "commits".to_owned(), across: Across::Doubling("threads"), series }
    }

    #[test]
    fn every_series_is_a_line_with_its_points_and_its_name() {
        let picture = Picture {
            file: "a.svg".to_owned(),
            panels: vec![panel(&["raw", "wal", "other"]), panel(&["raw", "wal"])],
        };
        let svg = picture.svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 5 * 3);
        for name in ["raw", "wal", "other"] {
            assert_eq!(svg.matches(&format!("\n{name}\n")).count(), 1, "{name}");
        }
    }

    #[test]
    fn what_has_no_place_on_the_axes_is_left_out() {
        let mut panel = panel(&["wal"]);
        panel.series[0].points = vec![(0.0, 5.0), (4.0, 0.0), (4.0, 7.0)];
        let picture = Picture { file: "a.svg".to_owned(), panels: vec![panel] };
        assert_eq!(picture.svg().unwrap().matches("<circle").count(), 1);
        let empty = Picture { file: "b.svg".to_owned(), panels: Vec::new() };
        assert!(empty.svg().unwrap().contains("<svg"));
    }

    #[test]
    fn heights_end_at_powers_of_ten() {
        assert_eq!(decades(150.0, 950.0), (100.0, 1000.0));
        assert_eq!(decades(100.0, 100.0), (100.0, 1000.0));
        assert_eq!(decades(99.0, 101.0), (10.0, 1000.0));
    }

    #[test]
    fn marks_say_what_they_stand_for() {
        let (threads, nines) = (Across::Doubling("threads"), Across::Nines("commits"));
        assert_eq!((threads.mark(5.0), threads.mark(0.5)), ("32".to_owned(), String::new()));
        let marks = [0.0, 1.0, 2.0, 3.0].map(|place| nines.mark(place));
        assert_eq!(marks, ["0 %", "90 %", "99 %", "99.9 %"]);
        assert!((nines.place(0.99) - 2.0).abs() < 1e-9);
        assert_eq!([1e6, 2e4, 5.0].map(short), ["1 M", "20 k", "5"]);
    }
}
