//! The files for other programs: `config/compose.yaml` and the workflows are what those programs take, and fit the
//! service, the image and each other.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::shell::{Settings, run};

const SERVICE: &str = "sesamy-mailmojo";
const MOUNTED: &str = "/run/secrets/";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parsed(path: &str) -> Yaml {
    let mut documents =
        YamlLoader::load_from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

fn compose() -> Yaml {
    parsed("config/compose.yaml")
}

/// The keys and values of a mapping, which must be one.
#[track_caller]
fn pairs(mapping: &Yaml) -> Vec<(String, &Yaml)> {
    let mapping = mapping.as_hash().unwrap_or_else(|| panic!("{mapping:?} is no mapping"));
    mapping.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), value)).collect()
}

/// The texts in a sequence, which must be one.
#[track_caller]
fn texts(sequence: &Yaml) -> Vec<String> {
    let sequence = sequence.as_vec().unwrap_or_else(|| panic!("{sequence:?} is no sequence"));
    sequence.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The environment that the compose file gives to a service, all of it text.
fn environment(service: &Yaml) -> Vec<(String, String)> {
    let text = |(name, value): (String, &Yaml)| {
        let value = value.as_str().unwrap_or_else(|| panic!("{name} has to be in quotes: {value:?}"));
        (name, value.to_owned())
    };
    pairs(&service["environment"]).into_iter().map(text).collect()
}

#[test]
fn two_replicas_share_a_postgres_whose_data_stays() {
    let compose = compose();
    let service = &compose["services"][SERVICE];
    assert_eq!(service["deploy"]["replicas"].as_i64(), Some(2));
    assert_eq!(service["depends_on"]["postgres"]["condition"].as_str(), Some("service_healthy"));

    let postgres = &compose["services"]["postgres"];
    let mounts = texts(&postgres["volumes"]);
    let (volume, place) = mounts[0].split_once(':').unwrap();
    assert_eq!(place, "/var/lib/postgresql/data");
    assert!(pairs(&compose["volumes"]).iter().any(|(name, _)| name == volume), "the volume is not declared");
    assert!(postgres["ports"].is_badvalue(), "the database is reached by the replicas alone");
}

#[test]
fn each_replica_has_a_port_of_its_own_on_the_loopback() {
    let compose = compose();
    let ports = texts(&compose["services"][SERVICE]["ports"]);
    let parts: Vec<&str> = ports[0].split(':').collect();
    let [address, range, inside] = parts[..] else { panic!("{ports:?}") };
    let (first, last) = range.split_once('-').unwrap();
    let count = last.parse::<i64>().unwrap() - first.parse::<i64>().unwrap() + 1;
    assert_eq!(Some(count), compose["services"][SERVICE]["deploy"]["replicas"].as_i64());
    assert_eq!(address, "127.0.0.1", "what ends TLS stands in front");
    assert!(text("config/default.toml").contains(&format!("listen = \"0.0.0.0:{inside}\"")));
}

#[test]
fn replicas_are_locked_down_watched_and_have_time_to_stop() {
    let compose = compose();
    let service = &compose["services"][SERVICE];
    assert_eq!(service["read_only"].as_bool(), Some(true));
    assert_eq!(texts(&service["cap_drop"]), ["ALL"]);
    assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"]);
    for (name, service) in pairs(&compose["services"]) {
        assert_eq!(service["restart"].as_str(), Some("unless-stopped"), "{name}");
        assert!(!service["healthcheck"]["test"].is_badvalue(), "{name}");
        assert!(!service["stop_grace_period"].is_badvalue(), "{name}");
    }
    let grace: u64 =
        service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(grace > 8, "running syncs have until second 8");
}

#[tokio::test]
async fn the_health_check_is_a_command_of_the_image() {
    let test = texts(&compose()["services"][SERVICE]["healthcheck"]["test"]);
    let [kind, program, argument] = &test[..] else { panic!("{test:?}") };
    assert_eq!(kind, "CMD", "the image has no shell");
    assert!(text("Dockerfile").contains(&format!("ENTRYPOINT [\"{program}\"]")));
    assert_eq!(run(&[argument, "--help"], &Settings::new()).await.code, Some(0));
}

/// Every problem with the settings is told at once; so where one that is put in on purpose is the only one, all of the
/// others are known, and may be files.
#[tokio::test]
async fn every_setting_in_the_compose_file_is_one_that_the_service_takes() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new();
    for (name, value) in environment(&compose()["services"][SERVICE]) {
        let value = match value.strip_prefix(MOUNTED) {
            Some("queue_url") => {
                sample(folder.path(), "queue_url", "postgres://sesamy_mailmojo:sample@postgres/q")
            }
            Some(secret) => sample(folder.path(), secret, "a-sample-that-is-long-enough"),
            None => value,
        };
        settings.insert(name, value);
    }
    settings.insert("MAILMOJO__LIST_ID".to_owned(), "not a number".to_owned());
    let ended = run(&["check", "--json"], &settings).await;
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let told = answer["checks"][0]["detail"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(told.contains("one thing is wrong") && told.contains("mailmojo.list_id"), "{told}");
}

fn sample(folder: &Path, name: &str, value: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{value}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_file_that_a_setting_names_is_a_declared_secret_and_the_image_does_not_set_it_too() {
    let compose = compose();
    let declared = pairs(&compose["secrets"]);
    let mut used = Vec::new();
    for (service, content) in pairs(&compose["services"]) {
        let given = texts(&content["secrets"]);
        let named: Vec<String> = environment(content)
            .into_iter()
            .filter_map(|(name, value)| {
                let file = name.ends_with("_FILE");
                assert_eq!(file, value.starts_with(MOUNTED), "{service}: {name}");
                let image = text("Dockerfile");
                let plain = name.strip_suffix("_FILE")?;
                assert!(
                    !image.contains(&format!("{plain}=")),
                    "the image sets {plain}: both at once is refused"
                );
                Some(value.strip_prefix(MOUNTED)?.to_owned())
            })
            .collect();
        assert_eq!(given, named, "{service}");
        used.extend(given);
    }
    for (name, content) in &declared {
        assert!(used.contains(name), "nobody uses {name}");
        assert_eq!(content["file"].as_str(), Some(format!("./secrets/{name}").as_str()));
        let told = text("config/compose.yaml");
        assert!(told.lines().any(|line| line.starts_with('#') && line.contains(name)), "how {name} is made");
    }
    assert_eq!(declared.len(), used.len());
    assert!(text(".gitignore").contains("/config/secrets\n"), "secrets are never committed");
}

#[test]
fn no_image_names_a_registry() {
    let compose = compose();
    for (service, content) in pairs(&compose["services"]) {
        let image = content["image"].as_str().unwrap();
        let first = image.split_once('/').map_or("", |(first, _)| first);
        assert!(!first.contains(['.', ':']) && first != "localhost", "{service}: {image}");
    }
    let own = &compose["services"][SERVICE];
    assert!(root().join("config").join(own["build"].as_str().unwrap()).join("Dockerfile").is_file());
    let version = compose["services"]["postgres"]["image"].as_str().unwrap().split_once(':').unwrap().1;
    assert!(
        version.starts_with(|digit: char| digit.is_ascii_digit()),
        "a new major version needs a move of the data"
    );
}

#[test]
fn the_workflows_can_be_read_and_run_each_check_there_is() {
    for file in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let name = format!(".github/workflows/{}", file.unwrap().file_name().to_str().unwrap());
        let workflow = parsed(&name);
        assert!(!workflow["on"].is_badvalue(), "{name}");
        for (job, content) in pairs(&workflow["jobs"]) {
            let somewhere = !content["runs-on"].is_badvalue() || !content["uses"].is_badvalue();
            assert!(somewhere, "{name}: {job}");
        }
    }
    parsed(".github/dependabot.yml");

    let checks =
        text(".ci/run").lines().find_map(|line| line.trim().strip_prefix("set -- ").map(str::to_owned));
    let workflow = parsed(".github/workflows/ci.yml");
    let steps = workflow["jobs"]["checks"]["steps"].as_vec().unwrap();
    let run = steps.iter().filter_map(|step| step["run"].as_str()?.strip_prefix(".ci/run "));
    assert_eq!(run.collect::<Vec<_>>().join(" "), checks.unwrap());
}
