//! PURE. The hash of a password, in the forms that are made to be costly: bcrypt, and argon2id (RFC 9106) as a PHC string.

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, Version};

use crate::bounds::{PASSWORD_ARGON2_KIBIBYTES, PASSWORD_ARGON2_PASSES, PASSWORD_BCRYPT_COST};

/// Below it bcrypt is not defined.
const LEAST_BCRYPT_COST: u32 = 4;

/// The hash of a password. It has no Debug on purpose.
pub(super) enum Hash {
    Bcrypt(Box<str>),
    Argon2id(Box<PasswordHash>),
}

impl Hash {
    /// Reads a hash; what is wrong with it, and the remedy.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if ["$2y$", "$2a$", "$2b$"].iter().any(|form| text.starts_with(form)) {
            return bcrypt(text);
        }
        if text.starts_with("$argon2id$") {
            return argon2id(text);
        }
        Err("its password is not hashed with bcrypt or argon2id: set it anew with htpasswd -B")
    }

    /// Whether it is the hash of this password. It takes as long for any.
    pub(super) fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2id(hash) => Argon2::default().verify_password(password.as_bytes(), &**hash).is_ok(),
        }
    }

    /// Whether it is the same hash with the same salt.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bcrypt(this), Self::Bcrypt(that)) => this == that,
            (Self::Argon2id(this), Self::Argon2id(that)) => this == that,
            (Self::Bcrypt(_), Self::Argon2id(_)) | (Self::Argon2id(_), Self::Bcrypt(_)) => false,
        }
    }
}

fn bcrypt(text: &str) -> Result<Hash, &'static str> {
    let parts: bcrypt::HashParts =
        text.parse().map_err(|_| "its bcrypt hash is damaged: set the password anew with htpasswd -B")?;
    match parts.get_cost() {
        ..LEAST_BCRYPT_COST => Err("its bcrypt cost is below 4: set the password anew with htpasswd -B -C 10"),
        LEAST_BCRYPT_COST..=PASSWORD_BCRYPT_COST => Ok(Hash::Bcrypt(text.into())),
        _ => Err("its bcrypt cost is above 14, which takes seconds: set the password anew with htpasswd -B -C 10"),
    }
}

fn argon2id(text: &str) -> Result<Hash, &'static str> {
    const DAMAGED: &str = "its argon2id hash is damaged, or not of version 19: make it anew, or use htpasswd -B";
    let hash = PasswordHash::new(text).map_err(|_| DAMAGED)?;
    let is_whole = hash.salt.is_some() && hash.hash.is_some();
    if !is_whole || hash.version != Some(u32::from(Version::V0x13)) {
        return Err(DAMAGED);
    }
    let params = Params::try_from(&hash).map_err(|_| DAMAGED)?;
    if params.m_cost() > PASSWORD_ARGON2_KIBIBYTES {
        return Err("its argon2id hash takes more than m=65536 (64 MiB): make it anew with less, or use htpasswd -B");
    }
    if params.t_cost() > PASSWORD_ARGON2_PASSES {
        return Err("its argon2id hash takes more than t=10 passes: make it anew with fewer, or use htpasswd -B");
    }
    Ok(Hash::Argon2id(Box::new(hash)))
}
