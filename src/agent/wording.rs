//! PURE. The client speaks of its settings; whoever runs an agent knows them by its options.

/// What the client calls a setting, and the option.
const OPTIONS: [(&str, &str); 4] = [
    ("max_bytes", "--max-bytes"),
    ("clear_credentials", "--allow-clear-credentials"),
    ("token_file", "--token-file"),
    ("(ca)", "(--ca)"),
];

/// A text of the client, with the options of an agent in it.
pub(super) fn in_options(text: &str) -> String {
    OPTIONS.iter().fold(text.to_owned(), |text, (setting, option)| text.replace(setting, option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_name_options() {
        for (told, expected) in [
            ("raise the limit (max_bytes), or select less", "raise the limit (--max-bytes), or select less"),
            ("install its package of them, or name a file (ca)", "install its package of them, or name a file (--ca)"),
            ("that its authority is trusted (ca), because", "that its authority is trusted (--ca), because"),
        ] {
            assert_eq!(in_options(told), expected);
        }
    }
}
