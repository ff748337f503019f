//! PURE. The files of a state.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::fault::Fault;
use super::format::Format;
use super::settings::Out;
use crate::model::Document;

/// A state that is to be put out.
#[derive(Debug, Clone, Copy)]
pub struct State<'s> {
    /// Its id.
    pub id: &'s str,
    /// Its bytes, as the server sent them.
    pub bytes: &'s Bytes,
    /// What they say, where they are JSON.
    pub document: Option<&'s Document>,
}

/// What a file holds of a state.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The file; in a tree, its path from the root.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The files of a state, in the order of the options.
pub(super) fn render(outs: &[Out], state: State<'_>) -> Result<Vec<Rendered>, Fault> {
    let rendered = |out: &Out| Ok(Rendered { file: out.file.clone(), bytes: bytes(out, state)? });
    outs.iter().map(rendered).collect()
}

fn bytes(out: &Out, state: State<'_>) -> Result<Bytes, Fault> {
    let pointer = out.pointer.to_string();
    let Some(document) = state.document else {
        return match out.format {
            None | Some(Format::Text) if pointer.is_empty() => Ok(state.bytes.clone()),
            None | Some(_) => Err(no_json(&out.file)),
        };
    };
    if pointer.is_empty() && matches!(out.format, None | Some(Format::Json)) {
        return Ok(state.bytes.clone());
    }
    let Some(found) = out.pointer.find(document) else {
        let pointer = crate::escape::escape(&pointer).into_owned();
        let why = format!("the model has nothing at {pointer}: correct --out or the model");
        return Err(Fault::State { file: out.file.clone(), why });
    };
    let written = out.format.unwrap_or(Format::Json).write(&found);
    written.map_err(|unfit| Fault::unfit(out.file.clone(), &pointer, &unfit))
}

fn no_json(file: &Path) -> Fault {
    let why = "the model is not JSON, of which a pointer or a format is made: \
               give --out FILE without a pointer, and a name that has no extension of a format";
    Fault::State { file: file.to_owned(), why: why.to_owned() }
}
