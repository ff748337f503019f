//! PURE. The keys of an issuer: a JWK Set (RFC 7517, section 5). What cannot verify tokens safely is left out, as section 5
//! asks of what is not understood.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::members::Members;
use crate::access::issuer::algorithm::{Algorithm, Material};
use crate::bounds::ISSUER_KEYS;

/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys that an issuer has published.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    good: Vec<Key>,
    ids: HashSet<KeyId>,
    left_out: usize,
}

/// Tells a key from all others: a hash of its material, its name and what it is for. It is public, as the key is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 32]);

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    name: Option<String>,
    /// Absent: every one that the material fits.
    algorithm: Option<Algorithm>,
    material: Material,
    pub(super) id: KeyId,
}

/// What there is for a token.
#[derive(Debug)]
pub(super) enum Found<'a> {
    One(&'a Key),
    /// There is one with this name, for other algorithms.
    Unfit,
    /// The token names none, and there are several that it could be.
    Several,
    None,
}

/// Why these are no keys. The rest of a sentence that begins with what gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// It is something else.
    #[error("is no JWK Set: name one, an object with an array \"keys\" (RFC 7517)")]
    Form,
    /// There are too many.
    #[error("has more than {ISSUER_KEYS} keys: have the issuer publish those that it uses")]
    TooMany,
}

impl Keys {
    /// Reads a JWK Set.
    pub fn parse(bytes: &[u8]) -> Result<Arc<Self>, InvalidKeys> {
        let set = Members::read(bytes).ok_or(InvalidKeys::Form)?;
        let given = set.get("keys").and_then(Value::as_array).ok_or(InvalidKeys::Form)?;
        if given.len() > ISSUER_KEYS {
            return Err(InvalidKeys::TooMany);
        }
        let mut keys = Self::default();
        for key in given {
            match Key::read(key).filter(|key| !keys.has_like(key)) {
                Some(key) => {
                    keys.ids.insert(key.id);
                    keys.good.push(key);
                }
                None => keys.left_out += 1,
            }
        }
        Ok(Arc::new(keys))
    }

    /// Whether a key is among them.
    #[must_use]
    pub fn has(&self, id: &KeyId) -> bool {
        self.ids.contains(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.good.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.good.is_empty()
    }

    /// How many were left out, as they are for something else, too weak, or like another one.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The key by which a token can be verified that names this one.
    pub(super) fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        if name.is_some() {
            return match self.good.iter().find(|key| key.name.as_deref() == name) {
                Some(key) if key.is_for(algorithm) => Found::One(key),
                Some(_) => Found::Unfit,
                None => Found::None,
            };
        }
        let mut fit = self.good.iter().filter(|key| key.is_for(algorithm));
        match (fit.next(), fit.next()) {
            (Some(key), None) => Found::One(key),
            (Some(_), Some(_)) => Found::Several,
            (None, _) => Found::None,
        }
    }

    /// Whether there is one with the same name, or the same key: which of them was meant is not known. The first one stays.
    fn has_like(&self, key: &Key) -> bool {
        self.good.iter().any(|other| {
            (key.name.is_some() && key.name == other.name) || (key.name.is_none() && key.material == other.material)
        })
    }
}

impl Key {
    /// Reads a key that verifies tokens; none: it is for something else, unknown or unsafe.
    fn read(given: &Value) -> Option<Self> {
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let is_text_or_absent = |name: &str| given.get(name).is_none_or(Value::is_string);
        if !["kid", "use", "alg"].into_iter().all(is_text_or_absent) || text("use").is_some_and(|of| of != "sig") {
            return None;
        }
        if let Some(operations) = given.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => rsa(&bytes("n")?, &bytes("e")?)?,
            ("EC", Some("P-256")) => Material::P256(point(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&bytes("x")?, &bytes("y")?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?.into()),
            _ => return None,
        };
        let algorithm = text("alg").map(str::parse).transpose().ok()?;
        if algorithm.is_some_and(|algorithm: Algorithm| !algorithm.fits(&material)) {
            return None;
        }
        let name = text("kid").map(str::to_owned);
        let id = KeyId::of(name.as_deref(), algorithm, &material);
        Some(Self { name, algorithm, material, id })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && algorithm.fits(&self.material)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm) && algorithm.verifies(&self.material, text, signature)
    }
}

impl KeyId {
    fn of(name: Option<&str>, algorithm: Option<Algorithm>, material: &Material) -> Self {
        // Debug writes each part in quotes or brackets, so two that differ have two texts.
        Self(Sha256::digest(format!("{name:?} {algorithm:?} {material:?}")).into())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Material> {
    // Some write leading zeros, which RFC 7518 (section 2) forbids.
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = &modulus[zeros..];
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let exponent: Box<[u8]> = exponent.into();
    RSA_BITS.contains(&bits).then(|| Material::Rsa { modulus: modulus.into(), exponent })
}

/// An uncompressed point (SEC 1, section 2.3.3).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Box<[u8]>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat().into())
}
