//! What is kept about people is what the README says, to the column.

use std::collections::BTreeSet;

use sesamy_mailmojo::sandbox::{Fault, Route, Rule, contract, entitlement, user};

use crate::support::faults::text;
use crate::support::harness::Town;

const README: &str = include_str!("../../../README.md");

/// The README's section about it.
fn section() -> &'static str {
    let (_, from) = README.split_once("## What the database keeps about people").expect("the section");
    from.split_once("\n## ").map_or(from, |(section, _)| section)
}

/// The words in back ticks of `text`.
fn names(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_readme_lists_every_column_about_users_and_every_other_table() {
    let town = Town::start().await;
    let all =
        |sql: &str| -> BTreeSet<String> { text(&town, sql).unwrap().split(' ').map(str::to_owned).collect() };
    let rows = || section().lines().filter_map(|line| line.strip_prefix('|'));
    for table in ["users", "history"] {
        let columns = all(&format!("SELECT group_concat(name, ' ') FROM pragma_table_info('{table}')"));
        let heading = format!(" column of `{table}` ");
        let of_table = rows().skip_while(|row| !row.starts_with(&heading)).skip(1);
        let of_table =
            of_table.take_while(|row| [" column of ", " field of "].iter().all(|it| !row.starts_with(it)));
        let listed: BTreeSet<String> =
            of_table.filter_map(|row| row.split_once(" | ")).flat_map(|(cell, _)| names(cell)).collect();
        assert_eq!(listed, columns, "{table}");
    }

    let tables = all("SELECT group_concat(name, ' ') FROM sqlite_schema WHERE type = 'table'");
    let (_, others) = section().split_once("The other tables, ").expect("a sentence about the other tables");
    let (others, _) = others.split_once(", have").unwrap();
    let told: BTreeSet<String> =
        names(others).into_iter().chain(["users", "history"].map(str::to_owned)).collect();
    assert_eq!(told, tables);
}

/// Looked for in the bytes of all files of the queue, the journal among them, where nothing is taken out; and, as the address
/// itself is kept, in every column of every table but its own.
#[tokio::test]
async fn an_address_gets_into_one_column_and_nothing_else_personal_into_the_files_even_when_a_sync_fails() {
    let town = Town::start().await;
    let kari = user("u1").email("canary@example.com").first_name("Canaryfirst").last_name("Canarylast");
    let kari = kari.mobile_phone("+47 900 90 091").tags(["vip", "canary@example.com"]);
    let kari = kari.contract(contract("canarycontract")).entitlement(entitlement("e1", "plus"));
    town.sandbox.sesamy.put_user(kari);
    let quote = "canary@example.com, CANARYFIRST Canarylast, 900-90-091";
    let refused = Fault::status(422).message(&format!("seen {quote} here"));
    town.sandbox.mailmojo.inject(Rule::on(Route::Subscribe, refused).times(1));
    town.sync("u1").await;
    assert!(text(&town, "SELECT error FROM users").unwrap().contains("was answered 422"));
    town.sync("u1").await;
    town.contact("canary@example.com");
    assert_eq!(text(&town, "SELECT coalesce(error, answer) FROM users"), None, "a failure that is over");

    for file in std::fs::read_dir(town.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
        for secret in ["canaryfirst", "canarylast", "canarycontract", "900 90 091", "900-90-091", "90090091"]
        {
            let at = bytes.windows(secret.len()).position(|window| window == secret.as_bytes());
            assert_eq!(at, None, "{secret} is in {}", path.display());
        }
    }

    let columns = text(
        &town,
        "SELECT group_concat(m.name || '.' || c.name, ' ') FROM sqlite_schema AS m,
        pragma_table_info(m.name) AS c WHERE m.type = 'table'",
    );
    for column in columns.unwrap().split(' ') {
        let (table, name) = column.split_once('.').unwrap();
        let sql = format!("SELECT count(*) FROM {table} WHERE CAST({name} AS TEXT) LIKE '%canary%'");
        let kept = i64::from(["users.last_seen", "users.address_key"].contains(&column));
        assert_eq!(town.query(&sql).unwrap(), kept, "{column}");
    }
}
