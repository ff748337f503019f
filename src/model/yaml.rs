//! YAML text to a tree, by the rules of [`crate::yaml`].

use super::invalid::Invalid;
use super::members::Member;
use super::tree::Node;
use crate::bounds::{DOCUMENT_BYTES, DOCUMENT_DEPTH};
use crate::yaml::{self, Build, Limit, Limits, Scalar};

/// Reads one YAML document of at most so many values.
pub(super) fn read(text: &str, nodes: usize) -> Result<Node, Invalid> {
    let limits = Limits {
        depth: DOCUMENT_DEPTH,
        bytes: Limit { name: "DOCUMENT_BYTES", most: DOCUMENT_BYTES },
        nodes: Limit { name: "DOCUMENT_NODES", most: nodes },
    };
    Ok(yaml::read::<Nodes>(text, limits)?)
}

struct Nodes;

impl Build for Nodes {
    type Value = Node;

    fn scalar(scalar: &Scalar<'_>) -> Node {
        match scalar {
            Scalar::Null => Node::Scalar("null".into()),
            Scalar::Bool(yes) => Node::Scalar(yes.to_string().into()),
            Scalar::Number(text) => Node::Scalar((&**text).into()),
            Scalar::Text(text) => Node::string(text),
        }
    }

    fn array(items: Vec<Node>) -> Node {
        Node::array(items)
    }

    fn object(mut members: Vec<Member>) -> Node {
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        Node::object(members)
    }

    fn members(value: &Node) -> Option<Vec<Member>> {
        value.members().map(|members| members.iter().cloned().collect())
    }
}
