//! What a setting is: its name, what it takes, and how a person sets it.

use ::config::Value;

use super::parse::Parsed;

/// One setting whose value is a `T`.
pub(super) struct Setting<T: 'static> {
    pub spec: Spec,
    parse: fn(&Value) -> Parsed<T>,
}

/// What is known of a setting, whatever the type of its value.
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

/// A setting in the list of all: its type is only known to its constant.
pub(super) trait AnySetting: Sync {
    fn spec(&self) -> &Spec;
    /// Whether `value` is right. The error is the end of a sentence that begins with the setting's name.
    fn check(&self, value: &Value) -> Parsed<()>;
}

/// A setting that is a single value and has a default.
pub(super) const fn setting<T>(name: &'static str, parse: fn(&Value) -> Parsed<T>) -> Setting<T> {
    let spec = Spec {
        name,
        wants: "",
        help: "",
        alias: None,
        shape: Shape::Single,
        is_secret: false,
        is_optional: false,
    };
    Setting { spec, parse }
}

impl<T> Setting<T> {
    pub const fn wants(mut self, wants: &'static str) -> Self {
        self.spec.wants = wants;
        self
    }

    pub const fn help(mut self, help: &'static str) -> Self {
        self.spec.help = help;
        self
    }

    pub const fn alias(mut self, alias: &'static str) -> Self {
        self.spec.alias = Some(alias);
        self
    }

    pub const fn list(mut self) -> Self {
        self.spec.shape = Shape::List;
        self
    }

    pub const fn table(mut self) -> Self {
        self.spec.shape = Shape::Table;
        self
    }

    pub const fn secret(mut self) -> Self {
        self.spec.is_secret = true;
        self
    }

    pub const fn optional(mut self) -> Self {
        self.spec.is_optional = true;
        self
    }

    pub fn parse(&self, value: &Value) -> Parsed<T> {
        (self.parse)(value)
    }
}

impl<T> AnySetting for Setting<T> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn check(&self, value: &Value) -> Parsed<()> {
        self.parse(value).map(drop)
    }
}

impl Spec {
    /// The table it is in, and its key there.
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
