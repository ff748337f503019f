//! PURE. Static tokens: a file of lines `sha256:HEX NAME [GROUP,...]`, each the SHA-256 of a token and whose it is. The file
//! gives nobody a token: a token has at least 128 random bits (`tidewait token` makes 256), which no hash gives back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::caller::{Known, Loss};
use crate::bounds::{ACCESS_NAME_BYTES, ACCESS_TOKENS};

/// What stands before the digest of a token.
pub const SHA256: &str = "sha256:";

type TokenHash = [u8; 32];

/// The tokens of a file.
#[derive(Default)]
pub struct Tokens {
    /// By their digests: what is compared says nothing of a token, whatever the time that it takes.
    owners: HashMap<TokenHash, Arc<Known>>,
}

/// What is wrong with a file of tokens. It never shows a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// A line has another form.
    #[error("line {line}: {what}: write sha256:HEX NAME [GROUP,...], as `tidewait token NAME` prints it")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A token has two owners.
    #[error("line {line}: line {first} has the same token: leave one of them out")]
    Twice {
        /// The second line.
        line: usize,
        /// The first.
        first: usize,
    },
    /// There are too many.
    #[error("there are more than {ACCESS_TOKENS} tokens: leave out those that are not in use")]
    TooMany,
    /// It is no text.
    #[error("it is not UTF-8 at byte {0}: save it as UTF-8")]
    NotUtf8(usize),
}

impl InvalidTokens {
    /// The line that is wrong; none: the file as a whole is.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. } | Self::Twice { line, .. } => Some(*line),
            Self::TooMany | Self::NotUtf8(_) => None,
        }
    }
}

impl Tokens {
    /// Reads a file of tokens. Empty lines and those that begin with `#` say nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidTokens> {
        let text = std::str::from_utf8(bytes).map_err(|error| InvalidTokens::NotUtf8(error.valid_up_to()))?;
        let mut owners = HashMap::new();
        let mut lines = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (digest, owner) = entry(line).map_err(|what| InvalidTokens::Line { line: number, what })?;
            if let Some(first) = lines.insert(digest, number) {
                return Err(InvalidTokens::Twice { line: number, first });
            }
            owners.insert(digest, owner);
            if owners.len() > ACCESS_TOKENS {
                return Err(InvalidTokens::TooMany);
            }
        }
        Ok(Self { owners })
    }

    /// Takes the place of `before`: who has the same token under the same name and groups as there stays who it is; all
    /// others of `before` are to be withdrawn by [`Self::withdraw_all_but`].
    pub fn continue_from(&mut self, before: &Self) {
        for (digest, owner) in &mut self.owners {
            if let Some(former) = before.owners.get(digest)
                && former.is_same(owner)
            {
                *owner = Arc::clone(former);
            }
        }
    }

    /// Withdraws every token that `next` has not, or has with other groups. Whether there was one.
    #[must_use]
    pub fn withdraw_all_but(&self, next: &Self) -> bool {
        let mut any = false;
        for (digest, owner) in &self.owners {
            match next.owners.get(digest) {
                Some(same) if Arc::ptr_eq(same, owner) => continue,
                Some(other) => owner.give_way(other),
                None => owner.lose(Loss::Withdrawn),
            }
            any = true;
        }
        any
    }

    /// Whose token this is; none: nobody's.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Arc<Known>> {
        self.owners.get(&TokenHash::from(Sha256::digest(token)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
}

/// Without digests.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("len", &self.owners.len()).finish_non_exhaustive()
    }
}

/// The line of a token.
#[must_use]
pub fn line(token: &str, name: &str, groups: &[String]) -> String {
    let digest = format!("{:x}", Sha256::digest(token));
    let groups = if groups.is_empty() { String::new() } else { format!(" {}", groups.join(",")) };
    format!("{SHA256}{digest} {name}{groups}")
}

/// Whether this can name somebody, or a group.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    !text.is_empty() && text.len() <= ACCESS_NAME_BYTES && text.bytes().all(is_good)
}

fn entry(line: &str) -> Result<(TokenHash, Arc<Known>), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let digest = words.next().and_then(|word| word.strip_prefix(SHA256)).ok_or("it does not begin with 'sha256:'")?;
    let digest = hash(digest).ok_or("what follows sha256: is not 64 digits of base 16")?;
    let name = words.next().ok_or("it has no name")?;
    if !is_name(name) {
        return Err("the name has other characters than letters, digits and -._:/@, or more than 253");
    }
    let groups: Box<[Box<str>]> = words.next().map_or_else(Box::default, |all| all.split(',').map(Box::from).collect());
    if !groups.iter().all(|group| is_name(group)) {
        return Err("a group is empty, has other characters than letters, digits and -._:/@, or more than 253");
    }
    if words.next().is_some() {
        return Err("something follows the groups");
    }
    Ok((digest, Known::new(name, groups)))
}

fn hash(text: &str) -> Option<TokenHash> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = TokenHash::default();
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Caller;

    fn tokens(lines: &[String]) -> Tokens {
        Tokens::parse(lines.join("\n").as_bytes()).expect("tokens")
    }

    fn name(tokens: &Tokens, token: &str) -> Option<String> {
        let known = Arc::clone(tokens.find(token)?);
        Caller::Known(known).identity().map(ToString::to_string)
    }

    #[test]
    fn a_line_gives_a_token_its_owner() {
        let groups = ["edge".to_owned(), "b".to_owned()];
        let file = format!(
            "# nodes\n\n  {} \r\n{}\n",
            line("tw_one", "node-1", &[]),
            line("tw_two", "system:node:2", &groups).to_uppercase().replace("SHA256", "sha256"),
        );
        let tokens = Tokens::parse(file.as_bytes()).expect("tokens");
        assert_eq!(tokens.len(), 2);
        assert_eq!(name(&tokens, "tw_one").as_deref(), Some("node-1"));
        assert_eq!(name(&tokens, "tw_two").as_deref(), Some("SYSTEM:NODE:2"));
        assert_eq!(name(&tokens, "tw_three"), None);
        assert_eq!(name(&tokens, ""), None);
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad a";
        assert_eq!(line("abc", "a", &[]), known, "as sha256sum gives it");
    }

    #[test]
    fn a_bad_line_is_named_and_no_digest_is_shown() {
        let good = line("t", "n", &[]);
        let digest = &good[SHA256.len()..SHA256.len() + 64];
        for (file, expected) in [
            (format!("\n{digest} n"), "line 2: it does not begin with 'sha256:'"),
            (format!("sha256:{} n", &digest[1..]), "line 1: what follows sha256: is not 64 digits"),
            (format!("sha256:{}g n", &digest[1..]), "line 1: what follows sha256: is not 64 digits"),
            (format!("sha256:{digest}"), "line 1: it has no name"),
            (format!("sha256:{digest} a*"), "line 1: the name has other characters"),
            (format!("sha256:{digest} {}", "a".repeat(254)), "line 1: the name has other characters"),
            (format!("sha256:{digest} a b,,c"), "line 1: a group is empty"),
            (format!("sha256:{digest} a b c"), "line 1: something follows the groups"),
            (format!("{good}\n#\n{good}x"), "line 3: line 1 has the same token"),
        ] {
            let error = Tokens::parse(file.as_bytes()).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains(&digest[2..10]), "{error}");
        }
        assert_eq!(
            Tokens::parse(b"#\xff").expect_err("no text").to_string(),
            "it is not UTF-8 at byte 1: save it as UTF-8"
        );
        assert!(!format!("{:?}", tokens(std::slice::from_ref(&good))).contains(&digest[2..10]));
    }

    #[test]
    fn who_is_not_in_the_next_file_is_withdrawn_and_others_stay_who_they_are() {
        let edge = ["edge".to_owned()];
        let before = tokens(&[line("a", "a", &[]), line("b", "b", &[]), line("c", "c", &[]), line("d", "d", &edge)]);
        let caller = |tokens: &Tokens, token| Caller::Known(Arc::clone(tokens.find(token).expect("it is there")));
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|token| caller(&before, token));
        // b has another token, c another name, d another group; a has moved.
        let lines = [line("d", "d", &[]), line("c", "e", &[]), line("b2", "b", &[]), line("a", "a", &[])];
        let mut next = tokens(&lines);
        next.continue_from(&before);
        assert!(before.withdraw_all_but(&next));
        assert_eq!([&a, &b, &c, &d].map(|caller| caller.lost().is_some()), [false, true, true, false]);
        assert_eq!([&a, &d].map(Caller::has_changed), [false, true], "who is in another group is judged again");
        assert_eq!(caller(&next, "a"), a);
        assert!(caller(&next, "c").lost().is_none() && caller(&next, "c") != c);
        let mut same = tokens(&lines);
        same.continue_from(&next);
        assert!(!next.withdraw_all_but(&same), "nothing has changed");
    }

    #[test]
    fn there_is_a_limit() {
        let lines: Vec<_> = (0..=ACCESS_TOKENS).map(|n| format!("sha256:{n:064x} n")).collect();
        let file = lines.join("\n");
        assert_eq!(Tokens::parse(file.as_bytes()).expect_err("one too many"), InvalidTokens::TooMany);
    }
}
