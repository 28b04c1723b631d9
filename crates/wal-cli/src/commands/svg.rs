//! Bars as SVG, by hand: a chart needs rectangles, a few lines and text, and no program to show it.

use std::fmt::Write;

/// Width of a chart, and of the place for the numbers at its left.
pub(crate) const WIDTH: f64 = 960.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 12.0;
const HEIGHT: f64 = 170.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Of a column: one alone would fill the chart, and look like none.
const COLUMN_MAX: f64 = 72.0;

/// Values of one colour, one a column.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) values: Vec<f64>,
}

/// A chart of stacked bars.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) series: Vec<Series>,
    /// What stands under the first column, the middle and the last; or under each, if as many.
    pub(crate) under: Vec<String>,
    /// What a column is, for those who point at it.
    pub(crate) columns: Vec<String>,
    pub(crate) show: fn(f64) -> String,
    /// Whether values are bytes, whose round numbers are powers of two.
    pub(crate) in_bytes: bool,
}

impl Bars {
    /// The chart, with a legend where there are several colours.
    pub(crate) fn svg(&self) -> String {
        let count = self.columns.len().max(1);
        let sums: Vec<f64> = (0..count)
            .map(|column| self.series.iter().filter_map(|series| series.values.get(column)).sum())
            .collect();
        let highest = sums.iter().copied().fold(2.0, f64::max);
        let top = if self.in_bytes { highest.log2().ceil().exp2() } else { rounded_up(highest) };
        let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let base = TOP + plot_height;
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\n"
        );
        for step in 0..=2 {
            let value = top * f64::from(step) / 2.0;
            let y = base - plot_height * f64::from(step) / 2.0;
            let (end, text_x) = (WIDTH - RIGHT, LEFT - 8.0);
            let shown = escaped(&(self.show)(value));
            push(
                &mut out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"number\" x=\"{text_x}\" y=\"{:.1}\">{shown}</text>\n",
                    y + 4.0
                ),
            );
        }
        let step = plot_width / count as f64;
        let gap = if step > 4.0 { 1.0 } else { 0.0 };
        let width = (step - gap).min(COLUMN_MAX);
        for (column, title) in self.columns.iter().enumerate() {
            self.column(
                &mut out,
                column,
                title,
                LEFT + step * column as f64 + (step - gap - width) / 2.0,
                width,
                base,
                plot_height / top,
            );
        }
        self.labels(&mut out, step, base + 17.0);
        out.push_str("</svg>\n");
        out.push_str(&self.legend());
        out
    }

    #[allow(clippy::too_many_arguments, reason = "where a column stands, and its scale")]
    fn column(
        &self,
        out: &mut String,
        column: usize,
        title: &str,
        x: f64,
        width: f64,
        base: f64,
        scale: f64,
    ) {
        let mut y = base;
        let parts = self.series.iter().filter_map(|series| {
            series.values.get(column).filter(|value| **value > 0.0).map(|value| (series, *value))
        });
        let mut said = title.to_owned();
        let mut bars = String::new();
        for (series, value) in parts {
            let height = value * scale;
            y -= height;
            let colour = series.colour;
            push(
                &mut bars,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
                ),
            );
            push(&mut said, format_args!("; {}: {}", series.name, (self.show)(value)));
        }
        if !bars.is_empty() {
            push(out, format_args!("<g>{bars}<title>{}</title></g>\n", escaped(&said)));
        }
    }

    fn labels(&self, out: &mut String, step: f64, y: f64) {
        let count = self.columns.len();
        let is_each = self.under.len() == count;
        for (index, text) in self.under.iter().enumerate() {
            let last = self.under.len().saturating_sub(1).max(1);
            let (x, anchor) = if is_each {
                (LEFT + step * (index as f64 + 0.5), "middle")
            } else {
                let anchor = match index {
                    0 => "start",
                    _ if index == last => "end",
                    _ => "middle",
                };
                (LEFT + (WIDTH - LEFT - RIGHT) * index as f64 / last as f64, anchor)
            };
            push(
                out,
                format_args!(
                    "<text class=\"under\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n",
                    escaped(text)
                ),
            );
        }
    }

    fn legend(&self) -> String {
        if self.series.len() < 2 {
            return String::new();
        }
        let mut out = String::from("<p class=\"legend\">");
        for series in &self.series {
            let (colour, name) = (series.colour, escaped(&series.name));
            push(
                &mut out,
                format_args!("<span><i style=\"background:{colour}\"></i>{name}</span> "),
            );
        }
        out.push_str("</p>\n");
        out
    }
}

/// Text that means the same within markup.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}

/// Appends to text in memory, which does not fail.
pub(crate) fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _never_fails = out.write_fmt(text);
}

/// The next of 1, 2, 4, 5 and 10 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    if value <= 2.0 {
        return 2.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_chart_is_a_round_number_above_all_bars() {
        for (value, top) in
            [(0.0, 2.0), (2.1, 4.0), (40.0, 40.0), (41.0, 50.0), (99.0, 100.0), (1001.0, 2000.0)]
        {
            assert_eq!(rounded_up(value), top, "{value}");
        }
    }

    #[test]
    fn a_column_that_is_alone_stands_in_the_middle_and_does_not_fill_the_chart() {
        let series = Series { name: "s".to_owned(), colour: "#000", values: vec![7.0] };
        let (under, columns) = (vec!["x".to_owned()], vec!["x".to_owned()]);
        let show = |value: f64| value.to_string();
        let svg = Bars { series: vec![series], under, columns, show, in_bytes: false }.svg();
        // But for the gap behind it.
        let x = LEFT + (WIDTH - LEFT - RIGHT - 1.0 - COLUMN_MAX) / 2.0;
        assert!(svg.contains(&format!("<rect x=\"{x:.1}\"")), "{svg}");
        assert!(svg.contains("width=\"72.0\""), "{svg}");
    }

    #[test]
    fn a_name_cannot_break_out_of_the_page() {
        assert_eq!(escaped("<script>\"&\""), "&lt;script&gt;&quot;&amp;&quot;");
    }
}
