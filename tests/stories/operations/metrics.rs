//! The metrics: what a running service tells, the catalogue in the code and the README's table are one and the same.

use std::collections::{BTreeMap, BTreeSet};

use sesamy_mailmojo::event::EventType;
use sesamy_mailmojo::sandbox::{contact, user};
use sesamy_mailmojo::telemetry::{Kind, METRICS, Metric};
use sesamy_mailmojo::upstream::Api;
use sesamy_mailmojo::upstream::circuit_breaker::OpenReason;

use crate::support::harness::Town;

const README: &str = include_str!("../../../README.md");

/// The metric that a series belongs to: a histogram has several.
pub fn metric(series: &str) -> Option<Metric> {
    let of_a_histogram =
        ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix)).unwrap_or("");
    METRICS.into_iter().find(|metric| match metric.kind {
        Kind::Histogram => metric.name == of_a_histogram,
        _ => metric.name == series,
    })
}

/// The names of a metric's labels.
pub fn labels_of(metric: &Metric) -> BTreeSet<&'static str> {
    metric.labels.iter().map(|label| label.name).collect()
}

/// A line of `/metrics`: the series' name, and its labels.
pub fn series(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |pair: &str| {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{pair}"));
        (label.to_owned(), value.to_owned())
    };
    lines
        .map(|line| {
            let (name, labels) = line.rsplit_once(' ').unwrap().0.split_once('{').unwrap_or((line, ""));
            let name = name.split(' ').next().unwrap().to_owned();
            let labels = labels
                .strip_suffix("\"}")
                .map_or(BTreeMap::new(), |labels| labels.split("\",").map(pair).collect());
            (name, labels)
        })
        .collect()
}

#[test]
fn the_labels_have_the_words_of_the_code() {
    let values = |name: &str, label: &str| {
        let metric = METRICS.into_iter().find(|metric| metric.name.ends_with(name)).unwrap();
        metric.labels.iter().find(|one| one.name == label).unwrap().values.unwrap().to_vec()
    };
    let types: Vec<_> = EventType::ALL.iter().map(|one| one.as_str()).chain(["unknown", "none"]).collect();
    assert_eq!(values("webhook_requests_total", "event_type"), types);
    let whys: Vec<_> = OpenReason::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(values("upstream_resting", "why"), whys);
    let apis: Vec<_> = Api::ALL.iter().map(|one| one.as_str()).collect();
    assert_eq!(values("upstream_resting", "api"), apis);
}

#[tokio::test]
async fn a_running_service_tells_exactly_the_metrics_of_the_contract() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(user("u1").email("kari@example.com"));
    town.sandbox.mailmojo.put_contact(contact("kari@example.com"));
    town.sync("u1").await;
    let text = town.service.metrics().await;

    let told: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let types: Vec<_> =
        METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
    assert_eq!(told, types.iter().map(String::as_str).collect());
    for help in METRICS.map(|metric| format!("# HELP {} {}\n", metric.name, metric.meaning)) {
        assert!(text.contains(&help), "{help} is not in\n{text}");
    }
    for (name, labels) in series(&text) {
        let metric = metric(&name).unwrap_or_else(|| panic!("{name}"));
        let expected = labels_of(&metric);
        let found: BTreeSet<_> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
        assert_eq!(found, expected, "{name}");
        for label in metric.labels {
            assert!(label.takes(&labels[label.name]), "{name}: {label:?} is {:?}", labels[label.name]);
        }
    }
}

/// The names in back ticks of `text`.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_readme_lists_every_metric_with_its_labels() {
    let (_, from) = README.split_once("\n| metric | type | labels | meaning |\n|---|---|---|---|\n").unwrap();
    let table = from.split("\n\n").next().unwrap();
    let rows: Vec<_> =
        table.lines().map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
    let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
    let listed: Vec<_> =
        rows.iter().map(|row: &Vec<&str>| format!("sesamy_mailmojo_{}", ticked(row[0])[0])).collect();
    assert_eq!(listed, names);
    for (row, metric) in rows.iter().zip(METRICS) {
        let [_, kind, labels, meaning] = row[..] else { panic!("{row:?}") };
        assert_eq!(kind, metric.kind.as_str(), "{}", metric.name);
        assert_eq!(meaning.replace('`', ""), metric.meaning);
        let labels: Vec<_> = labels.split("; ").map(ticked).filter(|names| !names.is_empty()).collect();
        assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        for (told, label) in labels.iter().zip(metric.labels) {
            assert_eq!(told[0], label.name, "{}", metric.name);
            let values = label.values.unwrap_or_default().iter().filter(|value| !value.is_empty());
            assert_eq!(told[1..], values.copied().collect::<Vec<_>>(), "{}: {}", metric.name, label.name);
        }
    }
}
