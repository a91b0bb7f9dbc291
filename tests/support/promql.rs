//! As much of PromQL as our files use, read strictly: what Prometheus would refuse is refused here, so that no test needs
//! Prometheus. What is not known here is refused too, and has to be added.

use std::collections::BTreeSet;

/// What a query asks for.
#[derive(Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// The labels by which it groups or joins.
    pub grouped: BTreeSet<String>,
    /// Whether an aggregation takes the labels away that are not in `grouped`.
    pub aggregated: bool,
}

/// A metric, and which of its series.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    pub matchers: Vec<Matcher>,
    /// Whether it is a range (`[5m]`), as a function over time needs it.
    pub ranged: bool,
}

/// A condition on a label.
#[derive(Debug)]
pub struct Matcher {
    pub label: String,
    pub operator: String,
    pub value: String,
}

const AGGREGATIONS: [&str; 5] = ["sum", "min", "max", "count", "avg"];
const OVER_TIME: [&str; 3] = ["rate", "increase", "max_over_time"];
/// Functions of an instant vector, and what comes before it among their arguments.
const FUNCTIONS: [(&str, usize); 3] = [("absent", 0), ("histogram_quantile", 1), ("vector", 0)];
const OPERATORS: [&str; 13] = ["==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "and", "or", "unless"];
const UNITS: [&str; 6] = ["ms", "s", "m", "h", "d", "w"];
/// What Grafana puts in for a duration.
const VARIABLES: [&str; 2] = ["$__rate_interval", "$__range"];

/// Reads a query, or tells what is wrong with it.
pub fn read(text: &str) -> Result<Query, String> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, query: Query::default() };
    reader.expression()?;
    match reader.peek() {
        None => Ok(reader.query),
        Some(left) => Err(format!("{left:?} is left over in {text}")),
    }
}

/// Whether `text` is a duration such as `5m`.
pub fn is_duration(text: &str) -> bool {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    digits.parse::<u32>().is_ok() && UNITS.contains(&unit)
}

/// Names, numbers and durations, texts in quotes (with their first quote), and signs.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').ok_or(format!("a quote is not closed in {text}"))? + 1,
            '=' | '!' | '<' | '>' if rest[1..].starts_with(['=', '~']) => 2,
            '$' | '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => rest
                .find(|c: char| !c.is_ascii_alphanumeric() && !['_', '$', '.', ':'].contains(&c))
                .unwrap_or(rest.len()),
            '(' | ')' | '{' | '}' | '[' | ']' | ',' | '=' | '<' | '>' | '+' | '-' | '*' | '/' => 1,
            other => return Err(format!("{other:?} in {text}")),
        };
        tokens.push(rest[..length].to_owned());
        let closing = usize::from(first == '"');
        rest = rest[length + closing..].trim_start();
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
    query: Query,
}

impl Reader {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn must(&mut self, wanted: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == wanted { Ok(()) } else { Err(format!("{found:?} where {wanted:?} should be")) }
    }

    /// Operands with operators between; which binds first is all one here.
    fn expression(&mut self) -> Result<(), String> {
        loop {
            self.operand()?;
            if !self.peek().is_some_and(|token| OPERATORS.contains(&token)) {
                return Ok(());
            }
            self.at += 1;
            if self.takes("on") || self.takes("ignoring") {
                self.labels()?;
            }
        }
    }

    fn operand(&mut self) -> Result<(), String> {
        self.takes("-");
        let token = self.next()?;
        if token == "(" {
            self.expression()?;
            self.must(")")
        } else if token.parse::<f64>().is_ok() {
            Ok(())
        } else if AGGREGATIONS.contains(&token.as_str()) {
            self.query.aggregated = true;
            let before = self.grouping()?;
            self.must("(")?;
            self.expression()?;
            self.must(")")?;
            if before { Ok(()) } else { self.grouping().map(drop) }
        } else if OVER_TIME.contains(&token.as_str()) {
            self.must("(")?;
            let metric = self.next()?;
            self.selector(metric, true)?;
            self.must(")")
        } else if let Some((_, numbers)) = FUNCTIONS.iter().find(|(name, _)| *name == token) {
            self.must("(")?;
            for _ in 0..*numbers {
                let number = self.next()?;
                number.parse::<f64>().map_err(|_| format!("{number:?} is no number"))?;
                self.must(",")?;
            }
            self.expression()?;
            self.must(")")
        } else {
            self.selector(token, false)
        }
    }

    fn grouping(&mut self) -> Result<bool, String> {
        let found = self.takes("by");
        if found {
            self.labels()?;
        }
        Ok(found)
    }

    fn labels(&mut self) -> Result<(), String> {
        self.must("(")?;
        loop {
            let label = self.next()?;
            if !is_name(&label) {
                return Err(format!("{label:?} is no label"));
            }
            self.query.grouped.insert(label);
            if !self.takes(",") {
                return self.must(")");
            }
        }
    }

    fn selector(&mut self, metric: String, ranged: bool) -> Result<(), String> {
        if !is_name(&metric) || OPERATORS.contains(&metric.as_str()) {
            return Err(format!("{metric:?} is neither a metric nor a function known here"));
        }
        let mut matchers = Vec::new();
        if self.takes("{") {
            while !self.takes("}") {
                let (label, operator, value) = (self.next()?, self.next()?, self.next()?);
                if !is_name(&label) || !["=", "!=", "=~", "!~"].contains(&operator.as_str()) {
                    return Err(format!("{label}{operator}{value} is no condition"));
                }
                let value = value.strip_prefix('"').ok_or(format!("{value} is not in quotes"))?.to_owned();
                matchers.push(Matcher { label, operator, value });
                if !self.takes(",") && self.peek() != Some("}") {
                    return Err(format!("a comma is missing among the conditions on {metric}"));
                }
            }
        }
        if self.takes("[") != ranged {
            return Err(format!("{metric}: a range belongs into a function over time, and only there"));
        }
        if ranged {
            let range = self.next()?;
            if !is_duration(&range) && !VARIABLES.contains(&range.as_str()) {
                return Err(format!("{range:?} is no duration"));
            }
            self.must("]")?;
        }
        if self.takes("offset") {
            let offset = self.next()?;
            if !is_duration(&offset) {
                return Err(format!("{offset:?} is no duration"));
            }
        }
        self.query.selectors.push(Selector { metric, matchers, ranged });
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[test]
fn a_query_is_read_to_its_last_label() {
    let text = r#"sum by (job, api) (rate(calls_total{status=~"5..",api!="x"}[5m] offset 1d)) > 1 unless on (job) absent(up)"#;
    let query = read(text).unwrap();
    let metrics: Vec<_> = query.selectors.iter().map(|one| (one.metric.as_str(), one.ranged)).collect();
    assert_eq!(metrics, [("calls_total", true), ("up", false)]);
    assert_eq!(query.grouped.iter().map(String::as_str).collect::<Vec<_>>(), ["api", "job"]);
    let matcher = &query.selectors[0].matchers[0];
    assert_eq!((&*matcher.label, &*matcher.operator, &*matcher.value), ("status", "=~", "5.."));
    assert!(query.aggregated);
}

#[test]
fn what_prometheus_would_refuse_is_refused() {
    for wrong in [
        "",
        "sum(up",
        "up)",
        "sum by (job up)",
        "sum by job (up)",
        "rate(up)",
        "rate(sum(up)[5m])",
        "up[5m]",
        "rate(up[5])",
        "rate(up[5 minutes])",
        "up{a=b}",
        "up{a=\"b\" c=\"d\"}",
        "up{\"a\"=\"b\"}",
        "up{a~\"b\"}",
        "up{a=\"b}",
        "up > > 1",
        "up >",
        "up == 1 and",
        "and up",
        "up 1",
        "irate2(up[5m])",
        "histogram_quantile(up, 0.9)",
        "up offset much",
        "up; up",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
