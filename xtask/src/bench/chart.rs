//! One chart a workload, as SVG: a bar for each server, with its spread, the number and what it is worth.
//!
//! Pure. Colours follow what the reader's system prefers, light or dark, on a background of the chart's own,
//! so that it can be read on any page. Nothing is fetched: fonts are the system's.

use std::fmt::Write as _;

use super::{
    peers::Peer,
    results::{Better, Caution, Column, Document, Results},
    statistics::thousands,
};

const WIDTH: f64 = 800.0;
const MARGIN: f64 = 20.0;
/// Where bars begin; names are to the left of it.
const BARS: f64 = 200.0;
/// The length of the longest bar, which leaves its number and the ratios their place.
const LONGEST: f64 = 310.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;

const STYLE: &str = "\
    svg { font-family: system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif; font-size: 13px; }\n\
    .back { fill: #ffffff; stroke: #d1d9e0; }\n\
    text { fill: #1f2328; }\n\
    .title { font-size: 16px; font-weight: 600; }\n\
    .unit, .note { fill: #59636e; font-size: 12px; }\n\
    .note { font-size: 11px; }\n\
    .ours, .number { font-weight: 600; }\n\
    .ratio { fill: #59636e; font-size: 12px; font-weight: 400; }\n\
    .bar { fill: #b6bfc8; }\n\
    .bar.own { fill: #0969da; }\n\
    .bar.low { fill: none; stroke: #59636e; stroke-dasharray: 3 2; }\n\
    .axis, .spread { stroke: #59636e; stroke-width: 1; fill: none; }\n\
    .spread { stroke: #1f2328; }\n\
    @media (prefers-color-scheme: dark) {\n\
    .back { fill: #0d1117; stroke: #3d444d; }\n\
    text { fill: #f0f6fc; }\n\
    .unit, .note, .ratio { fill: #9198a1; }\n\
    .bar { fill: #59636e; }\n\
    .bar.own { fill: #4493f8; }\n\
    .bar.low { fill: none; stroke: #9198a1; }\n\
    .axis { stroke: #9198a1; }\n\
    .spread { stroke: #f0f6fc; }\n\
    }\n";

/// The file name and the text of every chart that there is something to draw in.
pub(crate) fn charts(document: &Document) -> Vec<(String, String)> {
    let chart = |results: &Results| Some((format!("{}.svg", results.name), chart(document, results)?));
    document.workloads.iter().filter_map(chart).collect()
}

fn chart(document: &Document, results: &Results) -> Option<String> {
    let columns = results.columns();
    let panels: Vec<Column<'_>> = columns.into_iter().filter(|column| column.main).collect();
    if panels.is_empty() {
        return None;
    }
    let mut drawing = Drawing { body: String::new(), y: MARGIN + 14.0 };
    drawing.text(MARGIN, "title", &results.title);
    drawing.y += 12.0;
    let mut cautions: Vec<Caution> = Vec::new();
    for column in panels {
        drawing.panel(results, column);
    }
    for caution in results.peers().flat_map(|peer| results.cautions(peer)) {
        if !cautions.contains(&caution) {
            cautions.push(caution);
        }
    }
    drawing.y += 8.0;
    for caution in cautions {
        drawing.note(&format!("{} {}", caution.mark(), caution.meaning()));
    }
    let medians = match results.rounds() {
        0 | 1 => "One round.".to_owned(),
        rounds => format!("Medians of {rounds} rounds, with a line from the lowest to the highest."),
    };
    drawing.note(&(medians + " The dashed floor moves the same bytes without Socket.IO."));
    let environment = &document.environment;
    drawing.note(&format!("{} · {} · Linux {}", environment.date, environment.cpu, environment.kernel));
    Some(drawing.finish(&results.title))
}

struct Drawing {
    body: String,
    /// The base line of what was drawn last.
    y: f64,
}

impl Drawing {
    /// One figure of all servers, the best first; the floor stands below them.
    fn panel(&mut self, results: &Results, column: Column<'_>) {
        let mut rows: Vec<_> =
            results.peers().filter_map(|peer| Some((peer, results.summary(peer, column.name)?))).collect();
        rows.sort_by(|(a, one), (b, other)| {
            let order = one.median.total_cmp(&other.median);
            let order = if column.better == Better::Higher { order.reverse() } else { order };
            (*a == Peer::Floor).cmp(&(*b == Peer::Floor)).then(order)
        });
        let highest = rows.iter().map(|(_, summary)| summary.max).fold(0.0, f64::max);
        let scale = if highest > 0.0 { LONGEST / highest } else { 0.0 };
        let direction =
            if column.better == Better::Higher { "longer is better" } else { "shorter is better" };
        self.y += 25.0;
        self.text(MARGIN, "unit", &format!("{}, {direction}", spelled_out(column.name)));
        self.y += 10.0;
        let top = self.y;
        for (peer, summary) in rows {
            let middle = self.y + ROW / 2.0;
            let base = middle + 4.5;
            let class = if peer.is_ours() { "ours" } else { "peer" };
            self.text_at(BARS - 10.0, base, class, "end", peer.label());
            let length = (summary.median * scale).max(1.0);
            let kind = match peer {
                Peer::Floor => "bar low",
                _ if peer.is_ours() => "bar own",
                _ => "bar",
            };
            self.push(format_args!(
                "<rect class=\"{kind}\" x=\"{BARS}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\"/>",
                middle - BAR / 2.0
            ));
            let mut end = BARS + length;
            if summary.spread() > 0.0 {
                let (from, to) = (BARS + summary.min * scale, BARS + summary.max * scale);
                let (above, below) = (middle - 3.0, middle + 3.0);
                self.push(format_args!(
                    "<path class=\"spread\" d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {above:.1}V{below:.1}\
                     M{to:.1} {above:.1}V{below:.1}\"/>"
                ));
                end = end.max(to);
            }
            let marks: String = results.cautions(peer).iter().map(|caution| caution.mark()).collect();
            let worth = worth(results, peer, column);
            self.push(format_args!(
                "<text class=\"number\" x=\"{:.1}\" y=\"{base:.1}\">{}{marks}<tspan class=\"ratio\" dx=\"8\">{}</tspan></text>",
                end + 7.0,
                thousands(summary.median),
                escape(&worth)
            ));
            self.y += ROW;
        }
        let bottom = self.y;
        self.push(format_args!("<path class=\"axis\" d=\"M{BARS} {top:.1}V{bottom:.1}\"/>"));
    }

    fn note(&mut self, text: &str) {
        self.y += 16.0;
        self.text(MARGIN, "note", text);
    }

    fn text(&mut self, x: f64, class: &str, text: &str) {
        self.text_at(x, self.y, class, "start", text);
    }

    fn text_at(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    fn finish(self, title: &str) -> String {
        let height = self.y + MARGIN - 4.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"back\" x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"6\"/>\n{}</svg>\n",
            escape(title),
            WIDTH - 1.0,
            height.round() - 1.0,
            self.body
        )
    }
}

/// What stands behind the number of one of ours: how it compares.
fn worth(results: &Results, peer: Peer, column: Column<'_>) -> String {
    if !peer.is_ours() {
        return String::new();
    }
    let best = results.ratio_to_best(peer, column).map(|ratio| format!("{ratio:.2} × best peer"));
    let floor = results.ratio_to_floor(peer, column).map(|ratio| format!("{ratio:.2} × floor"));
    best.into_iter().chain(floor).collect::<Vec<_>>().join(", ")
}

/// A figure's name for those who do not know the tables.
fn spelled_out(name: &str) -> String {
    match name {
        "CPU ns each" => "Server CPU time for each, in nanoseconds".to_owned(),
        "B idle" => "Resident bytes of the server for each connection".to_owned(),
        "B after 64 kB" => "The same after each has echoed a message of 64 kB".to_owned(),
        "B after churn" => "The same after a tenth of them was replaced".to_owned(),
        _ => {
            let mut letters = name.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::sample;

    fn drawn(rates: &[(Peer, f64)]) -> String {
        let document = sample::document(vec![sample::rates("echo", rates)]);
        let mut charts = charts(&document);
        assert_eq!(charts.len(), 1);
        let (name, text) = charts.remove(0);
        assert_eq!(name, "echo.svg");
        text
    }

    /// The numbers of an attribute, of all elements of one class.
    fn numbers(text: &str, class: &str, attribute: &str) -> Vec<f64> {
        let start = format!("class=\"{class}\"");
        let lines = text.lines().filter(|line| line.contains(&start));
        lines
            .map(|line| line.split(&format!(" {attribute}=\"")).nth(1).unwrap().split('"').next().unwrap())
            .map(|number| number.parse().unwrap())
            .collect()
    }

    #[test]
    fn bars_are_as_long_as_what_they_stand_for() {
        let text = drawn(&[(Peer::Node, 490.0), (Peer::SioServer, 990.0), (Peer::Floor, 1_990.0)]);
        // Twice the median of the floor is the longest, up to its highest run.
        let longest = 310.0 * 1_995.0 / 2_000.0;
        let close = |found: Vec<f64>, expected: f64| {
            assert!((found[0] - expected).abs() < 0.1, "{found:?} {expected}");
        };
        close(numbers(&text, "bar low", "width"), longest);
        close(numbers(&text, "bar own", "width"), longest * 995.0 / 1_995.0);
        close(numbers(&text, "bar", "width"), longest * 495.0 / 1_995.0);
    }

    #[test]
    fn the_best_stands_first_and_the_floor_last() {
        let text = drawn(&[(Peer::Floor, 1_990.0), (Peer::Node, 490.0), (Peer::SioServer, 990.0)]);
        let at = |label: &str| text.find(&format!(">{label}<")).unwrap();
        assert!(at("sio") < at("Node") && at("Node") < at("floor"));
        assert!(text.contains("2.01 × best peer, 0.50 × floor"), "{text}");
        assert!(text.contains("1,995†"), "{text}");
    }

    #[test]
    fn text_is_escaped() {
        let mut results = Results::new("a".to_owned(), "1 < 2 & \"3\"".to_owned());
        results.push(Peer::Node, Ok(vec![sample::figure("messages/s", Better::Higher, 0.0)]));
        let text = charts(&sample::document(vec![results])).remove(0).1;
        assert!(text.contains("<title>1 &lt; 2 &amp; &quot;3&quot;</title>"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn everything_is_within_the_picture() {
        let text = drawn(&[(Peer::SioServer, 99_999_990.0), (Peer::Node, 99_999_980.0), (Peer::Bun, 5.0)]);
        let height: f64 =
            text.split(" height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        for class in ["title", "unit", "note", "ours", "peer"] {
            assert!(numbers(&text, class, "y").iter().all(|y| *y > 0.0 && *y < height), "{class}");
        }
        // A number of eight digits and two ratios, at 7 units a character, end before the margin.
        let number = numbers(&text, "number", "x").into_iter().fold(0.0, f64::max);
        assert!(
            number + 7.0 * "99,999,990 ".len() as f64 + 6.0 * "1.00 × best peer, 1.00 × floor".len() as f64
                <= WIDTH
        );
    }

    #[test]
    fn a_workload_that_nobody_finished_has_no_chart() {
        let mut results = Results::new("a".to_owned(), "A".to_owned());
        results.push(Peer::Node, Err("gone".to_owned()));
        assert!(charts(&sample::document(vec![results])).is_empty());
    }
}
