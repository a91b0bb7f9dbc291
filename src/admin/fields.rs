//! The fields of a form or a query.

use std::borrow::Cow;

/// Names and values in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=b&c=d`, percent-encoded; what is not UTF-8 is replaced.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(bytes)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The first value of that name as it is; `None` if it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())?;
        (!value.is_empty()).then_some(value)
    }

    /// The same as a person has typed it, without white space around it.
    pub(super) fn typed(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Whether there is a name that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> bool {
        self.0.iter().any(|(name, _)| !known.contains(&name.as_str()))
    }
}

/// `path` with these values as its query; a value of `None` is left out.
pub(super) fn with_query<const N: usize>(path: &str, values: [(&str, Option<Cow<'_, str>>); N]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in values {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// `back` if it is a page of ours, else the first one: a form must not lead to another site.
pub(super) fn local(back: Option<&str>) -> &str {
    const FIRST: &str = "/admin";
    let is_ours = |path: &&str| {
        path.strip_prefix(FIRST).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    back.filter(is_ours).unwrap_or(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_forms_send_them() {
        let fields = Fields::parse(b"reason=mailmojo+422%3A+no+&blank=+&reason=again&x");
        assert_eq!(fields.get("reason"), Some("mailmojo 422: no "));
        assert_eq!((fields.typed("reason"), fields.typed("blank")), (Some("mailmojo 422: no"), None));
        assert_eq!((fields.get("x"), fields.get("y")), (None, None));
        assert!(fields.unknown(&["reason", "blank"]) && !fields.unknown(&["reason", "blank", "x"]));
        assert_eq!(with_query("/a", [("b", Some("c d&e".into())), ("f", None)]), "/a?b=c+d%26e");
    }

    #[test]
    fn the_way_back_leads_to_our_own_pages_only() {
        for ours in ["/admin", "/admin/parked?reason=a+b", "/admin/users/email%7Ckari"] {
            assert_eq!(local(Some(ours)), ours);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "/admin\\evil",
            "/administrator",
            "/admin/\r\nX: y",
            "/",
        ] {
            assert_eq!(local(Some(other)), "/admin", "{other}");
        }
        assert_eq!(local(None), "/admin");
    }
}
