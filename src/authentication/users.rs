//! Basic authentication (RFC 7617) against a file in htpasswd form: a line `NAME:HASH` for each user, made by `htpasswd -B`
//! (bcrypt), or with an argon2id hash.
//!
//! ```text
//!  Authorization: Basic ... --> basic::read --> Passwords::check --> Checked (who, and by which Entry), or why not
//!                                                    ^
//!                       the file -> Users::parse -> replace
//! ```
//! Whoever keeps a verdict keeps its [`Entry`] with it. After [`Passwords::replace`] the verdict is good only if
//! [`Passwords::is_current`]: a user that is gone, or has another password, is known by it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use self::hash::Hash;
use crate::access::tokens::is_name;
use crate::access::{Unverified, Verified};
use crate::bounds::ACCESS_USERS;

pub mod basic;
mod hash;
mod passwords;

pub use passwords::{Metrics, Passwords};

/// The users of a file.
#[derive(Default)]
pub struct Users {
    places: HashMap<Box<str>, usize>,
    entries: Vec<Entry>,
    /// Whose hash an unknown name is checked against. Secret, or else a name could be chosen with a known result.
    stand_ins: RandomState,
}

/// One user with one password. Two are the same as long as the file has the same line.
#[derive(Clone)]
pub struct Entry(Arc<Hash>);

/// A name and password that are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whose they are.
    pub verified: Verified,
    /// What has shown it: the verdict holds as long as this is current.
    pub entry: Entry,
}

/// Why a file of users is not good. No text shows a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsers {
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it, and the remedy.
        what: &'static str,
    },
    /// Two lines are about the same user.
    #[error("line {line}: line {first} has the same name: remove one of them")]
    Twice {
        /// The second.
        line: usize,
        /// The first.
        first: usize,
    },
    /// There are too many.
    #[error("it has more than {ACCESS_USERS} users: use an issuer for as many")]
    TooMany,
    /// It is no text.
    #[error("it is not UTF-8 at byte {0}: save it as UTF-8")]
    NotUtf8(usize),
}

impl InvalidUsers {
    /// The line that is wrong; none: the file as a whole is.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Line { line, .. } | Self::Twice { line, .. } => Some(*line),
            Self::TooMany | Self::NotUtf8(_) => None,
        }
    }
}

impl Users {
    /// Reads a file. Empty lines and those that begin with `#` say nothing.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidUsers> {
        let text = std::str::from_utf8(bytes).map_err(|error| InvalidUsers::NotUtf8(error.valid_up_to()))?;
        let mut users = Self::default();
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, hash) = entry(line).map_err(|what| InvalidUsers::Line { line: number, what })?;
            if let Some(first) = users.places.insert(name.into(), users.entries.len()) {
                return Err(InvalidUsers::Twice { line: number, first: lines[first] });
            }
            users.entries.push(Entry(Arc::new(hash)));
            lines.push(number);
            if users.entries.len() > ACCESS_USERS {
                return Err(InvalidUsers::TooMany);
            }
        }
        Ok(users)
    }

    /// Takes the place of `before`: who has the same password there stays the same [`Entry`].
    pub fn continue_from(&mut self, before: &Self) {
        self.stand_ins = before.stand_ins.clone();
        for (name, place) in &self.places {
            let entry = &mut self.entries[*place];
            if let Some(former) = before.find(name)
                && former.0.is_same(&entry.0)
            {
                *entry = former.clone();
            }
        }
    }

    /// Whether `entry` is that of the user with this name.
    #[must_use]
    pub fn is_current(&self, name: &str, entry: &Entry) -> bool {
        self.find(name) == Some(entry)
    }

    /// Whether this is the password of `name`. It takes the time of one hash, also where there is no such user: never on
    /// a thread that serves. `hashed` is called for each hash.
    pub fn verify(&self, name: &str, password: &str, hashed: impl Fn()) -> Result<Checked, Unverified> {
        let wrong = Unverified::Invalid("has a name or a password that is wrong: send those of a user");
        let known = self.find(name);
        let Some(entry) = known.or_else(|| self.stand_in(name)) else { return Err(wrong) };
        hashed();
        if entry.0.is_of(password) && known.is_some() {
            let verified = Verified { name: name.to_owned(), ..Verified::default() };
            return Ok(Checked { verified, entry: entry.clone() });
        }
        Err(wrong)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.places.get(name).and_then(|place| self.entries.get(*place))
    }

    /// The user whose hash an unknown name is checked against: always the same one for a name, and each of the users for as
    /// many names. So unknown names take as long as those of the file do, also where its hashes differ in cost.
    fn stand_in(&self, name: &str) -> Option<&Entry> {
        let count = u64::try_from(self.entries.len()).ok()?;
        let place = self.stand_ins.hash_one(name).checked_rem(count)?;
        self.entries.get(usize::try_from(place).ok()?)
    }
}

/// Without hashes.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Entry {}

fn entry(line: &str) -> Result<(&str, Hash), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("it has no colon: write NAME:HASH, as htpasswd -B does")?;
    if name.is_empty() {
        return Err("it has no name: write NAME:HASH, as htpasswd -B does");
    }
    if !is_name(name) {
        return Err("the name has other characters than letters, digits and -._/@, or more than 253: rename the user");
    }
    Ok((name, Hash::parse(hash)?))
}

#[cfg(test)]
mod tests;
