//! etcd restored from a backup that is older than the last changes, beneath replicas of the built binary.

use std::time::Duration;

use tokio::time::Instant;

use super::ahead::{Replica, serial_of};
use super::{apply, version};
use crate::control_plane::{ControlPlane, Restore};

/// What is restored, and how soon each replica has it.
struct Form {
    how: Restore,
    /// Whether the API server is stopped for it, as Kubernetes documents.
    restarted: bool,
    within: Duration,
}

/// Two replicas hold what is later rolled back; one of them is started anew; then something is
/// written whose version lies below what they have seen.
async fn everybody_has_the_restored_state(Form { how, restarted, within }: Form) {
    let plane = ControlPlane::start().await;
    let namespace = plane.namespace("restore").await;
    apply(&plane, &namespace, 1).await;
    let backup = plane.backup().await;
    let folder = tempfile::tempdir().expect("a folder");
    let kept = ["--state-dir", folder.path().to_str().expect("UTF-8")];
    let (staying, leaving) =
        (Replica::start(&plane, &namespace, &[]).await, Replica::start(&plane, &namespace, &kept).await);
    for serial in 2..=30 {
        apply(&plane, &namespace, serial).await;
    }
    for replica in [&staying, &leaving] {
        replica.serves(30, Duration::from_secs(30)).await;
    }
    let before = staying.poll("").await.id().to_owned();

    if restarted {
        plane.stop_api_server();
    }
    plane.restore_etcd(&backup, how).await;
    drop(leaving);
    if restarted {
        plane.start_api_server().await;
    } else {
        plane.ready().await;
    }
    let asked = (staying.gets(), staying.lists());
    let ready = Instant::now();
    if restarted {
        staying.serves(1, within).await;
    }
    apply(&plane, &namespace, 100).await;
    let starting = Replica::start(&plane, &namespace, &kept).await;
    for replica in [&starting, &staying] {
        replica.serves(100, within.saturating_sub(ready.elapsed())).await;
    }
    let after = staying.poll("").await.id().to_owned();
    let below = version(&after) < version(&before);
    assert_eq!(below, how == Restore::Plain, "{after} and {before}: or nothing was tried");
    assert_eq!(starting.poll("").await.id(), after);
    // A client that holds what was rolled back is sent the current state too, by one read.
    for replica in [&starting, &staying] {
        assert_eq!(serial_of(&replica.poll(&before).await), 100);
    }

    // It stays, and nobody loops.
    let settled = [(starting.gets(), starting.lists()), (staying.gets(), staying.lists())];
    let calm = Instant::now() + Duration::from_secs(8);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < calm {
        look.tick().await;
        for replica in [&starting, &staying] {
            assert_eq!(serial_of(&replica.poll("").await), 100);
        }
    }
    for (replica, (gets, lists)) in [&starting, &staying].into_iter().zip(settled) {
        // At most the one that confirms, and what it may lead to.
        assert!(replica.gets() <= gets + 2 && replica.lists() <= lists + 1, "{:#?}", replica.proxy.requests());
    }
    let (gets, lists) = (staying.gets() - asked.0, staying.lists() - asked.1);
    assert!(gets <= 12 && lists <= 6, "{gets} reads, {lists} lists: {:#?}", staying.proxy.requests());
    // And what is written now is seen at once.
    if restarted {
        apply(&plane, &namespace, 101).await;
        for replica in [&starting, &staying] {
            replica.serves(101, Duration::from_secs(10)).await;
        }
    }
}

const AT_ONCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_plain_restore_with_the_api_server_restarted() {
    everybody_has_the_restored_state(Form { how: Restore::Plain, restarted: true, within: AT_ONCE }).await;
}

#[tokio::test]
async fn a_restore_with_bumped_revisions_and_the_api_server_restarted() {
    everybody_has_the_restored_state(Form { how: Restore::Bumped, restarted: true, within: AT_ONCE }).await;
}

/// Lists and watches stay in the past; the read that confirms once a minute shows the current state.
#[tokio::test]
async fn a_plain_restore_with_the_api_server_kept_running() {
    let within = Duration::from_secs(90);
    everybody_has_the_restored_state(Form { how: Restore::Plain, restarted: false, within }).await;
}
