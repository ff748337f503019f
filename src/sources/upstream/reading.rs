//! PURE. How an answer of the app is read: as it was asked for, else by its media type; and what
//! is not taken for the model, since an app may answer any path with a page.

use crate::config::{Format, FormatName};

/// What decides how an answer is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The format that was asked for (`source.upstream.format`); none: by the media type.
    pub(super) asked: Option<FormatName>,
    /// The model was JSON, or YAML, the last time.
    pub(super) was_json: bool,
}

impl Reading {
    /// How the body of this `Content-Type` becomes the model, or why it is not taken for it. The type is a sound one.
    pub(super) fn of(&self, content_type: &str) -> Result<Format, String> {
        let essence = essence(content_type);
        match &self.asked {
            None => self.unasked(content_type, &essence),
            Some(FormatName::Opaque(None)) => Ok(Format::Opaque(content_type.to_owned())),
            Some(FormatName::Opaque(Some(asked))) if self::essence(asked) == essence => {
                Ok(Format::Opaque(asked.clone()))
            }
            Some(FormatName::Opaque(Some(asked))) => Err(format!(
                "Content-Type {content_type:?}, but source.upstream.format is opaque:{asked}: \
                 serve the model as {asked}, or change the format"
            )),
            Some(FormatName::Json) => read_as(Format::Json, "json", content_type, &essence),
            Some(FormatName::Yaml) => read_as(Format::Yaml, "yaml", content_type, &essence),
        }
    }

    fn unasked(&self, content_type: &str, essence: &str) -> Result<Format, String> {
        if let Some(format) = parsed(essence) {
            return Ok(format);
        }
        if self.was_json {
            return Err(format!(
                "Content-Type {content_type:?}, but until now the model is JSON: serve it as application/json, \
                 or say with source.upstream.format what it is, such as opaque:{essence}"
            ));
        }
        if ["text/html", "application/xhtml+xml"].contains(&essence) {
            return Err(format!(
                "Content-Type {content_type:?} is a page, such as some apps give for any path: name the path of the \
                 model, or set source.upstream.format to opaque:{essence} if it is one"
            ));
        }
        Ok(Format::Opaque(content_type.to_owned()))
    }
}

/// What was asked for, unless the type says that it is something else.
fn read_as(format: Format, name: &str, content_type: &str, essence: &str) -> Result<Format, String> {
    // Types that say nothing of what it is; whether it is that is seen when it is read.
    let silent = ["text/plain", "application/octet-stream"].contains(&essence);
    if silent || parsed(essence).is_some() {
        return Ok(format);
    }
    Err(format!(
        "Content-Type {content_type:?}, but source.upstream.format is {name}: \
         serve the model as application/{name}, or change the format"
    ))
}

/// Type and subtype, without parameters.
pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The format of a type whose content is parsed.
fn parsed(essence: &str) -> Option<Format> {
    let (kind, subtype) = essence.split_once('/')?;
    let is = |subtypes: &[&str]| subtypes.contains(&subtype);
    match kind {
        "application" if is(&["json"]) => Some(Format::Json),
        // RFC 9512, section 2.1, with the names that came before it.
        "application" | "text" if is(&["yaml", "x-yaml"]) => Some(Format::Yaml),
        _ if subtype.ends_with("+json") => Some(Format::Json),
        _ if subtype.ends_with("+yaml") => Some(Format::Yaml),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_reads(asked: Option<FormatName>, was_json: bool, cases: &[(&str, Result<Format, &str>)]) {
        let reading = Reading { asked, was_json };
        for (content_type, expected) in cases {
            match (reading.of(content_type), expected) {
                (Err(found), Err(expected)) => {
                    assert!(found.contains(expected) && found.contains("source.upstream.format"), "{found}");
                    assert!(found.starts_with(&format!("Content-Type {content_type:?}")), "{found}");
                }
                (found, expected) => {
                    assert_eq!(found, expected.clone().map_err(str::to_owned), "{content_type} of {reading:?}");
                }
            }
        }
    }

    #[test]
    fn unasked_the_media_type_says_how_it_is_read() {
        assert_reads(
            None,
            false,
            &[
                ("application/json", Ok(Format::Json)),
                ("Application/JSON ; charset=utf-8", Ok(Format::Json)),
                ("application/geo+json", Ok(Format::Json)),
                ("application/yaml", Ok(Format::Yaml)),
                ("text/yaml; charset=utf-8", Ok(Format::Yaml)),
                ("application/x-yaml", Ok(Format::Yaml)),
                ("application/vnd.oai.openapi+yaml", Ok(Format::Yaml)),
                ("text/plain; charset=utf-8", Ok(Format::Opaque("text/plain; charset=utf-8".to_owned()))),
                ("application/jsonx", Ok(Format::Opaque("application/jsonx".to_owned()))),
                ("text/html; charset=utf-8", Err("is a page")),
                ("Application/XHTML+xml", Err("opaque:application/xhtml+xml if it is one")),
            ],
        );
    }

    #[test]
    fn unasked_json_stays_json() {
        assert_reads(
            None,
            true,
            &[
                ("application/json", Ok(Format::Json)),
                ("application/yaml", Ok(Format::Yaml)),
                ("text/html", Err("until now the model is JSON: serve it as application/json")),
                ("text/plain", Err("such as opaque:text/plain")),
                ("application/octet-stream", Err("until now the model is JSON")),
            ],
        );
    }

    #[test]
    fn what_was_asked_for_is_what_is_taken() {
        for was_json in [false, true] {
            let html = ("text/html", Err("but source.upstream.format is json: serve the model as application/json"));
            let same = ("application/json", Ok(Format::Json));
            let silent = [("text/plain", Ok(Format::Json)), ("application/octet-stream", Ok(Format::Json))];
            assert_reads(Some(FormatName::Json), was_json, &[html, same, silent[0].clone(), silent[1].clone()]);
            assert_reads(
                Some(FormatName::Yaml),
                was_json,
                &[("text/html", Err("is yaml")), ("text/plain", Ok(Format::Yaml)), ("text/x-yaml", Ok(Format::Yaml))],
            );
            assert_reads(
                Some(FormatName::Opaque(Some("text/html; a=b".to_owned()))),
                was_json,
                &[
                    ("Text/HTML", Ok(Format::Opaque("text/html; a=b".to_owned()))),
                    ("application/json", Err("is opaque:text/html; a=b: serve the model as text/html; a=b")),
                ],
            );
            let as_it_is = Reading { asked: Some(FormatName::Opaque(None)), was_json };
            for media_type in ["text/html", "application/json"] {
                assert_eq!(as_it_is.of(media_type), Ok(Format::Opaque(media_type.to_owned())));
            }
        }
    }
}
