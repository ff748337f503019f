//! Authorities and certificates, made for a test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, as files hold them.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// What its certificate is as a file.
    pub(crate) fn certificate(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A certificate for the server, on this host.
    pub(crate) fn server(&self) -> Made {
        self.issue(&params("server", &["localhost", "127.0.0.1"]))
    }

    /// One for a client of this common name, and these URIs.
    pub(crate) fn client(&self, name: &str, uris: &[&str]) -> Made {
        self.issue(&client(name, uris))
    }

    /// The same, which has expired.
    pub(crate) fn expired(&self, mut params: CertificateParams) -> Made {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        self.issue(&params)
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Made {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Made { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A certificate of this common name, for these hosts.
pub(crate) fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("hosts");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What a client's certificate says.
pub(crate) fn client(name: &str, uris: &[&str]) -> CertificateParams {
    let mut params = params(name, &[]);
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("a URI"))).collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
