//! The way from what is held to a new state, for commands that change what runs step by step.

use tokio::task::block_in_place;

use super::{Applier, Verdict, machine};
use crate::agent::output::PatchFile;
use crate::client::State;
use crate::model::{Document, patch};

impl Applier {
    /// Writes the patch to a state, where there are commands that may read it, and both states are JSON.
    pub(super) fn patch_to(&self, state: &State) -> Result<Option<PatchFile>, Verdict> {
        let Some(held) = self.held().filter(|_| self.commands.are_any()) else { return Ok(None) };
        let Some((old, new)) = held.document().zip(state.document()) else { return Ok(None) };
        let written = block_in_place(|| self.output.write_patch(&between(old, new, state.bytes())));
        written.map(Some).map_err(|fault| machine(&fault))
    }
}

/// A patch, which replaces the whole where that is shorter.
fn between(old: &Document, new: &Document, bytes: &[u8]) -> Vec<u8> {
    match patch::between(old, new) {
        Some(patch) => patch.to_vec(),
        None => [br#"[{"op":"replace","path":"","value":"#, bytes, b"}]"].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::document;

    #[test]
    fn a_patch_leads_from_one_state_to_the_next_also_where_nothing_of_it_stays() {
        let large = format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(200));
        for (old, new) in [(large.as_str(), large.replace('1', "2").as_str()), (r#"{"a":1}"#, "7"), ("[]", "{}")] {
            let (from, to) = (document(old), document(new));
            let patch = between(&from, &to, new.as_bytes());
            let led = patch::apply(&from, &patch).expect("it can be applied");
            assert!(crate::model::Content::Json(led).digest() == crate::model::Content::Json(to).digest());
            assert!(patch.len() < new.len() + 50);
        }
    }
}
