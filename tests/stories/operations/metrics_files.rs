//! The files for Prometheus and Grafana: all that they name is what a running service tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sesamy_mailmojo::telemetry::{Kind, METRICS};
use yaml_rust2::{Yaml, YamlLoader};

use crate::operations::metrics::{labels_of, metric, series};
use crate::support::harness::Town;
use crate::support::promql::{self, Query, Selector};
use crate::support::shell::{Settings, run};

const README: &str = include_str!("../../../README.md");
const ALERTS: &str = include_str!("../../../config/prometheus-alerts.yaml");
const DASHBOARD: &str = include_str!("../../../config/grafana-dashboard.json");

/// The labels that a scrape adds.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

struct Alert {
    name: String,
    expr: String,
    waits: Option<String>,
    severity: String,
    summary: String,
    description: String,
}

fn alerts() -> Vec<Alert> {
    let documents = YamlLoader::load_from_str(ALERTS).unwrap();
    let groups = documents[0]["groups"].as_vec().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_vec().unwrap());
    let text = |yaml: &Yaml| yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text")).to_owned();
    rules
        .map(|rule| Alert {
            name: text(&rule["alert"]),
            expr: text(&rule["expr"]),
            waits: rule["for"].as_str().map(str::to_owned),
            severity: text(&rule["labels"]["severity"]),
            summary: text(&rule["annotations"]["summary"]),
            description: text(&rule["annotations"]["description"]),
        })
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// The panels that show something, rows left out.
fn panels() -> Vec<Value> {
    let panels = dashboard()["panels"].as_array().unwrap().clone();
    panels.into_iter().filter(|panel| panel["type"] != "row").collect()
}

/// The dashboard's queries, each with the name of its panel and its legend.
fn targets() -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
    let of = |panel: &Value| -> Vec<_> {
        let targets = panel["targets"].as_array().unwrap().iter();
        targets
            .map(|target| (text(&panel["title"]), text(&target["expr"]), text(&target["legendFormat"])))
            .collect()
    };
    panels().iter().flat_map(of).collect()
}

/// Every query of both files, with where it is.
fn queries() -> Vec<(String, Query)> {
    let alerts = alerts().into_iter().map(|alert| (alert.name, alert.expr));
    let panels = targets().into_iter().map(|(panel, expr, _)| (panel, expr));
    let read = |(place, text): (String, String)| {
        let query = promql::read(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
        (place, query)
    };
    alerts.chain(panels).map(read).collect()
}

/// The names between `open` and `close` in a template, such as `{{ $labels.api }}`.
fn named<'a>(template: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = template.split(open).skip(1);
    parts.map(|part| part.split_once(close).unwrap_or_else(|| panic!("{template}")).0.trim()).collect()
}

/// The labels that the result of a query has, and that a template may therefore name.
fn labels_left(query: &Query) -> BTreeSet<String> {
    if query.aggregated {
        return query.grouped.clone();
    }
    let own = query.selectors.iter().filter_map(|selector| metric(&selector.metric));
    let own = own.flat_map(|metric| metric.labels).map(|label| label.name);
    own.chain(OF_THE_SCRAPE).map(str::to_owned).collect()
}

#[test]
fn every_metric_label_and_value_that_the_files_name_exists() {
    for (place, query) in queries() {
        let mut known: BTreeSet<_> = OF_THE_SCRAPE.into();
        for selector in &query.selectors {
            let metric =
                metric(&selector.metric).unwrap_or_else(|| panic!("{place}: no {}", selector.metric));
            let rises = metric.kind != Kind::Gauge;
            let there = selector.ranged || place == "SesamyMailmojoNoEvents"; // which asks whether it was there
            assert!(!rises || there, "{place}: {} needs a rate", metric.name);
            known.extend(labels_of(&metric));
            known.extend(selector.metric.ends_with("_bucket").then_some("le"));
            for matcher in &selector.matchers {
                if OF_THE_SCRAPE.contains(&matcher.label.as_str()) {
                    continue;
                }
                let label = metric.labels.iter().find(|label| label.name == matcher.label);
                let label =
                    label.unwrap_or_else(|| panic!("{place}: {} has no {}", metric.name, matcher.label));
                for value in matcher.value.split('|') {
                    assert!(label.takes(value), "{place}: {} is never {value}", label.name);
                }
                let one = !matcher.operator.contains('~');
                assert!(!one || !matcher.value.contains('|'), "{place}: several values need =~");
            }
        }
        for label in &query.grouped {
            assert!(known.contains(label.as_str()), "{place}: nothing here has a label {label}");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let shown: BTreeSet<_> = targets()
        .iter()
        .flat_map(|(_, expr, _)| promql::read(expr).unwrap().selectors)
        .map(|selector| metric(&selector.metric).unwrap().name)
        .collect();
    assert_eq!(shown, METRICS.into_iter().map(|metric| metric.name).collect());
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let Alert { name, expr, waits, severity, summary, description } = &alert;
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert!(name.starts_with("SesamyMailmojo"), "{name}");
        assert!(["critical", "warning"].contains(&severity.as_str()), "{name}: {severity}");
        assert!(waits.as_deref().is_none_or(promql::is_duration), "{name}: {waits:?}");
        assert!((10..100).contains(&summary.len()) && description.len() > 100, "{name}: {summary}");
        let left = labels_left(&promql::read(expr).unwrap());
        for part in named(&format!("{summary} {description}"), "{{", "}}") {
            let label = part.strip_prefix("$labels.");
            let known = label.map_or(part.starts_with("$value"), |label| left.contains(label));
            assert!(known, "{name}: {part}");
        }
        let words = description.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for setting in words.filter(|word| word.contains("__")) {
            let key = setting.to_lowercase().replacen("__", ".", 1);
            assert!(README.contains(&format!("`{key}`")), "{name}: {setting} is no setting");
        }
    }
}

#[test]
fn there_is_an_alert_for_each_way_to_lose_events_and_none_for_who_has_left() {
    let asks = |wanted: &dyn Fn(&Selector) -> bool| {
        let queries = alerts().into_iter().map(|alert| promql::read(&alert.expr).unwrap());
        queries.into_iter().any(|query| query.selectors.iter().any(wanted))
    };
    let for_the_result = |result: &str| {
        asks(&|selector| {
            let mut values = selector.matchers.iter().filter(|matcher| matcher.label == "result");
            values.any(|matcher| matcher.value.split('|').any(|value| value == result))
        })
    };
    let results = METRICS[0].labels[0].values.unwrap();
    for result in results.iter().filter(|result| **result != "ignored") {
        assert!(for_the_result(result), "{result}");
    }
    assert!(!asks(&|selector| selector.metric.contains("withheld")));
}

#[test]
fn the_dashboard_takes_any_prometheus_and_explains_each_panel() {
    let dashboard = dashboard();
    for key in ["id", "uid"] {
        assert!(dashboard[key].is_null(), "an import must not replace another dashboard");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    let counts = DASHBOARD.matches("\"uid\": ").count();
    assert_eq!(DASHBOARD.matches("\"uid\": \"${datasource}\"").count(), counts);
    let query = variables[1]["definition"].as_str().unwrap();
    let series = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(", job)")).unwrap();
    assert!(metric(series).is_some(), "{series}");

    let mut ids = BTreeSet::new();
    for panel in panels() {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: its id is there twice");
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(target["expr"].as_str().unwrap().contains("job=~\"$job\""), "{title}");
        }
    }
    for (panel, expr, legend) in targets() {
        let left = labels_left(&promql::read(&expr).unwrap());
        for label in named(&legend, "{{", "}}") {
            assert!(left.contains(label), "{panel}: {label}");
        }
    }
    let rows = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Is it healthy?", "Webhook", "Queue", "Syncs", "APIs"]);
}

#[test]
fn no_panel_lies_on_another_or_leaves_the_grid() {
    let mut taken = BTreeMap::new();
    for panel in dashboard()["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_i64().unwrap());
        assert!(x >= 0 && w > 0 && h > 0 && x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let before = taken.insert(cell, panel["title"].clone());
            assert_eq!(before, None, "under {}", panel["title"]);
        }
    }
}

/// Prometheus sees no rise in a counter that begins at 1, so the first event turned away would go unnoticed.
#[tokio::test]
async fn what_an_alert_looks_for_is_there_before_anything_has_happened() {
    let town = Town::start().await;
    let told = series(&town.service.metrics().await);
    for alert in alerts() {
        for selector in promql::read(&alert.expr).unwrap().selectors {
            let all: Vec<_> = told.iter().filter(|(name, _)| *name == selector.metric).collect();
            assert!(!all.is_empty(), "{}: {}", alert.name, selector.metric);
            for matcher in &selector.matchers {
                for value in matcher.value.split('|') {
                    let found = all.iter().any(|(_, labels)| labels[&matcher.label] == value);
                    assert!(found, "{}: {}=\"{value}\"", alert.name, matcher.label);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_command_that_an_alert_or_a_panel_advises_is_there() {
    let mut advised = BTreeSet::new();
    let texts = alerts().into_iter().map(|alert| alert.description);
    let panels = panels().into_iter().filter_map(|panel| panel["description"].as_str().map(str::to_owned));
    for text in texts.chain(panels) {
        // Every other piece stands between back ticks.
        for quoted in text.split('`').skip(1).step_by(2) {
            let command = quoted.strip_prefix("sesamy-mailmojo ").unwrap_or(quoted);
            if ["backfill", "queue", "check", "sync", "preview"].iter().any(|it| command.starts_with(it)) {
                advised.insert(command.to_owned());
            }
        }
    }
    assert!(advised.len() > 4, "{advised:?}");
    for command in advised {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (names, options): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| !word.starts_with('-'));
        // Values of options, such as `parked`, are no commands.
        let depth = if names[0] == "queue" { names.len().min(2) } else { 1 };
        let help = run(&[&names[..depth], &["--help"]].concat(), &Settings::new()).await;
        assert_eq!(help.code, Some(0), "{command}: {help:?}");
        for option in options {
            assert!(help.stdout.contains(option), "{command}: {}", help.stdout);
        }
    }
}
