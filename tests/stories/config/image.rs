//! The image's own file: what a container platform may count on. Building and running it is the workflows' part.

const DOCKERFILE: &str = include_str!("../../../Dockerfile");
const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// The lines of the last stage that begin with `word`, without it.
fn lines(word: &str) -> Vec<&'static str> {
    let (_, last) = DOCKERFILE.rsplit_once("\nFROM ").unwrap();
    last.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_writes_to_one_folder_alone() {
    let users = lines("USER");
    assert_eq!(users.len(), 1);
    let ids: Vec<u32> = users[0].split(':').map(|id| id.parse().expect("a number")).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 0), "{ids:?}");
    assert_eq!(lines("VOLUME"), ["/data"]);
    assert!(lines("COPY").iter().any(|copy| copy.contains(&format!("--chown={} /data /data", users[0]))));
    // The queue's default place is data/ where the process is.
    assert!(DEFAULTS.contains(r#"url = "sqlite://data/"#) && lines("WORKDIR") == ["/"]);
    assert!(lines("ENV") == ["TMPDIR=/data"]);
    // A shell form would need a shell, and there is none.
    for word in ["CMD", "ENTRYPOINT"] {
        assert!(lines(word).iter().all(|it| it.starts_with('[')), "{word}");
    }
    for word in ["TOKEN", "SECRET", "PASSWORD"] {
        assert!(!DOCKERFILE.contains(word), "a secret in the image?");
    }
}
