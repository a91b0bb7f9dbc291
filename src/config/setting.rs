//! The constants that the table consists of: what a setting is called, how its value is read, and what that is.

use ::config::{Value, ValueKind};

use super::parse::Parsed;
use super::spec::{Shape, Spec};
use super::values::Values;

/// A setting whose value is a `T`.
pub(crate) struct Setting<T: 'static> {
    pub(super) spec: Spec,
    parse: fn(&Value) -> Parsed<T>,
    /// The value if it is left out; `None`: it must not be.
    absent: Option<fn() -> T>,
}

/// What stands behind a field of a section: a setting, or several that belong together.
pub(crate) trait Field: Sync {
    type Value;

    /// The value; `None` if it is missing or wrong.
    fn read(&self, values: &Values) -> Option<Self::Value>;
}

/// A field in the list of all: the type of its value does not matter there.
pub(super) trait AnyField: Sync {
    /// The settings it consists of.
    fn specs(&self) -> Vec<&Spec>;

    /// Notes what is missing or wrong.
    fn check(&self, values: &mut Values);
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
    Setting { spec, parse, absent: None }
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

    /// Makes it one that may be left out.
    pub const fn or(mut self, absent: fn() -> T) -> Self {
        self.spec.is_optional = true;
        self.absent = Some(absent);
        self
    }
}

impl<T> Field for Setting<T> {
    type Value = T;

    fn read(&self, values: &Values) -> Option<T> {
        match values.given(&self.spec) {
            Some(value) => (self.parse)(&value).ok(),
            None => self.absent.map(|absent| absent()),
        }
    }
}

impl<T> AnyField for Setting<T> {
    fn specs(&self) -> Vec<&Spec> {
        vec![&self.spec]
    }

    fn check(&self, values: &mut Values) {
        match values.given(&self.spec) {
            Some(value) if value.kind == ValueKind::Nil => {} // its source has reported why
            Some(value) => {
                if let Err(what) = (self.parse)(&value) {
                    values.fault(&self.spec, what);
                }
            }
            None if self.absent.is_none() => values.missing(&self.spec, "is missing"),
            None => {}
        }
    }
}
