//! Who may poll: the check of requests, made of the configuration, and the tasks that keep it up to date.

use std::sync::Arc;

use prometheus::{IntGauge, Registry};
use tokio::sync::watch;

use super::access_file::{self, AccessFile, AccessFileError};
use crate::access::Tokens;
use crate::authentication::kubernetes::TokenReviewer;
use crate::authentication::users::{self, Passwords, Users};
use crate::authentication::{Authentication, Authenticator, Schemes};
use crate::authorization::Authorization;
use crate::authorization::kubernetes::{AccessReviewer, Namespace};
use crate::config::{self, Judges};
use crate::http::access::{Access, Metrics};
use crate::lifecycle::tasks::Tasks;
use crate::reviews;

/// What the files hold to begin with.
#[derive(Debug)]
pub(super) struct Files {
    tokens: Option<Tokens>,
    users: Option<Users>,
}

impl Files {
    /// Reads them.
    pub(super) fn read(config: &config::Access) -> Result<Self, AccessFileError> {
        let tokens = config.tokens.as_deref().map(|path| access_file::read(path, TOKENS, Tokens::parse)).transpose()?;
        let users = config.users.as_deref().map(|path| access_file::read(path, USERS, Users::parse)).transpose()?;
        Ok(Self { tokens, users })
    }
}

const TOKENS: &str = "tokens";
const USERS: &str = "users";

/// The check, and its tasks. `withdrawals` counts up when somebody who was let in may be no longer. `client` is there where the API server is asked.
pub(super) fn access(
    config: &config::Config,
    files: Files,
    client: Option<&kube::Client>,
    (registry, withdrawals): (&Registry, Arc<watch::Sender<u64>>),
    tasks: &mut Tasks,
) -> prometheus::Result<Arc<Access>> {
    let settings = &config.access;
    let metrics = Metrics::register(registry)?;
    if !settings.asks() {
        return Ok(Arc::new(Access::open(metrics)));
    }
    let mut schemes = Schemes { clear: settings.clear_credentials, ..Schemes::default() };
    let followed_tokens = match (files.tokens, &settings.tokens) {
        (Some(tokens), Some(path)) => {
            let gauge = IntGauge::new("tidewait_access_tokens", "Static tokens that are good.")?;
            registry.register(Box::new(gauge.clone()))?;
            gauge.set(count(tokens.len()));
            schemes.tokens = Some(tokens);
            Some((AccessFile::new(path.clone(), TOKENS, "tidewait_access_tokens_file_good", registry)?, gauge))
        }
        (_, _) => None,
    };
    let followed_users = match (files.users, &settings.users) {
        (Some(users), Some(path)) => {
            let passwords = Arc::new(Passwords::new(users, users::Metrics::register(registry)?));
            schemes.authenticators.push(passwords.clone());
            Some((AccessFile::new(path.clone(), USERS, "tidewait_access_users_file_good", registry)?, passwords))
        }
        (_, _) => None,
    };
    let client = client.filter(|_| settings.asks_kubernetes());
    let kubernetes =
        client.map(|client| Ok::<_, prometheus::Error>((client.clone(), reviews::Metrics::register(registry)?)));
    let kubernetes = kubernetes.transpose()?;
    if let (Some((client, metrics)), [_, ..]) = (&kubernetes, &*settings.audiences) {
        let reviewer = TokenReviewer::new(client.clone(), settings.audiences.clone(), metrics);
        schemes.authenticators.push(Arc::new(reviewer) as Arc<dyn Authenticator>);
    }
    let policy = settings.policy.clone();
    let authorization = match (settings.judges, kubernetes) {
        (Judges::Kubernetes | Judges::Both, Some((client, reviews))) => {
            let of_operations = config.controller.as_ref().map(|controller| controller.namespace.clone());
            let name = of_operations.unwrap_or_else(|| client.default_namespace().to_owned());
            let judge = Arc::new(Namespace { reviewer: AccessReviewer::new(client, &reviews), name });
            let with_rules = settings.judges == Judges::Both;
            Authorization::by_judge(policy, with_rules, judge, metrics.permissions.clone(), Arc::clone(&withdrawals))
        }
        (_, _) => Authorization::by_rules(policy),
    };
    let authentication = Authentication::new(schemes, metrics.credentials.clone(), withdrawals);
    let access = Arc::new(Access::new(authentication, authorization, metrics));
    if let Some((file, gauge)) = followed_tokens {
        let access = Arc::clone(&access);
        let take = move |bytes: &[u8]| {
            let tokens = Tokens::parse(bytes).map_err(|error| error.to_string())?;
            let tokens_are = tokens.len();
            access.authentication().replace_tokens(tokens);
            gauge.set(count(tokens_are));
            Ok(tokens_are)
        };
        tasks.spawn("file with tokens", async move {
            file.follow(take).await;
            Ok(())
        });
    }
    if let Some((file, passwords)) = followed_users {
        let take = move |bytes: &[u8]| {
            let users = Users::parse(bytes).map_err(|error| error.to_string())?;
            let users_are = users.len();
            passwords.replace(users);
            Ok(users_are)
        };
        tasks.spawn("file with users", async move {
            file.follow(take).await;
            Ok(())
        });
    }
    let maintained = Arc::clone(&access);
    tasks.spawn("access", async move {
        maintained.maintain().await;
        Ok(())
    });
    Ok(access)
}

fn count(all: usize) -> i64 {
    i64::try_from(all).unwrap_or(i64::MAX)
}
