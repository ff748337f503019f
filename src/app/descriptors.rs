//! How many connections the descriptors of the process allow.

/// Descriptors that are not for clients: the app's connections, files, the API server, the admin port.
const RESERVED_DESCRIPTORS: usize = 256;

/// Raises the soft limit of descriptors to the hard one, and gives the connections that fit.
pub(super) fn descriptors(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "could not raise the descriptor limit");
            limit.current
        }
    };
    // Without a number there is no limit.
    let now = now.map_or(usize::MAX, |now| usize::try_from(now).unwrap_or(usize::MAX));
    let fit = now.saturating_sub(RESERVED_DESCRIPTORS).max(1);
    if fit < wanted {
        tracing::warn!(
            descriptors = now,
            connections = fit,
            wanted,
            "the descriptor limit is low: fewer connections than --max-connections, raise it (ulimit -n)"
        );
    }
    wanted.min(fit)
}
