//! The other side of an issuer: private keys, and the tokens that they sign.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Algorithm;

pub(super) struct Signer {
    algorithm: Algorithm,
    name: &'static str,
    key: Private,
}

enum Private {
    Rsa(&'static dyn RsaEncoding, Box<RsaKeyPair>),
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// A new key with this name.
    pub(super) fn new(algorithm: Algorithm, name: &'static str) -> Self {
        let rsa = |encoding| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
            Private::Rsa(encoding, Box::new(pair))
        };
        let key = match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            Algorithm::Es256 => {
                Private::Ec("P-256", EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::Es384 => {
                Private::Ec("P-384", EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::EdDsa => Private::Ed(Ed25519KeyPair::generate().expect("a key")),
        };
        Self { algorithm, name, key }
    }

    /// One for all cases of a property.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Signer> = OnceLock::new();
        SHARED.get_or_init(|| Self::new(Algorithm::Es256, "a"))
    }

    /// Its public key.
    pub(super) fn jwk(&self) -> Value {
        let mut key = json!({"kid": self.name, "alg": self.algorithm.as_str(), "use": "sig"});
        let mut set = |name: &str, bytes: &[u8]| key[name] = encode(bytes).into();
        let (kind, curve) = match &self.key {
            Private::Rsa(_, pair) => {
                set("n", pair.public_key().modulus().big_endian_without_leading_zero());
                set("e", pair.public_key().exponent().big_endian_without_leading_zero());
                ("RSA", None)
            }
            Private::Ec(curve, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                set("x", x);
                set("y", y);
                ("EC", Some(*curve))
            }
            Private::Ed(pair) => {
                set("x", pair.public_key().as_ref());
                ("OKP", Some("Ed25519"))
            }
        };
        key["kty"] = kind.into();
        if let Some(curve) = curve {
            key["crv"] = curve.into();
        }
        key
    }

    /// Its public key, as those have it who mistake it for a secret.
    pub(super) fn public_der(&self) -> Vec<u8> {
        let Private::Rsa(_, pair) = &self.key else { panic!("it is of RSA") };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("a key");
        der.as_ref().to_vec()
    }

    /// A token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm.as_str(), "kid": self.name, "typ": "JWT"});
        self.signed(&header.to_string(), &claims.to_string())
    }

    /// A token of any texts.
    pub(super) fn signed(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let random = SystemRandom::new();
        let signature = match &self.key {
            Private::Rsa(encoding, pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, text.as_bytes(), &mut signature).expect("a signature");
                signature
            }
            Private::Ec(_, pair) => pair.sign(&random, text.as_bytes()).expect("a signature").as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        format!("{text}.{}", encode(&signature))
    }
}
