//! Which kubeconfig files count, as for kubectl: the one that is named, else those of `KUBECONFIG` that are there, else
//! `~/.kube/config`, else the pod's service account. One that is there and cannot be used is an error, since what comes
//! after it may be another cluster.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::connect_error::{ConnectError, MissingFiles};

type File = (PathBuf, Kubeconfig);

/// The configuration for the API server.
pub(super) async fn config(named: Option<&Path>) -> Result<Config, ConnectError> {
    let (files, missing) = match named {
        Some(path) => (vec![(path.to_owned(), read(path)?)], Vec::new()),
        None => found(usual())?,
    };
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    let Some(merged) = merged(files)? else {
        return Config::incluster().map_err(|source| ConnectError::Unknown { missing: MissingFiles(missing), source });
    };
    let path = std::env::join_paths(&paths).map_or_else(|_| paths[0].clone(), PathBuf::from);
    refuse_empty(&merged)?;
    let config = Config::from_custom_kubeconfig(merged, &KubeConfigOptions::default()).await;
    match config {
        // One without a context says nothing: kubectl goes on as without it.
        Err(source @ KubeconfigError::CurrentContextNotSet) if named.is_none() => {
            Config::incluster().map_err(|_| ConnectError::Kubeconfig { path, source })
        }
        config => config.map_err(|source| ConnectError::Kubeconfig { path, source }),
    }
}

/// The files of `KUBECONFIG`, or the one that lies in the home folder.
#[expect(clippy::disallowed_methods, reason = "where kubeconfigs lie is for kubectl's variable to say")]
fn usual() -> Vec<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() {
        return std::env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect();
    }
    listed
}

/// Those of the files that are there, and the names of the others.
fn found(paths: Vec<PathBuf>) -> Result<(Vec<File>, Vec<PathBuf>), ConnectError> {
    let (mut files, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        match read(&path) {
            Ok(file) => files.push((path, file)),
            Err(ConnectError::Kubeconfig { source: KubeconfigError::ReadConfig(error, _), .. })
                if error.kind() == ErrorKind::NotFound =>
            {
                missing.push(path);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((files, missing))
}

fn read(path: &Path) -> Result<Kubeconfig, ConnectError> {
    let mut file = Kubeconfig::read_from(path).map_err(unusable(path))?;
    for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        for address in [&mut cluster.server, &mut cluster.proxy_url, &mut cluster.tls_server_name] {
            *address = address.take().map(|text| text.trim().to_owned());
        }
    }
    Ok(file)
}

/// All as one; of what stands in many of them the first counts. None: there are none.
fn merged(files: Vec<File>) -> Result<Option<Kubeconfig>, ConnectError> {
    files.into_iter().try_fold(None, |merged: Option<Kubeconfig>, (path, file)| match merged {
        None => Ok(Some(file)),
        Some(merged) => merged.merge(file).map(Some).map_err(unusable(&path)),
    })
}

fn unusable(path: &Path) -> impl FnOnce(KubeconfigError) -> ConnectError {
    |source| ConnectError::Kubeconfig { path: path.to_owned(), source }
}

/// Refuses an empty file in the place of a certificate or key of the current context: what comes of one is a failed
/// handshake that names no file. Those that cannot be read are named by whoever needs them.
fn refuse_empty(config: &Kubeconfig) -> Result<(), ConnectError> {
    let context = config.contexts.iter().find(|named| Some(&named.name) == config.current_context.as_ref());
    let Some(context) = context.and_then(|named| named.context.as_ref()) else { return Ok(()) };
    let mut files = Vec::new();
    let clusters = config.clusters.iter().filter(|named| named.name == context.cluster);
    for cluster in clusters.filter_map(|named| named.cluster.as_ref()) {
        files.push((&cluster.certificate_authority, cluster.certificate_authority_data.is_some(), "a certificate"));
    }
    let users = config.auth_infos.iter().filter(|named| Some(&named.name) == context.user.as_ref());
    for user in users.filter_map(|named| named.auth_info.as_ref()) {
        files.push((&user.client_certificate, user.client_certificate_data.is_some(), "a certificate"));
        files.push((&user.client_key, user.client_key_data.is_some(), "a key"));
    }
    for (path, inline, what) in files {
        let Some(path) = path.as_ref().filter(|_| !inline).map(PathBuf::from) else { continue };
        if fs::read(&path).is_ok_and(|bytes| bytes.trim_ascii().is_empty()) {
            return Err(ConnectError::Empty { path, what });
        }
    }
    Ok(())
}
