//! Who may poll, and ask at the admin port: the checks of requests, made of the configuration, and the tasks that keep them up to
//! date.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;

use super::access_file::{self, AccessFile, AccessFileError, KEYS, Kind, TOKENS, USERS};
use crate::access::Tokens;
use crate::access::issuer::KeySource;
use crate::admin::access::{Check, Others};
use crate::admin::followed::{Followed, FollowedFile};
use crate::authentication::issuer::{self, Issuer, Keys};
use crate::authentication::kubernetes::TokenReviewer;
use crate::authentication::users::{self, Passwords, Users};
use crate::authentication::{Authentication, Schemes};
use crate::authorization::Authorization;
use crate::authorization::kubernetes::{AccessReviewer, Namespace};
use crate::config::{self, Judges};
use crate::http::access::{Access, Metrics};
use crate::lifecycle::tasks::Tasks;
use crate::reviews;

/// What the files hold to begin with.
#[derive(Debug)]
pub(super) struct Files {
    tokens: Option<(PathBuf, Tokens)>,
    users: Option<(PathBuf, Users)>,
}

impl Files {
    /// Reads them; the keys of issuers only to see whether they can be.
    pub(super) fn read(config: &config::Access) -> Result<Self, AccessFileError> {
        for issuer in &config.issuers {
            if let KeySource::File(path) = &issuer.keys {
                access_file::read(path, KEYS, Keys::parse)?;
            }
        }
        let path = |path: &Option<PathBuf>| path.clone();
        let tokens =
            path(&config.tokens).map(|path| Ok((path.clone(), access_file::read(&path, TOKENS, Tokens::parse)?)));
        let users = path(&config.users).map(|path| Ok((path.clone(), access_file::read(&path, USERS, Users::parse)?)));
        Ok(Self { tokens: tokens.transpose()?, users: users.transpose()? })
    }
}

/// Takes what a file holds now, and says how much that is.
type Take = Box<dyn Fn(&Authentication, &[u8]) -> Result<usize, String> + Send + Sync>;

/// What the check is made of.
struct Parts<'a> {
    registry: &'a Registry,
    schemes: Schemes,
    followed: Vec<(AccessFile, Take)>,
    issuers: Vec<Arc<Issuer>>,
}

/// The checks of both ports, and their tasks. `client` is there where the API server is asked; `withdrawals` counts up when
/// somebody who was let in may be no longer.
pub(super) fn access(
    config: &config::Config,
    files: Files,
    client: Option<&kube::Client>,
    (registry, withdrawals): (&Registry, Arc<watch::Sender<u64>>),
    (followed, tasks): (&mut Followed, &mut Tasks),
) -> prometheus::Result<(Arc<Access>, Others)> {
    let settings = &config.access;
    let metrics = Metrics::register(registry)?;
    let asks_for_certificates = config.admin_tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    if !settings.asks() && !config.admin_access {
        let others = if asks_for_certificates { Others::ReadCertified } else { Others::Read };
        return Ok((Arc::new(Access::open(metrics)), others));
    }
    // A port that asks for none has no connection with one.
    let certificates = settings.certificates || config.admin_access && asks_for_certificates;
    let clear = settings.clear_credentials;
    let trusted = config.trusted_proxies.clone();
    let schemes = Schemes { certificates, clear, trusted, ..Schemes::default() };
    let mut parts = Parts { registry, schemes, followed: Vec::new(), issuers: Vec::new() };
    parts.take_tokens(files.tokens)?;
    parts.take_users(files.users)?;
    parts.take_issuers(settings)?;
    let kubernetes = match client.filter(|_| settings.asks_kubernetes()) {
        Some(client) => Some((client.clone(), reviews::Metrics::register(registry)?)),
        None => None,
    };
    if let (Some((client, reviews)), [_, ..]) = (&kubernetes, &*settings.audiences) {
        let reviewer = TokenReviewer::new(client.clone(), settings.audiences.clone(), reviews);
        // Behind the issuers: it takes all other tokens.
        parts.schemes.authenticators.push(Arc::new(reviewer));
    }
    let authorization = Arc::new(authorization(config, kubernetes, &metrics, &withdrawals));
    let authentication = Arc::new(Authentication::new(parts.schemes, metrics.credentials.clone(), withdrawals));
    let others = match (config.admin_access, asks_for_certificates) {
        (true, _) => Others::Judged(Check::new(Arc::clone(&authentication), Arc::clone(&authorization))),
        (false, true) => Others::ReadCertified,
        (false, false) => Others::Read,
    };
    followed.files.extend(parts.followed.iter().map(|(file, _)| Arc::clone(&file.shown)));
    followed.issuers.clone_from(&parts.issuers);
    follow(&authentication, parts.followed, parts.issuers, tasks);
    tasks.spawn("verdicts on clients", {
        let (authentication, authorization) = (Arc::clone(&authentication), Arc::clone(&authorization));
        async move {
            tokio::join!(authentication.maintain(), authorization.maintain());
            Ok(())
        }
    });
    let access = if settings.asks() {
        Access::new(authentication, authorization, metrics)
            .forwarding(settings.forward_credentials)
            .naming(!settings.identity_fields.is_empty())
    } else {
        Access::open(metrics)
    };
    Ok((Arc::new(access), others))
}

/// Who decides what callers may.
fn authorization(
    config: &config::Config,
    kubernetes: Option<(kube::Client, reviews::Metrics)>,
    metrics: &Metrics,
    withdrawals: &Arc<watch::Sender<u64>>,
) -> Authorization {
    let settings = &config.access;
    let policy = settings.policy.clone();
    match (settings.judges, kubernetes) {
        (Judges::Kubernetes | Judges::Both, Some((client, reviews))) => {
            let of_operations = config.controller.as_ref().map(|controller| controller.namespace.clone());
            let name = of_operations.unwrap_or_else(|| client.default_namespace().to_owned());
            let judge = Arc::new(Namespace { reviewer: AccessReviewer::new(client, &reviews), name });
            let with_rules = settings.judges == Judges::Both;
            Authorization::by_judge(policy, with_rules, judge, metrics.permissions.clone(), Arc::clone(withdrawals))
        }
        (_, _) => Authorization::by_rules(policy),
    }
}

/// Starts what keeps files and keys up to date.
fn follow(
    authentication: &Arc<Authentication>,
    followed: Vec<(AccessFile, Take)>,
    issuers: Vec<Arc<Issuer>>,
    tasks: &mut Tasks,
) {
    for (file, take) in followed {
        let authentication = Arc::clone(authentication);
        tasks.spawn(format!("file with {}", file.kind.what), async move {
            file.follow(|bytes| take(&authentication, bytes)).await;
            Ok(())
        });
    }
    for issuer in issuers {
        tasks.spawn(format!("keys of {}", issuer.config().url), async move {
            issuer.run().await;
            Ok(())
        });
    }
}

impl Parts<'_> {
    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn follow(&mut self, path: &Path, (kind, holds): (Kind, String), good: IntGauge, take: Take) {
        let shown = FollowedFile::new(holds, vec![path.to_owned()], good, None);
        self.followed.push((AccessFile { path: path.to_owned(), kind, shown }, take));
    }

    fn take_tokens(&mut self, tokens: Option<(PathBuf, Tokens)>) -> prometheus::Result<()> {
        let Some((path, tokens)) = tokens else { return Ok(()) };
        let gauge = self.gauge("tidewait_access_tokens", "Static tokens that are good.")?;
        let good = self.gauge(
            "tidewait_access_tokens_file_good",
            "Whether the file with static tokens could be read last time (1) or those of before stay good (0).",
        )?;
        gauge.set(count(tokens.len()));
        self.schemes.tokens = Some(tokens);
        let take = move |authentication: &Authentication, bytes: &[u8]| {
            let tokens = Tokens::parse(bytes).map_err(|error| error.to_string())?;
            let all = tokens.len();
            authentication.replace_tokens(tokens);
            gauge.set(count(all));
            Ok(all)
        };
        self.follow(&path, (TOKENS, TOKENS.what.to_owned()), good, Box::new(take));
        Ok(())
    }

    fn take_users(&mut self, users: Option<(PathBuf, Users)>) -> prometheus::Result<()> {
        let Some((path, users)) = users else { return Ok(()) };
        let passwords = Arc::new(Passwords::new(users, users::Metrics::register(self.registry)?));
        let good = self.gauge(
            "tidewait_access_users_file_good",
            "Whether the file with users could be read last time (1) or those of before stay good (0).",
        )?;
        self.schemes.authenticators.push(passwords.clone());
        let take = move |_: &Authentication, bytes: &[u8]| {
            let users = Users::parse(bytes).map_err(|error| error.to_string())?;
            let all = users.len();
            passwords.replace(users);
            Ok(all)
        };
        self.follow(&path, (USERS, USERS.what.to_owned()), good, Box::new(take));
        Ok(())
    }

    fn take_issuers(&mut self, settings: &config::Access) -> prometheus::Result<()> {
        if settings.issuers.is_empty() {
            return Ok(());
        }
        let metrics = issuer::Metrics::register(self.registry)?;
        let help =
            "Whether the file with the keys of an issuer could be read last time (1) or those of before stay good (0).";
        let good = IntGaugeVec::new(Opts::new("tidewait_access_issuer_file_good", help), &["issuer"])?;
        self.registry.register(Box::new(good.clone()))?;
        for config in &settings.issuers {
            let issuer = Arc::new(Issuer::new(config.clone(), &metrics));
            self.schemes.authenticators.push(issuer.clone());
            if let KeySource::File(path) = &config.keys {
                let good = good.with_label_values(&[config.url.as_str()]);
                let of_file = Arc::clone(&issuer);
                let take = move |_: &Authentication, bytes: &[u8]| {
                    of_file.replace_keys(bytes).map_err(|error| error.to_string())?;
                    Ok(of_file.keys().borrow().as_ref().map_or(0, |keys| keys.len()))
                };
                self.follow(path, (KEYS, format!("keys of {}", config.url)), good, Box::new(take));
            }
            self.issuers.push(issuer);
        }
        Ok(())
    }
}

fn count(all: usize) -> i64 {
    i64::try_from(all).unwrap_or(i64::MAX)
}
