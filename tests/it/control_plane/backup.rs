//! etcd backed up and restored, with its own tools, as an operator does it.

use std::path::{Path, PathBuf};

use super::{ControlPlane, dies_with_its_thread, run};

/// How etcd is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restore {
    /// Its revisions go on where the backup ended.
    Plain,
    /// They go on far above, and what lies below is marked as compacted, as etcd recommends for Kubernetes.
    Bumped,
}

impl ControlPlane {
    /// Takes a backup of etcd as it is now.
    pub(crate) async fn backup(&self) -> PathBuf {
        let file = self.dir.join(&format!("backup-{:08x}.db", fastrand::u32(..)));
        let output = self.etcdctl(&["snapshot", "save", file.to_str().expect("UTF-8")]).await;
        assert!(output.status.success(), "etcdctl snapshot save: {}", String::from_utf8_lossy(&output.stderr));
        file
    }

    /// Stops etcd and starts it with the data of a backup; the API server is for the test to stop
    /// and start. Returns when etcd answers.
    pub(crate) async fn restore_etcd(&self, backup: &Path, how: Restore) {
        let servers = self.servers();
        servers.stop_etcd();
        let data = backup.with_extension("data");
        let mut command = dies_with_its_thread(&self.program("etcdutl"));
        command.args(["snapshot", "restore"]).arg(backup).arg("--data-dir").arg(&data);
        if how == Restore::Bumped {
            command.args(["--bump-revision", "1000000", "--mark-compacted"]);
        }
        let output = run("etcdutl snapshot restore", command, None).await.expect("etcdutl runs");
        assert!(output.status.success(), "etcdutl: {}", String::from_utf8_lossy(&output.stderr));
        servers.start_etcd(&data).expect("etcd starts again");
        let output = self.etcdctl(&["endpoint", "health", "--dial-timeout=60s", "--command-timeout=60s"]).await;
        assert!(output.status.success(), "etcd is not well: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until the API server is ready again, which it is not without its etcd.
    pub(crate) async fn ready(&self) {
        self.servers().wait_until_ready().await.expect("the API server is ready again");
    }
}
