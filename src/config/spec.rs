//! What is known of a setting, whatever the type of its value: its name, what it takes, and how a person sets it.

/// The description of one setting.
#[derive(Debug)]
pub(super) struct Spec {
    /// As in `mailmojo.list_id`.
    pub name: &'static str,
    /// What a right value looks like; completes "set it to …". Of a table: what each of its values may be.
    pub wants: &'static str,
    /// What it is for, in Markdown: its line in the list of all settings.
    pub help: &'static str,
    /// Another key that is accepted for it in a file; in the environment, in any letter case.
    pub alias: Option<&'static str>,
    pub shape: Shape,
    /// Whether it may be read from a file that a `…_FILE` variable names, and is never shown.
    pub is_secret: bool,
    /// Whether it may be left out though it has no default.
    pub is_optional: bool,
}

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    /// Separated by commas in the environment, one a line in a file of secrets.
    List,
    /// Names that the publisher chooses, each a variable of its own.
    Table,
}

impl Spec {
    /// The section it is in, and its key there.
    pub fn path(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name)) // every name has a dot, by a test
    }

    /// As in `MAILMOJO__LIST_ID`.
    pub fn variable(&self) -> String {
        self.name.replace('.', "__").to_uppercase()
    }

    /// A sentence that says how to set it.
    pub fn how(&self) -> String {
        let (variable, (section, key), wants) = (self.variable(), self.path(), self.wants);
        let (brackets, commas, lines) = match self.shape {
            Shape::Single => ("", "", ""),
            Shape::List => (" (a list)", ", separated by commas", ", one a line"),
            Shape::Table => {
                return format!(
                    "set {variable}__NAME (the name is taken in lower case), or `name` under [{section}.{key}] in \
                     the settings file, to one of these: {wants}"
                );
            }
        };
        let file = match self.is_secret {
            true => format!("; or {variable}_FILE to the path of a file that holds it{lines}"),
            false => String::new(),
        };
        format!(
            "set {variable}, or `{key}`{brackets} under [{section}] in the settings file, to {wants}{commas}{file}"
        )
    }
}
