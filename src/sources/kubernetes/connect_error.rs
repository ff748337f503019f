//! Why there is no client for the API server.

use std::fmt;
use std::path::PathBuf;

use kube::config::{InClusterError, KubeconfigError};

use super::token::TokenError;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("the kubeconfig {} cannot be used", .path.display())]
    Kubeconfig {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: KubeconfigError,
    },
    /// Nothing says where the API server is.
    #[error(
        "nothing says where the API server is{missing}: give a kubeconfig, set KUBECONFIG, or run in a pod with a service account token"
    )]
    Unknown {
        /// What was looked for.
        missing: MissingFiles,
        /// Why it is not the one of the pod.
        source: InClusterError,
    },
    /// A file that the kubeconfig names has nothing in it.
    #[error("the file {} that the kubeconfig names is empty: write {what} into it, or name another file", .path.display())]
    Empty {
        /// Where it is.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// There is no token to send.
    #[error("the credentials for the API server cannot be found")]
    Token(#[from] TokenError),
    /// A proxy stands in the configuration.
    #[error(
        "the API server would be reached through the proxy {proxy}, which is not supported: remove proxy-url from the kubeconfig, or unset HTTPS_PROXY"
    )]
    Proxy {
        /// Its address, without a password.
        proxy: String,
    },
    /// The configuration was read, and no client can be made of it.
    #[error("the configuration for the API server cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// Files that would have been read.
#[derive(Debug)]
pub struct MissingFiles(pub(super) Vec<PathBuf>);

impl fmt::Display for MissingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|path| path.display().to_string()).collect();
        if names.is_empty() { Ok(()) } else { write!(f, " (there is no {})", names.join(" and no ")) }
    }
}
